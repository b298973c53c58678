"""Losses of mipkd, registered in BasicSR's LOSS_REGISTRY."""
from .prior_loss import BlockPriorLoss, FeaturePriorLoss
from .step import DistillLoss, DistillStep

__all__ = ['BlockPriorLoss', 'DistillLoss', 'DistillStep', 'FeaturePriorLoss']
