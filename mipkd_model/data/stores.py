"""Where images lie: raw LMDBs, BasicSR's PNG LMDBs and plain folders, read in one way.

A store has ``path``, ``shapes`` (name to (H, W, 3), of all images) and ``read(name, top, left, height, width)``, which
gives a uint8 RGB crop, without the last four the whole image. Only raw LMDBs read a crop without the rest. Names are in
one Unicode form (``names.normal``), whatever that of the files and keys is. ``left_out`` says what of a folder is no
image, or nothing.
"""
import re
from collections.abc import Iterable
from pathlib import Path

from mipkd_arch.base.errors import command, reason_of, shown

from . import DataError
from .folders import left_out, list_images
from .images import crop, decode_image, image_shape, read_image
from .lmdb_file import LmdbFile
from .names import check_name, normal
from .raw_lmdb import RawLmdb

META = re.compile(r'(?P<name>[^.].*)\.[^\s.]+ \((?P<height>[1-9]\d{0,6}),\s*(?P<width>[1-9]\d{0,6})(,\s*\d+)?\)',
                  re.ASCII)
"""A line of meta_info.txt; BasicSR writes the image's key, which may have dots, spaces and parentheses, and .png."""


def open_store(path):
    """Open the images at ``path``: a folder ending in ``.lmdb``, of either kind, or a folder of image files.

    Raises:
        DataError: nothing there, or not whole.
    """
    path = Path(path)
    if path.suffix != '.lmdb':
        return ImageFolder(path)
    return PngLmdb(path) if (path.expanduser() / 'meta_info.txt').exists() else RawLmdb(path)


class ImageFolder:
    """Image files of a folder, by their names without the suffix."""

    def __init__(self, path):
        self.path = Path(path)
        self.left_out = left_out(self.path.expanduser()) if self.path.expanduser().is_dir() else ''
        self._files = {normal(file.stem): file for file in list_images(self.path.expanduser())}
        self.shapes = {name: image_shape(file) for name, file in self._files.items()}

    def read(self, name, top=0, left=0, height=None, width=None):
        return crop(read_image(self._files[name]), top, left, height, width)


class PngLmdb:
    """LMDB of PNG files with a ``meta_info.txt``, as BasicSR's ``make_lmdb_from_imgs`` writes it."""

    left_out = ''

    def __init__(self, path):
        self._file = LmdbFile(path)
        self.path = Path(path)
        self.shapes, self._keys = {}, {}
        meta = self.path.expanduser() / 'meta_info.txt'
        for number, line in enumerate(_lines(meta), 1):
            entry = META.match(line)
            if entry is None:
                raise DataError(f'{meta}: line {number} is {shown(line)}, not of the form '
                                '"0001.png (480,480,3) 1"')
            key = check_name(entry['name'], f'{meta}: line {number}')
            name = normal(key)
            if name in self.shapes:
                raise DataError(f'{meta}: line {number} names image {name!r} again; take it out')
            self._keys[name] = key.encode()
            if self._file.get(self._keys[name]) is None:
                raise DataError(f'{path}: has no image {name!r}, which meta_info.txt names; remove it and pack it anew')
            self.shapes[name] = int(entry['height']), int(entry['width']), 3

    def read(self, name, top=0, left=0, height=None, width=None):
        image = decode_image(bytes(self._file.get(self._keys[name])), f'{self.path}: image {name!r}')
        if image.shape != self.shapes[name]:
            raise DataError(f'{self.path}: image {name!r} is {image.shape[1]}x{image.shape[0]}, but '
                            f'{self.shapes[name][1]}x{self.shapes[name][0]} in meta_info.txt; pack it anew')
        return crop(image, top, left, height, width)


def _lines(file):
    try:
        if not file.is_file():  # reading a pipe would wait for whoever writes to it
            raise DataError(f'{file}: is no file')
        return file.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'{file}: cannot be read ({reason_of(error)}); pack the database anew') from None


def pair_names(gt_names: Iterable[str], lq_names: Iterable[str], scale: int) -> tuple[dict, list, list]:
    """Which lq image belongs to which gt image: those of equal names, or with ``x<scale>`` behind as in DIV2K.

    Returns:
        tuple[dict[str, str], list[str], list[str]]: lq names by gt names; gt names without a partner; lq names without.
    """
    gt_names, available = list(gt_names), set(lq_names)
    # One way of naming for all: else a and ax4 might share the lq image ax4.
    ending = max(('', f'x{scale}', f'X{scale}'), key=lambda end: sum(name + end in available for name in gt_names))
    pairs = {name: name + ending for name in gt_names if name + ending in available}
    return pairs, [name for name in gt_names if name not in pairs], sorted(available - set(pairs.values()))


def lq_names(gt_names, lq_names, scale, where):
    """Names of the lq images by those of their gt images, as ``pair_names`` finds them.

    Args:
        gt_names, lq_names (iterable[str]): of both stores.
        scale (int): gt size over lq size.
        where (str): names both stores in errors.

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


def check_pair(name, gt_shape, lq_shape, scale, where):
    """Check that an lq image has its gt's size over ``scale``, rounded down.

    Raises:
        DataError: it has not.
    """
    gt_sides, lq_sides = gt_shape[1::-1], lq_shape[1::-1]
    if all(gt // scale == lq for gt, lq in zip(gt_sides, lq_sides, strict=True)):
        return
    gt, lq, right = ('x'.join(map(str, sides)) for sides in (gt_sides, lq_sides, (side // scale for side in gt_sides)))
    if all(gt // scale <= lq <= -(-gt // scale) for gt, lq in zip(gt_sides, lq_sides, strict=True)):
        pack = command('mipkd', 'data', 'pack', '--hr', 'FOLDER', '--scale', scale, '--out', 'FOLDER')
        remedy = (f'it was rounded up, or to the nearest, as imresize(gt, 1/{scale}) does: crop gt to multiples of '
                  f'{scale} before lq is made, or have lq made by: {pack}')
    else:
        remedy = 'are these the images of another scale?'
    raise DataError(f'{where}: image {name!r} is {lq}, but x{scale} of its gt {gt} would be {right}; {remedy}')
