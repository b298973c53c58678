"""DUKD: the teacher labels more inputs than the dataset has."""
from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch.nn import functional as F

from mipkd_arch.base.arguments import checked
from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import STUDENT
from mipkd_arch.staged_views import StagedView

from basicsr.utils.registry import LOSS_REGISTRY

from .base import DistillLoss, DistillStep, LossWeight
from .bicubic_resize import bicubic

CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    'invert': lambda x: 1 - x,
    'hflip': lambda x: x.flip(-1),
    'vflip': lambda x: x.flip(-2),
    'transpose': lambda x: x.transpose(-1, -2),
}
"""Changes of images (N, C, H, W) in [0, 1], in the order in which they are made; each is its own inverse."""


def change(images: torch.Tensor, names: Sequence[str]) -> torch.Tensor:
    """Make the named changes, in the order of ``names``."""
    for name in names:
        images = CHANGES[name](images)
    return images


def random_crops(images: torch.Tensor, height: int, width: int, numbers: Sequence[random.Random]) -> torch.Tensor:
    """Crop each of the images (N, C, H, W) at random, from a generator each: (N, C, height, width)."""
    rows, columns = images.shape[-2] - height, images.shape[-1] - width
    crops = []
    for image, own in zip(images, numbers, strict=True):
        top, left = own.randint(0, rows), own.randint(0, columns)
        crops.append(image[:, top:top + height, left:left + width])
    return torch.stack(crops)


@LOSS_REGISTRY.register()
@checked('dukd_opt')
class DUKDLoss(DistillLoss):
    r"""Data upcycling with label consistency (Zhang et al., DUKD, arXiv 2309.14162; at ICLR 2025 as AugKD).

        l_zoom_in  = loss_weight * mean | F^-1( S(F(x_in)) ) - T(x_in) |
        l_zoom_out = loss_weight * ( mean | S(x_out) - T(x_out) | + mean | S(x_out) - lq | )

    Zoomed in, x_in is a crop of gt of the size of lq, taken as it is; only the teacher knows its image of upscale
    times the size. Zoomed out, x_out is lq downsampled by upscale, bicubically and rounded to 8 bits as LR images are;
    lq is its ground truth. F is a random composition of inverting the colors (1 - x), horizontal and vertical flip and
    transpose, each with probability ``consistency_prob``, in this order; only the student's input is changed and only
    its output is changed back, in reverse order. All are (N, 3, H, W) in [0, 1]. DUKD is this term together with the
    pixel and the kd loss.

    Our reading: one crop per sample, one F per batch and step, and equal weights. The code of its authors leaves
    zooming out away for SwinIR and for RCAN x2 and x4; here it is a choice.
    """
    needs_features = False

    def __init__(self, *, loss_weight: LossWeight = 1.,
                 zoom_in: Annotated[bool, Field(description='Take the first term.')] = True,
                 zoom_out: Annotated[bool, Field(description='Take the second.')] = True,
                 consistency: Annotated[bool, Field(
                     description='Change the zoomed-in input of the student by F.')] = True,
                 consistency_prob: Annotated[float, Field(
                     ge=0, le=1, description='Probability of each change.')] = 0.3) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.zoom_in = zoom_in
        self.zoom_out = zoom_out
        self.consistency = consistency
        self.consistency_prob = consistency_prob

    def bind(self, views: Mapping[str, StagedView]) -> None:
        if self.zoom_out and views[STUDENT].upscale == 1:
            raise UserError('dukd_opt.zoom_out: true, but at scale: 1 it would train the student to return its input; '
                            'set zoom_out: false')

    def forward(self, step: DistillStep) -> dict[str, torch.Tensor]:
        losses = {}
        if self.zoom_in:
            height, width = step.lq.shape[-2:]
            lq = random_crops(step.gt, height, width, step.rng.numbers_of_samples('dukd', len(step.gt)))
            numbers = step.rng.numbers('dukd')
            names = [name for name in CHANGES if self.consistency and numbers.random() < self.consistency_prob]
            # Taken back in reverse, for a flip and a transpose do not commute.
            image = change(step.student_forward(change(lq, names)), names[::-1])
            losses['l_zoom_in'] = self.loss_weight * F.l1_loss(image, step.teacher_forward(lq))
        if self.zoom_out:
            scale = step.views[STUDENT].upscale
            height, width = (side // scale for side in step.lq.shape[-2:])
            if not (height and width):
                raise UserError(f'dukd_opt.zoom_out: lq of {step.lq.shape[-1]}x{step.lq.shape[-2]} cannot be '
                                f'downsampled by {scale}')
            gt = step.lq[..., :height * scale, :width * scale]
            lq = bicubic(gt, height, width)
            image = step.student_forward(lq)
            distance = F.l1_loss(image, step.teacher_forward(lq)) + F.l1_loss(image, gt)
            losses['l_zoom_out'] = self.loss_weight * distance
        return losses
