"""LMDBs of raw uint8 images, from which a crop is read without touching the rest of the image.

One database holds whole images as RGB bytes, row by row, under their names, and an index under ``INDEX_KEY``: a JSON
object ``{"format": 1, "images": {name: [height, width, channels]}}``. A PNG has to be decoded whole for each crop; of
raw bytes only the crop's own rows are read. The price is disk space, about twice that of PNG.
"""
import json
import os
import shutil
from pathlib import Path

import lmdb
import numpy as np

from mipkd_arch.errors import UserError

INDEX_KEY = b'__index__'
FORMAT = 1


class DataError(UserError):
    """A database or image cannot be used; the message names it and the remedy."""


def write_raw_lmdb(path, images):
    """Write a database; it appears at ``path`` only when it is complete.

    Args:
        path: folder of the new database, ending in ``.lmdb``; an existing one is left alone.
        images (iterable[tuple[str, ndarray]]): names and uint8 RGB images (H, W, 3).

    Returns:
        int: number of images written.

    Raises:
        DataError: ``path`` exists, a name comes twice, or an image is not uint8 RGB.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f'{path}: exists already and is left alone; remove it first to make it anew')
    temporary = path.with_name(path.name + '.part')
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    shapes = {}
    try:
        # LMDB wants the size of its map beforehand; it is grown as needed, so no guess can be too small.
        with lmdb.open(str(temporary), map_size=1 << 26, writemap=False) as env:
            for name, image in images:
                if name in shapes:
                    raise DataError(f'{path}: two images are named {name!r}')
                if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                    raise DataError(f'{path}: image {name!r} is {image.dtype} {image.shape}, not uint8 (H, W, 3)')
                _put(env, name.encode(), np.ascontiguousarray(image).tobytes())
                shapes[name] = list(image.shape)
            _put(env, INDEX_KEY, json.dumps({'format': FORMAT, 'images': shapes}).encode())
        os.replace(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return len(shapes)


def _put(env, key, value):
    while True:
        try:
            with env.begin(write=True) as txn:
                txn.put(key, value)
            return
        except lmdb.MapFullError:
            env.set_mapsize(max(2 * env.info()['map_size'], env.info()['map_size'] + 2 * len(value)))


_open = {}  # real path -> (inode of its file, environment, read transaction), in this process


def _transaction(path, inode):
    """The process's read transaction on a database; LMDB lets a process open each database only once."""
    path = os.path.realpath(path)
    if path not in _open or _open[path][0] != inode:
        if os.stat(f'{path}/data.mdb').st_ino != inode:
            raise DataError(f'{path}: was packed anew while it was in use; start again')
        if path in _open:
            _close(path)
        # Crops are scattered over the file: reading ahead would only push other pages out of memory.
        env = lmdb.open(path, readonly=True, lock=False, readahead=False)
        _open[path] = inode, env, env.begin(buffers=True)
    return _open[path][2]


def _close(path):
    _, env, transaction = _open.pop(path)
    transaction.abort()
    env.close()


def _close_all():
    for path in list(_open):
        _close(path)


# An open LMDB must not cross a fork: a worker of a DataLoader opens its own.
os.register_at_fork(after_in_child=_close_all)


class RawLmdb:
    """Reader of one database; it may be pickled, and used in forked and spawned processes.

    Attributes:
        shapes (dict[str, tuple[int, int, int]]): (H, W, 3) by name, in the order of packing.

    Raises:
        DataError: no such database, or not one of this format.
    """

    def __init__(self, path):
        self.path = Path(path)
        file = self.path / 'data.mdb'
        if not file.is_file():
            raise DataError(f'{path}: no such LMDB (a folder with data.mdb)')
        self._inode = file.stat().st_ino
        try:
            raw = self._get(INDEX_KEY)
        except lmdb.Error as error:
            raise DataError(f'{path}: cannot be opened as an LMDB ({error}); pack it anew') from None
        if raw is None:
            raise DataError(f'{path}: is an LMDB, but not one of raw images; pack it with datasets/prepare.py')
        index = json.loads(bytes(raw))
        if index['format'] != FORMAT:
            raise DataError(f'{path}: is of format {index["format"]}, this version reads {FORMAT}; pack it anew')
        self.shapes = {name: tuple(shape) for name, shape in index['images'].items()}

    def _get(self, key):
        return _transaction(self.path, self._inode).get(key)

    def read(self, name, top=0, left=0, height=None, width=None):
        """Read a crop, or the whole image, as a fresh uint8 RGB array (height, width, 3)."""
        raw = self._get(name.encode())
        if raw is None:
            raise DataError(f'{self.path}: has no image {name!r}')
        image = np.frombuffer(raw, np.uint8).reshape(self.shapes[name])
        bottom = None if height is None else top + height
        right = None if width is None else left + width
        return image[top:bottom, left:right].copy()
