"""The one trainable module: student, mixers and losses behind a single forward.

Optimizer, training states and the all-reduce must see everything that has a gradient. The teacher is not part of it:
its view is a plain attribute, so its weights are in none of these.
"""
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import STUDENT, TEACHER, FeaturePriorMixer
from mipkd_arch.staged_views import StagedOutput, StagedView, pad_to_multiple

from ..base.randomness import StepRandom
from ..losses import DistillLoss, DistillStep
from ..losses.schedule import WeightSchedule


class Distiller(nn.Module):
    """Student, prior mixers and losses.

    Args:
        student_view: of the student; its network becomes a submodule.
        teacher_view: of the frozen teacher, cut into as many stages; None without a teacher.
        losses: by the names of their options without ``_opt``. 'pixel' compares the student's image with gt and 'kd'
            with the teacher's image, by any of BasicSR's image losses; 'perceptual' is BasicSR's; all others are
            ``DistillLoss``, which are bound to the views here.
        mixer_opt: arguments of ``FeaturePriorMixer``.
        schedules: of the losses whose weight changes over the training, by name.
    """

    def __init__(self, student_view: StagedView, teacher_view: StagedView | None, losses: dict[str, nn.Module],
                 mixer_opt: Mapping[str, Any] | None = None,
                 schedules: Mapping[str, WeightSchedule] | None = None) -> None:
        super().__init__()
        self.student = student_view.network
        self.views = {STUDENT: student_view, **({} if teacher_view is None else {TEACHER: teacher_view})}
        self.losses = nn.ModuleDict(losses)
        self.schedules = schedules or {}
        self.factors = dict.fromkeys(losses, 1.)  # of each loss in the current iteration; 0 leaves it out
        self.mixers = nn.ModuleList()
        if teacher_view and any(getattr(loss, 'needs_mixers', False) for loss in losses.values()):
            self.mixers.extend(FeaturePriorMixer(student_view.num_feat, teacher_view.num_feat, **(mixer_opt or {}))
                               for _ in range(student_view.num_positions))
        self.calibrated = not self.mixers
        self.formats: dict[str, torch.memory_format] = {}
        for loss in losses.values():
            if isinstance(loss, DistillLoss):
                loss.bind(self.views)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What is trained besides the student, by its name in a state: mixers, and losses that have weights."""
        trained = nn.ModuleDict({name: loss for name, loss in self.losses.items()
                                 if any(p.requires_grad for p in loss.parameters())})
        return {name: part for name, part in (('net_mixer', self.mixers), ('net_losses', trained)) if len(part)}

    def set_iteration(self, iteration: int) -> None:
        """Set the factors of an iteration, of which the first is 1."""
        self.factors.update({name: schedule.factor(iteration) for name, schedule in self.schedules.items()})

    def inner_losses(self, iteration: int) -> dict[str, DistillLoss]:
        """The losses that have an inner step in an iteration, by name; in iteration 0 all that ever have one."""
        return {name: loss for name, loss in self.losses.items()
                if isinstance(loss, DistillLoss) and loss.inner_every and iteration % loss.inner_every == 0
                and self.factors[name] != 0}

    def forward(self, lq: torch.Tensor, gt: torch.Tensor, rng: StepRandom) -> dict[str, torch.Tensor]:
        """Compute the losses of one step: scalars by name, weighted; the step's loss is their sum.

        Args:
            lq: (N, 3, H, W) in [0, 1].
            gt: (N, 3, upscale * H, upscale * W) in [0, 1].
            rng: the step's random choices.
        """
        step = self.forward_networks(lq, gt, rng)
        losses: dict[str, torch.Tensor] = {}
        for name, factor in self.factors.items():
            if factor != 0:
                self.add_loss(losses, name, step)
        return losses

    def add_loss(self, losses: dict[str, torch.Tensor], name: str, step: DistillStep) -> None:
        """Add what the loss of that name makes of a step; a UserError where another loss has given one of its names."""
        values = self.loss_values(name, step)
        if repeated := values.keys() & losses.keys():
            raise UserError(f'train.{name}_opt: gives {min(repeated)!r}, which another loss gives already; rename '
                            f'it in {type(self.losses[name]).__name__}.forward')
        factor = self.factors[name]
        losses.update({key: factor * value if name in self.schedules else value for key, value in values.items()})

    def forward_networks(self, lq: torch.Tensor, gt: torch.Tensor, rng: StepRandom) -> DistillStep:
        """Run both networks, the teacher only where a loss asks for it; arguments as for ``forward``."""
        padded = self.pad(lq)
        asks_teacher = any(name == 'kd' or isinstance(self.losses[name], DistillLoss)
                           for name, factor in self.factors.items() if factor > 0)
        # The teacher first: what it needs in between is free again when the student's features are kept.
        passes = {TEACHER: self.teacher_forward(padded)} if asks_teacher else {}
        passes[STUDENT] = self.student_forward(padded)
        return DistillStep(lq, gt, self.views, passes, [*self.mixers], rng)

    def loss_values(self, name: str, step: DistillStep) -> dict[str, torch.Tensor]:
        """What the loss of that name makes of a step: scalars by name, weighted.

        Image losses get copies, for some write into what they are given; a ``DistillLoss`` that does so is refused.
        """
        loss = self.losses[name]
        if isinstance(loss, DistillLoss):
            before = step.versions()
            values = loss(step)
            if step.versions() != before:
                raise UserError(f'train.{name}_opt: {type(loss).__name__} writes into images or features of the step; '
                                'let it compute on copies')
            return values
        if name == 'kd':
            return {'l_kd': loss(step.output.clone(), step.target.clone())}
        value = loss(step.output.clone(), step.gt.clone())
        if name == 'perceptual':
            return {key: part for key, part in zip(('l_percep', 'l_style'), value, strict=True) if part is not None}
        return {'l_pix': value}

    def pad(self, lq: torch.Tensor) -> torch.Tensor:
        """Pad lq (N, C, H, W) so that both networks take it; a no-op for the usual patch sizes."""
        return pad_to_multiple(lq, math.lcm(*(view.size_multiple for view in self.views.values())))

    @torch.no_grad()
    def teacher_forward(self, lq: torch.Tensor) -> StagedOutput:
        """The teacher's features and output for a padded lq (N, 3, H, W), without gradient."""
        return self.views[TEACHER].forward_features(self._formatted(lq, 't'))

    def student_forward(self, lq: torch.Tensor) -> StagedOutput:
        """The student's features and output for a padded lq (N, 3, H, W)."""
        return self.views[STUDENT].forward_features(self._formatted(lq, 'g'))

    def _formatted(self, lq: torch.Tensor, label: str) -> torch.Tensor:
        return lq.contiguous(memory_format=self.formats[label]) if label in self.formats else lq

    @torch.no_grad()
    def calibrate(self, lq: torch.Tensor) -> None:
        """Measure the standard deviations of both networks' features on a batch; once, before the first step."""
        lq = self.pad(lq)
        passes = self.student_forward(lq), self.teacher_forward(lq)
        for mixer, feature_s, feature_t in zip(self.mixers, *(passed.features for passed in passes), strict=True):
            mixer.calibrate(feature_s, feature_t)
        self.calibrated = True
