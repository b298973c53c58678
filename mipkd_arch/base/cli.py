"""The end of a command: what it prints on stderr where it fails, and its exit status."""
from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import streams
from .errors import UserError, one_line, printable, reason_of
from .failures import failure_of_machine, missing_package

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # errors of a disk, without a file's name where stdout is written to it


def exit_status(function: Callable[..., Any], *args: Any) -> int:
    """Call a command's function and return the status for ``sys.exit``: 0, 1 or, for a closed pipe, 141.

    A ``UserError``, a file that cannot be read or written, a machine without memory or disk space, and Ctrl-C become
    one line on stderr; any other exception is a bug and passes.
    """
    streams.show_any_sign()
    line: str | None = 'interrupted'
    try:
        function(*args)
        if sys.stdout is not None:
            sys.stdout.flush()
        return 0
    except SystemExit:  # of a parser, after its help
        streams.leave_pipes()
        raise
    except KeyboardInterrupt:
        pass
    except Exception as error:
        if isinstance(error, BrokenPipeError) and streams.nobody_reads():
            streams.leave_pipes()
            return streams.CLOSED
        line = failure_line(error)
        if line is None:
            raise
    streams.say(f'error: {line}')
    streams.leave_pipes()
    return 1


def failure_line(error: BaseException) -> str | None:
    """What is wrong, or has failed of the machine or of a file, on one line; None where it is a bug."""
    if isinstance(error, UserError):
        return one_line(error)
    if isinstance(error, ImportError) and not (error.name or '').startswith('mipkd'):
        return missing_package(error)
    line = failure_of_machine(error)
    if line is None and isinstance(error, OSError) and (error.filename is not None or error.errno in FULL):
        where = 'output' if error.filename is None else printable(str(error.filename))
        line = f'{where}: {error.strerror or reason_of(error)}'
    return line


def command_status(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None,
                   run: Callable[[argparse.Namespace], Any] | None = None) -> int:
    """As ``exit_status``, of a command line (None: that of the process); ``run`` is by default the parsed ``run``."""
    return exit_status(parse_and_run, parser, argv, run)


def parse_and_run(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None,
                  run: Callable[[argparse.Namespace], Any] | None = None) -> None:
    """Parse a command line and call ``run``, or what the parser has set as ``run``."""
    args = parser.parse_args(argv)
    (run or args.run)(args)
