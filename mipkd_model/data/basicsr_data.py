"""Checks of BasicSR's own datasets before they read anything: they take every file of a folder for an image."""
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from . import DataError
from .folders import left_out
from .image_headers import HEAD, TOO_DEEP, image_format, why_not_read
from .images import image_shape, may_be_transparent, read_image
from .names import normalized

KEYS = ('gt_path', 'lq_path')


def check_data(dataset: Any, where: str, measured: bool) -> Iterator[str]:
    """Check the files and names of one of BasicSR's datasets; those that keep no list of files are not checked.

    Args:
        dataset: with ``opt``, its block of the option file.
        where: path of that block, for messages.
        measured: outputs and records are named by the images, and all pixels are read here; otherwise the headers.

    Yields:
        What is left out of folders.

    Raises:
        DataError: a file is not an image, or one that 8-bit RGB cannot hold; two images have one name.
    """
    pairs = [pair if isinstance(pair, dict) else {'lq_path': pair} for pair in getattr(dataset, 'paths', ())]
    for key in KEYS if measured else ():
        _check_names((pair[key] for pair in pairs if key in pair), where)
    opt = dataset.opt
    roots = {key: opt[key] for key in ('dataroot_gt', 'dataroot_lq') if opt.get(key)}
    backend = (opt.get('io_backend') or {}).get('type')
    if backend == 'lmdb':
        for root in roots.values():
            _check_keys(root)
    elif backend == 'disk':
        for path in dict.fromkeys(pair[key] for pair in pairs for key in KEYS if key in pair):
            _check_file(path, measured)
        for key, root in roots.items() if not opt.get('meta_info_file') else ():
            if others := left_out(root, is_taken=lambda name: True):
                yield f'{where}.{key}: {root}: left out: {others}'


def _check_names(paths: Iterable[str], where: str) -> None:
    seen: dict[str, str] = {}
    for path in paths:
        earlier = seen.setdefault(normalized(Path(path).stem), path)
        if earlier is not path:
            raise DataError(f'{where}: {path} has the name of {earlier}, and outputs and records are named by the '
                            'images; rename or remove one of them')


def _check_keys(root: str) -> None:
    """Check that BasicSR will find all images of a PNG LMDB: it assumes that a key ends at its first dot."""
    for line in Path(root, 'meta_info.txt').read_text(encoding='utf-8').splitlines():
        name = re.sub(r'\.[^\s.]+ \(.*', '', line)
        if '.' in name:
            raise DataError(f'{root}: image {name!r} has a dot in its name, which this dataset does not find; use '
                            'type: PairedSRDataset, or rename it')


def name_in_another_form(opt: dict[str, Any]) -> str | None:
    """A file of a dataset's folders whose name is not in the usual Unicode form, so that BasicSR finds no partner."""
    for root in (opt.get('dataroot_gt'), opt.get('dataroot_lq')):
        if isinstance(root, str) and os.path.isdir(root):
            for name in sorted(os.listdir(root)):
                if normalized(name) != name:
                    return os.path.join(root, name)
    return None


def _check_file(file: str, whole: bool) -> None:
    """Check an image file that OpenCV will read as 8-bit colors; read its pixels if whole, or maybe transparent."""
    with open(file, 'rb') as content:
        head = content.read(HEAD)
    if image_format(head) is not None:
        if image_shape(file) and (whole or may_be_transparent(file)):
            read_image(file)
        return
    try:  # OpenCV knows formats that are not read here
        image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED) if head else None
    except cv2.error:
        image = None
    if image is None:
        raise DataError(f'{file}: {why_not_read(head)}')
    if image.dtype != np.uint8:
        raise DataError(f'{file}: {TOO_DEEP}')
    if image.ndim == 3 and image.shape[2] == 4 and image[..., 3].min() < 255:
        raise DataError(f'{file}: is transparent in places; flatten it to RGB')
