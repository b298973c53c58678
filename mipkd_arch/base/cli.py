"""The end of a command: what it prints on stderr where it fails, and its exit status."""
from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import streams
from .errors import UserError, one_line, printable, reason_of
from .failures import failure_of_machine

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # errors of a disk, without a file's name where stdout is written to it


def exit_status(function: Callable[..., Any], *args: Any) -> int:
    """Call a command's function; a failure that is no bug becomes one line on stderr.

    That is a ``UserError``, a file that cannot be read or written, a machine without memory or disk space, and Ctrl-C.
    A pipe that its reader has closed, as ``head`` does, ends a command without a message.

    Returns:
        For ``sys.exit``: 0, 1 after an error, or 141, a shell's for a broken pipe.
    """
    streams.show_any_sign()
    try:
        try:
            function(*args)
        except SystemExit:  # of a parser, after its help
            streams.leave_pipes()
            raise
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return _failed('interrupted')
    except Exception as error:
        if isinstance(error, BrokenPipeError) and streams.nobody_reads():
            streams.leave_pipes()
            return streams.CLOSED
        line = one_line(error) if isinstance(error, UserError) else failure_line(error)
        if line is None:
            raise
        return _failed(line)
    return 0


def failure_line(error: BaseException) -> str | None:
    """What has failed of the machine or of a file, on one line; None where it is a bug."""
    line = failure_of_machine(error)
    if line is None and isinstance(error, OSError) and (error.filename is not None or error.errno in FULL):
        where = 'output' if error.filename is None else printable(str(error.filename))
        line = f'{where}: {error.strerror or reason_of(error)}'
    return line


def _failed(line: str) -> int:
    streams.say(f'error: {line}')
    streams.leave_pipes()
    return 1


def command_status(parser: argparse.ArgumentParser, argv: Sequence[str] | None = None,
                   run: Callable[[argparse.Namespace], Any] | None = None) -> int:
    """As ``exit_status``, of a command line with its help and its mistakes.

    Args:
        argv: the arguments; None: those of the process.
        run: is given the parsed arguments; None: their attribute ``run``.
    """
    def parse_and_run() -> None:
        args = parser.parse_args(argv)
        (run or args.run)(args)

    return exit_status(parse_and_run)
