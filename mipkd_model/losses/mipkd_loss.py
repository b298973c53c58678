"""Losses of MiPKD (arXiv 2404.02573): feature prior and block prior."""
from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch.nn import functional as F

from mipkd_arch.base.arguments import checked
from mipkd_arch.prior_mixer import ASSEMBLIES, STUDENT, TEACHER, FeaturePriorMixer

from basicsr.utils.registry import LOSS_REGISTRY

from .base import DistillLoss, DistillStep, LossWeight


class _MeanDistance(torch.autograd.Function):
    """Mean of |x - target| in float32; the backward pass keeps only the two features, in their own precision."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, target)
        return x.to(torch.float32, copy=True).sub_(target).abs_().mean()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, target = ctx.saved_tensors
        return (x - target).sign_().mul_(gradient / x.numel()), None


def mean_distance(x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1 distance of features (N, C, H, W) and others without gradient: a 0-dim float32 tensor."""
    return _MeanDistance.apply(x, target)


@LOSS_REGISTRY.register()
@checked('feature_prior_opt')
class FeaturePriorLoss(DistillLoss):
    r"""L1 between the teacher's features and those decoded from blends of both networks' latent features.

        l_feat = loss_weight * sum_k || Dec_T(z_k) - F_T^k ||_1 / u_k
        l_ae   = autoencoder_weight * loss_weight *
                 sum_k ( || Dec_T(Enc_T(F_T^k)) - F_T^k ||_1 / u_k [+ || Dec_S(Enc_S(F_S^k)) - F_S^k ||_1 / u'_k] )

    Distances are divided by u_k (u'_k for the student): features of EDSR and RCAN are in a range of 255, pixels in one
    of 1, so the plain distance can be a thousand times the pixel loss. Loss and auto-encoder are the paper's;
    ``loss_weight`` is its lambda_feat. The mean over elements, u_k, the weight 1 of the auto-encoder and whose
    features it has are our reading.
    """
    needs_mixers = True

    def __init__(self, *, loss_weight: LossWeight = 1.0,
                 normalize: Annotated[Literal['std', 'none'] | Annotated[float, Field(gt=0)], Field(
                     description='Divisor of all distances: std (the standard deviation of the features at that '
                                 'position, measured once), none, or a number.')] = 'std',
                 autoencoder_weight: Annotated[float, Field(
                     ge=0, description='Weight of the auto-encoder term; 0: none.')] = 1.0,
                 autoencoder_of: Annotated[Literal['teacher', 'both'], Field(
                     description='Whose features that term has; both adds the sum in brackets.')] = 'teacher',
                 autoencoder_trains_student: Annotated[bool, Field(
                     description='Whether the student\'s part of that term has a gradient at the student, too, which '
                                 'makes its features easy to reconstruct, that is poor; otherwise it trains the '
                                 'mixers.')] = False) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.normalize = normalize
        self.autoencoder_weight = autoencoder_weight
        self.autoencoder_of = autoencoder_of
        self.autoencoder_trains_student = autoencoder_trains_student

    def _distance(self, mixer: FeaturePriorMixer, role: str, decoded: torch.Tensor,
                  target: torch.Tensor) -> torch.Tensor:
        distance = mean_distance(decoded, target)
        if self.normalize == 'std':
            return distance / mixer.std(role)
        return distance if self.normalize == 'none' else distance / self.normalize

    def forward(self, step: DistillStep) -> dict[str, torch.Tensor]:
        feature, autoencoder = [], []
        for mixer, mixed, (f_s, f_t) in zip(step.mixers, step.mixed, step.feature_pairs, strict=True):
            feature.append(self._distance(mixer, TEACHER, mixed.decoded(TEACHER), f_t))
            if self.autoencoder_weight:
                autoencoder.append(self._distance(mixer, TEACHER, mixer.decode(mixed.z_t, TEACHER), f_t))
                if self.autoencoder_of == 'both':
                    z_s = mixed.z_s if self.autoencoder_trains_student else mixer.encode(f_s.detach(), STUDENT)
                    autoencoder.append(self._distance(mixer, STUDENT, mixer.decode(z_s, STUDENT), f_s.detach()))
        losses = {'l_feat': self.loss_weight * torch.stack(feature).sum()}
        if autoencoder:
            losses['l_ae'] = self.autoencoder_weight * self.loss_weight * torch.stack(autoencoder).sum()
        return losses


@LOSS_REGISTRY.register()
@checked('block_prior_opt')
class BlockPriorLoss(DistillLoss):
    r"""L1 between the teacher's image and that of a network assembled from stages of student and teacher.

        l_block = loss_weight * mean_i || A_i - T(lq) ||_1

    with one assembled image A for 'chain' and one per position for 'restart' (see ``mipkd_arch.prior_mixer``). The
    gradient reaches the student and the mixers through the frozen stages of the teacher. ``loss_weight`` is the
    paper's lambda_block.
    """
    needs_mixers = True

    def __init__(self, *, loss_weight: LossWeight = 0.1,
                 assembly: Annotated[Literal['chain', 'restart'], Field(
                     description='One path through all stages, or one per position.')] = 'chain',
                 student_prob: Annotated[float, Field(
                     ge=0, le=1, description='Probability that a stage is the student\'s.')] = 0.5,
                 recompute: Annotated[bool, Field(
                     description='Activation checkpointing of the teacher\'s stages: they run again in the backward '
                                 'pass, for teachers that need too much memory.')] = False) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.assembly = assembly
        self.student_prob = student_prob
        self.recompute = recompute

    def forward(self, step: DistillStep) -> dict[str, torch.Tensor]:
        views = step.views
        if self.recompute:
            views = {**views, TEACHER: replace(views[TEACHER], activation_checkpointing=True)}
        stages = len(views[STUDENT].stages)
        length = stages if self.assembly == 'chain' else stages + 1
        route = step.rng.route(length, self.student_prob, STUDENT, TEACHER)
        outputs = ASSEMBLIES[self.assembly](views, step.mixers, step.passes, step.mixed, route, step.rng.uniform)
        target = step.teacher.output.float()
        distances = [F.l1_loss(output.float(), target) for output in outputs]
        return {'l_block': self.loss_weight * torch.stack(distances).mean()}
