"""Networks of mipkd: staged views, student architectures and prior mixers.

Every file ``*_arch.py`` of this folder is imported here, as in BasicSR, and so registers its networks and views.
"""
import sys
from importlib import import_module
from pathlib import Path

from .base.threads import set_thread_defaults

if 'torch' not in sys.modules:  # OpenMP reads these variables when torch is loaded
    set_thread_defaults()

from .compat import gc_disabled, prepare

with gc_disabled():
    prepare()  # before anything below imports BasicSR

from . import basicsr_views as views  # noqa: F401  (registers the views of BasicSR's own networks)
from .staged_view import StagedView, StagedViewError, has_view, register_view, staged_view

for _file in sorted(Path(__file__).parent.glob('*_arch.py')):
    import_module(f'{__name__}.{_file.stem}')

__all__ = ['StagedView', 'StagedViewError', 'has_view', 'register_view', 'staged_view']
