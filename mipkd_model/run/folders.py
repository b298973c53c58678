"""The folder of an experiment: made or taken over by one run at a time, and never by overwriting another's."""
import fcntl
import os
import shlex
import sys
import time
from contextlib import suppress
from pathlib import Path

from mipkd_arch.errors import UserError

from basicsr.utils.dist_util import master_only

from ..files import put_in_place

LOCK = '.running'
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
        stem, number = f'{folder.name}_archived_{time.strftime("%Y%m%d_%H%M%S")}', 1
        new = folder.with_name(stem)
        while os.path.lexists(new):
            number += 1
            new = folder.with_name(f'{stem}_{number}')
        try:
            folder.rename(new)
        except OSError as error:
            raise UserError(f'{folder}: is there, and cannot be renamed ({error.strerror}); give the run another name, '
                            'or see to the rights of the folder') from None
        print(f'{folder}: was there already; what it had is in {new.name} now.', flush=True)
    _make(folder)


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
    try:
        # A lock of the process, not of the file: workers do not inherit it and keep it for some seconds.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UserError(f'{folder}: another process is training in it; wait until it ends, stop it, or give this run '
                        'another name') from None
    except OSError:
        pass  # a file system without locks
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
    with put_in_place(copy) as temporary:
        temporary.write_bytes(head.encode() + source.read_bytes())
