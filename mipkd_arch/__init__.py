"""Networks of mipkd: staged views, student architectures and prior mixers.

Importing this package registers its networks in BasicSR's ``ARCH_REGISTRY`` (see ``registration``).
"""
import importlib
import sys
from typing import TYPE_CHECKING, Any

from . import basicsr_compat  # noqa: F401  (supplies what BasicSR needs)
from .base.threads import set_thread_defaults
from .registration import register, register_at_lookup

if TYPE_CHECKING:
    from .staged_views import StagedView, StagedViewError, has_view, register_view, staged_view

__all__ = ['StagedView', 'StagedViewError', 'has_view', 'register', 'register_view', 'staged_view']

if 'torch' not in sys.modules:  # OpenMP reads these variables when torch is loaded
    set_thread_defaults()
register_at_lookup()


def __getattr__(name: str) -> Any:
    """Import public names when they are asked for, for they need torch."""
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    register()
    return getattr(importlib.import_module('.staged_views', __name__), name)
