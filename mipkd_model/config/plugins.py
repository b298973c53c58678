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
from pathlib import Path
from typing import Any

from mipkd_arch.base.errors import UserError, printable, reason_of, shown
from mipkd_arch.registration import register
from mipkd_arch.staged_views import VIEWS

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

from .cli_arguments import ENDINGS
from .findings import Findings

WHERE = 'plugins'
REGISTRIES = (ARCH_REGISTRY, LOSS_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY, METRIC_REGISTRY)


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

    ``value`` is a folder, a list of folders, or None; no folder is in use where a mistake is found.
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
    """Use the folders that ``--plugins`` names, and no others; raises the first mistake as a ``UserError``."""
    find_in_plugins(folders, '--plugins').stop()


def use_more(value: Any) -> None:
    """Use the folders that the option ``plugins`` names, in addition to those in use; raises as ``use``."""
    if value is not None:
        find_in_plugins([*map(str, _InUse.folders), *(value if isinstance(value, list) else [value])]).stop()


def _folder(where: str, value: Any) -> Path:
    try:
        folder = Path(value).expanduser().resolve()
        files = _files(folder)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        raise UserError(f'{where}: {shown(value)} is not a folder that can be read ({reason_of(error)}); give its '
                        'path, relative to the folder that the command is started in') from None
    if not files:
        raise UserError(f'{where}: {printable(value)} has no file {" or ".join(f"*{ending}" for ending in ENDINGS)}; '
                        'files with these endings are imported')
    return folder


def _files(folder: Path) -> list[Path]:
    """Files to import; as BasicSR, not those of subfolders, and none that begins with a dot."""
    return sorted(file for file in folder.iterdir()
                  if file.name.endswith(ENDINGS) and not file.name.startswith('.') and file.is_file())


def _package(folder: Path) -> tuple[Path, str]:
    """The folder to search for modules, and what their names begin with; a package is searched from where it lies."""
    prefix = ''
    while (folder / '__init__.py').is_file():
        folder, prefix = folder.parent, f'{folder.name}.{prefix}'
    return folder, prefix


def _maps() -> list[dict[Any, Any]]:
    """Everything that a file registers its parts in; no entry is ever replaced by another."""
    return [*(registry._obj_map for registry in REGISTRIES), VIEWS]


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
    _InUse.registered = tuple(known.keys() - names for known, names in zip(_maps(), before, strict=True))
    if found.errors:
        _unload()


def _unload() -> None:
    places = {_package(folder)[0] for folder in _InUse.folders}
    for known, names in zip(_maps(), _InUse.registered, strict=False):
        for name in names:
            known.pop(name, None)
    new = {name for name in sys.modules if name.partition('.')[0] not in _InUse.modules}
    own = {name.partition('.')[0] for name in new if (file := getattr(sys.modules[name], '__file__', None))
           and not places.isdisjoint(list(Path(file).resolve().parents)[:2])}
    for name in new:
        if name.partition('.')[0] in own:
            del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry in _InUse.path or Path(entry) not in places]
    _InUse.folders, _InUse.registered = (), ()


def _import(where: str, name: str, file: Path) -> None:
    try:
        module = import_module(name)
    except (Exception, SystemExit) as error:  # whatever a file of the user's does
        frames = [frame for frame in traceback.extract_tb(error.__traceback__)
                  if Path(frame.filename).is_relative_to(file.parent)]  # none of a mistake in the syntax, which says it
        line = f'{Path(frames[-1].filename).name}, line {frames[-1].lineno}: ' if frames else ''
        raise UserError(f'{where}: cannot be imported ({printable(line)}{type(error).__name__}: {reason_of(error)})'
                        ) from None
    if module.__file__ is None or Path(module.__file__).resolve() != file.resolve():
        raise UserError(f'{where}: the name is taken by {printable(str(module.__file__))}; rename one of them')
