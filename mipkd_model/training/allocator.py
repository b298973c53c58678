"""How the C library hands out memory on a CPU."""
import ctypes
import os
import platform

# Parameters of mallopt(3) in malloc.h of the GNU C library.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1  # bytes; the largest there is


def keep_freed_memory():
    """Let the process keep what tensors have freed, for the next ones.

    By itself, the GNU C library fetches every block above 32 MB from the system and gives it back when it is freed,
    and each of its pages is filled with zeros when it is first touched: for large maps that takes longer than what is
    computed on them. What was freed is the process's own until it ends, and may serve others no more.

    Returns:
        bool: whether that was set. It is not with another C library, nor where the environment has settings of its
        own (``MALLOC_...`` or ``GLIBC_TUNABLES``).
    """
    if platform.libc_ver()[0] != 'glibc':
        return False
    if 'GLIBC_TUNABLES' in os.environ or any(name.startswith('MALLOC_') for name in os.environ):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return mallopt(M_MMAP_MAX, 0) == 1 and mallopt(M_TRIM_THRESHOLD, NEVER) == 1
