"""The one exception that stands for a mistake which the user can mend."""
import difflib
import sys


class UserError(ValueError):
    """Its message is one line: where, what was found, what is allowed, the remedy. Launchers print just that line."""


def near_miss(word, allowed):
    """Return `` (did you mean 'x'?)`` for the closest allowed word, or an empty string."""
    near = difflib.get_close_matches(str(word), list(map(str, allowed)), 1, 0.5)
    return f' (did you mean {near[0]!r}?)' if near else ''


def one_of(where, value, allowed):
    """Return ``value`` if it is allowed.

    Raises:
        UserError: names the option's path, the value, the allowed ones and the closest of them.
    """
    if value not in allowed:
        raise UserError(f'{where}: {value!r} is not known{near_miss(value, allowed)}; '
                        f'allowed are {", ".join(map(repr, allowed))}')
    return value


def number_in(where, value, low, high=float('inf'), integer=False):
    """Return ``value`` if it is a number, or an integer, from ``low`` to ``high``.

    Raises:
        UserError: names the option's path, the value and the range.
    """
    kinds = int if integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        allowed = f'of at least {low}' if high == float('inf') else f'from {low} to {high}'
        remedy = '; in YAML, 1e-2 is a text: write 0.01 or !!float 1e-2' if _reads_as_number(value) else ''
        raise UserError(f'{where}: {value!r} is not {"a whole" if integer else "a"} number {allowed}{remedy}')
    return value


def true_or_false(where, value):
    """Return ``value`` if it is a bool.

    Raises:
        UserError: names the option's path and the value.
    """
    if not isinstance(value, bool):
        raise UserError(f'{where}: {value!r} is neither true nor false')
    return value


def _reads_as_number(value):
    """Whether a text would be a number if it were no text."""
    try:
        return isinstance(value, str) and float(value) is not None
    except ValueError:
        return False


def reason_of(error):
    """What any exception says, in one line of at most 160 characters; its class where it says nothing."""
    return ' '.join(str(error).split())[:160] or type(error).__name__


def one_line(error):
    """The message of a ``UserError``; the last line of one that comes with the traceback of a DataLoader's worker."""
    lines = str(error).strip().splitlines()
    return lines[-1].partition('Error: ')[2] if len(lines) > 1 else str(error)


def exit_status(function, *args):
    """Call a command's function; a ``UserError`` or Ctrl-C becomes one line on stderr.

    Returns:
        int: 0, or 1 after an error; for ``sys.exit``.
    """
    try:
        function(*args)
    except UserError as error:
        print(f'error: {one_line(error)}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('error: interrupted', file=sys.stderr)
        return 1
    return 0
