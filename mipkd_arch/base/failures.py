"""Failures of the machine, not of the program, recognized by the messages of libraries and reported in one line."""
from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import UserError, reason_of

NO_MEMORY = re.compile(
    r'allocate memory|Cannot allocate|out of memory|not enough memory|Insufficient memory|bad_alloc|bad allocation'
    r'|_STATUS_ALLOC_FAILED|could not create a (?:memory|primitive)|Unable to allocate', re.IGNORECASE)
SHARED_MEMORY = re.compile(r'shared memory|</?torch_[\d_]+>')
NO_ROOM = re.compile('No space left|Bus error', re.IGNORECASE)
MANY_FILES = re.compile('Too many open files|items of ancdata', re.IGNORECASE)
WORKER_ENDED = re.compile(r'DataLoader worker \(pid.*?\) (?:is killed by signal: ([^.]*)|exited unexpectedly)')
WORKERS = 'datasets.train.num_worker_per_gpu'


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
        message: gets what was requested, as ' (1.50 GiB were asked for)' or '', and returns the line.
    """
    try:
        yield
        return
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        size = _requested(error)
        line = message(f' ({size} were asked for)' if size else '')
    raise UserError(line)  # outside of the handler, which would keep all that the failed call holds


def failure_of_machine(error: BaseException) -> str | None:
    """What has failed and what helps, in one line; None if the failure is not known here."""
    text = str(error)
    if SHARED_MEMORY.search(text) and NO_ROOM.search(text):
        return (f'/dev/shm is full, through which the workers of the training data send batches; set {WORKERS}: 0, or '
                'enlarge it (docker run --shm-size 8g)')
    if MANY_FILES.search(text) or isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f'too many files are open at once; raise the limit (ulimit -n 65536), or set {WORKERS}: 0'
    if ended := WORKER_ENDED.search(text):
        cause = f' by a signal ({ended[1].strip()})' if ended[1] else ''
        return (f'a worker of the training data ended{cause}, as the system does when memory runs out; lower {WORKERS} '
                f'or datasets.train.batch_size_per_gpu, or set {WORKERS}: 0 to see what goes wrong')
    if is_out_of_memory(error):
        size = _requested(error)
        reason = f'{size} were asked for' if size else reason_of(Exception(_last_line(error) or type(error).__name__))
        return f'there is not enough memory ({reason}); use smaller inputs, or end other programs'
    return None


def _requested(error: BaseException) -> str:
    """What could not be allocated, such as '20.00 GiB'; empty if the exception does not say it."""
    if found := re.search(r'allocate (?:([\d.]+ [KMGT]i?B)|(\d+) bytes)', str(error)):
        return found[1] or f'{int(found[2]) / 1024**3:.2f} GiB'
    return ''


def _last_line(error: BaseException) -> str:
    """The message of an exception, without the traceback of a DataLoader's worker before it."""
    lines = str(error).strip().splitlines()
    return '' if not lines else lines[-1] if 'Original Traceback' in str(error) else ' '.join(lines)
