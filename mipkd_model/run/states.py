"""Training states: one sealed file each, the newest few of them kept."""
import hashlib
import io
import os
import re
import time
from pathlib import Path

import torch

from mipkd_arch.base.checkpoint import WeightsError, load_plain
from mipkd_arch.base.errors import UserError

from ..base.files import atomic_write

FORMAT = 'mipkd state 1'
SEAL = b'\nmipkd state sha256 '
SEAL_SIZE = len(SEAL) + 64 + 1
NAME = re.compile(r'(\d+)\.state')
NEEDED = {'iter': int, 'epoch': int, 'optimizers': list, 'schedulers': list, 'weights': dict, 'identity': dict,
          'best': dict, 'validated': bool, 'row': int, 'teacher_scores': dict, 'samples': (dict, type(None))}


class StateError(WeightsError):
    """A state cannot be read, or is none of this package."""


def states_in(folder):
    """Files of the states in a folder by iteration, the newest first."""
    folder = Path(folder)
    found = {int(match[1]): file for file in (folder.iterdir() if folder.is_dir() else ())
             if (match := NAME.fullmatch(file.name))}
    return dict(sorted(found.items(), reverse=True))


def write_state(state, folder, keep):
    """Write ``<iter>.state`` with the seal of its content, and remove older states.

    The content is what ``torch.save`` writes, so that ``torch.load`` reads the file; the seal is one line behind it.

    Args:
        state (dict): plain data and tensors; ``iter`` is the iteration.
        folder: of the states.
        keep (int): states that stay: this one and the newest before it. Later ones are not touched.

    Returns:
        Path: of the file.

    Raises:
        UserError: it cannot be written; the states that were there stay.
    """
    buffer = io.BytesIO()
    torch.save({'format': FORMAT, **state}, buffer)
    file = Path(folder, f'{state["iter"]}.state')
    # The view is released here even on an error: CPython 3.12.1 crashes where the garbage collector finds one.
    with atomic_write(file) as temporary, open(temporary, 'wb') as sealed, buffer.getbuffer() as content:
        sealed.write(content)
        sealed.write(_seal(content))
    older = [other for iteration, other in states_in(folder).items() if iteration < state['iter']]
    for other in older[keep - 1:]:
        other.unlink(missing_ok=True)
    return file


def read_state(file):
    """Read a state that ``write_state`` wrote; no code of it is run.

    Raises:
        StateError: it is damaged, or no such state.
    """
    try:
        if os.path.isdir(file):
            raise StateError(f'{file}: is a folder; name the file of a state')
        content = Path(file).read_bytes() if os.path.isfile(file) else None
    except OSError as error:
        raise StateError(f'{file}: cannot be read ({error.strerror})') from None
    if content is None:
        raise StateError(f'{file}: no such state')
    content, seal = content[:-SEAL_SIZE], content[-SEAL_SIZE:]
    if not seal.startswith(SEAL):
        raise StateError(f'{file}: has no seal at its end; it is cut short, or no state of this package')
    if seal != _seal(content):
        raise StateError(f'{file}: is damaged, its content is not what was sealed')
    state = load_plain(io.BytesIO(content), file)
    if not isinstance(state, dict) or state.get('format') != FORMAT:
        found = state.get('format') if isinstance(state, dict) else type(state).__name__
        raise StateError(f'{file}: is of the format {found!r}, this version reads {FORMAT!r}')
    for key, kind in NEEDED.items():
        if key not in state or not isinstance(state[key], kind):
            raise StateError(f'{file}: has no {key}, or not as this version writes it')
    if (match := NAME.fullmatch(Path(file).name)) and int(match[1]) != state['iter']:
        raise StateError(f'{file}: is the state of iteration {state["iter"]}; give it its name back')
    return state


def set_aside(folder, iteration):
    """Rename the states that are later than an iteration, from which a run goes on in another way.

    Returns:
        list[Path]: their files now; no run takes them for states.
    """
    later = [file for found, file in states_in(folder).items() if found > iteration]
    return [file.rename(file.with_name(f'{file.name}_archived_{time.strftime("%Y%m%d_%H%M%S")}')) for file in later]


def _seal(content):
    return SEAL + hashlib.sha256(content).hexdigest().encode() + b'\n'


def newest_state(folder, tell=print):
    """The newest state that can be read.

    Args:
        folder: of the states.
        tell (callable): gets a sentence on each newer one that is broken.

    Returns:
        tuple[Path, dict] | None: file and content; None where there is no state at all.

    Raises:
        UserError: there are states, and none can be read.
    """
    files = states_in(folder)
    for file in files.values():
        try:
            return file, read_state(file)
        except StateError as error:
            tell(f'{error}. Looking for the state before it.')
    if files:
        raise UserError(f'{folder}: none of its {len(files)} states can be read; to start from the beginning leave '
                        '--auto_resume away, which keeps the folder under another name')
    return None
