"""Settings of the C library's memory allocator, for trainings on a CPU."""
import ctypes
import os
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt(3) in malloc.h of the GNU C library


def keep_freed_memory() -> bool:
    """Let the process keep what tensors have freed, for the next ones; returns whether that was set.

    Otherwise the GNU C library returns each block above 32 MB to the system, and a step takes a sixth more processor
    time. PyTorch has no setting for it, and variables such as ``MALLOC_...``, which win, are read before Python starts.
    """
    own = any(name.startswith(('MALLOC_', 'GLIBC_TUNABLES')) for name in os.environ)
    if own or platform.libc_ver()[0] != 'glibc':
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return mallopt(M_MMAP_MAX, 0) == 1 and mallopt(M_TRIM_THRESHOLD, 2**31 - 1) == 1  # bytes: never
