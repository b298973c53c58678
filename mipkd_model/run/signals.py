"""Signals that ask a training to stop: the iteration is finished, its state saved, and the run left."""
from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import queues
from types import FrameType, SimpleNamespace

from mipkd_arch.base.errors import reason_of
from mipkd_arch.base.failures import failure_of_machine
from mipkd_arch.base.streams import say

from ..base.progress import beside_bar

SIGNALS = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name))
ECHO = 3
"""Seconds in which a second signal counts as the first: Ctrl-C arrives from the terminal, and again from torchrun."""


class Stopped(SystemExit):
    """The run was left because of a signal, with the status of a shell for a process that the signal ended."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


_request = SimpleNamespace(number=None, time=0.0, can_wait=False)
"""The signal that arrived, and whether somebody will save before the run is left."""


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Handle ``SIGNALS`` inside; one that is ignored, as under nohup, stays so."""
    _request.number, _request.can_wait = None, False
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _handle)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle(number: int, frame: FrameType | None) -> None:
    name = signal.Signals(number).name
    if not _request.can_wait:  # no iteration is finished that could be saved
        print(f'{name}: stopped, with nothing to save.', file=sys.stderr, flush=True)
        raise Stopped(number)
    if _request.number is None:
        _request.number, _request.time = number, time.monotonic()
        with beside_bar():
            print(f'{name}: stopping after this iteration, with its state saved. Ctrl-C again stops without.',
                  file=sys.stderr, flush=True)
    elif number == signal.SIGINT and time.monotonic() - _request.time > ECHO:
        raise Stopped(number)


def asked_to_stop() -> int | None:
    """Number of the signal that arrived. Whoever asks will save: from then on signals wait for the next call."""
    _request.can_wait = True
    return _request.number


def outlast_signals(worker: int | None = None) -> None:
    """Set up a worker of a DataLoader, which serves until its process ends it.

    A terminal, torchrun or SLURM signals all processes, but without workers an iteration could not be finished.
    """
    # A private hook, in Python 3.10 to 3.14: by itself it only prints the error, and the training waits without end.
    queues.Queue._on_queue_feeder_error = staticmethod(_end_with_reason)  # type: ignore[attr-defined]
    for number in set(SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_reason(error: BaseException, batch: object) -> None:
    say(f'error: {failure_of_machine(error) or f"a worker cannot send a batch of training data ({reason_of(error)})"}')
    os._exit(1)


def _end_with_parent() -> None:
    # Not getppid: a worker of the start method forkserver, Python 3.14's default, is a child of another process.
    parent = multiprocessing.parent_process()
    while parent is not None:
        if signal.sigwaitinfo({signal.SIGTERM}).si_pid == parent.pid:
            os._exit(0)
