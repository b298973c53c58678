"""Losses: MiPKD's own, those of the methods it is compared with, and yours: each in a file ``*_loss.py``.

Every such file of this folder is imported here, as in BasicSR, and so registers its classes in LOSS_REGISTRY.
"""
from importlib import import_module
from pathlib import Path

from .base import DistillLoss, DistillStep

for _file in sorted(Path(__file__).parent.glob('*_loss.py')):
    import_module(f'{__name__}.{_file.stem}')

__all__ = ['DistillLoss', 'DistillStep']
