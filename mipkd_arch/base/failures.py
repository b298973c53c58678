"""Failures of the machine, not of the program, recognized by the messages of libraries and reported in one line."""
from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError, reason_of

NO_MEMORY = re.compile(
    r'allocate memory|Cannot allocate|out of memory|not enough memory|Insufficient memory|bad_alloc|bad allocation'
    r'|_STATUS_ALLOC_FAILED|could not create a (?:memory|primitive)|Unable to allocate', re.IGNORECASE)
WORKERS = 'datasets.train.num_worker_per_gpu'
KNOWN = {
    r'shared memory.*(No space left|Bus error)|Bus error.*shared memory|</?torch_[\d_]+>.*No space left':
        f'/dev/shm is full, through which the workers of the training data send batches; set {WORKERS}: 0, or enlarge '
        'it (docker run --shm-size 8g)',
    'Too many open files|items of ancdata':
        f'too many files are open at once; raise the limit (ulimit -n 65536), or set {WORKERS}: 0',
    r'DataLoader worker \(pid.*?\) (is killed by signal|exited unexpectedly)':
        f'a worker of the training data ended, as the system ends one when memory runs out; lower {WORKERS} or '
        f'datasets.train.batch_size_per_gpu, or set {WORKERS}: 0 to see what goes wrong',
}
"""Messages of libraries, and what is said in their place."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory, of the CPU or a GPU, could not be allocated."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # OpenCV, torch and oneDNN have no class of their own for it.
    return isinstance(error, MemoryError) or type(error).__name__ == 'OutOfMemoryError' or (
        not isinstance(error, UserError) and bool(NO_MEMORY.search(_last_line(error))))


@contextmanager
def on_no_memory(message: Callable[[str], str]) -> Iterator[None]:
    """Context that raises a UserError where memory ran out in it.

    Args:
        message: gets the reason, as ' (CUDA out of memory. Tried to allocate 1.50 GiB.)', and returns the line.
    """
    try:
        yield
        return
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        line = message(f' ({_reason(error)})')
    raise UserError(line)  # outside of the handler, which would keep all that the failed call holds


def failure_of_machine(error: BaseException) -> str | None:
    """What has failed and what helps, in one line; None if the failure is not known here."""
    for pattern, line in KNOWN.items():
        if re.search(pattern, str(error), re.IGNORECASE | re.DOTALL):
            return line
    if is_out_of_memory(error):
        return f'there is not enough memory ({_reason(error)}); use smaller inputs, or end other programs'
    return None


def missing_package(error: Exception) -> str:
    """What helps where a package cannot be imported, in one line."""
    script = Path(__file__).resolve().parents[2] / 'install.py'
    return (f'a package that mipkd needs is missing or does not fit ({error}); install all of them by: '
            f'python {script if script.is_file() else "install.py, of the source of mipkd"}')


def _reason(error: BaseException) -> str:
    return reason_of(_last_line(error) or type(error).__name__)


def _last_line(error: BaseException) -> str:
    """The message of an exception, without the traceback of a DataLoader's worker before it."""
    text = str(error).strip()
    return text.splitlines()[-1] if 'Original Traceback' in text else text
