"""Knowledge representation networks: what of two networks' features is compared, and how much of it; for Meta-KD."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

SIDE = 3
EPSILON = 1e-2
"""Of the Charbonnier distance of features of standard deviation 1: below it the distance is round."""


class KRNet(nn.Module):
    """Learned distance of both networks' features at one position; the formula is that of ``MetaKDLoss``.

    Args:
        num_feat_s: channels C of the student's features.
        num_feat_t: channels of the teacher's.
        kernels: M, the textures that are told apart.
    """

    def __init__(self, num_feat_s: int, num_feat_t: int, kernels: int) -> None:
        super().__init__()
        self.align = nn.Conv2d(num_feat_t, num_feat_s, 1, bias=False)
        nn.init.orthogonal_(self.align.weight)  # aligned features are as large as the teacher's from the start
        self.textures = nn.Sequential(nn.Linear(2 * num_feat_s, num_feat_s), nn.SiLU(),
                                      nn.Linear(num_feat_s, kernels * (SIDE**2 + 2)))
        self.kernels = kernels

    def forward(self, f_s: torch.Tensor, f_t: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """The distance of features (N, C, H, W) and (N, C_T, H, W): 0-dim, a mean over samples.

        Kernels and weights follow from ``reference``, the student's features without gradient, so that the student
        cannot lower the distance by changing what is compared. Nor can it by smaller features: the gradient goes
        through the standard deviation that they are divided by.
        """
        f_s, f_t, reference = (feature.to(self.align.weight.dtype) for feature in (f_s, f_t, reference))
        x, y, seen = of_unit_std(f_s), self.align(of_unit_std(f_t)), of_unit_std(reference)  # (N, C, H, W)
        difference = 1 - F.cosine_similarity(seen, y).unsqueeze(1)  # (N, 1, H, W), from 0 to 2
        kernels, importance, slope = self.describe(seen, difference)
        weights = 2 * torch.sigmoid(importance + slope * difference)  # (N, M, H, W)
        return compare(x - y, kernels, weights)

    def describe(self, seen: torch.Tensor, difference: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Kernels (N, M, 3, 3) for samples, and how their weights begin and grow with the difference, (N, M, 1, 1).

        A sample is described by the energy of each channel, over all pixels and over those where the networks differ.
        """
        energy = seen.square()
        pooled = torch.cat([energy.mean((2, 3)), (difference * energy).mean((2, 3))], 1)  # (N, 2 C)
        kernels, rest = self.textures(pooled).view(len(seen), self.kernels, -1).split([SIDE**2, 2], -1)
        kernels = F.normalize(kernels - kernels.mean(-1, keepdim=True), dim=-1)  # blind to what is no texture
        importance, slope = rest[..., None, None].unbind(2)
        return kernels.unflatten(-1, (SIDE, SIDE)), importance, slope


class KRNets(nn.ModuleList):
    """One ``KRNet`` for each position."""

    def forward(self, features_s: Sequence[torch.Tensor], features_t: Sequence[torch.Tensor],
                references: Sequence[torch.Tensor]) -> torch.Tensor:
        """Sum of the distances over positions, arguments by position as for ``KRNet.forward``."""
        return torch.stack([net(*features) for net, *features in
                            zip(self, features_s, features_t, references, strict=True)]).sum()


def compare(difference: torch.Tensor, kernels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted Charbonnier distance of filtered features: the mean over samples, kernels, channels and pixels.

    Args:
        difference: of both networks' features, (N, C, H, W): filters are linear.
        kernels: (N, M, 3, 3), each for all channels of its sample.
        weights: (N, M, H, W).
    """
    channels = F.pad(difference, (1, 1, 1, 1), 'replicate').transpose(0, 1)  # (C, N, H + 2, W + 2)
    filtered = F.conv2d(channels, kernels.flatten(0, 1).unsqueeze(1), groups=len(kernels))  # (C, N * M, H, W)
    return (weights.flatten(0, 1) * (filtered.square() + EPSILON**2).sqrt()).mean()


def of_unit_std(feature: torch.Tensor) -> torch.Tensor:
    """Features (N, C, H, W), those of each sample divided by their standard deviation, or by 1e-6 if that is less."""
    return feature / feature.std((1, 2, 3), keepdim=True).clamp(min=1e-6)
