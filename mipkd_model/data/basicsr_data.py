"""What BasicSR's data sets would read, found out before they do: they take every file of a folder for an image."""
import os
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from . import DataError
from .folders import left_out
from .formats import HEAD, image_format, why_not_read
from .images import image_shape, may_be_transparent, read_image
from .names import normal

KEYS = ('gt_path', 'lq_path')


def check_data(dataset, where: str, measured: bool) -> Iterator[str]:
    """Check the files and names of one of BasicSR's data sets; such as keep no list of files are left alone.

    Args:
        dataset (Dataset): with ``opt``, its block of the option file.
        where: path of that block, for messages.
        measured: whether outputs and records are named by the images, and all pixels are read here, too; of a training
            set the headers are.

    Yields:
        str: what is left out of folders.

    Raises:
        DataError: a file is no image, or one that 8-bit RGB cannot hold; two images have one name.
    """
    pairs = [pair if isinstance(pair, dict) else {'lq_path': pair} for pair in getattr(dataset, 'paths', ())]
    for key in KEYS if measured else ():
        _check_names([pair[key] for pair in pairs if key in pair], where)
    opt = dataset.opt
    roots = {key: opt[key] for key in ('dataroot_gt', 'dataroot_lq') if opt.get(key)}
    if (opt.get('io_backend') or {}).get('type') == 'lmdb':
        for root in roots.values():
            _check_keys(root)
    elif (opt.get('io_backend') or {}).get('type') == 'disk':
        for path in dict.fromkeys(pair[key] for pair in pairs for key in KEYS if key in pair):
            check_file(path, measured)
        for key, root in roots.items() if not opt.get('meta_info_file') else ():
            if others := left_out(root, is_taken=lambda name: True):
                yield f'{where}.{key}: {root}: left out: {others}'


def _check_names(paths: list[str], where: str) -> None:
    seen = {}
    for path in paths:
        earlier = seen.setdefault(normal(Path(path).stem), path)
        if earlier is not path:
            raise DataError(f'{where}: {path} has the name of {earlier}, and outputs and records are named by the '
                            'images; rename or remove one of them')


def _check_keys(root: str) -> None:
    """Check that BasicSR will find all images of a PNG LMDB: it takes a key to end at its first dot."""
    with open(Path(root, 'meta_info.txt'), encoding='utf-8') as lines:
        for line in lines:
            name = re.sub(r'\.[^\s.]+ \(.*', '', line.rstrip('\n'))
            if '.' in name:
                raise DataError(f'{root}: image {name!r} has a dot in its name, which this data set does not find; '
                                'take type: PairedSRDataset, or rename it')


def name_in_another_form(opt: dict) -> str | None:
    """A file of a data set's folders whose name is not in the usual Unicode form, so that BasicSR finds no partner."""
    for root in (opt.get('dataroot_gt'), opt.get('dataroot_lq')):
        names = sorted(os.listdir(root)) if isinstance(root, str) and os.path.isdir(root) else ()
        for name in names:
            if normal(name) != name:
                return os.path.join(root, name)
    return None


def check_file(file, whole: bool) -> None:
    """Check an image file that OpenCV will read as 8-bit colours.

    Args:
        file: its path.
        whole: read its pixels in any case, and not only where they may be transparent.

    Raises:
        DataError: it cannot be read, or would lose something: bits, frames, transparency.
    """
    try:
        with open(file, 'rb') as content:
            head = content.read(HEAD)
    except OSError as error:
        raise DataError(f'{file}: cannot be read ({error.strerror})') from None
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
        raise DataError(f'{file}: has more than 8 bits per channel; convert it to 8 bits')
    if image.ndim == 3 and image.shape[2] == 4 and image[..., 3].min() < 255:
        raise DataError(f'{file}: is transparent in places; flatten it to RGB')
