"""Losses of MiPKD (arXiv 2404.02573): feature prior and block prior."""
import torch
from torch.nn import functional as F

from mipkd_arch.base.errors import UserError, near_miss, number_in, one_of, true_or_false
from mipkd_arch.prior_mixer import ASSEMBLIES, STUDENT, TEACHER

from basicsr.utils.registry import LOSS_REGISTRY

from .base import DistillLoss

UNITS = ('spread', 'raw')


class _MeanDistance(torch.autograd.Function):
    """Mean of |x - target| in float32; for the way back only the two maps are kept, and in their own format."""

    @staticmethod
    def forward(ctx, x, target):
        ctx.save_for_backward(x, target)
        return x.to(torch.float32, copy=True).sub_(target).abs_().mean()

    @staticmethod
    def backward(ctx, gradient):
        x, target = ctx.saved_tensors
        return (x - target).sign_().mul_(gradient / x.numel()), None


def mean_distance(x, target):
    """L1 distance of a map (N, C, H, W) and one without gradient: a 0-dim float32 tensor."""
    return _MeanDistance.apply(x, target)


@LOSS_REGISTRY.register()
class FeaturePriorLoss(DistillLoss):
    r"""L1 between the teacher's maps and those decoded from blends of both networks' latent maps.

        l_feat = loss_weight * sum_k || Dec_T(z_k) - F_T^k ||_1 / u_k
        l_ae   = autoencoder_weight * loss_weight *
                 sum_k ( || Dec_T(Enc_T(F_T^k)) - F_T^k ||_1 / u_k [+ || Dec_S(Enc_S(F_S^k)) - F_S^k ||_1 / u'_k] )

    The unit u_k (u'_k for the student) says what a difference between maps is measured in. Feature maps of EDSR and
    RCAN are in a range of 255, pixels in one of 1, so the plain difference can be a thousand times the pixel loss.

    Args:
        loss_weight (float): the paper's lambda_feat. Default: 1.
        unit (str | float): 'spread' (the standard deviation of the maps at that position, measured once), 'raw'
            (no unit), or a number that all differences are divided by. Default: 'spread'.
        autoencoder_weight (float): weight of the auto-encoder term, 0 for none. Default: 1.
        autoencoder_of (str): 'teacher' for the teacher's maps alone, or 'both' for those of the student as well, the
            sum in brackets. Default: 'teacher'.
        autoencoder_trains_student (bool): whether the student's part of that term has a gradient at the student, too,
            which makes its maps easy to reconstruct, that is poor; otherwise it trains the mixers. Default: False.

    Loss and auto-encoder are the paper's; the mean over elements, the unit, the weight 1 of the auto-encoder and whose
    maps it has are our reading.
    """
    needs_mixers = True

    def __init__(self, *, loss_weight=1.0, unit='spread', autoencoder_weight=1.0,
                 autoencoder_of='teacher', autoencoder_trains_student=False):
        super().__init__()
        self.loss_weight = number_in('feature_prior_opt.loss_weight', loss_weight, 0)
        self.autoencoder_weight = number_in('feature_prior_opt.autoencoder_weight', autoencoder_weight, 0)
        number = isinstance(unit, (int, float)) and not isinstance(unit, bool)
        if unit not in UNITS and not (number and unit > 0):
            raise UserError(f"feature_prior_opt.unit: {unit!r} is not 'spread', 'raw' or a number above 0"
                            f"{near_miss(unit, UNITS)}")
        self.unit = unit
        self.autoencoder_of = one_of('feature_prior_opt.autoencoder_of', autoencoder_of, ('teacher', 'both'))
        self.autoencoder_trains_student = true_or_false('feature_prior_opt.autoencoder_trains_student',
                                                        autoencoder_trains_student)

    def _distance(self, mixer, role, decoded, target):
        """Mean |decoded - target| in the unit."""
        distance = mean_distance(decoded, target)
        if self.unit == 'spread':
            return distance / mixer.spread(role)
        return distance if self.unit == 'raw' else distance / self.unit

    def forward(self, step):
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
class BlockPriorLoss(DistillLoss):
    r"""L1 between the teacher's image and that of a network assembled from stages of student and teacher.

        l_block = loss_weight * mean_i || A_i - T(lq) ||_1

    with one assembled image A for 'chain' and one per position for 'restart' (see ``mipkd_arch.prior_mixer``). The
    gradient reaches the student and the mixers through the frozen stages of the teacher.

    Args:
        loss_weight (float): the paper's lambda_block. Default: 0.1.
        assembly (str): 'chain' or 'restart'. Default: 'chain'.
        student_prob (float): probability that a stage is the student's. Default: 0.5.
        recompute (bool): whether the teacher's stages keep their input only and are run again on the way back, for
            teachers that need too much memory. Default: False.
    """
    needs_mixers = True

    def __init__(self, *, loss_weight=0.1, assembly='chain', student_prob=0.5, recompute=False):
        super().__init__()
        self.loss_weight = number_in('block_prior_opt.loss_weight', loss_weight, 0)
        self.assembly = one_of('block_prior_opt.assembly', assembly, tuple(ASSEMBLIES))
        self.student_prob = number_in('block_prior_opt.student_prob', student_prob, 0, 1)
        self.recompute = true_or_false('block_prior_opt.recompute', recompute)

    def forward(self, step):
        views = step.views
        if self.recompute:
            views = {**views, TEACHER: views[TEACHER].with_activation_checkpointing()}
        stages = len(views[STUDENT].stages)
        length = stages if self.assembly == 'chain' else stages + 1
        route = step.rng.route(length, self.student_prob, STUDENT, TEACHER)
        outputs = ASSEMBLIES[self.assembly](views, step.mixers, step.passes, step.mixed, route,
                                            step.rng.uniform)
        target = step.teacher.output.float()
        distances = [F.l1_loss(output.float(), target) for output in outputs]
        return {'l_block': self.loss_weight * torch.stack(distances).mean()}
