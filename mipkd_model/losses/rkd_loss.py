"""RKD: relations between the samples of a batch, of the student as of the teacher."""
from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch.nn import functional as F

from mipkd_arch.base.arguments import checked

from basicsr.utils.registry import LOSS_REGISTRY

from .base import DistillLoss, DistillStep, LossWeight


def relations(feature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Distances and angles between the samples of a batch of features (N, C, H, W), each taken as one vector.

    Scale, shift and the number of elements of the features do not matter.

    Returns:
        float64; distances (N, N) over their mean; and cosines (N, N, N), at [i, j, k] that of
        the angle which samples j and k span at sample i, zero where two of them are the same.
    """
    with torch.autocast(feature.device.type, enabled=False):
        vectors = feature.float().flatten(1)
        vectors = vectors - vectors.mean(0)  # changes no difference, and spares the products below their cancellation
        # All inner products of differences are sums of entries of one small matrix, (N, N).
        gram = (vectors @ vectors.T).double()
    diagonal = torch.eye(len(gram), dtype=torch.bool, device=gram.device)
    own = gram.diagonal()
    squares = own[:, None] + own[None, :] - 2 * gram
    # Two flat patches are one sample, up to rounding: their distance has no direction, and a gradient without bounds.
    same = diagonal | (squares <= 1e-6 * (own[:, None] + own[None, :]))
    distances = squares.masked_fill(same, 1).sqrt().masked_fill(same, 0)
    inverse = distances.masked_fill(same, 1).reciprocal().masked_fill(same, 0)
    # <v_j - v_i, v_k - v_i> at [i, j, k]
    products = gram[None] - gram[:, :, None] - gram[:, None, :] + own[:, None, None]
    cosines = products * inverse[:, :, None] * inverse[:, None, :]
    cosines = cosines.masked_fill(diagonal[None], 0)  # j = k: always 1, whatever the network
    mean = distances.sum() / (len(gram) * (len(gram) - 1))
    return distances / mean.clamp(min=1e-30), cosines


@LOSS_REGISTRY.register()
@checked('rkd_opt')
class RKDLoss(DistillLoss):
    r"""Relational knowledge distillation (Park et al., RKD, CVPR 2019).

        l_rkd = loss_weight * sum_k ( distance_weight * h(D_S, D_T) + angle_weight * h(C_S, C_T) )

    with distances D (N, N) and cosines C (N, N, N) of ``relations`` on the features (N, C, H, W) of a position, and h
    the smooth L1 loss, mean over all elements. The default weights of both terms are the original's.

    Differs from the original: the features of each position, flattened, instead of one embedding of the network.
    """
    min_batch = 3  # two samples have one distance, which is its own mean

    def __init__(self, *, loss_weight: LossWeight = 0.01,
                 distance_weight: Annotated[float, Field(ge=0, description='Weight of the distances.')] = 25.,
                 angle_weight: Annotated[float, Field(ge=0, description='Weight of the cosines.')] = 50.) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.distance_weight = distance_weight
        self.angle_weight = angle_weight

    def forward(self, step: DistillStep) -> dict[str, torch.Tensor]:
        terms = []
        for f_s, f_t in step.feature_pairs:
            (distances_s, cosines_s), (distances_t, cosines_t) = relations(f_s), relations(f_t)
            terms.append(self.distance_weight * F.smooth_l1_loss(distances_s, distances_t)
                         + self.angle_weight * F.smooth_l1_loss(cosines_s, cosines_t))
        return {'l_rkd': (self.loss_weight * torch.stack(terms).sum()).float()}
