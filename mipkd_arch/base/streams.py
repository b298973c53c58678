"""What commands print, on any terminal and into any pipe."""
from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from typing import TextIO

CLOSED = 141  # status of a shell for a process that SIGPIPE ended


def show_any_sign() -> None:
    """Let no character that is printed be an error: one that the terminal lacks is escaped."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, 'errors', None) in ('strict', 'surrogateescape') and hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors='backslashreplace')


def nobody_reads() -> bool:
    """Whether standard output or standard error is a pipe whose reader has ended, as ``head`` does."""
    if not hasattr(select, 'poll'):  # Windows
        return True
    poll = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # none, closed, or not one of the system's
            poll.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def say(line: str) -> None:
    """Print a line on standard error, if there is one that can be written to."""
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _discard(sys.stderr)


def leave_pipes() -> None:
    """Discard what could not be written; the interpreter would complain of it when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _discard(stream)


def _discard(stream: TextIO) -> None:
    with suppress(AttributeError, OSError, ValueError), open(os.devnull, 'wb') as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
