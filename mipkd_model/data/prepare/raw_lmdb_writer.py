"""Writing LMDBs of raw images: in place only when complete, gone on with after an interruption."""
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import lmdb
import numpy as np
from tqdm import tqdm

from ...base.files import fsync
from .. import DataError
from ..lmdb_check import is_sound
from ..names import check_name, normal
from ..raw_lmdb import INDEX_KEY, RawLmdb, encode_index
from .thread_pool import in_batches

PLAN_KEY = b'__plan__'
SUM_KEY = b'__sum__'  # and the name: SHA-256 of an image, while the database is being written
PAGE = 4096


class NoRoom(DataError):
    """The disk is too small; found before anything is written."""


class Entry(NamedTuple):
    """An image to be written.

    Attributes:
        name (str): its key.
        shape (tuple[int, int, int]): (H, W, 3).
        source (str): what it is made from, for the index.
        load (callable): gives the uint8 RGB array (H, W, 3).
        stamp (object): changes when the source does; equal to itself after a round through JSON.
    """

    name: str
    shape: tuple
    source: str
    load: Callable
    stamp: object = None


def is_packed(path, entries):
    """Whether the database at ``path`` is there and made of these entries.

    Raises:
        DataError: it is there, but is broken or of other images.
    """
    if not os.path.exists(path):
        return False
    index = RawLmdb(path).images
    wanted = {normal(entry.name): [list(entry.shape), entry.source, entry.stamp] for entry in entries}
    if {normal(name): [image['shape'], image['source'], image['stamp']] for name, image in index.items()} != wanted:
        raise DataError(f'{path}: exists already, with other images or from before these changed, and is left alone; '
                        'remove it to make it anew, or write elsewhere')
    return True


def write_raw_lmdb(path, entries):
    """Write a database; it appears at ``path`` only when it is complete.

    What an interruption leaves at ``<path>.part`` is gone on with, if it is started again with the same entries.

    Args:
        path: folder of the new database, ending in ``.lmdb``; an existing one is left alone.
        entries (list[Entry]): the images.

    Raises:
        DataError: ``path`` exists; a name comes twice; an image is not what its entry says or cannot be read; the disk
            is full or cannot be written to; the run was interrupted.
    """
    path = Path(path)
    names = [entry.name for entry in entries]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f'{path}: two images are named {twice!r}; rename one of them')
    for name in names:
        if check_name(name, path).encode().startswith((INDEX_KEY, PLAN_KEY, SUM_KEY)):
            raise DataError(f'{path}: an image cannot be named {name!r}, which is kept for the database itself; rename '
                            'it')
    if os.path.exists(path):  # Path.exists raises where a path cannot be at all
        raise DataError(f'{path}: exists already and is left alone; remove it first to make it anew')
    part = path.with_name(path.name + '.part')
    with _reported(path, part):
        part.parent.mkdir(parents=True, exist_ok=True)
        plan = json.dumps([[entry.name, entry.shape, entry.source, entry.stamp] for entry in entries]).encode()
        if not _goes_on(part, plan):
            shutil.rmtree(part, ignore_errors=True)
        size = sum(-(-(int(np.prod(entry.shape)) + 16) // PAGE) * PAGE for entry in entries)
        _check_room(path, part, size)
        # Beside the images: the index, the plan, the tree, and old versions of its pages.
        with lmdb.open(str(part), map_size=size + 2048 * len(entries) + 2 * len(plan) + (1 << 24)) as env:
            with env.begin(write=True) as txn:
                txn.put(PLAN_KEY, plan)
            digests = _write_images(env, entries, path.name)
            with env.begin(write=True) as txn:
                txn.delete(PLAN_KEY)
                for name in names:
                    txn.delete(SUM_KEY + name.encode())
                txn.put(INDEX_KEY, encode_index({
                    entry.name: {'shape': list(entry.shape), 'dtype': 'uint8', 'sha256': digests[entry.name],
                                 'source': entry.source, 'stamp': entry.stamp} for entry in entries}))
        (part / 'lock.mdb').unlink(missing_ok=True)
        os.replace(part, path)
        with suppress(OSError):  # not every file system can do so for folders
            fsync(path.parent)


@contextmanager
def _reported(path, part):
    """Errors of writing as one line; what was written is kept only where going on makes sense."""
    try:
        yield
    except NoRoom:  # what an earlier run left is still good
        raise
    except KeyboardInterrupt:
        raise DataError(f'{path}: interrupted; what was packed is kept in {part}, the same command goes on from '
                        'there') from None
    except (OSError, lmdb.Error) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise DataError(f'{path}: cannot be written ({getattr(error, "strerror", None) or error}); nothing is left '
                        'of it, make room or write elsewhere') from None
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _goes_on(part, plan):
    """Whether an earlier run left these very images unfinished."""
    if not is_sound(part):
        return False
    try:
        with lmdb.open(str(part), readonly=True, lock=False) as env, env.begin() as txn:
            return txn.get(PLAN_KEY) == plan
    except lmdb.Error:
        return False


def _check_room(path, part, size):
    there = part / 'data.mdb'
    missing = size - (there.stat().st_size if there.exists() else 0)
    free = shutil.disk_usage(path.parent).free
    if missing > free:
        raise NoRoom(f'{path}: needs {missing / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free; make room or write '
                        'elsewhere')


def _write_images(env, entries, title):
    """Write those that are not there yet; returns the SHA-256 of each image by name."""
    digests = {}
    with env.begin(buffers=True) as txn:
        for entry in entries:
            raw, known = (txn.get(key + entry.name.encode()) for key in (b'', SUM_KEY))
            if raw is not None and known == (digest := hashlib.sha256(raw).hexdigest()).encode():
                digests[entry.name] = digest
    todo = [entry for entry in entries if entry.name not in digests]
    with (in_batches(_load, todo) as batches,
          tqdm(total=len(entries), initial=len(digests), desc=f'pack {title}', unit='image') as bar):
        for batch in batches:
            with env.begin(write=True) as txn:
                for entry, (raw, digest) in batch:
                    txn.put(entry.name.encode(), raw)
                    txn.put(SUM_KEY + entry.name.encode(), digest.encode())
                    digests[entry.name] = digest
                    bar.update()
    return digests


def _load(entry):
    image = entry.load()
    if image.dtype != np.uint8 or image.shape != tuple(entry.shape) or image.shape[2:] != (3, ):
        raise DataError(f'{entry.source}: {entry.name!r} is {image.dtype} {image.shape}, not uint8 {entry.shape}')
    raw = image.tobytes()
    return raw, hashlib.sha256(raw).hexdigest()
