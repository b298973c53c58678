"""The two prior mixers of MiPKD (arXiv 2404.02573), as read in docs/method.md.

Feature prior mixer: one ``FeaturePriorMixer`` per position encodes student and teacher maps into one latent space,
blends them by a mask and decodes the blend. Block prior mixer: ``chain`` and ``restart`` send blended maps on through
stages of student and teacher. A network is named by its role, ``'student'`` or ``'teacher'``.
"""
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from .base.errors import UserError, number_in, one_of
from .masks import MASKS, blend

STUDENT, TEACHER = 'student', 'teacher'
ENCODERS = ('separate', 'shared', 'none')
KERNELS = {'cnn': 3, 'mlp': 1}


def _coder(in_ch, mid_ch, out_ch, kernel, depth):
    """``depth`` convolutions with a ReLU between each two; a 1x1 kernel makes it an MLP on every pixel."""
    widths = [in_ch, *[mid_ch] * (depth - 1), out_ch]
    layers = []
    for i, (a, b) in enumerate(pairwise(widths)):
        layers += [nn.Conv2d(a, b, kernel, padding=kernel // 2)]
        layers += [nn.ReLU()] if i < depth - 1 else []
    return nn.Sequential(*layers)


class FeaturePriorMixer(nn.Module):
    """Encoders, mask and decoders of one position.

    Maps come in and go out in their network's own range; inside, each is divided by the spread (standard deviation)
    that its network's maps have at this position, so that encoders see values around 1 whether the network works in
    a range of 255 (EDSR, RCAN) or 1 (SwinIR). The spreads are measured once, by ``calibrate``, and kept as buffers.

    Args:
        num_feat_s (int): channels of the student's maps.
        num_feat_t (int): channels of the teacher's maps.
        latent (int | None): channels of the latent space; None: as many as the teacher's maps have. Not used with
            ``encoder='none'``, whose latent space is the teacher's own.
        encoder (str): 'separate' (one for each network), 'shared' (one for both) or 'none'. With 'shared' and 'none'
            a student of another width is brought to the teacher's by a 1x1 convolution.
        kind (str): 'cnn' (3x3 convolutions) or 'mlp' (1x1 convolutions).
        depth (int): convolutions in each encoder and decoder.
        mask (str): 'random3d', 'grid' or 'similarity', see ``mipkd_arch.masks``.
        ratio (float): share of the student's values in the blend, 0 to 1.
    """

    def __init__(self, num_feat_s, num_feat_t, *, latent=None, encoder='separate', kind='cnn', depth=1,
                 mask='random3d', ratio=0.5):
        super().__init__()
        one_of('mixer_opt.encoder', encoder, ENCODERS)
        kernel = KERNELS[one_of('mixer_opt.kind', kind, tuple(KERNELS))]
        self.mask = MASKS[one_of('mixer_opt.mask', mask, tuple(MASKS))]
        latent = num_feat_t if latent is None else latent
        for name, value in (('latent', latent), ('depth', depth)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UserError(f'mixer_opt.{name}: {value!r} is not a whole number of at least 1')
        self.ratio = number_in('mixer_opt.ratio', ratio, 0, 1)

        if encoder == 'separate':
            encoders = {STUDENT: _coder(num_feat_s, latent, latent, kernel, depth),
                        TEACHER: _coder(num_feat_t, latent, latent, kernel, depth)}
        else:
            align = nn.Identity() if num_feat_s == num_feat_t else nn.Conv2d(num_feat_s, num_feat_t, 1)
            if encoder == 'shared':
                common = _coder(num_feat_t, latent, latent, kernel, depth)
            else:
                common, latent = nn.Identity(), num_feat_t
            encoders = {STUDENT: nn.Sequential(align, common), TEACHER: common}
        self.encoders = nn.ModuleDict(encoders)
        self.decoders = nn.ModuleDict({STUDENT: _coder(latent, latent, num_feat_s, kernel, depth),
                                       TEACHER: _coder(latent, latent, num_feat_t, kernel, depth)})
        self.register_buffer('spread_student', torch.ones(()))
        self.register_buffer('spread_teacher', torch.ones(()))

    def spread(self, role):
        """The unit of this network's maps at this position, a 0-dim tensor."""
        return getattr(self, f'spread_{role}')

    @torch.no_grad()
    def calibrate(self, feature_s, feature_t):
        """Set the spreads from one pair of maps (N, C_S, H, W), (N, C_T, H, W).

        With several processes each sees its own samples, so the moments are summed over all of them.
        """
        for role, feature in ((STUDENT, feature_s), (TEACHER, feature_t)):
            x = feature.double()
            moments = torch.stack([torch.ones_like(x).sum(), x.sum(), x.square().sum()])
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.all_reduce(moments)
            count, mean, square = moments[0], moments[1] / moments[0], moments[2] / moments[0]
            variance = (square - mean.square()) * count / (count - 1).clamp(min=1)
            self.spread(role).copy_(variance.clamp(min=1e-12).sqrt())

    # Convolutions are linear, so a map's spread divides what the first of them makes of it, and multiplies what the
    # last of them makes it from: latent maps, which have the fewest channels.

    def encode(self, feature, role):
        """Map of ``role`` (N, C, H, W), in its own range -> latent (N, L, H, W)."""
        layers = [layer for layer in self.encoders[role].modules() if isinstance(layer, (nn.Conv2d, nn.ReLU))]
        if not layers:
            return feature / self.spread(role)
        first, *layers = layers
        z = F.conv2d(feature, first.weight, None, padding=first.padding)
        z = torch.addcdiv(first.bias[:, None, None].to(z.dtype), z, self.spread(role).to(z.dtype))
        for layer in layers:
            z = layer(z)
        return z

    def decode(self, z, role):
        """Latent (N, L, H, W) -> map of ``role`` (N, C, H, W), in its own range."""
        *layers, last = self.decoders[role]
        for layer in layers:
            z = layer(z)
        spread = self.spread(role)
        return F.conv2d(z * spread.to(z.dtype), last.weight, last.bias * spread, padding=last.padding)

    def mix(self, z_own, z_t, uniform):
        """Blend a latent map with the teacher's, both (N, L, H, W); mask values of 1 take ``z_own``."""
        return blend(self.mask(z_own, z_t, self.ratio, uniform), z_own, z_t)


@dataclass(eq=False)
class Mixed:
    """What the feature prior mixer made at one position; latent maps are (N, L, H, W)."""
    mixer: FeaturePriorMixer
    """That made it."""
    z_s: torch.Tensor
    """Encoded student map."""
    z_t: torch.Tensor
    """Encoded teacher map, the teacher's prior."""
    z: torch.Tensor
    """Their blend, the enhanced map before decoding."""
    _decoded: dict[str, torch.Tensor] = field(default_factory=dict)

    def decoded(self, role):
        """The blend as a map of ``role`` (N, C, H, W), decoded once for whoever asks for it."""
        if role not in self._decoded:
            self._decoded[role] = self.mixer.decode(self.z, role)
        return self._decoded[role]


def mix_features(mixers, trace_s, trace_t, uniform):
    """Blend the maps of two passes, position by position. Returns a list of ``Mixed``."""
    mixed = []
    for mixer, feature_s, feature_t in zip(mixers, trace_s.features, trace_t.features, strict=True):
        z_s, z_t = mixer.encode(feature_s, STUDENT), mixer.encode(feature_t, TEACHER)
        mixed.append(Mixed(mixer, z_s, z_t, mixer.mix(z_s, z_t, uniform)))
    return mixed


def chain(views, mixers, passes, mixed, route, uniform):
    """Send the first enhanced map to the output through one dynamic stack of student and teacher stages.

    After each stage the result is encoded by the network that made it, mixed with the teacher's prior at that
    position and decoded for the network that runs the next stage. What the last stage gives goes, unmixed, through
    the tail of the network that ran it, with that network's own shallow map for the global skip.

    Args:
        views (dict[str, StagedView]): by role, cut into equally many stages.
        mixers (sequence[FeaturePriorMixer]): one per position.
        passes (dict[str, StagedOutput]): by role, of the same lq.
        mixed (sequence[Mixed]): from ``mix_features``.
        route (sequence[str]): the role that runs each stage.
        uniform (callable): gives random numbers in [0, 1) of a shape, for the masks.

    Returns:
        list[Tensor]: one image (N, C_out, upscale * H, upscale * W).
    """
    feature = mixed[0].decoded(route[0])
    for stage, role in enumerate(route):
        feature = views[role].run_stage(stage, feature)
        if stage + 1 < len(route):
            position = stage + 1
            z = mixers[position].encode(feature, role)
            z = mixers[position].mix(z, mixed[position].z_t, uniform)
            feature = mixers[position].decode(z, route[position])
    return [views[role].finish(feature, passes[role])]


def restart(views, mixers, passes, mixed, route, uniform):
    """Send the enhanced map of every position to the output through one network, drawn for that position.

    Arguments as for ``chain``, but ``route`` has a role for each position, the last one included.

    Returns:
        list[Tensor]: one image (N, C_out, upscale * H, upscale * W) per position.
    """
    outputs = []
    for position, role in enumerate(route):
        feature = mixed[position].decoded(role)
        for stage in range(position, len(views[role].stages)):
            feature = views[role].run_stage(stage, feature)
        outputs.append(views[role].finish(feature, passes[role]))
    return outputs


ASSEMBLIES = {'chain': chain, 'restart': restart}
