"""Trainings in forks of the tests' process, which has imported everything: a start takes less than a second."""
import logging
import os
import struct
import sys
import traceback
from contextlib import suppress

import pytest
import torch

from mipkd_model import launch

import basicsr.utils.logger


def train(root, *arguments, before=lambda: None, columns=None):
    """Train below ``root`` by a command line, after calling ``before`` in the fork.

    The screen is a pipe or, if it has ``columns``, a terminal. Returns the exit status, and what the screen shows.
    """
    if not hasattr(os, 'fork'):
        pytest.skip('needs POSIX: this system has no forks')
    ours, theirs = os.openpty() if columns else os.pipe()
    if columns:
        import fcntl
        import termios
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
    pid = os.fork()
    if not pid:
        _run(root, arguments, before, theirs)
    os.close(theirs)
    shown = b''
    with suppress(OSError):  # of a terminal that nobody has any more
        while part := os.read(ours, 1 << 16):
            shown += part
    os.close(ours)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def _run(root, arguments, before, screen):
    status = 1
    try:
        os.dup2(screen, 1)
        os.dup2(screen, 2)
        os.close(screen)
        sys.stdout, sys.stderr = (open(number, 'w', closefd=False, encoding='utf-8') for number in (1, 2))
        logging.getLogger('basicsr').handlers.clear()  # of the tests before this one
        basicsr.utils.logger.initialized_logger.clear()
        sys.argv = ['train.py', *map(str, arguments)]
        torch.set_num_threads(torch.get_num_threads())  # makes the pool of threads anew; threads of autograd would race
        before()
        status = launch.train(root)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
