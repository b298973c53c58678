"""What a user puts in place of parts of a run: images, teacher, length."""
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mipkd_arch.base.errors import UserError
from mipkd_arch.base.option_types import Iterations, checked_value

from ..config.reader import parse
from .data_set import DataSet, check_trainable, find_data_set
from .teacher import Teacher, read_teacher


@dataclass(frozen=True)
class Own:
    """Parts of a user's own; None leaves the part as the run has it."""
    command: str
    """What wrote the files, quoted for the shell."""
    data: DataSet | None = None
    """Images to train on."""
    val: DataSet | None = None
    """Images to measure on."""
    teacher: Teacher | None = None
    total_iter: int | None = None
    """Steps of the training."""
    plugins: tuple[str, ...] = ()
    """Folders of parts of the user's own."""

    @property
    def suffix(self) -> str:
        """What the name of the run ends in, so that it is no other's."""
        names = [self.data and self.data.name, self.teacher and self.teacher.label, self.val and self.val.name]
        parts = [next(filter(None, names), None if self.total_iter else 'own'), self.total_iter]
        return re.sub(r'[^\w.+-]+', '_', '_'.join(str(part) for part in parts if part))


def read_own(args: Any, scale: int, trains: bool, has_teacher: bool) -> tuple[Own, list[UserError]]:
    """What arguments of ``mipkd options`` put in place of parts of a run, and all that is wrong with them.

    Args:
        args: with ``pair``, ``method``, ``test``, ``out``, ``plugins``, ``data``, ``lq``, ``val``, ``val_lq``,
            ``teacher`` and ``iters``.
        scale: of the pair.
        trains: a training is written, and not a test alone.
        has_teacher: the run has a teacher.
    """
    errors: list[UserError] = []

    def tried(function: Callable, *arguments):
        try:
            return function(*arguments)
        except UserError as error:
            errors.append(error)

    for given, needed in (('lq', 'data'), ('val_lq', 'val')):
        if getattr(args, given) is not None and getattr(args, needed) is None:
            errors.append(UserError(f'{_flag(given)}: has no meaning without {_flag(needed)}, the HR images'))
    for given in ('data', 'lq', 'iters'):
        if getattr(args, given) is not None and not trains:
            errors.append(UserError(f'{_flag(given)}: has no meaning with --test, which trains nothing'))
    if args.teacher is not None and not has_teacher:
        errors.append(UserError(f'--teacher: has no meaning with {args.method}, which has no teacher'))
    data = None if args.data is None else tried(find_data_set, '--data', args.data, args.lq, scale, 'train')
    if data is not None:
        tried(check_trainable, '--data', data, scale)
    val = None if args.val is None else tried(find_data_set, '--val', args.val, args.val_lq, scale, 'val')
    teacher = None if args.teacher is None else tried(read_teacher, args.teacher, scale)
    total_iter = None if args.iters is None else tried(_steps, args.iters)
    test = ['--test'] if args.test else []
    command = shlex.join(['mipkd', 'options', args.pair, args.method, *test, *_words(args)])
    return Own(command, data, val, teacher, total_iter, tuple(args.plugins)), errors


def _steps(text: str) -> int:
    return checked_value('--iters', parse(text, '--iters'), Iterations)


def given_names(args: Any, but: str | None = None) -> list[str]:
    """The options of these that a command was given, ``but`` left aside."""
    return [_flag(name) for name in _NAMES if name != but and getattr(args, name) not in (None, [])]


_NAMES = ('data', 'lq', 'val', 'val_lq', 'teacher', 'iters', 'plugins')


def _flag(name: str) -> str:
    return f'--{name.replace("_", "-")}'


def _words(args: Any) -> Iterator[str]:
    for name in (*_NAMES, 'out'):
        value = getattr(args, name)
        if value not in (None, []):
            yield _flag(name)
            yield from map(str, value if isinstance(value, list) else [value])
