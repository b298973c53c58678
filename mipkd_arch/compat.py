"""Makes BasicSR 1.4.2 from PyPI importable on today's Python, torch and torchvision.

``prepare()`` runs before anything else of BasicSR is imported. It supplies two modules that BasicSR asks for by their
old names and turns the import failures that users meet most often into one line that says what to install.
"""
import gc
import importlib
import shlex
import warnings
from contextlib import contextmanager
from pathlib import Path

from .basicsr_compat import supply

INSTALL_SCRIPT = Path(__file__).resolve().parents[1] / 'install.py'
INSTALL_HINT = (f'python {shlex.quote(str(INSTALL_SCRIPT))}' if INSTALL_SCRIPT.is_file() else
                'run install.py of the source of mipkd, which installs BasicSR 1.4.2, too')


class InstallError(ImportError):
    """The environment cannot run mipkd; the message says what to install."""


@contextmanager
def garbage_kept():
    """Context for imports: no garbage is looked for among 600,000 objects that stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def supply_distutils():
    """``basicsr.archs.arch_util`` imports ``distutils``, which Python 3.12 removed; setuptools brings it back."""
    try:
        importlib.import_module('distutils.version')
    except ModuleNotFoundError:
        try:
            # setuptools keeps a copy and puts an import hook for it in place when it is imported.
            importlib.import_module('setuptools')
            importlib.import_module('distutils.version')
        except ModuleNotFoundError:
            raise InstallError('BasicSR 1.4.2 needs distutils, which Python 3.12 and later no longer have: '
                               'pip install setuptools') from None


def _import(name, remedy):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            raise InstallError(f'mipkd needs {name}, which is not installed: {remedy}') from None
        raise InstallError(f'{name} is installed but cannot be imported ({error}): {remedy}') from error
    except RuntimeError as error:  # torchvision built for another torch: "operator torchvision::nms does not exist"
        raise InstallError(f'{name} does not fit the installed torch ({error}): {remedy}') from error


def prepare():
    """Import BasicSR, with what it lacks supplied.

    Returns:
        module: the ``basicsr`` package.

    Raises:
        InstallError: something is missing or does not fit; the message says what to install.
    """
    _import('torch', 'pip install torch torchvision')
    _import('torchvision', 'install a matching pair, pip install --upgrade torch torchvision')
    _import('cv2', 'pip install opencv-python-headless, which needs no libraries of a desktop')
    _import('lmdb', 'pip install lmdb')
    supply()
    supply_distutils()
    # BasicSR's SwinIR asks for it in a way that torch warns of each time one is built.
    warnings.filterwarnings('ignore', 'torch.meshgrid', UserWarning)
    basicsr = _import('basicsr', INSTALL_HINT)
    if getattr(basicsr, '__file__', None) is None:
        # This repository's launcher folder has the library's name and no __init__.py: alone, it is an empty package.
        raise InstallError(f'mipkd needs BasicSR 1.4.2, found only the folder {list(basicsr.__path__)[0]}: '
                           f'{INSTALL_HINT}')
    return basicsr
