"""Makes BasicSR 1.4.2 from PyPI importable on today's Python, torch and torchvision.

``prepare()`` supplies two modules that BasicSR imports by their old names, and turns the most frequent import failures
into one line that says what to install.
"""
from __future__ import annotations

import gc
import importlib
import shlex
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from .base.errors import UserError
from .basicsr_compat import supply

INSTALL_SCRIPT = Path(__file__).resolve().parents[1] / 'install.py'
INSTALL_HINT = (f'python {shlex.quote(str(INSTALL_SCRIPT))}' if INSTALL_SCRIPT.is_file() else
                'run install.py of the source of mipkd, which installs BasicSR 1.4.2, too')
REMEDIES = {'torch': 'pip install torch torchvision',
            'torchvision': 'install a matching pair, pip install --upgrade torch torchvision',
            'cv2': 'pip install opencv-python-headless, which needs no libraries of a desktop',
            'lmdb': 'pip install lmdb'}


class InstallError(ImportError, UserError):
    """The environment cannot run mipkd; the message says what to install."""


@contextmanager
def gc_disabled() -> Iterator[None]:
    """Context for imports: no garbage is collected among 600,000 objects that stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def supply_distutils() -> None:
    """``basicsr.archs.arch_util`` imports ``distutils``, which Python 3.12 removed."""
    try:
        importlib.import_module('distutils.version')
    except ModuleNotFoundError:  # setuptools has a copy, and installs an import hook for it
        _import('setuptools', 'pip install setuptools, for the distutils that BasicSR 1.4.2 imports')


def _import(name: str, remedy: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            raise InstallError(f'mipkd needs {name}, which is not installed: {remedy}') from None
        raise InstallError(f'{name} is installed but cannot be imported ({error}): {remedy}') from error
    except RuntimeError as error:  # torchvision built for another torch: "operator torchvision::nms does not exist"
        raise InstallError(f'{name} does not fit the installed torch ({error}): {remedy}') from error


def prepare() -> ModuleType:
    """Import and return the ``basicsr`` package, with what it lacks supplied.

    Raises:
        InstallError: something is missing or does not fit; the message says what to install.
    """
    for name, remedy in REMEDIES.items():
        _import(name, remedy)
    supply()
    supply_distutils()
    # BasicSR's SwinIR calls it in a way that torch warns of each time one is built.
    warnings.filterwarnings('ignore', 'torch.meshgrid', UserWarning)
    basicsr = _import('basicsr', INSTALL_HINT)
    if getattr(basicsr, '__file__', None) is None:
        # This repository's launcher folder has the library's name and no __init__.py: alone, it is an empty package.
        raise InstallError(f'mipkd needs BasicSR 1.4.2, found only the folder {list(basicsr.__path__)[0]}: '
                           f'{INSTALL_HINT}')
    return basicsr
