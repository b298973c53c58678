"""The loss of MTKD: wavelet coefficients of the student's image, as of the teacher's."""
from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field
from torch.nn import functional as F

from mipkd_arch.base.arguments import checked
from mipkd_arch.base.errors import UserError

from basicsr.utils.registry import LOSS_REGISTRY

from .base import DistillLoss, DistillStep, LossWeight

Bands = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def haar(images: torch.Tensor) -> Bands:
    """The orthonormal Haar transform of images (N, C, H, W) of even sides: bands LL, LH, HL, HH, (N, C, H/2, W/2).

    Of each 2x2 pixels a b / c d they are (a + b + c + d) / 2, (a + b - c - d) / 2, (a - b + c - d) / 2 and
    (a - b - c + d) / 2: the mean, and the changes downwards, to the right and along the diagonal.
    """
    upper, lower = images[..., 0::2, :], images[..., 1::2, :]
    low, high = upper + lower, upper - lower
    (a, b), (c, d) = ((half[..., 0::2], half[..., 1::2]) for half in (low, high))
    return (a + b) / 2, (c + d) / 2, (a - b) / 2, (c - d) / 2


def sub_bands(images: torch.Tensor, levels: int) -> list[torch.Tensor]:
    """Bands of images (N, C, H, W): LH, HL and HH of each level, and LL of the last; a level halves the sides."""
    bands = []
    for _ in range(levels):
        images, *details = haar(images)
        bands += details
    return [*bands, images]


@LOSS_REGISTRY.register()
@checked('mtkd_opt')
class WaveletLoss(DistillLoss):
    r"""Wavelet loss of MTKD (Jiang et al., arXiv 2404.09571, ECCV 2024).

        l_wavelet = loss_weight * sum_b mean | W_b(S) - W_b(T) |

    over the sub-bands b of the Haar transform of the student's image S and the teacher's T. Any teacher will do; MTKD's
    is a ``TeacherEnsemble``, and MTKD is this term together with 0.1 of the pixel loss.

    Wavelets, L1 and one level are the paper's; Haar and equal weights are those of the released code. The sum over the
    sub-bands, the further levels and the mean over elements are our reading.
    """
    needs_features = False

    def __init__(self, *, loss_weight: LossWeight = 1., levels: Annotated[int, Field(
            ge=1, le=12, description='How often the transform is repeated on its LL band; the sides of gt are '
                                     'multiples of 2^levels.')] = 1) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.levels = levels

    def forward(self, step: DistillStep) -> dict[str, torch.Tensor]:
        height, width = step.output.shape[-2:]
        if height % 2**self.levels or width % 2**self.levels:
            raise UserError(f'mtkd_opt.levels: {self.levels} needs sides that are multiples of {2**self.levels}, and '
                            f'patches of gt are {width}x{height}; lower it, or change datasets.train.gt_size')
        pairs = zip(sub_bands(step.output, self.levels), sub_bands(step.target, self.levels), strict=True)
        return {'l_wavelet': self.loss_weight * torch.stack([F.l1_loss(ours, theirs) for ours, theirs in pairs]).sum()}
