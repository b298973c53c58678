"""FitNet: the student's maps imitate the teacher's."""
import torch
from torch import nn

from mipkd_arch.base.errors import number_in, one_of
from mipkd_arch.prior_mixer import STUDENT, TEACHER

from basicsr.utils.registry import LOSS_REGISTRY

from .base import CRITERIA, DistillLoss, spread

VARIANTS = ('regressor', 'channel_mean')


@LOSS_REGISTRY.register()
class FitNetLoss(DistillLoss):
    r"""Distance between the maps of both networks (Romero et al., FitNets, ICLR 2015), in one of two variants.

        regressor:     l_fitnet = loss_weight * sum_k d( W_k(F_S^k / u_S), F_T^k / u_T )
        channel_mean:  l_fitnet = loss_weight * sum_k d( mean_c F_S^k / u_T, mean_c F_T^k / u_T )

    with maps F (N, C, H, W), a trained 1x1 convolution W_k from the student's width to the teacher's, and d the mean
    of absolute or squared differences. The second variant, which the papers of MiPKD's authors compare with, has no
    regressor: it compares one plane (N, 1, H, W) of each network.

    Differs from the original: several positions instead of one, trained together with the pixel loss instead of
    before it. Maps are divided by their spread u (standard deviation over the batch), since EDSR and RCAN carry maps
    in a range of 255 and SwinIR in one of 1, so that one weight serves all.

    Args:
        loss_weight (float): weight. Default: 0.1; the papers of MiPKD's authors give 10 for the second variant, in
            a unit that is not published (docs/methods.md).
        variant (str): 'regressor' or 'channel_mean'. Default: 'regressor'.
        criterion (str): 'l1' or 'mse'. Default: 'l1'.
    """

    def __init__(self, *, loss_weight=0.1, variant='regressor', criterion='l1'):
        super().__init__()
        self.loss_weight = number_in('fitnet_opt.loss_weight', loss_weight, 0)
        self.variant = one_of('fitnet_opt.variant', variant, VARIANTS)
        self.distance = CRITERIA[one_of('fitnet_opt.criterion', criterion, tuple(CRITERIA))]
        self.regressors = nn.ModuleList()

    def bind(self, views):
        if self.variant == 'regressor':
            student, teacher = views[STUDENT], views[TEACHER]
            self.regressors.extend(nn.Conv2d(student.num_feat, teacher.num_feat, 1)
                                   for _ in range(student.num_positions))

    def forward(self, step):
        distances = []
        for position, (f_s, f_t) in enumerate(step.feature_pairs):
            u_t = spread(f_t)
            if self.variant == 'regressor':
                imitation = self.regressors[position](f_s / spread(f_s).to(f_s.dtype)).float()
                distances.append(self.distance(imitation, f_t.float() / u_t))
            else:
                distances.append(self.distance(f_s.float().mean(1) / u_t, f_t.float().mean(1) / u_t))
        return {'l_fitnet': self.loss_weight * torch.stack(distances).sum()}
