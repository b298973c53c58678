"""Failures of the machine, not of the program: known by what libraries say of them, told in one line."""
import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import UserError, reason_of

NO_MEMORY = re.compile(
    r"allocate memory|Cannot allocate|out of memory|not enough memory|Insufficient memory|bad_alloc|bad allocation"
    r"|_STATUS_ALLOC_FAILED|could not create a (?:memory|primitive)|Unable to allocate", re.IGNORECASE)
SHARED_MEMORY = re.compile(r'shared memory|</?torch_[\d_]+>')
NO_ROOM = re.compile(r'No space left|Bus error', re.IGNORECASE)
MANY_FILES = re.compile(r'Too many open files|items of ancdata', re.IGNORECASE)
KILLED = re.compile(r'DataLoader worker \(pid[^)]*\) is killed by signal: ([^.]*)')
ENDED = re.compile(r'DataLoader worker \(pid\(s\)[^)]*\) exited unexpectedly')
WORKERS = 'datasets.train.num_worker_per_gpu'
TOO_MUCH = (f'lower {WORKERS} or datasets.train.batch_size_per_gpu, or end other programs')


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory, of the CPU or a GPU, was asked for and is not there."""
    if isinstance(error, MemoryError) or type(error).__name__ == 'OutOfMemoryError':
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # OpenCV, torch and oneDNN have no class of their own for it.
    return not isinstance(error, UserError) and bool(NO_MEMORY.search(_last_line(error)))


@contextmanager
def on_no_memory(message: Callable[[str], str]) -> Iterator[None]:
    """Context that says in words of its own that memory ran out in it.

    Args:
        message: gets what was asked for, as ' (1.50 GiB were asked for)' or '', and gives the line.

    Raises:
        UserError: memory ran out.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        asked = memory_reason(error)
        line = message(f' ({asked} were asked for)' if asked else '')
    else:
        return
    raise UserError(line)  # outside of the handler, which would keep all that the failed call holds


def failure_of_machine(error: BaseException) -> str | None:
    """What has failed and what helps, in one line; None where it is nothing that is known here.

    Args:
        error: what ended a command, with the traceback of a DataLoader's worker in its message where it comes from one.
    """
    text = str(error)
    if SHARED_MEMORY.search(text) and NO_ROOM.search(text):
        return (f'/dev/shm is full, by which the workers of the training data hand batches over; set {WORKERS}: 0, or '
                'give it more room (docker run --shm-size 8g)')
    if MANY_FILES.search(text) or isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f'too many files are open at once; raise the limit (ulimit -n 65536), or set {WORKERS}: 0'
    if killed := KILLED.search(text):
        if killed[1].startswith('Killed'):
            return ('a worker of the training data was killed, as the system does when memory runs out; '
                    f'{TOO_MUCH}')
        return (f'a worker of the training data ended by a signal ({killed[1].strip()}); {WORKERS}: 0 reads the images '
                'without workers, and shows what goes wrong')
    if ENDED.search(text):
        return ('a worker of the training data ended, of what is said above, or because memory ran out; '
                f'{TOO_MUCH}, or set {WORKERS}: 0')
    if is_out_of_memory(error):
        return f'there is not enough memory ({_reason(error)}); take smaller inputs, or end other programs'
    return None


def memory_reason(error: BaseException) -> str:
    """What was asked for, in few words, such as '20.00 GiB'; empty where the exception does not say it."""
    if found := re.search(r'allocate ([\d.]+ [KMGT]i?B)', str(error)):
        return found[1]
    if found := re.search(r'allocate (\d+) bytes', str(error)):
        return f'{int(found[1]) / 1024**3:.2f} GiB'
    return ''


def _reason(error: BaseException) -> str:
    asked = memory_reason(error)
    return f'{asked} were asked for' if asked else reason_of(_Line(_last_line(error) or type(error).__name__))


class _Line(Exception):
    """A text, for ``reason_of``."""


def _last_line(error: BaseException) -> str:
    """What an exception says, without the traceback of a worker before it."""
    lines = str(error).strip().splitlines()
    return '' if not lines else lines[-1] if 'Original Traceback' in str(error) else ' '.join(lines)
