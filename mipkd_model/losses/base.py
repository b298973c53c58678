"""What losses get of one training step, and their common base."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from mipkd_arch.prior_mixer import STUDENT, TEACHER, FeaturePriorMixer, Mixed, mix_features
from mipkd_arch.staged_views import StagedOutput, StagedView, crop_to

from ..base.randomness import StepRandom

CRITERIA = {'l1': F.l1_loss, 'mse': F.mse_loss}
"""Distances of two features, means over elements, by the name of the option ``criterion``."""
Criterion = Annotated[Literal['l1', 'mse'], Field(description='Distance: mean of absolute or of squared differences.')]
LossWeight = Annotated[float, Field(ge=0, description='Weight of the loss; 0 leaves it out.')]


@dataclass
class DistillStep:
    """One training step: the images, the forward passes of both networks, and what makes more of them."""
    lq: torch.Tensor
    """Input (N, 3, H, W) in [0, 1], as the dataset gave it; the passes are those of a padded copy where needed."""
    gt: torch.Tensor
    """Ground truth (N, 3, upscale * H, upscale * W) in [0, 1]."""
    views: Mapping[str, StagedView]
    """Student and teacher by role, cut into equally many stages."""
    passes: Mapping[str, StagedOutput]
    """Their features and outputs by role; the teacher's carry no gradient."""
    mixers: Sequence[FeaturePriorMixer]
    """One per position."""
    rng: StepRandom
    """The random generator of this step."""

    @property
    def student(self) -> StagedOutput:
        """The student's features and output."""
        return self.passes[STUDENT]

    @property
    def teacher(self) -> StagedOutput:
        """The teacher's features and output, without gradient."""
        return self.passes[TEACHER]

    @property
    def feature_pairs(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Features of student and teacher, (N, C_S, H, W) and (N, C_T, H, W), position by position."""
        return zip(self.student.features, self.teacher.features, strict=True)

    @cached_property
    def output(self) -> torch.Tensor:
        """The student's image, float32, of the size of ``gt``."""
        return crop_to(self.student.output, self.lq, self.views[STUDENT].upscale).float()

    @cached_property
    def target(self) -> torch.Tensor:
        """The teacher's image, float32, of the size of ``gt``."""
        return crop_to(self.teacher.output, self.lq, self.views[TEACHER].upscale).float()

    @cached_property
    def mixed(self) -> list[Mixed]:
        """The mixed features of all positions, computed once for all losses that need them."""
        return mix_features(self.mixers, self.student, self.teacher, self.rng.uniform)

    def versions(self) -> list[int]:
        """How often each image and feature has been written into: integers that change with the next time."""
        tensors = [self.lq, self.gt]
        for passed in self.passes.values():
            tensors += [*passed.features, passed.output]
        return [tensor._version for tensor in tensors]

    def teacher_forward(self, lq: torch.Tensor) -> torch.Tensor:
        """The teacher's image of another lq (N, 3, H, W) of any size, float32, without gradient."""
        with torch.no_grad():
            return self.views[TEACHER](lq).float()

    def student_forward(self, lq: torch.Tensor) -> torch.Tensor:
        """The student's image of another lq (N, 3, H, W) of any size, float32."""
        return self.views[STUDENT](lq).float()


class DistillLoss(nn.Module):
    """Base of losses that compare more than two images.

    ``forward`` takes a ``DistillStep`` and returns a dict of scalar losses by name, already weighted. Arguments of
    the constructor are the options of its block in the option file, and its type hints what they may be;
    ``loss_weight`` 0 leaves the loss out of the run.
    """
    needs_features = True
    """Whether the loss needs features, and so a staged view of both networks."""
    needs_mixers = False
    """Whether the loss uses the prior mixers, so that they are built."""
    min_batch = 1
    """Samples that a batch must have."""
    takes_parts = True
    """Whether a batch may be passed in parts, by ``train.accumulate``."""
    lr: float | None = None
    """Learning rate of the loss's own weights; None: that of ``train.mixer_lr``."""
    inner_every = 0
    """Iterations from one ``inner_step`` to the next; 0: there is none."""

    def bind(self, views: Mapping[str, StagedView]) -> None:
        """Build what depends on the networks; called once, before training, with the views by role.

        Raises:
            UserError: the loss does not fit this pair.
        """

    def inner_step(self, step: DistillStep, factor: float) -> None:
        """Set ``.grad`` of the loss's own weights, where these are not trained by the loss's value.

        Called before the step's own passes, in float32 and uncompiled, with the whole batch of the process and the
        teacher's pass. Gradients become means over all processes.

        Args:
            factor: what the loss's schedule multiplies ``loss_weight`` by in this iteration.
        """


def feature_std(feature: torch.Tensor) -> torch.Tensor:
    """Standard deviation of features (N, C, H, W) over all elements: 0-dim, float32, above 0, without gradient."""
    return feature.detach().float().std().clamp(min=1e-6)
