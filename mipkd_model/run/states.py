"""Training states: one file each, with a checksum; the newest few of them are kept."""
import hashlib
import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mipkd_arch.base.checkpoint import WeightsError, load_plain
from mipkd_arch.base.errors import UserError

from ..base.weights import save_checkpoint

FORMAT = 'mipkd state 1'
FOOTER = b'\nmipkd state sha256 '
FOOTER_SIZE = len(FOOTER) + 64 + 1
NAME = re.compile(r'(\d+)\.state')
NEEDED = {'iter', 'optimizers', 'schedulers', 'weights', 'identity', 'best', 'validated', 'consecutive_skips'}
FORMER_KEYS = {'row': 'consecutive_skips'}  # of the first version


class StateError(WeightsError):
    """A state cannot be read, or is not a state of this package."""


def states_in(folder: str | Path) -> dict[int, Path]:
    """Files of the states in a folder by iteration, the newest first."""
    folder = Path(folder)
    found = {int(match[1]): file for file in (folder.iterdir() if folder.is_dir() else ())
             if (match := NAME.fullmatch(file.name))}
    return dict(sorted(found.items(), reverse=True))


def newest_before(folder: str | Path | None, iteration: float = float('inf')) -> Path | None:
    """File of the newest state in a folder that is older than an iteration."""
    return next((file for saved, file in (states_in(folder) if folder else {}).items() if saved < iteration), None)


def write_state(state: dict[str, Any], folder: str | Path, keep: int) -> Path:
    """Write ``<iter>.state`` with its checksum, and remove older states.

    The content is what ``torch.save`` writes, so that ``torch.load`` reads the file; the checksum is a line behind it.
    ``keep`` states stay: this one and the newest before it. Later ones are not touched.

    Raises:
        UserError: it cannot be written; the states that were there stay.
    """
    file = Path(folder, f'{state["iter"]}.state')
    save_checkpoint({'format': FORMAT, **state}, file, _footer)
    older = [other for iteration, other in states_in(folder).items() if iteration < state['iter']]
    for other in older[keep - 1:]:
        other.unlink(missing_ok=True)
    return file


def read_state(file: str | Path) -> dict[str, Any]:
    """Read a state that ``write_state`` wrote; no code of it is run.

    Raises:
        StateError: it is damaged, or not a state of this package.
    """
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise StateError(f'{file}: cannot be read ({error.strerror})') from None
    content, footer = content[:-FOOTER_SIZE], content[-FOOTER_SIZE:]
    if not footer.startswith(FOOTER):
        raise StateError(f'{file}: has no checksum at its end; it is cut short, or not a state of this package')
    if footer != _footer(content):
        raise StateError(f'{file}: is damaged, its content does not have the checksum that was saved with it')
    state = load_plain(io.BytesIO(content), file)
    if state.get('format') != FORMAT:
        raise StateError(f'{file}: is not of the format {FORMAT!r}, which this version reads')
    state = {FORMER_KEYS.get(key, key): value for key, value in state.items()}
    if missing := sorted(NEEDED - state.keys()):
        raise StateError(f'{file}: has no {missing[0]}, which a resume needs')
    return state


def newest_state(folder: str | Path, report: Callable[[str], Any] = print) -> tuple[Path, dict[str, Any]] | None:
    """File and content of the newest state that can be read; None where there is no state at all.

    ``report`` gets a sentence on each newer one that is broken.

    Raises:
        UserError: there are states, and none can be read.
    """
    files = states_in(folder)
    for file in files.values():
        try:
            return file, read_state(file)
        except StateError as error:
            report(f'{error}. Looking for the state before it.')
    if files:
        raise UserError(f'{folder}: none of its {len(files)} states can be read; to start from the beginning omit '
                        '--auto_resume, which keeps the folder under another name')
    return None


def archive_later_states(folder: str | Path, iteration: int) -> list[Path]:
    """Rename the states later than the iteration that a run resumes from, so that they are no states any more."""
    later = [file for found, file in states_in(folder).items() if found > iteration]
    return [file.rename(file.with_name(f'{file.name}_archived_{time.strftime("%Y%m%d_%H%M%S")}')) for file in later]


def _footer(content: bytes | memoryview) -> bytes:
    return FOOTER + hashlib.sha256(content).hexdigest().encode() + b'\n'
