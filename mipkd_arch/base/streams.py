"""What commands print, on any terminal and into any pipe."""
import codecs
import os
import select
import sys

SIGNS = {'†': '#', '±': '+-', '−': '-', '–': '-', '×': 'x', '…': '...', '’': "'", '→': '->'}
"""What is shown of our own signs where a terminal's encoding has none of them."""
HANDLER = 'mipkd.signs'
LOSSY = ('strict', 'surrogateescape', 'backslashreplace')  # not what a user has chosen by PYTHONIOENCODING
CLOSED = 141  # status of a shell for a process that SIGPIPE ended


def show_any_sign() -> None:
    """Let nothing that is printed be an error: a sign that the terminal has not is replaced, others are escaped."""
    codecs.register_error(HANDLER, _replacement)
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, 'errors', None) in LOSSY and hasattr(stream, 'reconfigure'):
            stream.reconfigure(errors=HANDLER)


def _replacement(error: UnicodeError) -> tuple[str, int]:
    text = error.object[error.start:error.end]
    return ''.join(SIGNS.get(sign) or sign.encode('unicode_escape').decode() for sign in text), error.end


def nobody_reads() -> bool:
    """Whether standard output, or standard error, is a pipe whose reader has gone, as ``head`` goes."""
    return any(_has_lost_reader(stream) for stream in (sys.stdout, sys.stderr))


def _has_lost_reader(stream) -> bool:
    try:
        number = stream.fileno()
    except (AttributeError, OSError, ValueError):  # none, closed, or not one of the system's
        return False
    if not hasattr(select, 'poll'):  # Windows
        return True
    poll = select.poll()
    poll.register(number, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def say(line: str) -> None:
    """Print a line on standard error, if there is one that can be written to."""
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _give_up(sys.stderr)


def leave_pipes() -> None:
    """Drop what could not be written; the interpreter would complain of it when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _give_up(stream)


def _give_up(stream) -> None:
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (AttributeError, OSError, ValueError):
        pass
