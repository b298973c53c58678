"""Networks of mipkd: staged views, student architectures and prior mixers."""
from .compat import prepare

prepare()  # before anything below imports BasicSR

from . import student_arch, views  # noqa: E402, F401  (importing them registers students and views)
from .staged import StagedView, StagedViewError, has_view, register_view, staged_view  # noqa: E402

__all__ = ['StagedView', 'StagedViewError', 'has_view', 'register_view', 'staged_view']
