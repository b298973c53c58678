"""CrossKD: the teacher's later part finishes what the student's earlier part began."""
from torch import nn
from torch.nn import functional as F

from mipkd_arch.base.errors import UserError, number_in
from mipkd_arch.prior_mixer import STUDENT, TEACHER

from basicsr.utils.registry import LOSS_REGISTRY

from .base import DistillLoss, spread


@LOSS_REGISTRY.register()
class CrossKDLoss(DistillLoss):
    r"""Cross-head distillation (Wang et al., CrossKD, CVPR 2024), carried over to super-resolution.

        l_crosskd = loss_weight * mean | T_k( u_T * W(F_S^k / u_S) ) - T(lq) |

    with the student's map F_S^k (N, C_S, H, W) at position k, a trained 1x1 convolution W to the teacher's width, the
    spreads u of both networks' maps there (standard deviation over the batch), and T_k the frozen teacher from
    position k on, with the teacher's own shallow map for its global skip. The gradient reaches the student through
    the teacher.

    Differs from the original: that is made for detectors whose heads have equal widths, so it needs neither W nor u.
    Weight and position for super-resolution are not published.

    Args:
        loss_weight (float): weight. Default: 1.
        position (int | None): where the student's map enters the teacher, counted as the positions of the staged
            views, 0 being that after the head. Default: None, the middle one.
    """

    def __init__(self, *, loss_weight=1., position=None):
        super().__init__()
        self.loss_weight = number_in('crosskd_opt.loss_weight', loss_weight, 0)
        self.position = position

    def bind(self, views):
        count = views[STUDENT].num_positions
        if self.position is None:
            self.position = count // 2
        if not isinstance(self.position, int) or isinstance(self.position, bool) or not 0 <= self.position < count:
            raise UserError(f'crosskd_opt.position: {self.position!r} is not a position; with the cuts of this option '
                            f'file there are 0 to {count - 1}')
        self.adapter = nn.Conv2d(views[STUDENT].num_feat, views[TEACHER].num_feat, 1)

    def forward(self, step):
        teacher, f_s = step.views[TEACHER], step.student.features[self.position]
        u_t = spread(step.teacher.features[self.position])
        feature = self.adapter(f_s / spread(f_s).to(f_s.dtype)) * u_t.to(f_s.dtype)
        for stage in range(self.position, len(teacher.stages)):
            feature = teacher.run_stage(stage, feature)
        image = teacher.finish(feature, step.teacher)
        return {'l_crosskd': self.loss_weight * F.l1_loss(image.float(), step.teacher.output.float())}
