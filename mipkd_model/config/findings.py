"""What is wrong with an option file: all that can be found independently, not the first alone."""
from contextlib import contextmanager

from mipkd_arch.base.errors import UserError, command, one_line


class Findings:
    """Mistakes, in the order they were found.

    Attributes:
        errors (list[UserError]): each begins with the path of the option, and ``: ``.
        notes (list[str]): what is no mistake, but should be known; of the same form.
        distiller (Distiller | None): what a training trains, where it was assembled.
    """

    def __init__(self):
        self.errors, self.notes, self.distiller = [], [], None

    @contextmanager
    def catching(self):
        """Context whose ``UserError`` is one of the findings, and leaves the context alone."""
        try:
            yield
        except UserError as error:
            self.errors.append(error)

    def add(self, line):
        self.errors.append(UserError(line))

    @property
    def lines(self):
        """What is wrong, a line for each."""
        return list(dict.fromkeys(map(one_line, self.errors)))

    def keep_first(self, count):
        """Drop what else is said of the options that the first ``count`` findings are about."""
        about = {_path(error) for error in self.errors[:count]}
        self.errors[count:] = [error for error in self.errors[count:] if _path(error) not in about]

    def spare(self, *paths):
        """Whether nothing is wrong with the options of these paths, what is inside of them, and what they are in."""
        bad = [_path(error) for error in self.errors]
        return not any(_within(path, other) or _within(other, path) for path in paths for other in bad)

    def stop(self, file=None, changed=()):
        """Raise the first mistake, if there is one.

        Args:
            file: whose mistakes these are, for the command that lists all of them; None says nothing of the others.
            changed (iterable[str]): entries of --force_yml, which that command needs, too.
        """
        if not self.errors:
            return
        more = len(self.lines) - 1
        if not more or file is None:
            raise self.errors[0]
        check = command('mipkd', 'check', file, *(['--force_yml', *changed] if changed else []))
        raise UserError(f'{one_line(self.errors[0])} (and {more} more; {check} lists all)')


def _path(error):
    return one_line(error).partition(': ')[0]


def _within(path, outer):
    return path == outer or path.startswith((f'{outer}.', f'{outer}['))
