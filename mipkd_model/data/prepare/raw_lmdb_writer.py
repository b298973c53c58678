"""Writing LMDBs of raw images: in place only when complete, resumed after an interruption."""
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import lmdb
import numpy as np
from tqdm import tqdm

from ...base.files import fsync
from .. import DataError
from ..lmdb_file import open_complete
from ..raw_lmdb import INDEX_KEY, RawLmdb, encode_index

PLAN_KEY = b'__plan__'  # while the database is being written: what it is made of
PAGE = 4096
Item = TypeVar('Item')
Result = TypeVar('Result')


class Entry(NamedTuple):
    """An image to be written."""

    name: str
    shape: tuple[int, int, int]  # (H, W, 3)
    source: str  # what it is made from, for the index
    load: Callable[[], np.ndarray]  # gives the uint8 RGB array (H, W, 3)
    stamp: Any = None  # changes when the source does; equal to itself after JSON


def in_batches(function: Callable[[Item], Result],
               items: Sequence[Item]) -> Generator[list[tuple[Item, Result]], None, None]:
    """Batches of (item, function(item)), computed in threads, in order; small ones, for images are large."""
    jobs = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(jobs) as pool:
        for first in range(0, len(items), 2 * jobs):
            batch = items[first:first + 2 * jobs]
            yield list(zip(batch, pool.map(function, batch), strict=True))


def is_packed(path: str | Path, entries: list[Entry]) -> bool:
    """Whether the database at ``path`` is there and made of these entries.

    Raises:
        DataError: it is there, but is broken or of other images.
    """
    if not os.path.exists(path):
        return False
    wanted = {entry.name: [list(entry.shape), entry.source, entry.stamp] for entry in entries}
    index = RawLmdb(path).images
    if {name: [image['shape'], image['source'], image['stamp']] for name, image in index.items()} != wanted:
        raise DataError(f'{path}: exists already, with other images or from before these changed, and is left alone; '
                        'remove it to pack it again, or write elsewhere')
    return True


def write_raw_lmdb(path: str | Path, entries: list[Entry]) -> None:
    """Write a database of images, whose names differ; it appears at ``path`` only when it is complete.

    What an interruption leaves at ``<path>.part`` is resumed, if this is called again with the same entries.

    Raises:
        DataError: ``path`` exists; an image is not what its entry says or cannot be read; the disk is full or cannot be
            written to; the run was interrupted.
    """
    path = Path(path)
    if os.path.exists(path):
        raise DataError(f'{path}: exists already and is left alone; remove it first to pack it again')
    part = path.with_name(path.name + '.part')
    plan = json.dumps([[entry.name, entry.shape, entry.source, entry.stamp] for entry in entries]).encode()
    size = sum(-(-(prod(entry.shape) + 16) // PAGE) * PAGE for entry in entries)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        if not _can_resume(part, plan):
            shutil.rmtree(part, ignore_errors=True)
        missing = size - ((part / 'data.mdb').stat().st_size if part.exists() else 0)
        free = shutil.disk_usage(path.parent).free
        if missing > free:
            raise DataError(f'{path}: needs {missing / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free; make room or '
                            'write elsewhere')
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
    except KeyboardInterrupt:
        raise DataError(f'{path}: interrupted; what was packed is kept in {part}, the same command resumes from '
                        'there') from None
    except (OSError, lmdb.Error) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise DataError(f'{path}: cannot be written ({getattr(error, "strerror", None) or error}); nothing is left '
                        'of it, make room or write elsewhere') from None


def _can_resume(part: Path, plan: bytes) -> bool:
    """Whether an earlier run left these very images unfinished."""
    try:
        with open_complete(str(part)) as env, env.begin() as txn:
            return txn.get(PLAN_KEY) == plan
    except (OSError, lmdb.Error):
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
    with (closing(in_batches(_load, todo)) as batches,
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
    if image.dtype != np.uint8 or image.shape != tuple(entry.shape):
        raise DataError(f'{entry.source}: {entry.name!r} is {image.dtype} {image.shape}, not uint8 {entry.shape}')
    raw = image.tobytes()
    return raw, hashlib.sha256(raw).hexdigest()
