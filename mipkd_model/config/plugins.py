"""Folders of a user's own networks, losses, datasets, models and metrics.

As in BasicSR, a part lies in a file whose name says what it is, such as ``plain_arch.py``, and registers itself when
it is imported. The folders are named by the option ``plugins``, or by ``--plugins``.

Registered is what the folders in use have: ``mipkd check``, which reads one option file after another, sees of each
no more than a training from that file alone would.
"""
from __future__ import annotations

import json
import sys
import traceback
from importlib import import_module, invalidate_caches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mipkd_arch.base.errors import UserError, near_miss, printable, reason_of, shown
from mipkd_arch.registration import register
from mipkd_arch.staged_views import _VIEWS

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

from .cli_arguments import ENDINGS
from .findings import Findings

WHERE = 'plugins'
REGISTRIES = (ARCH_REGISTRY, LOSS_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY, METRIC_REGISTRY)
OF_PACKAGES = ('mipkd_arch.', 'mipkd_model.', 'basicsr.')
"""What these register stays, whichever file has imported it."""


class _InUse:
    """Of this process, as the registries are: the folders, what they have registered, and what was there before."""
    folders: tuple[Path, ...] = ()
    registered: tuple[set[Any], ...] = ()
    modules: frozenset[str] = frozenset()
    path: tuple[str, ...] = ()


def entries(opt: dict[str, Any], folders: list[str]) -> list[str]:
    """``--plugins`` as an entry of --force_yml: the option ``plugins`` of any value, with these folders behind it."""
    if not folders:
        return []
    given = opt.get(WHERE) or []
    return [f'{WHERE}={json.dumps([*(given if isinstance(given, list) else [given]), *folders], ensure_ascii=False)}']


def find_in_plugins(value: Any, where: str = WHERE) -> Findings:
    """Use the folders that the option ``plugins`` names, and no others; find what is wrong with them.

    Args:
        value: of the option: a folder, a list of folders, or None. Relative ones are so to the current folder.
        where: name of the option for messages.

    Returns:
        A line for each mistake. No folder is in use where there is one.
    """
    found, folders = Findings(), []
    for number, item in enumerate(value if isinstance(value, list) else [] if value is None else [value]):
        with found.catching():
            folders.append(_folder(f'{where}[{number}]' if isinstance(value, list) else where, item))
    folders = list(dict.fromkeys(folders))
    if tuple(folders) != _InUse.folders or found.errors:
        _unload()
        if not found.errors:
            _load(found, folders, where)
    return found


def use(folders: list[str]) -> None:
    """Use the folders that ``--plugins`` names, and no others, for a command without option file.

    Raises:
        UserError: on the first mistake.
    """
    find_in_plugins(folders, '--plugins').stop()


def use_more(value: Any) -> None:
    """Use the folders that the option ``plugins`` names, in addition to those in use.

    Raises:
        UserError: on the first mistake.
    """
    if value is not None:
        find_in_plugins([*map(str, _InUse.folders), *(value if isinstance(value, list) else [value])]).stop()


# ---------------------------------------------------------------- folders

def _folder(where: str, value: Any) -> Path:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f'{where}: {shown(value)} is not a folder; give its path')
    try:
        folder = Path(value).expanduser().resolve()
        files = _files(folder)
    except NotADirectoryError:
        raise UserError(f'{where}: {printable(value)} is a file; name the folder that it lies in') from None
    except PermissionError:
        raise UserError(f'{where}: {printable(value)} may not be read; check its permissions') from None
    except (OSError, RuntimeError, ValueError):  # also too long, of an unknown user, or with a NUL
        raise UserError(f'{where}: {printable(value)} is not there; it is a folder, relative to the one that the '
                        'command is started in') from None
    if not files:
        names = [file.name for file in folder.glob('*.py')]
        near = near_miss(names[0], [f'{Path(names[0]).stem}{ending}' for ending in ENDINGS]) if names else ''
        held = f'holds {names[0]}, but no' if names else 'holds no'
        raise UserError(f'{where}: {printable(value)} {held} file {" or ".join(f"*{ending}" for ending in ENDINGS)}'
                        f'{near}; files with these endings are imported')
    return folder


