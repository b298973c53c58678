"""Where images are stored: raw LMDBs, BasicSR's PNG LMDBs and plain folders, read in one way."""
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mipkd_arch.base.errors import command, reason_of, shown

from . import DataError
from .folders import check_name, left_out, list_images
from .images import Store, image_shape, read_image
from .lmdb_file import LmdbFile
from .raw_lmdb import RawLmdb

Shape = tuple[int, int, int]
META = re.compile(r'(.+)\.[^\s.]+ \((\d{1,7}),\s*(\d{1,7})')
"""A line of meta_info.txt; BasicSR writes the image's key, which may have dots, spaces and parentheses, and .png."""


def open_store(path: str | Path) -> Store:
    """Open the images at ``path``: a folder ending in ``.lmdb``, of either kind, or a folder of image files.

    Raises:
        DataError: nothing there, or not complete.
    """
    path = Path(path)
    if path.suffix != '.lmdb':
        return ImageFolder(path)
    return PngLmdb(path) if (path.expanduser() / 'meta_info.txt').exists() else RawLmdb(path)


class ImageFolder(Store):
    """Image files of a folder, by their names without the suffix."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        folder = self.path.expanduser()
        self._files = list_images(folder)
        self.shapes = {name: image_shape(file) for name, file in self._files.items()}
        self.left_out = left_out(folder)

    def _image(self, name: str) -> np.ndarray:
        return read_image(self._files[name])


class PngLmdb(Store):
    """LMDB of PNG files with a ``meta_info.txt``, as BasicSR's ``make_lmdb_from_imgs`` writes it."""

    def __init__(self, path: str | Path) -> None:
        self._file = LmdbFile(path)
        self.path = Path(path)
        self.shapes: dict[str, Shape] = {}
        self._keys: dict[str, bytes] = {}
        meta = self.path.expanduser() / 'meta_info.txt'
        try:
            lines = meta.read_text(encoding='utf-8').splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f'{meta}: cannot be read ({reason_of(error)}); pack the database again') from None
        for number, line in enumerate(lines, 1):
            entry = META.match(line)
            if entry is None:
                raise DataError(f'{meta}: line {number} is {shown(line)}, not of the form "0001.png (480,480,3) 1"')
            name = check_name(entry[1], f'{meta}: line {number}')
            self.shapes[name] = int(entry[2]), int(entry[3]), 3
            self._keys[name] = entry[1].encode()
            self._file.image(self._keys[name], name)

    def _image(self, name: str) -> np.ndarray:
        image = read_image(bytes(self._file.image(self._keys[name], name)), f'{self.path}: image {name!r}')
        if image.shape != self.shapes[name]:
            raise DataError(f'{self.path}: image {name!r} is {image.shape[1]}x{image.shape[0]}, but '
                            f'{self.shapes[name][1]}x{self.shapes[name][0]} in meta_info.txt; pack it again')
        return image


def lq_names(gt_names: Iterable[str], lq_names: Iterable[str], scale: int, where: str) -> dict[str, str]:
    """Names of the lq images by those of their gt images: equal ones, or with ``x<scale>`` behind as in DIV2K.

    Raises:
        DataError: an image of either has no partner; ``where`` names both stores.
    """
    gt_names, available = list(gt_names), set(lq_names)
    # One way of naming for all: else a and ax4 might share the lq image ax4.
    ending = max(('', f'x{scale}', f'X{scale}'), key=lambda end: sum(name + end in available for name in gt_names))
    pairs = {name: name + ending for name in gt_names if name + ending in available}
    if missing := [name for name in gt_names if name not in pairs]:
        raise DataError(f'{where} are not pairs: {len(missing)} gt images have no lq image of that name or with '
                        f'x{scale} behind, such as {", ".join(map(repr, missing[:8]))}')
    if spare := sorted(available - set(pairs.values())):
        raise DataError(f'{where} are not pairs: {len(spare)} lq images have no gt image, such as '
                        f'{", ".join(map(repr, spare[:8]))}')
    return pairs


def check_pair(name: str, gt_shape: Shape, lq_shape: Shape, scale: int, where: object) -> None:
    """Check that an lq image has its gt's size over ``scale``, rounded down; if not, raise a ``DataError``."""
    right = gt_shape[0] // scale, gt_shape[1] // scale
    if lq_shape[:2] == right:
        return
    remedy = 'are these the images of another scale?'
    if all(lq - low in (0, 1) for lq, low in zip(lq_shape, right, strict=False)):  # as imresize(gt, 1 / scale) does
        pack = command('mipkd', 'data', 'pack', '--hr', 'FOLDER', '--scale', scale, '--out', 'FOLDER')
        remedy = f'it was rounded up: crop gt to multiples of {scale} before lq is made, or have lq made by: {pack}'
    raise DataError(f'{where}: image {name!r} is {lq_shape[1]}x{lq_shape[0]}, but x{scale} of its gt '
                    f'{gt_shape[1]}x{gt_shape[0]} would be {right[1]}x{right[0]}; {remedy}')


def paired(gt: Store, lq: Store, scale: int) -> list[tuple[str, str]]:
    """Names of the gt and lq images of two stores that belong together; a ``DataError`` where some do not."""
    pairs = lq_names(gt.shapes, lq.shapes, scale, f'{gt.path} and {lq.path}')
    for name, lq_name in pairs.items():
        check_pair(lq_name, gt.shapes[name], lq.shapes[lq_name], scale, lq.path)
    return list(pairs.items())
