"""Files that are either complete or absent, and locks on them."""
from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mipkd_arch.base.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CHUNK = 1 << 20


@contextmanager
def atomic_write(file: str | os.PathLike) -> Iterator[Path]:
    """Yield a path to write to; it becomes ``file`` when the block succeeds, and is removed when it fails.

    After a power failure, ``file`` is the complete old or the complete new one.

    Raises:
        UserError: the folder cannot be made, or the file not be written.
    """
    file = Path(file)
    temporary = file.with_name(f'{file.name}.part')
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        fsync(temporary)
        os.replace(temporary, file)
        with suppress(OSError):  # not every file system can do so for folders
            fsync(file.parent)
    except OSError as error:
        raise UserError(f'{file}: cannot be written ({error.strerror or error}); check the free space and the '
                        'permissions there') from None
    finally:
        with suppress(OSError):  # where nothing can be written, nothing is there
            temporary.unlink(missing_ok=True)


def check_writable(file: str | os.PathLike, option: str) -> None:
    """Check, before the work whose result it gets, that a file can be written; its folder need not exist.

    Args:
        option: that sets another place, for the message.
    """
    file = Path(file)
    folder = next(path for path in file.absolute().parents if os.path.lexists(path))
    if file.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        why = 'it is a folder' if file.is_dir() else f'{folder} is not a writable folder'
        raise UserError(f'{file}: cannot be written, for {why}; set another place by {option}')


def fsync(path: str | os.PathLike) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk; an ``OSError`` where that fails."""
    # Windows can sync only what is open for writing, and no folders; others open folders only for reading.
    handle = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(content: Any, file: str | os.PathLike) -> Path:
    """Write plain data as JSON by ``atomic_write``. Returns its path."""
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + '\n',
                             encoding='utf-8')
    return Path(file)


def file_sha256(file: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with Path(file).expanduser().open('rb') as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def lock(file: IO) -> bool:
    """Lock a file that is open for writing, without waiting, until it is closed or this process ends in whatever way.

    Returns:
        Whether this process has the lock now; True, too, on a system or a file system without locks.
    """
    try:
        if fcntl:
            # A lock of the process, not of the file: workers do not inherit it and keep it for some seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass  # a file system without locks
    return True
