"""Training parts of mipkd. Importing this package registers everything in BasicSR's registries."""
__version__ = '0.1.0'  # before the imports: what they import asks for it

import mipkd_arch  # noqa: F401  (first: it makes BasicSR importable)

from .assemble import load_network
from .data import paired_dataset  # noqa: F401
from .losses import DistillLoss, DistillStep
from .mipkd_model import MiPKDModel

__all__ = ['DistillLoss', 'DistillStep', 'MiPKDModel', '__version__', 'load_network']
