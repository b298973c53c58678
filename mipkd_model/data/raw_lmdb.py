"""LMDBs of raw uint8 images, from which a crop is read without touching the rest of the image.

A database holds whole images as RGB bytes, row by row, under their names. Under ``INDEX_KEY`` is the index: the
SHA-256 of the rest in hexadecimal, a line feed, and a JSON object::

    {"format": 2, "images": {name: {"shape": [H, W, 3], "dtype": "uint8", "sha256": "...", "source": "0001.png",
                                    "stamp": bytes of the source}}}

A PNG has to be decoded whole for each crop; of raw bytes only the crop's own rows are read. The price is disk space.
"""
import hashlib
import json
from collections.abc import Callable, Iterable
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mipkd_arch.base.errors import shown

from . import DataError
from .images import crop
from .lmdb_file import LmdbFile
from .names import check_name, normalized

INDEX_KEY = b'__index__'
FORMAT = 2


def encode_index(images: dict[str, dict]) -> bytes:
    """Index of a database as it is stored."""
    text = json.dumps({'format': FORMAT, 'images': images}).encode()
    return hashlib.sha256(text).hexdigest().encode() + b'\n' + text


def decode_index(raw: memoryview | None, path: str | Path) -> dict[str, dict[str, Any]]:
    """The index's ``images``; a ``DataError`` without one, or where it is damaged or of another format."""
    if raw is None:
        raise DataError(f'{path}: is an LMDB, but not one of raw images; pack it by: mipkd data pack')
    digest, _, text = bytes(raw).partition(b'\n')
    if hashlib.sha256(text).hexdigest().encode() != digest:
        raise DataError(f'{path}: has a damaged index, or one of another version; remove it and pack it again')
    index = json.loads(text)
    if index['format'] != FORMAT:
        raise DataError(f'{path}: is of format {shown(index["format"])}, but this version reads {FORMAT}; remove it '
                        'and pack it again')
    return index['images']


class RawLmdb:
    """Reader of one database; may be pickled, and used in forked and spawned processes.

    A ``stores.Store``, with the index as ``images``. Opening checks that the database is complete: its file, its index,
    and the length of every image. The pixels are compared with their checksums by ``corrupt_images``.

    Raises:
        DataError: no such database, not one of this format, or not complete.
    """

    left_out = ''

    def __init__(self, path: str | Path) -> None:
        self._file = LmdbFile(path)
        self.path = self._file.path
        self.images = decode_index(self._file.get(INDEX_KEY), path)
        self.shapes: dict[str, tuple[int, int, int]] = {}
        self._keys: dict[str, bytes] = {}
        for key, image in self.images.items():
            name = normalized(check_name(key, path))
            if name in self.shapes:
                raise DataError(f'{path}: image {name!r} is there in two Unicode forms; remove it and pack it again')
            self.shapes[name], self._keys[name] = tuple(image['shape']), key.encode()
            raw = self._file.get(self._keys[name])
            if raw is None or len(raw) != prod(image['shape']):
                raise DataError(f'{path}: image {name!r} is missing or cut short; remove the database and pack it '
                                'again')

    def read(self, name: str, top: int = 0, left: int = 0, height: int | None = None,
             width: int | None = None) -> np.ndarray:
        """Read a crop, or the whole image, as a uint8 RGB array (height, width, 3) that must not be written to.

        It is a view of the file: copy it to keep it beyond a fork, or beyond packing the database again.
        """
        raw = self._file.image(self._keys.get(name, name.encode()), name)
        return crop(np.frombuffer(raw, np.uint8).reshape(self.shapes[name]), top, left, height, width)

    def corrupt_images(self, progress: Callable[[Iterable[str]], Iterable[str]] = iter) -> list[str]:
        """Names of the images whose pixels don't have their checksum; ``progress`` wraps what is iterated over."""
        return [name for name in progress(self.images)
                if hashlib.sha256(self._file.image(name.encode(), name)).hexdigest() != self.images[name]['sha256']]
