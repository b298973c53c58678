"""LMDBs of raw uint8 images, from which a crop is read without touching the rest of the image.

A database holds whole images as RGB bytes, row by row, under their names. Under ``INDEX_KEY`` is the index: the
SHA-256 of the rest in hexadecimal, a line feed, and a JSON object::

    {"format": 2, "images": {name: {"shape": [H, W, 3], "dtype": "uint8", "sha256": "...", "source": "0001.png",
                                    "stamp": bytes of the source}}}

A PNG has to be decoded whole for each crop; of raw bytes only the crop's own rows are read. The price is disk space.
"""
import hashlib
import json

import numpy as np

from mipkd_arch.base.errors import shown

from . import DataError
from .images import crop
from .lmdb_file import LmdbFile
from .names import check_name, normal

INDEX_KEY = b'__index__'
FORMAT = 2


def encode_index(images):
    """Index of a database as it is stored."""
    text = json.dumps({'format': FORMAT, 'images': images}).encode()
    return hashlib.sha256(text).hexdigest().encode() + b'\n' + text


def decode_index(raw, path):
    """The index's ``images``.

    Raises:
        DataError: none, damaged, of another format, or with an entry that is none of an image.
    """
    if raw is None:
        raise DataError(f'{path}: is an LMDB, but not one of raw images; pack it by: mipkd data pack')
    digest, _, text = bytes(raw).partition(b'\n')
    if hashlib.sha256(text).hexdigest().encode() != digest:
        raise DataError(f'{path}: has a damaged index, or one of another version; remove it and pack it anew')
    try:
        index = json.loads(text, object_pairs_hook=_each_once)
        format_, images = index['format'], index['images']
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DataError(f'{path}: has an index that is none; remove it and pack it anew') from None
    if format_ != FORMAT:
        raise DataError(f'{path}: is of format {shown(format_)}, this version reads {FORMAT}; remove it and pack '
                        'it anew')
    if not isinstance(images, dict):
        raise DataError(f'{path}: has an index without images; remove it and pack it anew')
    for name, image in images.items():
        check_name(name, path)
        if not _is_entry(image):
            raise DataError(f'{path}: image {name!r} is {shown(image)} in the index, which tells its shape, '
                            'dtype, sha256 and source; remove it and pack it anew')
    return images


def _each_once(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError('a key comes twice')
    return found


def _is_entry(image):
    if not isinstance(image, dict) or not all(isinstance(image.get(key), str) for key in ('sha256', 'source')):
        return False
    shape = image.get('shape')
    # LMDB's values have at most 2^32 bytes.
    return image.get('dtype') == 'uint8' and isinstance(shape, list) and len(shape) == 3 and shape[2] == 3 and all(
        type(side) is int and 0 < side < 1 << 31 for side in shape)


class RawLmdb:
    """Reader of one database; may be pickled, and used in forked and spawned processes.

    Opening checks that the database is whole: its file, its index, and the length of every image. The pixels are
    compared with their checksums by ``corrupt_images``.

    Attributes:
        path (Path): of the database.
        shapes (dict[str, tuple[int, int, int]]): (H, W, 3) by name in its one Unicode form, in the order of packing.
        images (dict[str, dict]): the index: shape, dtype, sha256 and source by name.

    Raises:
        DataError: no such database, not one of this format, or not whole.
    """

    left_out = ''

    def __init__(self, path):
        self._file = LmdbFile(path)
        self.path = self._file.path
        self.images = decode_index(self._file.get(INDEX_KEY), path)
        self.shapes, self._keys = {}, {}
        for key, image in self.images.items():
            name = normal(key)
            if name in self.shapes:
                raise DataError(f'{path}: image {name!r} is there in two Unicode forms; remove it and pack it anew')
            self.shapes[name], self._keys[name] = tuple(image['shape']), key.encode()
            height, width, channels = self.shapes[name]
            raw = self._file.get(self._keys[name])
            if raw is None or len(raw) != height * width * channels:
                raise DataError(f'{path}: image {name!r} is missing or cut short; remove the database and pack it anew')

    def read(self, name, top=0, left=0, height=None, width=None):
        """Read a crop, or the whole image, as a uint8 RGB array (height, width, 3) that must not be written to.

        It is a view of the file: copy it to keep it beyond a fork, or beyond packing the database anew.
        """
        raw = self._file.get(self._keys.get(name, name.encode()))
        if raw is None:
            raise DataError(f'{self.path}: has no image {name!r}')
        image = np.frombuffer(raw, np.uint8).reshape(self.shapes[name])
        return crop(image, top, left, height, width)

    def corrupt_images(self, progress=iter):
        """Names of the images whose pixels don't have the checksum they were packed with.

        Args:
            progress (callable): wraps the names, for a progress bar.
        """
        return [name for name in progress(self.images)
                if hashlib.sha256(self._file.get(name.encode())).hexdigest() != self.images[name]['sha256']]
