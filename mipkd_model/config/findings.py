"""All that is wrong with an option file, not the first mistake alone."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from mipkd_arch.base.errors import UserError, command, one_line


class Findings:
    """Mistakes, in the order they were found, and notes; both begin with the path of their option, and ``: ``."""

    def __init__(self) -> None:
        self.errors: list[UserError] = []
        self.notes: list[str] = []

    def add(self, *mistakes: UserError | str) -> None:
        """Add mistakes but for those of options that have one already."""
        for mistake in mistakes:
            if _path(mistake) not in map(_path, self.errors):
                self.errors.append(UserError(mistake) if isinstance(mistake, str) else mistake)

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Context whose ``UserError`` becomes one of the findings and ends the context."""
        try:
            yield
        except UserError as error:
            self.errors.append(error)

    @property
    def lines(self) -> list[str]:
        """The mistakes, a line each."""
        return [one_line(error) for error in self.errors]

    def stop(self, file: object = None, changed: Iterable[str] = ()) -> None:
        """Raise the first mistake; with ``file`` and entries of --force_yml it names the command that lists all."""
        if not self.errors:
            return
        if len(self.errors) == 1 or file is None:
            raise self.errors[0]
        entries = list(changed)
        check = command('mipkd', 'check', file, *(['--force_yml', *entries] if entries else []))
        raise UserError(f'{self.lines[0]} (and {len(self.errors) - 1} more; {check} lists all)')


def _path(mistake: UserError | str) -> str:
    return (mistake if isinstance(mistake, str) else one_line(mistake)).partition(': ')[0]
