"""The one exception that stands for a mistake which the user can mend."""
import difflib
import errno
import math
import re
import shlex
import sys

from . import streams

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
"""Numbers of the errors of a disk, which has no file's name where it is the output that is written to it."""
SHOWN = 80  # characters of a value that a message shows


class UserError(ValueError):
    """Its message is one line: where, what was found, what is allowed, the remedy. Launchers print just that line."""


def shown(value):
    """What a message says of a value: its ``repr``, of at most ``SHOWN`` characters, all printable."""
    if isinstance(value, dict):
        value = dict(value)  # whatever kind of mapping it is
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a whole number of thousands of digits; a list that holds itself
        text = f'a {type(value).__name__} that cannot be shown'
    text = printable(text)
    return text if len(text) <= SHOWN else f'{text[:SHOWN - 15]} ... {text[-10:]}'


def printable(text):
    """A text with everything escaped that would break its line or cannot be printed."""
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


def command(*words):
    """A command that a message suggests: its words quoted for the shell, so that it can be pasted."""
    return printable(' '.join(map(_quoted, map(str, words))))


def _quoted(word):
    home = re.match(r'~[\w-]*(/|$)', word)  # stays for the shell to expand
    start = home[0] if home else ''
    rest = word[len(start):]
    return start + (shlex.quote(rest) if rest or not start else '')


def near_miss(word, allowed):
    """Return `` (did you mean 'x'?)`` for the closest other word that is allowed, in any case, or an empty string."""
    words = {}
    for other in map(str, allowed):
        if other != str(word):
            words.setdefault(other.lower(), other)
    near = difflib.get_close_matches(str(word)[:SHOWN].lower(), words, 1, 0.5)
    return f' (did you mean {words[near[0]]!r}?)' if near else ''


def one_of(where, value, allowed):
    """Return ``value`` if it is allowed.

    Raises:
        UserError: names the option's path, the value, the allowed ones and the closest of them.
    """
    if not any(type(value) is type(other) and value == other for other in allowed):
        raise UserError(f'{where}: {shown(value)} is not known{near_miss(value, allowed)}; '
                        f'allowed are {", ".join(map(repr, allowed))}')
    return value


def number_in(where, value, low, high=float('inf'), integer=False):
    """Return ``value`` if it is a finite number, or an integer, from ``low`` to ``high``.

    Raises:
        UserError: names the option's path, the value and the range.
    """
    kinds = int if integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high or not is_finite(value):
        allowed = f'of at least {low}' if high == float('inf') else f'from {low} to {high}'
        raise UserError(f'{where}: {shown(value)} is not {"a whole" if integer else "a"} number {allowed}'
                        f'{number_remedy(value)}')
    return value


def is_finite(value):
    """Whether a number is one that float64 can hold: not nan, not infinite, and not a whole number beyond."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def number_remedy(value):
    """What to do where a text stands in place of a number, as the end of a message; empty if nothing is known."""
    try:
        reads = isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        reads = False
    if not reads:
        return ''
    if re.match(r'\s*[-+]?0[0-9_]+\s*$', value):
        return '; it is a text, for it begins with 0: take that 0 away'
    return '; it is a text: write it without quotes'


def true_or_false(where, value):
    """Return ``value`` if it is a bool.

    Raises:
        UserError: names the option's path and the value.
    """
    if not isinstance(value, bool):
        raise UserError(f'{where}: {shown(value)} is neither true nor false')
    return value


def reason_of(error):
    """What any exception says, in one line of at most 160 characters; its class where it says nothing."""
    return printable(' '.join(str(error).split())[:160]) or type(error).__name__


def one_line(error):
    """The message of a ``UserError``; the last line of one that comes with the traceback of a DataLoader's worker."""
    lines = str(error).strip().splitlines()
    return printable(lines[-1].partition('Error: ')[2] if len(lines) > 1 else str(error))


def exit_status(function, *args):
    """Call a command's function; what goes wrong, and is no mistake of the program, becomes one line on stderr.

    That is a ``UserError``, a file that cannot be read or written, a machine without memory or room, and Ctrl-C. A pipe
    whose reader has gone, as ``head`` goes, ends a command without a word.

    Returns:
        int: 0, 1 after an error, or 141, a shell's for a broken pipe; for ``sys.exit``.
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
    except UserError as error:
        return _failed(one_line(error))
    except KeyboardInterrupt:
        return _failed('interrupted')
    except Exception as error:
        if isinstance(error, BrokenPipeError) and streams.nobody_reads():
            streams.leave_pipes()
            return streams.CLOSED
        line = failure_line(error)
        if line is None:
            raise
        return _failed(line)
    return 0


def failure_line(error):
    """What has failed of the machine or of a file, in one line; None where it is a mistake of the program."""
    from .failures import failure_of_machine

    line = failure_of_machine(error)
    if line is None and isinstance(error, OSError) and (error.filename is not None or error.errno in FULL):
        where = 'output' if error.filename is None else printable(str(error.filename))
        line = f'{where}: {error.strerror or reason_of(error)}'
    return line


def _failed(line):
    streams.say(f'error: {line}')
    streams.leave_pipes()
    return 1


def command_status(parser, argv=None, run=None):
    """As ``exit_status``, of a command line: its help and its mistakes included.

    Args:
        parser (ArgumentParser): of the command.
        argv (list[str] | None): the arguments; None: those of the process.
        run (callable | None): gets what was parsed; None: the attribute ``run`` of that.
    """
    def parse_and_run():
        args = parser.parse_args(argv)
        (run or args.run)(args)

    return exit_status(parse_and_run)
