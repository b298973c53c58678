"""A lock on an open file, which the system takes back when its process ends, in whatever way."""
from contextlib import suppress

with suppress(ImportError):  # POSIX
    import fcntl
with suppress(ImportError):  # Windows
    import msvcrt


def lock(file) -> bool:
    """Lock a file for this process, without waiting.

    Args:
        file: open for writing, and kept open as long as it is to be locked.

    Returns:
        Whether it is this process's now; True, too, on a system or a file system that has no locks.
    """
    try:
        if 'fcntl' in globals():
            # A lock of the process, not of the file: workers do not inherit it and keep it for some seconds.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif 'msvcrt' in globals():
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass  # a file system without locks
    return True
