"""Signals that ask a training to stop: the iteration is finished, its state saved, and the run left."""
import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from multiprocessing import queues

from mipkd_arch.base.errors import reason_of
from mipkd_arch.base.failures import failure_of_machine
from mipkd_arch.base.streams import say

SIGNALS = tuple(getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP') if hasattr(signal, name))
# Ctrl-C reaches a process started by torchrun twice: from the terminal, and from torchrun.
SAME_REQUEST = 3
"""Seconds in which a second signal is taken for the first one's echo."""


class Stopped(SystemExit):
    """The run was left because of a signal. The status is that of a shell for a process that the signal ended."""

    def __init__(self, number):
        super().__init__(128 + number)
        self.name = signal.Signals(number).name


class _Request:
    """The signal that came, if any; one for the process, as signals are."""

    def __init__(self):
        self.number, self.time, self.can_wait = None, 0., False

    def take(self, number, frame):
        """Handle a signal."""
        if not self.can_wait:  # no iteration is finished that could be saved
            print(f'{signal.Signals(number).name}: stopped, with nothing to save.', file=sys.stderr, flush=True)
            raise Stopped(number)
        if self.number is None:
            self.number, self.time = number, time.monotonic()
            print(f'{signal.Signals(number).name}: stopping after this iteration, with its state saved. Ctrl-C again '
                  'stops without.', file=sys.stderr, flush=True)
        elif number == signal.SIGINT and time.monotonic() - self.time > SAME_REQUEST:
            raise Stopped(number)


_request = _Request()


@contextmanager
def stop_on_signals():
    """Handle ``SIGNALS`` inside; one that is ignored, as under nohup, stays so."""
    _request.__init__()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _request.take)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def asked_to_stop():
    """Number of the signal that came, or None. Whoever asks will save: from then on signals wait for the asker."""
    _request.can_wait = True
    return _request.number


def outlast_signals(worker=None):
    """For the workers of a DataLoader, which serve until their process ends them.

    A terminal, torchrun or SLURM signals all processes of a run; without its workers it could not finish an iteration.
    A batch that a worker cannot hand over would be waited for without end, so it ends with the reason.
    """
    queues.Queue._on_queue_feeder_error = staticmethod(_end_with_reason)
    for number in set(SIGNALS) - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, 'sigwaitinfo'):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_reason(error, batch):
    line = failure_of_machine(error) or f'a worker of the training data cannot hand a batch over ({reason_of(error)})'
    say(f'error: {line}')
    os._exit(1)


def _end_with_parent():
    # Not getppid: a worker of the start method forkserver, Python 3.14's, is a child of another process.
    parent = multiprocessing.parent_process().pid
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
