"""All that is wrong with an option file, not the first mistake alone."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from mipkd_arch.base.errors import UserError, command, one_line


class Findings:
    """Mistakes, in the order they were found.

    Attributes:
        errors: each begins with the path of the option, and ``: ``.
        notes: what is no mistake, but should be known; of the same form.
        distiller: what a training trains, where it was built.
    """

    def __init__(self) -> None:
        self.errors: list[UserError] = []
        self.notes: list[str] = []
        self.distiller: Any = None

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Context whose ``UserError`` becomes one of the findings and ends the context."""
        try:
            yield
        except UserError as error:
            self.errors.append(error)

    def add(self, line: str) -> None:
        """Add a mistake."""
        self.errors.append(UserError(line))

    @property
    def lines(self) -> list[str]:
        """The mistakes, a line each."""
        return list(dict.fromkeys(map(one_line, self.errors)))

    def are_sound(self, *paths: str) -> bool:
        """Whether no mistake is about the options of these paths, what is inside of them, or what they are in."""
        bad = list(map(_path, self.errors))
        return not any(_within(path, other) or _within(other, path) for path in paths for other in bad)

    def keep_first(self) -> None:
        """Keep one mistake of each option, the first."""
        first = {_path(error): error for error in reversed(self.errors)}
        self.errors = [error for error in self.errors if first[_path(error)] is error]

    def stop(self, file: object = None, changed: Iterable[str] = ()) -> None:
        """Raise the first mistake, if there is one.

        Args:
            file: whose mistakes these are, for the command that lists all of them; None does not mention the others.
            changed: entries of --force_yml, which that command needs, too.
        """
        if not self.errors:
            return
        more = len(self.lines) - 1
        if not more or file is None:
            raise self.errors[0]
        entries = list(changed)
        check = command('mipkd', 'check', file, *(['--force_yml', *entries] if entries else []))
        raise UserError(f'{one_line(self.errors[0])} (and {more} more; {check} lists all)')


def _path(error: UserError) -> str:
    return one_line(error).partition(': ')[0]


def _within(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f'{outer}.', f'{outer}['))
