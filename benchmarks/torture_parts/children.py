"""Commands run in forked copies of this process, which has imported everything once, and what became of them.

A start takes a tenth of a second instead of five. Nothing is computed before a fork on more than one thread: threads do
not survive it, and a lock that one of them held would stay locked.
"""
import atexit
import faulthandler
import logging
import multiprocessing.util
import os
import resource
import signal
import sys
import threading
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

LIMIT = 60
MEMORY = 4 << 30
POLL, GRACE = 0.005, 3


class Kill(NamedTuple):
    """A signal that is sent to all processes of a child.

    Attributes:
        signal (int): which.
        after (float): seconds after the start.
    """

    signal: int
    after: float


class Outcome(NamedTuple):
    """What became of a child.

    Attributes:
        status (int | None): its exit status; None where a signal ended it.
        signal (int | None): the signal that ended it.
        stdout, stderr (str): what it printed.
        seconds (float): how long it ran.
        hang (bool): it was ended because it ran past the limit.
        left (int): processes that it left behind, 1 or 0.
        killed (bool): the ``Kill`` was sent while it ran.
        memory (int): peak of its resident memory in bytes, as far as it was seen.
    """

    status: int | None
    signal: int | None
    stdout: str
    stderr: str
    seconds: float
    hang: bool = False
    left: int = 0
    killed: bool = False
    memory: int = 0


def run(function, folder, limit=LIMIT, kill=None, memory=MEMORY):
    """Call a function in a child with a session of its own and wait for its end.

    Args:
        function (callable): takes nothing; what it returns, or exits with, is the exit status.
        folder (Path): the child's current folder, where it prints into ``stdout`` and ``stderr``; a child that hangs
            leaves ``stack``, where it was.
        limit (float): seconds after which it is ended.
        kill (Kill | None): a signal for it.
        memory (int): bytes of data it may have.

    Returns:
        Outcome: of the child.
    """
    for name in ('stdout', 'stderr', 'stack'):
        (folder / name).unlink(missing_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        _be_child(function, folder, limit, memory)
    return _watch(pid, folder, limit, kill)


def fresh(*command, **environment):
    """A function for ``run`` that becomes a new interpreter with this command line, and more in its environment."""
    return lambda: os.execve(sys.executable, [sys.executable, *map(str, command)], {**os.environ, **environment})


def _be_child(function, folder, limit, memory):
    """Never returns."""
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in ((1, 'stdout'), (2, 'stderr')):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
            stream = open(number, 'w', buffering=1, closefd=False)
            setattr(sys, name, stream)
            setattr(sys, f'__{name}__', stream)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.disable()
        faulthandler.dump_traceback_later(max(0.5, limit - 1), file=open('stack', 'w'))  # closed by its end
    except BaseException:
        os._exit(1)
    end_as(function)


def end_as(function):
    """Call a function and end this forked process as an interpreter would end, with what it gives as exit status."""
    status = 1
    try:
        # What the parent would do at its exit is not the child's; what an interpreter does at its own is.
        atexit._clear()
        atexit.register(logging.shutdown)
        atexit.register(multiprocessing.util._exit_function)
        status = _status_of(function)
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
    except BaseException:
        with suppress(BaseException):
            traceback.print_exc()
    finally:
        os._exit(status)


def _status_of(function):
    """The exit status that an interpreter would have."""
    try:
        return int(function() or 0)
    except SystemExit as ending:
        if ending.code is None or isinstance(ending.code, int):
            return ending.code or 0
        print(ending.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1


def _watch(pid, folder, limit, kill):
    start, hang, killed, memory = time.monotonic(), False, False, 0
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        now = time.monotonic() - start
        if done:
            break
        memory = max(memory, _resident(pid))
        if kill is not None and not killed and now >= kill.after:
            killed = _signal_all(pid, kill.signal)
        if now > limit and not hang:
            hang = True
            _signal_all(pid, signal.SIGKILL)
        time.sleep(POLL)
    ended_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
    patient = not (hang or ended_by == signal.SIGKILL)
    left = _end_group(pid, GRACE if patient else 0)
    texts = [(folder / name).read_bytes().decode(errors='replace') if (folder / name).exists() else ''
             for name in ('stdout', 'stderr')]
    return Outcome(None if ended_by else os.WEXITSTATUS(status), ended_by, *texts, now, hang, left and patient, killed,
                   memory)


def _resident(pid):
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f'/proc/{pid}/statm').read_text().split()[1]) * resource.getpagesize()
    return 0


def _signal_all(pid, number):
    """Send a signal to a child and all it started; whether there was anything to send it to."""
    for send in (os.killpg, os.kill):  # a child that has only just been forked has no group yet
        with suppress(ProcessLookupError):
            send(pid, number)
            return True
    return False


def _end_group(pid, grace):
    """End what a child left behind; 1 if there was something after the grace time."""
    end = time.monotonic() + grace
    while True:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return 0
        if time.monotonic() >= end:
            break
        time.sleep(POLL)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return 1
