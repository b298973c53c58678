"""What the losses of one training step look at, and their common base."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from mipkd_arch.prior_mixer import STUDENT, TEACHER, FeaturePriorMixer, mix_traces
from mipkd_arch.staged import StagedView, Trace

from ..draws import Draws


@dataclass
class DistillStep:
    """One step: the images, what both networks made of them, and the means to go on from there."""
    gt: torch.Tensor
    """Ground truth (N, 3, upscale * H, upscale * W) in [0, 1]."""
    views: Mapping[str, StagedView]
    """Student and teacher by role, cut into equally many stages."""
    traces: Mapping[str, Trace]
    """Their maps and outputs by role; the teacher's carry no gradient."""
    mixers: Sequence[FeaturePriorMixer]
    """One per position."""
    draws: Draws
    """The step's random choices."""

    @property
    def student(self):
        """The student's trace."""
        return self.traces[STUDENT]

    @property
    def teacher(self):
        """The teacher's trace."""
        return self.traces[TEACHER]

    @cached_property
    def mixed(self):
        """The blended maps of all positions, made once for whichever losses ask for them."""
        return mix_traces(self.mixers, self.student, self.teacher, self.draws.masks)


class DistillLoss(nn.Module):
    """Base of losses that look at more than two images.

    ``forward`` takes a ``DistillStep`` and returns a dict of scalar losses by name, already weighted.
    """
    needs_mixers = False
    """Whether the loss uses the prior mixers, so that they are built."""

    def forward(self, step):
        raise TypeError(f'{type(self).__name__} must define forward(step)')
