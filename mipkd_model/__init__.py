"""Losses, training and evaluation of mipkd.

Importing this package registers everything in BasicSR's registries (see ``mipkd_arch.registration``).
"""
import importlib
from typing import TYPE_CHECKING, Any

from mipkd_arch.registration import register

from .version import __version__

if TYPE_CHECKING:
    from .config import plugins
    from .losses.base import DistillLoss, DistillStep
    from .mipkd_model import MiPKDModel
    from .networks.build import load_network

__all__ = ['DistillLoss', 'DistillStep', 'MiPKDModel', '__version__', 'load_network', 'plugins', 'register']
_MODULES = {'DistillLoss': 'losses.base', 'DistillStep': 'losses.base', 'MiPKDModel': 'mipkd_model',
            'load_network': 'networks.build', 'plugins': 'config.plugins'}


def __getattr__(name: str) -> Any:
    """Import public names when they are asked for, for they need torch."""
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    register()
    module = importlib.import_module(f'.{_MODULES[name]}', __name__)
    return module if name == 'plugins' else getattr(module, name)
