"""Checks of BasicSR's own datasets before they read anything: they take every file of a folder for an image."""
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from . import DataError
from .folders import by_name, is_image
from .image_headers import TOO_DEEP, why_not_read
from .images import image_shape, may_be_transparent, read_image

KEYS = ('gt_path', 'lq_path')


def check_data(dataset: Any, where: str, measured: bool) -> None:
    """Check the files and names of one of BasicSR's datasets; those that keep no list of files are not checked.

    Args:
        dataset: with ``opt``, its block of the option file.
        where: path of that block, for messages.
        measured: outputs and records are named by the images, and all pixels are read here; otherwise the headers.

    Raises:
        DataError: a file is not an image, or one that 8-bit RGB cannot hold; two images have one name.
    """
    pairs = [pair if isinstance(pair, dict) else {'lq_path': pair} for pair in getattr(dataset, 'paths', ())]
    paths = {key: [pair[key] for pair in pairs if key in pair] for key in KEYS}
    faults: list[str] = []
    for key in KEYS if measured else ():
        by_name(map(Path, paths[key]), faults)
    if faults:
        raise DataError(f'{where}: {faults[0]}')
    backend = (dataset.opt.get('io_backend') or {}).get('type')
    if backend == 'lmdb':
        for key in ('dataroot_gt', 'dataroot_lq'):
            if dataset.opt.get(key):
                _check_keys(dataset.opt[key])
    elif backend == 'disk':
        for path in dict.fromkeys(paths['gt_path'] + paths['lq_path']):
            _check_file(path, measured)


def _check_keys(root: str) -> None:
    """Check that BasicSR will find all images of a PNG LMDB: it assumes that a key ends at its first dot."""
    for line in Path(root, 'meta_info.txt').read_text(encoding='utf-8').splitlines():
        name = re.sub(r'\.[^\s.]+ \(.*', '', line)
        if '.' in name:
            raise DataError(f'{root}: image {name!r} has a dot in its name, which this dataset does not find; use '
                            'type: PairedSRDataset, or rename it')


def _check_file(file: str, whole: bool) -> None:
    """Check an image file that OpenCV will read as 8-bit colors; read its pixels if whole, or maybe transparent."""
    if is_image(file):
        if image_shape(file) and (whole or may_be_transparent(file)):
            read_image(file)
        return
    try:  # OpenCV knows formats that are not read here
        image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    if image is None:
        with open(file, 'rb') as content:
            raise DataError(f'{file}: {why_not_read(content)}')
    if image.dtype != np.uint8:
        raise DataError(f'{file}: {TOO_DEEP}')
    if image.ndim == 3 and image.shape[2] == 4 and image[..., 3].min() < 255:
        raise DataError(f'{file}: is transparent in places; flatten it to RGB')
