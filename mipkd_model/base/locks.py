"""A lock on an open file, which the system releases when its process ends, in whatever way."""
from __future__ import annotations

from typing import IO

try:  # POSIX
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]
try:  # Windows
    import msvcrt
except ImportError:
    msvcrt = None  # type: ignore[assignment]


def lock(file: IO) -> bool:
    """Lock a file for this process, without waiting.

    Args:
        file: open for writing, and kept open as long as it is to be locked.

    Returns:
        Whether this process has the lock now; True, too, on a system or a file system without locks.
    """
    try:
        if fcntl:
            # A lock of the process, not of the file: workers do not inherit it and keep it for some seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif msvcrt:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass  # a file system without locks
    return True
