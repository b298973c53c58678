"""What a user puts in place of parts of a run: images, teacher, length."""
import re
import shlex
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from mipkd_arch.base.errors import UserError, printable

from .dataset import Dataset, check_patches, find_dataset
from .teacher import Teacher, read_teacher

T = TypeVar('T')
NAMES = ('data', 'lq', 'val', 'val_lq', 'teacher', 'iters', 'plugins')
"""Arguments of ``mipkd options write`` that make a run custom."""


@dataclass(frozen=True)
class CustomParts:
    """Parts of a user's own; None leaves the part as published."""
    command: str | None = None
    """The command that wrote the files, quoted for the shell; None for a run without any such part."""
    data: Dataset | None = None
    """Images to train on."""
    val: Dataset | None = None
    """Images to measure on."""
    teacher: Teacher | None = None
    total_iter: int | None = None
    """Iterations of the training."""
    plugins: tuple[str, ...] = ()
    """Folders of networks, losses and the like."""

    @property
    def suffix(self) -> str:
        """End of the name of the run, so that no other run has that name; '' without custom parts."""
        if self.command is None:
            return ''
        names = [self.data and self.data.name, self.teacher and self.teacher.label, self.val and self.val.name]
        name = next(filter(None, names), None if self.total_iter else 'own')
        return re.sub(r'[^\w.+-]+', '_', ''.join(f'_{part}' for part in (name, self.total_iter) if part))


def is_custom(args: Namespace) -> bool:
    """Whether any of ``NAMES`` is given."""
    return any(getattr(args, name) not in (None, []) for name in NAMES)


def read_custom_parts(args: Namespace, scale: int, has_teacher: bool) -> tuple[CustomParts, list[UserError]]:
    """What arguments of ``mipkd options write`` put in place of parts of a run, and all that is wrong with them."""
    errors: list[UserError] = []

    def catch(function: Callable[..., T], *arguments: object) -> T | None:
        try:
            return function(*arguments)
        except UserError as error:
            errors.append(error)
            return None

    for name, is_wrong, reason in (
            ('lq', args.data is None, 'without --data, the HR images'),
            ('val_lq', args.val is None, 'without --val, the HR images'),
            ('data', args.test, 'with --test, which trains nothing'),
            ('iters', args.test, 'with --test, which trains nothing'),
            ('teacher', not has_teacher, f'with {args.method}, which has no teacher')):
        if is_wrong and getattr(args, name) is not None:
            errors.append(UserError(f'{_flag(name)}: has no meaning {reason}'))
    data = val = teacher = total_iter = None
    if args.data is not None:
        data = catch(find_dataset, '--data', args.data, args.lq, scale, 'train')
    if data is not None:
        catch(check_patches, '--data', data, scale)
    if args.val is not None:
        val = catch(find_dataset, '--val', args.val, args.val_lq, scale, 'val')
    if args.teacher is not None:
        teacher = catch(read_teacher, args.teacher, scale)
    if args.iters is not None:
        total_iter = catch(_iterations, args.iters)
    return CustomParts(_command(args), data, val, teacher, total_iter, tuple(args.plugins)), errors


def _iterations(text: str) -> int:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value < 1e15 or value != int(value):
        raise UserError(f"--iters: '{printable(text)}' is not an integer of at least 1; write for example 50000")
    return int(value)


def _command(args: Namespace) -> str:
    words = ['mipkd', 'options', 'write', args.pair, args.method, *(['--test'] if args.test else [])]
    for name in (*NAMES, 'out'):
        value = getattr(args, name)
        if value not in (None, []):
            words += [_flag(name), *(value if isinstance(value, list) else [value])]
    return shlex.join(words)


def _flag(name: str) -> str:
    return f'--{name.replace("_", "-")}'
