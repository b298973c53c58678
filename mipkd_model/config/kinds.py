"""Kinds of values that options have.

A kind is called with the option's path and the value, and returns the value as the run reads it, or raises a
``UserError``. As a text, it says what is allowed, for messages and for the page of all options.
"""
from dataclasses import dataclass

from mipkd_arch.base.errors import UserError, is_finite, near_miss, number_remedy, shown, true_or_false

MAX_TEXT = 4096  # characters; as long as a path may be on Linux
MAX_NAME = 200  # bytes; file systems take 255, and log files put a date behind the name


class Kind:
    """Base of kinds: they have ``__str__``, and ``read`` (value -> value, None for a wrong one) or ``__call__``."""

    def __call__(self, where, value):
        found = self.read(value)
        if found is None:
            raise UserError(f'{where}: {shown(value)} is not {self}{self.remedy(value)}')
        return found

    def remedy(self, value):
        return ''


@dataclass(frozen=True)
class Number(Kind):
    """A finite number from ``low`` to ``high``, of which ``above`` and ``below`` leave the ends out."""
    low: float = None
    high: float = None
    above: bool = False
    below: bool = False
    article = 'a'

    def __str__(self):
        low = None if self.low is None else f'above {self.low}' if self.above else f'of at least {self.low}'
        high = None if self.high is None else f'below {self.high}' if self.below else f'of at most {self.high}'
        if low and high and not (self.above or self.below):
            return f'{self.article} number from {self.low} to {self.high}'
        return ' '.join([f'{self.article} number', ' and '.join(filter(None, (low, high)))]).strip()

    def read(self, value):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not is_finite(value):
            return None
        low = self.low is None or (value > self.low if self.above else value >= self.low)
        high = self.high is None or (value < self.high if self.below else value <= self.high)
        return value if low and high else None

    def remedy(self, value):
        return number_remedy(value)


@dataclass(frozen=True)
class Whole(Number):
    """A whole number."""
    article = 'a whole'

    def read(self, value):
        return super().read(value) if isinstance(value, int) else None


@dataclass(frozen=True)
class Iterations(Whole):
    """A whole number that may be written as ``5e3``, which YAML reads as a number with a fraction."""
    high: float = 10**9

    def read(self, value):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return super().read(value)


@dataclass(frozen=True)
class Switch(Kind):
    """true or false."""

    def __str__(self):
        return 'true or false'

    def __call__(self, where, value):
        return true_or_false(where, value)


@dataclass(frozen=True)
class Text(Kind):
    """A text that can be printed in one line."""
    high: int = MAX_TEXT

    def __str__(self):
        return 'a text'

    def __call__(self, where, value):
        if isinstance(value, str) and not value.isprintable():
            raise UserError(f'{where}: {shown(value)} has characters that cannot be printed')
        if isinstance(value, str) and len(value) > self.high:
            raise UserError(f'{where}: has {len(value)} characters; at most {self.high} are allowed')
        return super().__call__(where, value)

    def read(self, value):
        return value if isinstance(value, str) and value.strip() else None

    def remedy(self, value):
        return '; put it in quotes if it is meant' if isinstance(value, (bool, int, float)) else ''


@dataclass(frozen=True)
class Path(Text):
    """A path of a file or folder."""

    def __str__(self):
        return 'a path'


@dataclass(frozen=True)
class Template(Text):
    """A text with one place for another."""

    def __str__(self):
        return 'a text with {} in it, where the name of the gt image comes, such as "{}x4"'

    def read(self, value):
        try:
            filled = [value.format(name) for name in ('a', 'b')] if isinstance(value, str) else []
        except (ValueError, LookupError, AttributeError):
            filled = []
        return value if len(set(filled)) == 2 else None


@dataclass(frozen=True)
class Name(Text):
    """A text that can be part of a file's name."""

    def __str__(self):
        return 'a name of files: a text without / and \\'

    def __call__(self, where, value):
        if not isinstance(value, str) or not value.strip() or {'/', '\\', '\0'} & set(value) or value in ('.', '..'):
            raise UserError(f'{where}: {shown(value)} is no name of a file; give a text without / and \\')
        if len(value.encode(errors='replace')) > MAX_NAME:
            raise UserError(f'{where}: {shown(value)} has {len(value.encode(errors="replace"))} bytes; at most '
                            f'{MAX_NAME} are allowed in a name')
        if value != value.strip():
            raise UserError(f'{where}: {shown(value)} begins or ends with a space; take it away')
        return super().__call__(where, value)


@dataclass(frozen=True)
class Choice(Kind):
    """One of several texts."""
    values: tuple

    def __str__(self):
        return ', '.join(self.values[:-1]) + f' or {self.values[-1]}'

    def __call__(self, where, value):
        if not isinstance(value, str) or value not in self.values:
            raise UserError(f'{where}: {shown(value)} is not known{near_miss(value, self.values)}; allowed are '
                            f'{", ".join(map(repr, self.values))}')
        return value


@dataclass(frozen=True)
class ListOf(Kind):
    """A list of ``count`` or any number of values of one kind; ``ascending`` lets none be below the one before."""
    kind: Kind
    words: str
    count: int = None
    least: int = 0
    ascending: bool = False

    def __str__(self):
        return self.words

    def __call__(self, where, value):
        if not isinstance(value, (list, tuple)) or self.count not in (None, len(value)) or len(value) < self.least:
            raise UserError(f'{where}: {shown(value)} is not {self}')
        found = [self.kind(f'{where}[{place}]', item) for place, item in enumerate(value)]
        if self.ascending and found != sorted(found):
            raise UserError(f'{where}: {shown(value)} is not in ascending order')
        return found


@dataclass(frozen=True)
class Either(Kind):
    """A value of any of several kinds, the words for all of which are given."""
    kinds: tuple
    words: str

    def __str__(self):
        return self.words

    def __call__(self, where, value):
        for kind in self.kinds:
            try:
                return kind(where, value)
            except UserError:
                continue
        raise UserError(f'{where}: {shown(value)} is not {self}')


@dataclass(frozen=True)
class Maybe(Kind):
    """A value of a kind, or ``~``."""
    kind: Kind

    def __str__(self):
        return f'{self.kind}; or ~'

    def __call__(self, where, value):
        return None if value is None else self.kind(where, value)


@dataclass(frozen=True)
class Anything(Kind):
    """A value that is checked elsewhere, by what it is for."""
    words: str

    def __str__(self):
        return self.words

    def __call__(self, where, value):
        return value
