"""CrossKD: the teacher's later stages finish the student's features."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from mipkd_arch.base.arguments import checked
from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import STUDENT, TEACHER
from mipkd_arch.staged_views import StagedView

from basicsr.utils.registry import LOSS_REGISTRY

from .base import DistillLoss, DistillStep, LossWeight, feature_std

Position = Annotated[int, Field(ge=0)]


@LOSS_REGISTRY.register()
@checked('crosskd_opt')
class CrossKDLoss(DistillLoss):
    r"""Cross-head distillation (Wang et al., CrossKD, CVPR 2024), carried over to super-resolution.

        l_crosskd = loss_weight * mean | T_k( u_T * W(F_S^k / u_S) ) - T(lq) |

    with the student's features F_S^k (N, C_S, H, W) at position k, a trained 1x1 convolution W to the teacher's width,
    the standard deviations u of both networks' features there (over the batch), and T_k the frozen teacher from
    position k on, with the teacher's own shallow features for its global skip. The gradient reaches the student
    through the teacher. The original, for detectors whose heads have equal widths, needs neither W nor u.
    """

    def __init__(self, *, loss_weight: LossWeight = 10., position: Annotated[Position | None, Field(
            description='Where the student\'s features enter the teacher: a position of the staged views, of which 0 '
                        'is that after the head; null: the middle one.')] = None) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.position: Any = position  # an int once the loss is bound

    def bind(self, views: Mapping[str, StagedView]) -> None:
        count = views[STUDENT].num_positions
        if self.position is None:
            self.position = count // 2
        if self.position >= count:
            raise UserError(f'crosskd_opt.position: {self.position!r} is not a position; with the cuts of this option '
                            f'file there are 0 to {count - 1}')
        self.adapter = nn.Conv2d(views[STUDENT].num_feat, views[TEACHER].num_feat, 1)

    def forward(self, step: DistillStep) -> dict[str, torch.Tensor]:
        teacher, f_s = step.views[TEACHER], step.student.features[self.position]
        u_t = feature_std(step.teacher.features[self.position])
        feature = self.adapter(f_s / feature_std(f_s).to(f_s.dtype)) * u_t.to(f_s.dtype)
        image = teacher.finish_from(self.position, feature, step.teacher)
        return {'l_crosskd': self.loss_weight * F.l1_loss(image.float(), step.teacher.output.float())}
