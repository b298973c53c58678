"""The exception for mistakes that the user can fix, and what messages show of values, names and commands."""
from __future__ import annotations

import difflib
import math
import shlex
from collections.abc import Collection, Iterable
from typing import TypeVar

SHOWN = 80  # characters of a value that a message shows

T = TypeVar('T')


class UserError(ValueError):
    """Its message is one line: where, what was found, what is allowed, the remedy. Launchers print just that line."""


def shown(value: object) -> str:
    """What a message shows of a value: its ``repr``, printable and of at most ``SHOWN`` characters."""
    if isinstance(value, dict):
        value = dict(value)  # whatever kind of mapping it is
    try:
        text = printable(repr(value))
    except (ValueError, RecursionError):  # an integer of thousands of digits; a list that contains itself
        text = f'a {type(value).__name__} that cannot be shown'
    return text if len(text) <= SHOWN else f'{text[:SHOWN - 15]} ... {text[-10:]}'


def printable(text: str) -> str:
    """A text with everything escaped that would break its line or cannot be printed."""
    return ''.join(c if c.isprintable() else c.encode('unicode_escape').decode() for c in text)


def command(*words: object) -> str:
    """A command that a message suggests, its words quoted for the shell, so that it can be pasted."""
    return printable(shlex.join(map(str, words)))


def near_miss(word: object, allowed: Iterable[object]) -> str:
    """Return `` (did you mean 'x'?)`` for the closest other word that is allowed, in any case, or an empty string."""
    words = {str(other).lower(): str(other) for other in allowed if str(other) != str(word)}
    near = difflib.get_close_matches(str(word)[:SHOWN].lower(), words, 1, 0.5)
    return f' (did you mean {words[near[0]]!r}?)' if near else ''


def one_of(where: str, value: T, allowed: Collection[object]) -> T:
    """Return ``value`` if it is allowed.

    Raises:
        UserError: names the option's path, the value, the allowed ones and the closest of them.
    """
    if not any(type(value) is type(other) and value == other for other in allowed):
        raise UserError(f'{where}: {shown(value)} is not known{near_miss(value, allowed)}; '
                        f'allowed are {", ".join(map(repr, allowed))}')
    return value


def number_in(where: str, value: float, low: float, high: float = math.inf, integer: bool = False) -> float:
    """Return ``value`` if it is a finite number, or an integer, from ``low`` to ``high``.

    Raises:
        UserError: names the option's path, the value and the range.
    """
    kinds = int if integer else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high or value == math.inf:
        allowed = f'of at least {low}' if high == math.inf else f'from {low} to {high}'
        raise UserError(f'{where}: {shown(value)} is not {"an integer" if integer else "a number"} {allowed}'
                        f'{number_remedy(value)}')
    return value


def number_remedy(value: object) -> str:
    """What to do where a string stands in place of a number, as the end of a message; empty if it is none."""
    try:
        reads = isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        reads = False
    return '; it is a string: write it without quotes, and without a 0 in front' if reads else ''


def reason_of(error: BaseException | str) -> str:
    """The message of any exception, on one line of at most 160 characters; its class where it has none."""
    return printable(' '.join(str(error).split())[:160]) or type(error).__name__


def one_line(error: BaseException) -> str:
    """The message of a ``UserError``; the last line of one that comes with the traceback of a DataLoader's worker."""
    lines = str(error).strip().splitlines()
    return printable(lines[-1].partition('Error: ')[2] if len(lines) > 1 else str(error))
