"""The folder of an experiment: made or taken over by one run at a time, and never by overwriting another's."""
import os
import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path

from mipkd_arch.base.errors import UserError

from basicsr.utils.dist_util import master_only

from ..base.files import atomic_write
from ..base.locks import lock
from .states import states_in

LOCK = '.running'
ARCHIVED = '_archived_'
"""Stands in the names of folders that a run of the same name has moved away, before the time of that."""
_locks = {}  # folder -> file, open as long as this process runs


@master_only
def make_exp_dirs(opt):
    """As BasicSR's: a folder that is there keeps all it has, under another name.

    Raises:
        UserError: a run is going on in it, or it cannot be made.
    """
    paths = opt['path']
    root = Path(paths['experiments_root' if opt['is_train'] else 'results_root'])
    mkdir_and_rename(root)
    make_missing(paths)
    if opt['is_train']:
        occupy(root)


def make_missing(paths):
    """Make those of a run's folders that are not there."""
    for key in ('models', 'training_states', 'log', 'visualization'):
        if key in paths:
            _make(Path(paths[key]))


@master_only
def mkdir_and_rename(folder):
    """Make a folder; one that is there is renamed, with the time behind its name, and a number where that is taken."""
    folder = Path(folder)
    if os.path.lexists(folder):
        if (folder / LOCK).exists():
            occupy(folder)
            release(folder)
        stem, number = f'{folder.name}{ARCHIVED}{time.strftime("%Y%m%d_%H%M%S")}', 1
        new = folder.with_name(stem)
        while os.path.lexists(new):
            number += 1
            new = folder.with_name(f'{stem}_{number}')
        print(f'{folder}: {_content(folder)} and is moved to {new.name} now.', flush=True)
        try:
            folder.rename(new)
        except OSError as error:
            raise UserError(f'{folder}: is there, and cannot be renamed ({error.strerror}); give the run another name, '
                            'or see to the rights of the folder') from None
    _make(folder)


def _content(folder):
    """What a folder has, for whoever is about to lose sight of it."""
    states = states_in(folder / 'training_states')
    if not states:
        return 'is there'
    return f'has a run of {next(iter(states)):,} iterations'


def told_of_move(opt):
    """What is said before a run moves an older one of its name away, a line; empty where there is none.

    Args:
        opt (dict): all options, complete; of a run that does not go on from a state.
    """
    folder = Path(opt['path']['experiments_root' if opt['is_train'] else 'results_root'])
    if opt['path'].get('resume_state') or not os.path.lexists(folder):
        return ''
    if not opt['is_train'] or not states_in(folder / 'training_states'):
        return ''  # nobody trained for it
    return (f'name: {folder} {_content(folder)}, which starting anew moves to {folder.name}{ARCHIVED}<time>; to go on '
            'with it give --auto_resume, to keep it in place take another name')


def _make(folder):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{folder}: cannot be made ({error.strerror}); is there room and may you write '
                        'there?') from None


def occupy(folder):
    """Claim an experiment's folder for this process until it ends, in whatever way.

    Raises:
        UserError: another process has it.
    """
    try:
        file = open(Path(folder, LOCK), 'a+')  # open as long as it is claimed
    except OSError as error:
        raise UserError(f'{folder}: cannot be written to ({error.strerror}); is there room and may you write '
                        'there?') from None
    if not lock(file):
        file.close()
        raise UserError(f'{folder}: another process is training in it; wait until it ends, stop it, or give this run '
                        'another name')
    _locks[Path(folder)] = file


def release(folder):
    """Give back what ``occupy`` claimed."""
    _locks.pop(Path(folder)).close()


def clear_remains(*folders):
    """Remove what a killed process left half-written. The folders' experiment must be occupied."""
    for folder in folders:
        for file in Path(folder).glob('*.part'):
            with suppress(OSError):
                file.unlink()


@master_only
def copy_opt_file(opt_file, experiments_root):
    """Copy the option file into the experiment's folder, with the command that used it, as BasicSR does.

    A copy that is used as option file itself stays as it is.
    """
    source, copy = Path(opt_file), Path(experiments_root, Path(opt_file).name)
    if copy.exists() and copy.samefile(source):
        return
    head = f'# {time.strftime("%Y-%m-%d %H:%M:%S")}\n# {shlex.join(sys.argv)}\n\n'
    with atomic_write(copy) as temporary:
        temporary.write_bytes(head.encode() + source.read_bytes())
