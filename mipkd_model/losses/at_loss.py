"""AT: the student attends where the teacher does."""
import torch
from torch.nn import functional as F

from mipkd_arch.base.errors import number_in, one_of

from basicsr.utils.registry import LOSS_REGISTRY

from .base import CRITERIA, DistillLoss


def attention(feature):
    """Attention of a map (N, C, H, W): its squares summed over channels, of unit norm over the pixels, (N, H * W).

    The scale of the map does not matter, nor does the order or the number of its channels.
    """
    return F.normalize(feature.float().square().sum(1).flatten(1), dim=1)


@LOSS_REGISTRY.register()
class ATLoss(DistillLoss):
    r"""Attention transfer (Zagoruyko & Komodakis, ICLR 2017).

        l_at = loss_weight * sum_k d( A(F_S^k), A(F_T^k) ),   A(F) = sum_c F_c^2 / || sum_c F_c^2 ||_2

    with maps F (N, C, H, W), attention A (N, H * W), and d the mean of absolute or squared differences.

    Differs from the original: the mean over elements, and L1 by default, where it has the sum of squares halved.

    Args:
        loss_weight (float): weight. Default: 10, as in the papers of MiPKD's authors.
        criterion (str): 'l1' or 'mse'. Default: 'l1'.
    """

    def __init__(self, *, loss_weight=10., criterion='l1'):
        super().__init__()
        self.loss_weight = number_in('at_opt.loss_weight', loss_weight, 0)
        self.distance = CRITERIA[one_of('at_opt.criterion', criterion, tuple(CRITERIA))]

    def forward(self, step):
        distances = [self.distance(attention(f_s), attention(f_t)) for f_s, f_t in step.feature_pairs]
        return {'l_at': self.loss_weight * torch.stack(distances).sum()}
