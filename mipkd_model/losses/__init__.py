"""Losses: MiPKD's own, those of the methods it is compared with, and yours: each in a file ``*_loss.py``."""
from .base import DistillLoss, DistillStep

__all__ = ['DistillLoss', 'DistillStep']
