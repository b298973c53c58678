"""The folder of an experiment: used by one run at a time, and never overwritten by another one."""
from __future__ import annotations

import os
import shlex
import sys
import time
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import IO, Any

from mipkd_arch.base.errors import UserError

from basicsr.utils.dist_util import master_only

from ..base.files import atomic_write, lock
from .states import states_in

LOCK = '.running'
ARCHIVED = '_archived_'
"""Stands in the names of folders that a run of the same name has moved away, before the time of that."""
_locks: dict[Path, IO] = {}  # files that stay open as long as this process runs


@master_only
def make_exp_dirs(opt: dict[str, Any]) -> None:
    """As BasicSR's: a folder that exists keeps all its files, under another name.

    Raises:
        UserError: another run uses it.
        OSError: it cannot be made.
    """
    root = opt['path']['experiments_root' if opt['is_train'] else 'results_root']
    mkdir_and_rename(root)
    make_missing(opt['path'])
    if opt['is_train']:
        occupy(root)


def make_missing(paths: dict[str, Any]) -> None:
    """Make those of a run's folders that do not exist."""
    for key in ('models', 'training_states', 'log', 'visualization'):
        if key in paths:
            os.makedirs(paths[key], exist_ok=True)


@master_only
def mkdir_and_rename(folder: str | os.PathLike) -> None:
    """Make a folder; one that exists is renamed, with the time behind its name, and a number if that is taken."""
    folder = Path(folder)
    if os.path.lexists(folder):
        if (folder / LOCK).exists():
            occupy(folder)
            clear_remains(folder, folder / 'models', folder / 'training_states')
            release(folder)
        name = f'{folder.name}{ARCHIVED}{time.strftime("%Y%m%d_%H%M%S")}'
        names = chain([name], (f'{name}_{number}' for number in count(2)))
        new = next(path for path in map(folder.with_name, names) if not os.path.lexists(path))
        print(f'{folder}: {_content(folder)} and is moved to {new.name} now.', flush=True)
        folder.rename(new)
    folder.mkdir(parents=True)


def _content(folder: Path) -> str:
    states = states_in(folder / 'training_states')
    return f'has a run of {next(iter(states)):,} iterations' if states else 'exists'


def note_of_move(opt: dict[str, Any]) -> str:
    """A line before a run that does not resume moves an older training of its name away; empty where there is none."""
    folder = Path(opt['path'].get('experiments_root', ''))
    if opt['path'].get('resume_state') or not opt['is_train'] or not states_in(folder / 'training_states'):
        return ''
    return (f'name: {folder} {_content(folder)}, which starting again moves to {folder.name}{ARCHIVED}<time>; to '
            'resume it give --auto_resume, to keep it in place choose another name')


def occupy(folder: str | os.PathLike) -> None:
    """Claim an experiment's folder for this process until it ends, in whatever way.

    Raises:
        UserError: another process has it.
        OSError: it cannot be written to.
    """
    file = open(Path(folder, LOCK), 'a+')
    if not lock(file):
        file.close()
        raise UserError(f'{folder}: another process is training in it; wait until it ends, stop it, or give this run '
                        'another name')
    _locks[Path(folder)] = file


def release(folder: str | os.PathLike) -> None:
    """Release what ``occupy`` claimed."""
    _locks.pop(Path(folder)).close()


def clear_remains(*folders: str | os.PathLike) -> None:
    """Remove half-written files of a killed process from folders of an experiment that is occupied."""
    for file in (file for folder in folders for file in Path(folder).glob('*.part')):
        with suppress(OSError):
            file.unlink()


@master_only
def copy_opt_file(opt_file: str | os.PathLike, experiments_root: str | os.PathLike) -> None:
    """Copy the option file into the experiment's folder with the command that used it, unless it is that copy."""
    source, copy = Path(opt_file), Path(experiments_root, Path(opt_file).name)
    if copy.exists() and copy.samefile(source):
        return
    head = f'# {time.strftime("%Y-%m-%d %H:%M:%S")}\n# {shlex.join(sys.argv)}\n\n'
    with atomic_write(copy) as temporary:
        temporary.write_bytes(head.encode() + source.read_bytes())
