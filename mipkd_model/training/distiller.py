"""The one trainable module: student, mixers and losses behind a single forward.

Optimizer, states and the exchange among processes must see everything that has a gradient. The teacher is not part of
it: its view is a plain attribute, so its weights are in none of these.
"""
import math

import torch
from torch import nn

from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import STUDENT, TEACHER, FeaturePriorMixer
from mipkd_arch.staged_view import pad_to_multiple

from ..losses import DistillLoss, DistillStep


class Distiller(nn.Module):
    """Student, prior mixers and losses.

    Args:
        student_view (StagedView): the student's view; its network becomes a submodule.
        teacher_view (StagedView | None): the frozen teacher's view, cut into as many stages.
        losses (dict[str, nn.Module]): by the names of their options without ``_opt``. 'pixel' compares the student's
            image with gt and 'kd' with the teacher's image, by any of BasicSR's image losses; 'perceptual' is
            BasicSR's; all others are ``DistillLoss``, which are bound to the views here.
        mixer_opt (dict | None): arguments of ``FeaturePriorMixer``.
        schedules (dict[str, WeightSchedule] | None): of the losses whose weight changes over the training, by name.

    Attributes:
        active (list[str]): names of the losses that take part in the step, set by ``set_iteration``.
        factors (dict[str, Tensor]): what those with a schedule are multiplied by, 0-dim.
    """

    def __init__(self, student_view, teacher_view, losses, mixer_opt=None, schedules=None):
        super().__init__()
        self.student = student_view.network
        self.views = {STUDENT: student_view, TEACHER: teacher_view}
        self.losses = nn.ModuleDict(losses)
        self.schedules, self.active, self.factors = schedules or {}, list(losses), {}
        self.mixers = nn.ModuleList()
        if any(getattr(loss, 'needs_mixers', False) for loss in losses.values()):
            self.mixers.extend(FeaturePriorMixer(student_view.num_feat, teacher_view.num_feat, **(mixer_opt or {}))
                               for _ in range(student_view.num_positions))
        for loss in losses.values():
            if isinstance(loss, DistillLoss):
                loss.bind(self.views)

    @property
    def parts(self):
        """What is trained beside the student, by its name in a state: mixers, and losses with weights of their own."""
        trained = nn.ModuleDict({name: loss for name, loss in self.losses.items()
                                 if any(p.requires_grad for p in loss.parameters())})
        return {name: part for name, part in (('net_mixer', self.mixers), ('net_losses', trained)) if len(part)}

    def pad(self, lq):
        """Pad lq (N, C, H, W) so that both networks take it; a no-op for the usual patch sizes."""
        return pad_to_multiple(lq, math.lcm(*(view.size_multiple for view in self.views.values() if view is not None)))

    @property
    def asks_teacher(self):
        """Whether a loss that takes part compares with the teacher."""
        return any(name == 'kd' or isinstance(self.losses[name], DistillLoss) for name in self.active)

    @torch.no_grad()
    def teacher_forward(self, lq):
        """The teacher's features and output for a padded lq, or None without a teacher."""
        view = self.views[TEACHER]
        return None if view is None else view.forward_features(lq)

    @torch.no_grad()
    def calibrate(self, lq):
        """Measure the spread of both networks' maps on a batch; once, before the first step."""
        lq = self.pad(lq)
        passes = [self.views[role].forward_features(lq) for role in (STUDENT, TEACHER)]
        for mixer, feature_s, feature_t in zip(self.mixers, *(passed.features for passed in passes), strict=True):
            mixer.calibrate(feature_s, feature_t)

    def set_iteration(self, iteration):
        """Set which losses take part in an iteration, of which the first is 1, and by which factors."""
        factors = {name: schedule.factor(iteration) for name, schedule in self.schedules.items()}
        self.active = [name for name in self.losses if factors.get(name, 1) > 0]
        for name, factor in factors.items():  # in place, for a CUDA graph reads them where it was captured
            if name not in self.factors:
                self.factors[name] = torch.zeros((), device=next(self.student.parameters()).device)
            self.factors[name].fill_(factor)

    def forward(self, lq, gt, rng):
        """Compute the losses of one step.

        Args:
            lq (Tensor): (N, 3, H, W) in [0, 1].
            gt (Tensor): (N, 3, upscale * H, upscale * W) in [0, 1].
            rng (StepRandom): the step's random choices.

        Returns:
            dict[str, Tensor]: scalar losses by name, weighted; the step's loss is their sum.
        """
        step, losses = self.look(lq, gt, rng), {}
        for name in self.active:
            found = self.losses_of(name, step)
            if name in self.factors:
                found = {key: self.factors[name] * value for key, value in found.items()}
            if taken := found.keys() & losses.keys():
                raise UserError(f'train.{name}_opt: gives {min(taken)!r}, which another loss gives already; rename it '
                                f'in {type(self.losses[name]).__name__}.forward')
            losses.update(found)
        return losses

    def look(self, lq, gt, rng):
        """Run both networks; arguments as for ``forward``. Returns the ``DistillStep`` that losses look at."""
        padded = self.pad(lq)
        # The teacher first: what it needs in between is free again when the student's maps are kept.
        taught = self.teacher_forward(padded) if self.asks_teacher else None
        passes = {STUDENT: self.views[STUDENT].forward_features(padded), TEACHER: taught}
        return DistillStep(lq, gt, self.views, passes, self.mixers, rng)

    def losses_of(self, name, step):
        """What the loss of that name makes of a step: scalars by name, weighted.

        Losses of images get copies, for some write into what they are given.

        Raises:
            UserError: a ``DistillLoss`` has written into what other losses look at, too.
        """
        loss = self.losses[name]
        if isinstance(loss, DistillLoss):
            before = step.versions()
            found = loss(step)
            if step.versions() != before:
                raise UserError(f'train.{name}_opt: {type(loss).__name__} writes into images or maps of the step, '
                                'which other losses look at, too; let it compute on copies')
            return found
        if name == 'kd':
            return {'l_kd': loss(step.output.clone(), step.target.clone())}
        found = loss(step.output.clone(), step.gt.clone())
        if name == 'perceptual':
            return {key: value for key, value in zip(('l_percep', 'l_style'), found, strict=True) if value is not None}
        return {'l_pix': found}