def _files(folder: Path) -> list[Path]:
    """Files to import; as BasicSR, not those of subfolders, and none that begins with a dot."""
    return sorted(file for file in folder.iterdir()
                  if file.name.endswith(ENDINGS) and not file.name.startswith('.') and file.is_file())


def _package(folder: Path) -> tuple[Path, str]:
    """The folder to search for modules, and what their names begin with; a package is searched from where it lies."""
    names: list[str] = []
    while (folder / '__init__.py').is_file():
        names.insert(0, folder.name)
        folder = folder.parent
    return folder, ''.join(f'{name}.' for name in names)


def _maps() -> list[dict[Any, Any]]:
    """Everything that a file registers its parts in; no entry is ever replaced by another."""
    return [*(registry._obj_map for registry in REGISTRIES), _VIEWS]


def _load(found: Findings, folders: list[Path], where: str) -> None:
    register()  # first, so that a file that takes one of its names is the one that is blamed
    _InUse.folders, before = tuple(folders), [set(known) for known in _maps()]
    _InUse.modules, _InUse.path = frozenset(sys.modules), tuple(sys.path)
    invalidate_caches()  # a file may have been written since its folder was last read
    for folder in folders:
        place, prefix = _package(folder)
        if str(place) not in sys.path:
            # Last, so that nothing in it hides what is installed. Workers of data loaders are given this path, too.
            sys.path.append(str(place))
        for file in _files(folder):
            with found.catching():
                _import(f'{where}: {printable(str(file))}', f'{prefix}{file.stem}', file)
    _InUse.registered = tuple(
        {name for name in known.keys() - names if not str(known[name].__module__).startswith(OF_PACKAGES)}
        for known, names in zip(_maps(), before, strict=True))
    if found.errors:
        _unload()


def _unload() -> None:
    places = {_package(folder)[0] for folder in _InUse.folders}
    for known, names in zip(_maps(), _InUse.registered, strict=False):
        for name in names:
            known.pop(name, None)
    new = {name.partition('.')[0] for name in sys.modules} - _InUse.modules
    loaded = {name for name in new if (file := getattr(sys.modules.get(name), '__file__', None))
              and not places.isdisjoint(list(Path(file).resolve().parents)[:2])}
    for name in [name for name in sys.modules if name.partition('.')[0] in loaded]:
        del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry in _InUse.path or Path(entry) not in places]
    _InUse.folders, _InUse.registered = (), ()


def _import(where: str, name: str, file: Path) -> None:
    if not file.stem.isidentifier():
        raise UserError(f'{where}: its name is none of a Python module; rename it with letters, digits and _')
    try:
        spec = find_spec(name)
    except Exception:  # a package around it cannot be imported, which the import itself reports
        spec = None
    if spec is not None and spec.origin is not None and Path(spec.origin).resolve() != file.resolve():
        raise UserError(f'{where}: the name is taken by {printable(spec.origin)}; rename one of them')
    try:
        import_module(name)
    except (Exception, SystemExit) as error:  # whatever a file of the user's does
        raise UserError(f'{where}: {_line_of(error, file)}{_reason(error)}') from None


def _line_of(error: BaseException, file: Path) -> str:
    """The line to blame, and its file where that is another one of the folder."""
    if isinstance(error, SyntaxError) and error.filename:
        blamed, line = Path(error.filename), error.lineno
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__)
                  if Path(frame.filename).is_relative_to(file.parent)]
        if not frames:
            return ''
        blamed, line = Path(frames[-1].filename), frames[-1].lineno
    return f'{"" if blamed == file else f"{printable(str(blamed))}: "}line {line}: '


def _reason(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return 'ends the program; a file that is imported must not'
    return f'cannot be imported ({type(error).__name__}: {reason_of(error)})'
