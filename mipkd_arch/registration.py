"""Registers mipkd's networks, losses, datasets and models in BasicSR's registries.

Importing ``mipkd_arch`` or ``mipkd_model`` is enough: what they have is registered at once where BasicSR is loaded
already, otherwise as soon as it is imported, or at the first lookup of a name where a module of mipkd imports it. Until
then nothing imports torch, which takes seconds, so that commands that need no network answer at once.
"""
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from .compat import gc_disabled, prepare, supply_distutils

FILES = {'mipkd_arch': ('basicsr_views.py', '*_arch.py'),
         'mipkd_model': ('data/*_dataset.py', 'losses/*_loss.py', '*_model.py')}
"""Files that register something, by package. The endings are BasicSR's own."""
_registered: set[str] = set()


def register(*packages: str) -> None:
    """Import BasicSR and every module that registers something; the second call does nothing.

    Args:
        packages: 'mipkd_arch' for networks and their views, 'mipkd_model' for losses, datasets and the model. Default:
            both.

    Raises:
        InstallError: BasicSR, or a package that it needs, is missing.
    """
    for package in packages or FILES:
        if package not in _registered:
            _registered.add(package)
            with gc_disabled():
                prepare()
                _import_files(package)


def _import_files(package: str) -> None:
    folder = Path(__file__).parents[1] / package
    for pattern in FILES[package]:
        for file in sorted(folder.glob(pattern)):
            importlib.import_module('.'.join([package, *file.relative_to(folder).with_suffix('').parts]))


def register_with_basicsr(package: str) -> None:
    """Register a package now if BasicSR is loaded, else when it is imported."""
    if 'basicsr' not in sys.modules:
        sys.meta_path.insert(0, _BasicSRFinder(package))
    elif not _imported_from_here():
        register(package)


def _imported_from_here() -> bool:
    """Whether a module of mipkd is being imported. It is not ready for the modules that ``register`` imports."""
    frame: FrameType | None = sys._getframe()  # the only way to see who imports; CPython has it in every version
    while frame := frame.f_back if frame else None:
        name = str(frame.f_globals.get('__name__'))
        if frame.f_code.co_name == '<module>' and name.startswith(('mipkd_arch.', 'mipkd_model.')):
            return True
    return False


class _BasicSRFinder(MetaPathFinder):
    """Sees the first import of BasicSR: supplies what it lacks, and registers a package afterwards."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, path: Sequence[str] | None = None,
                  target: ModuleType | None = None) -> ModuleSpec | None:
        if name != 'basicsr':
            return None
        sys.meta_path.remove(self)
        supply_distutils()
        spec = importlib.util.find_spec('basicsr')
        if spec is None or not spec.has_location or spec.loader is None:
            return spec
        load, then = spec.loader.exec_module, _register_at_lookup if _imported_from_here() else register

        def load_and_register(module: ModuleType) -> None:
            load(module)
            then(self.package)

        spec.loader.exec_module = load_and_register  # type: ignore[method-assign]
        return spec


def _register_at_lookup(package: str) -> None:
    """Register a package when a name is looked up: now is too early, for a module of mipkd imports BasicSR."""
    registry = importlib.import_module('basicsr.utils.registry').Registry
    for method in ('get', '__contains__', '__iter__', 'keys'):
        setattr(registry, method, _registering(getattr(registry, method), package))


def _registering(lookup: Callable[..., Any], package: str) -> Callable[..., Any]:
    @functools.wraps(lookup)
    def call(*args: Any, **kwargs: Any) -> Any:
        if package not in _registered and not _imported_from_here():
            register(package)
        return lookup(*args, **kwargs)

    return call
