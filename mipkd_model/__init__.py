"""Training parts of mipkd. Importing this package registers everything in BasicSR's registries."""
import mipkd_arch  # noqa: F401  (first: it makes BasicSR importable)

from .data import paired_dataset  # noqa: F401
from .losses import DistillLoss, DistillStep
from .mipkd_model import MiPKDModel
from .networks.build import load_network
from .version import __version__

__all__ = ['DistillLoss', 'DistillStep', 'MiPKDModel', '__version__', 'load_network']
