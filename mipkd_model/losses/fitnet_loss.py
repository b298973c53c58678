"""FitNet: the student's features imitate the teacher's."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from mipkd_arch.base.arguments import checked
from mipkd_arch.prior_mixer import STUDENT, TEACHER
from mipkd_arch.staged_views import StagedView

from basicsr.utils.registry import LOSS_REGISTRY

from .base import CRITERIA, Criterion, DistillLoss, DistillStep, LossWeight, feature_std


@LOSS_REGISTRY.register()
@checked('fitnet_opt')
class FitNetLoss(DistillLoss):
    r"""Distance between the features of both networks (Romero et al., FitNets, ICLR 2015), in one of two variants.

        regressor:     l_fitnet = loss_weight * sum_k d( W_k(F_S^k / u_S), F_T^k / u_T )
        channel_mean:  l_fitnet = loss_weight * sum_k d( mean_c F_S^k / u_T, mean_c F_T^k / u_T )

    with features F (N, C, H, W), a trained 1x1 convolution W_k from the student's width to the teacher's, and d the
    mean of absolute or squared differences. The second variant, which the papers of MiPKD's authors compare with, has
    no regressor: it compares one plane (N, 1, H, W) of each network.

    Features are divided by their standard deviation u over the batch, since EDSR and RCAN carry features in a range of
    255 and SwinIR in one of 1, so that one weight serves all. docs/baselines.md says what the original does otherwise.
    """

    def __init__(self, *, loss_weight: LossWeight = 1., variant: Annotated[Literal['regressor', 'channel_mean'], Field(
            description='Compare all channels, by trained regressors, or their means.')] = 'regressor',
            criterion: Criterion = 'l1') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.variant = variant
        self.distance = CRITERIA[criterion]
        self.regressors = nn.ModuleList()

    def bind(self, views: Mapping[str, StagedView]) -> None:
        if self.variant == 'regressor':
            student, teacher = views[STUDENT], views[TEACHER]
            self.regressors.extend(nn.Conv2d(student.num_feat, teacher.num_feat, 1)
                                   for _ in range(student.num_positions))

    def forward(self, step: DistillStep) -> dict[str, torch.Tensor]:
        distances = []
        for position, (f_s, f_t) in enumerate(step.feature_pairs):
            u_t = feature_std(f_t)
            if self.variant == 'regressor':
                imitation = self.regressors[position](f_s / feature_std(f_s).to(f_s.dtype)).float()
                distances.append(self.distance(imitation, f_t.float() / u_t))
            else:
                distances.append(self.distance(f_s.float().mean(1) / u_t, f_t.float().mean(1) / u_t))
        return {'l_fitnet': self.loss_weight * torch.stack(distances).sum()}
