"""What the losses of one training step look at, and their common base."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn
from torch.nn import functional as F

from mipkd_arch.prior_mixer import STUDENT, TEACHER, FeaturePriorMixer, mix_features
from mipkd_arch.staged_view import StagedOutput, StagedView, crop_to

from ..base.randomness import StepRandom

CRITERIA = {'l1': F.l1_loss, 'mse': F.mse_loss}
"""What a loss may take as the distance of two maps, by the name of its option ``criterion``; means over elements."""


@dataclass
class DistillStep:
    """One step: the images, what both networks made of them, and the means to go on from there."""
    lq: torch.Tensor
    """Input (N, 3, H, W) in [0, 1], as the dataset gave it; the passes are those of a padded copy where needed."""
    gt: torch.Tensor
    """Ground truth (N, 3, upscale * H, upscale * W) in [0, 1]."""
    views: Mapping[str, StagedView]
    """Student and teacher by role, cut into equally many stages."""
    passes: Mapping[str, StagedOutput]
    """Their maps and outputs by role; the teacher's carry no gradient."""
    mixers: Sequence[FeaturePriorMixer]
    """One per position."""
    rng: StepRandom
    """The step's random choices."""

    @property
    def student(self):
        """The student's features and output."""
        return self.passes[STUDENT]

    @property
    def teacher(self):
        """The teacher's features and output, without gradient."""
        return self.passes[TEACHER]

    @property
    def feature_pairs(self):
        """Maps of student and teacher, (N, C_S, H, W) and (N, C_T, H, W), of one position after the other."""
        return zip(self.student.features, self.teacher.features, strict=True)

    @cached_property
    def output(self):
        """The student's image, float32, of the size of ``gt``."""
        return crop_to(self.student.output, self.lq, self.views[STUDENT].upscale).float()

    @cached_property
    def target(self):
        """The teacher's image, float32, of the size of ``gt``."""
        return crop_to(self.teacher.output, self.lq, self.views[TEACHER].upscale).float()

    @cached_property
    def mixed(self):
        """The blended maps of all positions, made once for whichever losses ask for them."""
        return mix_features(self.mixers, self.student, self.teacher, self.rng.uniform)

    def versions(self):
        """How often each image and map has been written into: whole numbers that change with the next time."""
        tensors = [self.lq, self.gt]
        for passed in self.passes.values():
            tensors += [] if passed is None else [*passed.features, passed.output]
        return [tensor._version for tensor in tensors]

    def teacher_forward(self, lq):
        """What the teacher makes of another lq (N, 3, H, W) of any size: an image, float32, without gradient."""
        with torch.no_grad():
            return self.views[TEACHER](lq).float()

    def student_forward(self, lq):
        """What the student makes of another lq (N, 3, H, W) of any size: an image, float32."""
        return self.views[STUDENT](lq).float()


class DistillLoss(nn.Module):
    """Base of losses that look at more than two images.

    ``forward`` takes a ``DistillStep`` and returns a dict of scalar losses by name, already weighted. Arguments of
    the constructor are the options of its block in the option file; ``loss_weight`` 0 leaves the loss out of the run.
    """
    needs_features = True
    """Whether the loss looks at feature maps, for which both networks need a staged view."""
    needs_mixers = False
    """Whether the loss uses the prior mixers, so that they are built."""
    min_batch = 1
    """Samples that a batch must have."""

    def bind(self, views):
        """Build what depends on the networks; called once, before training, with the views by role.

        Raises:
            UserError: the loss cannot serve this pair.
        """

    def forward(self, step):
        raise TypeError(f'{type(self).__name__} must define forward(step)')


def spread(feature):
    """Standard deviation of a map (N, C, H, W) over everything: a 0-dim float32 tensor above 0, without gradient."""
    return feature.detach().float().std().clamp(min=1e-6)
