"""Writing LMDBs of raw images: in place only when complete, resumed after an interruption."""
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import lmdb
import numpy as np
from tqdm import tqdm

from ...base.files import fsync
from .. import DataError
from ..lmdb_file import find_fault
from ..names import check_name, normalized
from ..raw_lmdb import INDEX_KEY, RawLmdb, encode_index
from .thread_pool import in_batches

PLAN_KEY = b'__plan__'  # while the database is being written: what it is made of
PAGE = 4096


class Entry(NamedTuple):
    """An image to be written."""

    name: str
    shape: tuple[int, int, int]
    """(H, W, 3)."""
    source: str
    """What it is made from, for the index."""
    load: Callable[[], np.ndarray]
    """Gives the uint8 RGB array (H, W, 3)."""
    stamp: Any = None
    """Changes when the source does; equal to itself after JSON."""


def is_packed(path: str | Path, entries: list[Entry]) -> bool:
    """Whether the database at ``path`` is there and made of these entries.

    Raises:
        DataError: it is there, but is broken or of other images.
    """
    if not os.path.exists(path):
        return False
    index = RawLmdb(path).images
    wanted = {normalized(entry.name): [list(entry.shape), entry.source, entry.stamp] for entry in entries}
    if {normalized(name): [image['shape'], image['source'], image['stamp']] for name, image in index.items()} != wanted:
        raise DataError(f'{path}: exists already, with other images or from before these changed, and is left alone; '
                        'remove it to pack it again, or write elsewhere')
    return True


def write_raw_lmdb(path: str | Path, entries: list[Entry]) -> None:
    """Write a database; it appears at ``path`` only when it is complete.

    What an interruption leaves at ``<path>.part`` is resumed, if this is called again with the same entries.

    Args:
        path: folder of the new database, ending in ``.lmdb``; an existing one is left alone.
        entries: the images.

    Raises:
        DataError: ``path`` exists; a name comes twice; an image is not what its entry says or cannot be read; the disk
            is full or cannot be written to; the run was interrupted.
    """
    path = Path(path)
    _check_names(path, [entry.name for entry in entries])
    if os.path.exists(path):
        raise DataError(f'{path}: exists already and is left alone; remove it first to pack it again')
    part = path.with_name(path.name + '.part')
    plan = json.dumps([[entry.name, entry.shape, entry.source, entry.stamp] for entry in entries]).encode()
    size = sum(-(-(int(np.prod(entry.shape)) + 16) // PAGE) * PAGE for entry in entries)
    with _one_line(path, part):
        part.parent.mkdir(parents=True, exist_ok=True)
        if not _can_resume(part, plan):
            shutil.rmtree(part, ignore_errors=True)
        done = (part / 'data.mdb').stat().st_size if part.exists() else 0
        free = shutil.disk_usage(path.parent).free
    if size - done > free:
        raise DataError(f'{path}: needs {(size - done) / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free; make room or '
                        'write elsewhere')
    with _one_line(path, part):
        # Besides the images: the index, the plan, the tree, and old versions of its pages.
        with lmdb.open(str(part), map_size=size + 2048 * len(entries) + 2 * len(plan) + (1 << 24)) as env:
            with env.begin(write=True) as txn:
                txn.put(PLAN_KEY, plan)
            digests = _write_images(env, entries, path.name)
            with env.begin(write=True) as txn:
                txn.delete(PLAN_KEY)
                txn.put(INDEX_KEY, encode_index({
                    entry.name: {'shape': list(entry.shape), 'dtype': 'uint8', 'sha256': digests[entry.name],
                                 'source': entry.source, 'stamp': entry.stamp} for entry in entries}))
        (part / 'lock.mdb').unlink(missing_ok=True)
        os.replace(part, path)
        with suppress(OSError):  # not every file system supports it for folders
            fsync(path.parent)


def _check_names(path: Path, names: list[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f'{path}: two images are named {twice!r}; rename one of them')
    for name in names:
        if check_name(name, path).encode().startswith((INDEX_KEY, PLAN_KEY)):
            raise DataError(f'{path}: an image cannot be named {name!r}, which is reserved; rename it')


@contextmanager
def _one_line(path: Path, part: Path) -> Iterator[None]:
    """Errors of writing as one line; what was written is kept only where it can be resumed."""
    try:
        yield
    except KeyboardInterrupt:
        raise DataError(f'{path}: interrupted; what was packed is kept in {part}, the same command resumes from '
                        'there') from None
    except (OSError, lmdb.Error) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise DataError(f'{path}: cannot be written ({getattr(error, "strerror", None) or error}); nothing is left '
                        'of it, make room or write elsewhere') from None
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _can_resume(part: Path, plan: bytes) -> bool:
    """Whether an earlier run left these very images unfinished."""
    file = part / 'data.mdb'
    if not file.is_file() or find_fault(file):
        return False
    try:
        with lmdb.open(str(part), readonly=True, lock=False) as env, env.begin() as txn:
            return txn.get(PLAN_KEY) == plan
    except lmdb.Error:
        return False


def _write_images(env: lmdb.Environment, entries: list[Entry], title: str) -> dict[str, str]:
    """Write those that are not there yet; returns the SHA-256 of each image by name."""
    digests: dict[str, str] = {}
    with env.begin(buffers=True) as txn:
        for entry in entries:
            stored = txn.get(entry.name.encode())
            if stored is not None:
                digests[entry.name] = hashlib.sha256(stored).hexdigest()
    todo = [entry for entry in entries if entry.name not in digests]
    with (in_batches(_load, todo) as batches,
          tqdm(total=len(entries), initial=len(digests), desc=f'pack {title}', unit='image') as bar):
        for batch in batches:
            with env.begin(write=True) as txn:
                for entry, (raw, digest) in batch:
                    txn.put(entry.name.encode(), raw)
                    digests[entry.name] = digest
                    bar.update()
    return digests


def _load(entry: Entry) -> tuple[bytes, str]:
    image = entry.load()
    if image.dtype != np.uint8 or image.shape != tuple(entry.shape) or image.shape[2:] != (3, ):
        raise DataError(f'{entry.source}: {entry.name!r} is {image.dtype} {image.shape}, not uint8 {entry.shape}')
    raw = image.tobytes()
    return raw, hashlib.sha256(raw).hexdigest()
