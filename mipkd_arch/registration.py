"""Registers mipkd's networks, losses, datasets and models in BasicSR's registries.

Importing ``mipkd_arch`` or ``mipkd_model`` loads neither torch nor BasicSR, which takes seconds, so that commands that
need no network answer at once. Everything is registered at the first lookup in one of BasicSR's registries.
"""
import functools
import gc
import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from .base.errors import UserError
from .base.failures import missing_package
from .base.registry_names import registered_name

ROOT = Path(__file__).resolve().parents[1]
FILES = ('mipkd_arch/basicsr_views.py', 'mipkd_arch/*_arch.py', 'mipkd_model/data/*_dataset.py',
         'mipkd_model/losses/*_loss.py', 'mipkd_model/*_model.py')
"""Files that register something. The endings are BasicSR's own."""
LOOKUPS = ('get', '__contains__', '__iter__', 'keys')
"""Methods of BasicSR's ``Registry`` that read what is registered."""
_started = False


class InstallError(ImportError, UserError):
    """The environment cannot run mipkd; the message says what to install."""


def register() -> None:
    """Import BasicSR and every module that registers something; the second call does nothing.

    Raises:
        InstallError: BasicSR, or a package that it needs, is missing or cannot be imported.
    """
    global _started
    if _started:
        return
    _started = True
    # BasicSR's SwinIR calls it in a way that torch warns of each time one is built.
    warnings.filterwarnings('ignore', 'torch.meshgrid', UserWarning)
    enabled = gc.isenabled()
    gc.disable()  # nothing is garbage among the 600,000 objects that imports make
    try:
        importlib.import_module('basicsr.archs')  # not of the launchers' folder, which has the library's name
        for pattern in FILES:
            for file in sorted(ROOT.glob(pattern)):
                importlib.import_module('.'.join(file.relative_to(ROOT).with_suffix('').parts))
    except (ImportError, RuntimeError) as error:  # RuntimeError: torchvision was built for another torch
        _started = False  # the next lookup says so again
        raise InstallError(missing_package(error)) from error
    finally:
        if enabled:
            gc.enable()


def register_at_lookup() -> None:
    """Let the first lookup in a registry of BasicSR, whenever that is imported, register everything."""
    if 'basicsr.archs' in sys.modules:
        _extend_lookups()
    elif not any(isinstance(finder, _LookupFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LookupFinder())


class _LookupFinder(MetaPathFinder):
    """Finds no module, but sees when BasicSR imports its networks: its registries are there then."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name.startswith('basicsr.archs.'):
            _extend_lookups()


def _extend_lookups() -> None:
    registry = importlib.import_module('basicsr.utils.registry').Registry
    for name in LOOKUPS:
        lookup = getattr(registry, name)
        if not hasattr(lookup, '__wrapped__'):
            setattr(registry, name, _after_registering(lookup))


def _after_registering(lookup: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(lookup)
    def call(registry: Any, *args: Any, **kwargs: Any) -> Any:
        register()
        if lookup.__name__ == 'get' and len(args) == 1:
            args = (registered_name(registry, args[0]), )
        return lookup(registry, *args, **kwargs)

    return call
