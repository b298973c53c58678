"""What commands print, on any terminal and into any pipe."""
from __future__ import annotations

import codecs
import os
import select
import sys
from contextlib import suppress
from typing import TextIO

SIGNS = {'†': '#', '±': '+-', '−': '-', '–': '-', '×': 'x', '…': '...', '’': "'", '→': '->'}
"""What replaces our own signs where a terminal's encoding lacks them."""
HANDLER = 'mipkd.signs'
LOSSY = ('strict', 'surrogateescape', 'backslashreplace')  # not what a user has chosen by PYTHONIOENCODING
CLOSED = 141  # status of a shell for a process that SIGPIPE ended


def show_any_sign() -> None:
    """Let no character that is printed be an error: one that the terminal lacks is replaced or escaped."""
    codecs.register_error(HANDLER, _replacement)
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, 'errors', None) in LOSSY and hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors=HANDLER)


def _replacement(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start:error.end]
    return ''.join(SIGNS.get(sign) or sign.encode('unicode_escape').decode() for sign in text), error.end


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
