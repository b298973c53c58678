"""Starts of a training for ``children.run``: in this interpreter or a new one, alone or as two processes."""
import json
import os
import shutil
import signal
import socket
import sys
import threading

from . import children
from .world import ROOT, launch

CHANGES = ('os.rename', 'os.remove', 'os.mkdir', 'os.rmdir', 'os.truncate', 'os.link')
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def start(folder, file, fresh=False, at=None, delay=0., count=None, processes=1):
    """A function for ``children.run``: a start of the training, with ``--auto_resume``.

    Args:
        folder (Path): of the case.
        file (Path): option file.
        fresh (bool): in an interpreter of its own.
        at (int | None): number of the change of files at which it kills itself.
        delay (float): seconds after it.
        count (Path | None): file for the list of changes.
        processes (int): that train together, connected by gloo.
    """
    root, arguments = folder / 'root', ['-opt', file, '--auto_resume']
    if processes > 1:
        arguments += ['--launcher', 'pytorch']
    if fresh:
        # The launcher's results go below the folder above its own.
        script = root / 'basicsr/train.py'
        script.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / 'basicsr/train.py', script)
        return children.fresh(script, *arguments, PYTHONPATH=str(ROOT))

    def alone():
        _watch_changes(root, at, delay, count)
        return launch('train', root, *arguments)()
    return alone if processes == 1 else lambda: _together(alone, processes)


def _together(function, processes):
    """Call a function in several processes, as torchrun does. Returns the exit status of the first that fails."""
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        port = found.getsockname()[1]
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port), WORLD_SIZE=str(processes))
    for number in (signal.SIGINT, signal.SIGTERM):  # they reach the processes, too
        signal.signal(number, signal.SIG_IGN)
    pids = [_rank(function, rank) for rank in range(processes)]
    status = 0
    while pids:
        pid, ended = os.wait()
        if pid not in pids:
            continue
        pids.remove(pid)
        if ended and not status:
            status = os.waitstatus_to_exitcode(ended)
            for other in pids:
                os.kill(other, signal.SIGTERM)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _rank(function, rank):
    pid = os.fork()
    if not pid:
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        children.end_as(function)
    return pid


def _watch_changes(root, at, delay, count):
    """Number the changes of files below ``root`` that this process makes; its workers make none."""
    changes, own = [], os.getpid()

    def hook(event, arguments):
        if os.environ.get('RANK', '0') != '0':
            return
        if event == 'open':
            changing = isinstance(arguments[2], int) and arguments[2] & WRITES
        else:
            changing = event in CHANGES
        if not changing or not str(arguments[0]).startswith(str(root)) or os.getpid() != own:
            return
        changes.append(f'{event} {os.path.relpath(str(arguments[0]), root)}')
        if count is not None:
            with open(count, 'w') as file:
                json.dump(changes, file)
        if at is not None and len(changes) == at + 1:
            if delay:
                threading.Timer(delay, os.killpg, (0, signal.SIGKILL)).start()
            else:
                os.killpg(0, signal.SIGKILL)
    sys.addaudithook(hook)
