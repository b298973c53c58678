"""AT: attention transfer between the features of both networks."""
from __future__ import annotations

import torch
from torch.nn import functional as F

from mipkd_arch.base.arguments import checked

from basicsr.utils.registry import LOSS_REGISTRY

from .base import CRITERIA, Criterion, DistillLoss, DistillStep, LossWeight


def attention(feature: torch.Tensor) -> torch.Tensor:
    """Attention of features (N, C, H, W): squares summed over channels, of unit norm over the pixels, (N, H * W).

    Neither the scale of the features matters, nor the order or the number of channels.
    """
    return F.normalize(feature.float().square().sum(1).flatten(1), dim=1)


@LOSS_REGISTRY.register()
@checked('at_opt')
class ATLoss(DistillLoss):
    r"""Attention transfer (Zagoruyko & Komodakis, ICLR 2017).

        l_at = loss_weight * sum_k d( A(F_S^k), A(F_T^k) ),   A(F) = sum_c F_c^2 / || sum_c F_c^2 ||_2

    with features F (N, C, H, W), attention A (N, H * W), and d the mean of absolute or squared differences.

    Differs from the original: the mean over elements, and L1 by default, where it has the sum of squares halved. The
    default weight is that of the papers of MiPKD's authors.
    """

    def __init__(self, *, loss_weight: LossWeight = 10., criterion: Criterion = 'l1') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.distance = CRITERIA[criterion]

    def forward(self, step: DistillStep) -> dict[str, torch.Tensor]:
        distances = [self.distance(attention(f_s), attention(f_t)) for f_s, f_t in step.feature_pairs]
        return {'l_at': self.loss_weight * torch.stack(distances).sum()}
