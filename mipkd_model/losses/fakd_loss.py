"""FAKD: the affinity of pixels, of the student as of the teacher."""
from __future__ import annotations

import torch
from torch.nn import functional as F

from mipkd_arch.base.arguments import checked

from basicsr.utils.registry import LOSS_REGISTRY

from .base import DistillLoss, DistillStep, LossWeight


def affinity(feature: torch.Tensor) -> torch.Tensor:
    """Cosine of each two pixels of features (N, C, H, W), over channels: (N, H * W, H * W) in [-1, 1].

    Neither the order and number of channels matters, nor the length of a pixel's vector.
    """
    # In full precision: the differences that count are near the rounding error of bfloat16.
    with torch.autocast(feature.device.type, enabled=False):
        pixels = feature.float().flatten(2)  # (N, C, H * W)
        norm = pixels.norm(dim=1, keepdim=True)
        # A vector of zeros has no direction; it is alike to none, where a gradient would have no bounds.
        norm = norm.masked_fill(norm <= 1e-6 * norm.detach().amax(2, keepdim=True), float('inf'))
        pixels = pixels / norm
        return pixels.transpose(1, 2) @ pixels


@LOSS_REGISTRY.register()
@checked('fakd_opt')
class FAKDLoss(DistillLoss):
    r"""Feature affinity-based distillation (He et al., FAKD, ICIP 2020), its spatial affinity.

        l_fakd = loss_weight * sum_k mean | A(F_S^k) - A(F_T^k) |,   A(F) = Fn^T Fn

    with features F (N, C, H, W) and Fn their pixels' unit vectors (N, C, H * W). FAKD is this term together with the
    pixel and the kd loss. Memory grows with the square of the patch: a position needs about 3 * N * (H * W)^2 floats.
    The default weight is that of the papers of MiPKD's authors.
    """

    def __init__(self, *, loss_weight: LossWeight = 1.) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, step: DistillStep) -> dict[str, torch.Tensor]:
        distances = [F.l1_loss(affinity(f_s), affinity(f_t)) for f_s, f_t in step.feature_pairs]
        return {'l_fakd': self.loss_weight * torch.stack(distances).sum()}
