"""Where images are stored: raw LMDBs, BasicSR's PNG LMDBs and plain folders, read in one way."""
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import numpy as np

from mipkd_arch.base.errors import command, reason_of, shown

from . import DataError
from .folders import left_out, list_images
from .images import crop, decode_image, image_shape, read_image
from .lmdb_file import LmdbFile
from .names import check_name, normalized
from .raw_lmdb import RawLmdb

Shape = tuple[int, int, int]
META = re.compile(r'(?P<name>[^.].*)\.[^\s.]+ \((?P<height>[1-9]\d{0,6}),\s*(?P<width>[1-9]\d{0,6})(,\s*\d+)?\)',
                  re.ASCII)
"""A line of meta_info.txt; BasicSR writes the image's key, which may have dots, spaces and parentheses, and .png."""


class Store(Protocol):
    """Images by name; names are in one Unicode form (``names.normalized``), whatever that of files and keys is."""

    path: Path
    shapes: dict[str, Shape]
    """(H, W, 3) of all images."""
    left_out: str
    """What of a folder is not an image; empty if there is nothing else."""

    def read(self, name: str, top: int = 0, left: int = 0, height: int | None = None,
             width: int | None = None) -> np.ndarray:
        """A uint8 RGB crop (height, width, 3), or the whole image. Only raw LMDBs read a crop without the rest."""


def open_store(path: str | Path) -> Store:
    """Open the images at ``path``: a folder ending in ``.lmdb``, of either kind, or a folder of image files.

    Raises:
        DataError: nothing there, or not complete.
    """
    path = Path(path)
    if path.suffix != '.lmdb':
        return ImageFolder(path)
    return PngLmdb(path) if (path.expanduser() / 'meta_info.txt').exists() else RawLmdb(path)


class ImageFolder:
    """Image files of a folder, by their names without the suffix."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        folder = self.path.expanduser()
        self._files = {normalized(file.stem): file for file in list_images(folder)}
        self.shapes = {name: image_shape(file) for name, file in self._files.items()}
        self.left_out = left_out(folder)

    def read(self, name: str, top: int = 0, left: int = 0, height: int | None = None,
             width: int | None = None) -> np.ndarray:
        return crop(read_image(self._files[name]), top, left, height, width)


class PngLmdb:
    """LMDB of PNG files with a ``meta_info.txt``, as BasicSR's ``make_lmdb_from_imgs`` writes it."""

    left_out = ''

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
            key = check_name(entry['name'], f'{meta}: line {number}')
            name = normalized(key)
            if name in self.shapes:
                raise DataError(f'{meta}: line {number} names image {name!r} again; remove it')
            self._keys[name] = key.encode()
            if self._file.get(self._keys[name]) is None:
                raise DataError(f'{path}: has no image {name!r}, which meta_info.txt names; remove it and pack it '
                                'again')
            self.shapes[name] = int(entry['height']), int(entry['width']), 3

    def read(self, name: str, top: int = 0, left: int = 0, height: int | None = None,
             width: int | None = None) -> np.ndarray:
        image = decode_image(bytes(self._file.image(self._keys[name], name)), f'{self.path}: image {name!r}')
        if image.shape != self.shapes[name]:
            raise DataError(f'{self.path}: image {name!r} is {image.shape[1]}x{image.shape[0]}, but '
                            f'{self.shapes[name][1]}x{self.shapes[name][0]} in meta_info.txt; pack it again')
        return crop(image, top, left, height, width)


def pair_names(gt_names: Iterable[str], lq_names: Iterable[str],
               scale: int) -> tuple[dict[str, str], list[str], list[str]]:
    """Which lq image belongs to which gt image: those of equal names, or with ``x<scale>`` behind as in DIV2K.

    Returns:
        lq names by gt names; gt names without a partner; lq names without a partner.
    """
    gt_names, available = list(gt_names), set(lq_names)
    # One way of naming for all: else a and ax4 might share the lq image ax4.
    ending = max(('', f'x{scale}', f'X{scale}'), key=lambda end: sum(name + end in available for name in gt_names))
    pairs = {name: name + ending for name in gt_names if name + ending in available}
    return pairs, [name for name in gt_names if name not in pairs], sorted(available - set(pairs.values()))


def lq_names(gt_names: Iterable[str], lq_names: Iterable[str], scale: int, where: str) -> dict[str, str]:
    """Names of the lq images by those of their gt images, as ``pair_names`` finds them; ``where`` names both stores.

    Raises:
        DataError: an image of either has no partner.
    """
    gt_names = list(gt_names)
    pairs, missing, spare = pair_names(gt_names, lq_names, scale)
    if missing:
        raise DataError(f'{where} are not pairs: {gt_names.index(missing[0])} fit, but {missing[0]!r} of gt has no lq '
                        f'image of that name or {missing[0]}x{scale}')
    if spare:
        raise DataError(f'{where} are not pairs: {len(spare)} lq images have no gt image, such as {spare[0]!r}')
    return pairs


def check_pair(name: str, gt_shape: Shape, lq_shape: Shape, scale: int, where: object) -> None:
    """Check that an lq image has its gt's size over ``scale``, rounded down; if not, raise a ``DataError``."""
    gt_sides, lq_sides = gt_shape[1::-1], lq_shape[1::-1]
    right_sides = tuple(side // scale for side in gt_sides)
    if lq_sides == right_sides:
        return
    gt, lq, right = ('x'.join(map(str, sides)) for sides in (gt_sides, lq_sides, right_sides))
    if all(low <= side <= -(-large // scale) for low, side, large in zip(right_sides, lq_sides, gt_sides, strict=True)):
        pack = command('mipkd', 'data', 'pack', '--hr', 'FOLDER', '--scale', scale, '--out', 'FOLDER')
        remedy = (f'it was rounded up, or to the nearest, as imresize(gt, 1/{scale}) does: crop gt to multiples of '
                  f'{scale} before lq is made, or have lq made by: {pack}')
    else:
        remedy = 'are these the images of another scale?'
    raise DataError(f'{where}: image {name!r} is {lq}, but x{scale} of its gt {gt} would be {right}; {remedy}')
