"""Where images lie: raw LMDBs, BasicSR's PNG LMDBs and plain folders, read in one way.

A store has ``path``, ``shapes`` (name to (H, W, 3), of all images) and ``read(name, top, left, height, width)``, which
gives a uint8 RGB crop, without the last four the whole image. Only raw LMDBs read a crop without the rest.
"""
import re
from pathlib import Path

from mipkd_arch.errors import reason_of, shown

from . import DataError
from .images import crop, decode_image, image_shape, list_images, read_image
from .lmdb_file import LmdbFile
from .names import check_name
from .raw_lmdb import RawLmdb

META = re.compile(r'(?P<name>[^.]+)\.\S+ \((?P<height>[1-9]\d{0,6}),\s*(?P<width>[1-9]\d{0,6})(,\s*\d+)?\)', re.ASCII)


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
        self._files = {file.stem: file for file in list_images(self.path.expanduser())}
        self.shapes = {name: image_shape(file) for name, file in self._files.items()}

    def read(self, name, top=0, left=0, height=None, width=None):
        return crop(read_image(self._files[name]), top, left, height, width)


class PngLmdb:
    """LMDB of PNG files with a ``meta_info.txt``, as BasicSR's ``make_lmdb_from_imgs`` writes it."""

    def __init__(self, path):
        self._file = LmdbFile(path)
        self.path = Path(path)
        self.shapes = {}
        meta = self.path.expanduser() / 'meta_info.txt'
        for number, line in enumerate(_lines(meta), 1):
            entry = META.match(line)
            if entry is None:
                raise DataError(f'{meta}: line {number} is {shown(line)}, not of the form '
                                '"0001.png (480,480,3) 1"')
            name = check_name(entry['name'], f'{meta}: line {number}')
            if name in self.shapes:
                raise DataError(f'{meta}: line {number} names image {name!r} again; take it out')
            if self._file.get(name.encode()) is None:
                raise DataError(f'{path}: has no image {name!r}, which meta_info.txt names; remove it and pack it anew')
            self.shapes[name] = int(entry['height']), int(entry['width']), 3

    def read(self, name, top=0, left=0, height=None, width=None):
        image = decode_image(bytes(self._file.get(name.encode())), f'{self.path}: image {name!r}')
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


def lq_names(gt_names, lq_names, scale, where):
    """Names of the lq images by those of their gt images: equal, or with ``x<scale>`` behind as in DIV2K.

    Args:
        gt_names, lq_names (iterable[str]): of both stores.
        scale (int): gt size over lq size.
        where (str): names both stores in errors.

    Raises:
        DataError: an image of either has no partner.
    """
    gt_names, available = list(gt_names), set(lq_names)
    # One way of naming for all: else a and ax4 might share the lq image ax4.
    ending = max(('', f'x{scale}', f'X{scale}'), key=lambda end: sum(name + end in available for name in gt_names))
    pairs = {}
    for name in gt_names:
        partner = name + ending
        if partner not in available:
            raise DataError(f'{where} are not pairs: {len(pairs)} fit, but {name!r} of gt has no lq image of that name '
                            f'or {name}x{scale}')
        pairs[name] = partner
    spare = sorted(available - set(pairs.values()))
    if spare:
        raise DataError(f'{where} are not pairs: {len(spare)} lq images have no gt image, such as {spare[0]!r}')
    return pairs


def check_pair(name, gt_shape, lq_shape, scale, where):
    """Check that an lq image has its gt's size over ``scale``, rounded down.

    Raises:
        DataError: it has not.
    """
    (gt_h, gt_w), (lq_h, lq_w) = gt_shape[:2], lq_shape[:2]
    if (gt_h // scale, gt_w // scale) != (lq_h, lq_w):
        raise DataError(f'{where}: image {name!r} is {lq_w}x{lq_h}, but x{scale} of its gt {gt_w}x{gt_h} would be '
                        f'{gt_w // scale}x{gt_h // scale}; are these the images of another scale?')
