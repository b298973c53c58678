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

from . import DataError
from .folders import check_name
from .images import Store
from .lmdb_file import LmdbFile

INDEX_KEY = b'__index__'
FORMAT = 2


def encode_index(images: dict[str, dict[str, Any]]) -> bytes:
    """Index of a database as it is stored."""
    text = json.dumps({'format': FORMAT, 'images': images}).encode()
    return hashlib.sha256(text).hexdigest().encode() + b'\n' + text


class RawLmdb(Store):
    """Reader of one database; may be pickled, and used in forked and spawned processes.

    ``images`` is the index. Opening checks the file, the index and the length of every image, ``corrupt_images`` the
    checksums of the pixels.

    Raises:
        DataError: no such database, not one of this format, or not complete.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = LmdbFile(path)
        self.path = self._file.path
        self.images = self._read_index()
        self.shapes: dict[str, tuple[int, int, int]] = {}
        self._keys: dict[str, bytes] = {}
        for key, image in self.images.items():
            name = check_name(key, path)
            self.shapes[name], self._keys[name] = tuple(image['shape']), key.encode()
            raw = self._file.get(self._keys[name])
            if raw is None or len(raw) != prod(image['shape']):
                raise DataError(f'{path}: image {name!r} is missing or cut short; remove the database and pack it '
                                'again')

    def _read_index(self) -> dict[str, dict[str, Any]]:
        raw = self._file.get(INDEX_KEY)
        if raw is None:
            raise DataError(f'{self.path}: is an LMDB, but not one of raw images; pack it by: mipkd data pack')
        digest, _, text = bytes(raw).partition(b'\n')
        index = json.loads(text) if hashlib.sha256(text).hexdigest().encode() == digest else {}
        if index.get('format') != FORMAT:
            raise DataError(f'{self.path}: has a damaged index, or one of another version; remove it and pack it again')
        return index['images']

    def _image(self, name: str) -> np.ndarray:
        """A view of the file, not to be written to: copy it to keep it beyond a fork, or beyond packing again."""
        raw = self._file.image(self._keys.get(name, name.encode()), name)
        return np.frombuffer(raw, np.uint8).reshape(self.shapes[name])

    def corrupt_images(self, progress: Callable[[Iterable[str]], Iterable[str]] = iter) -> list[str]:
        """Names of the images whose pixels don't have their checksum; ``progress`` wraps what is iterated over."""
        return [name for name in progress(self.images)
                if hashlib.sha256(self._file.image(name.encode(), name)).hexdigest() != self.images[name]['sha256']]
