"""The two prior mixers of MiPKD (arXiv 2404.02573), as read in docs/mipkd.md.

Feature prior mixer: one ``FeaturePriorMixer`` per position encodes features of student and teacher into one latent
space, blends them by a mask and decodes the blend. Block prior mixer: ``chain`` and ``restart`` pass blended features
through stages of student and teacher. A network is named by its role, ``'student'`` or ``'teacher'``.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from .base.arguments import checked
from .masks import MASKS, Uniform, blend
from .staged_views import StagedOutput, StagedView

STUDENT, TEACHER = 'student', 'teacher'
KERNELS = {'cnn': 3, 'mlp': 1}
GIVEN = ('num_feat_s', 'num_feat_t')
"""Arguments of a mixer that follow from the networks; the others are the options of ``train.mixer_opt``."""


def _coder(in_ch: int, mid_ch: int, out_ch: int, kernel: int, depth: int) -> nn.Sequential:
    """``depth`` convolutions with a ReLU between each two; a 1x1 kernel makes it an MLP on every pixel."""
    widths = [in_ch, *[mid_ch] * (depth - 1), out_ch]
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Conv2d(a, b, kernel, padding=kernel // 2), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@checked('mixer_opt', GIVEN)
class FeaturePriorMixer(nn.Module):
    """Encoders, mask and decoders of one position, for features of ``num_feat_s`` and ``num_feat_t`` channels.

    Features come in and go out in their network's own range; inside, each is divided by the standard deviation that
    its network's features have at this position, so that encoders see values around 1 whether the network works in
    a range of 255 (EDSR, RCAN) or 1 (SwinIR). They are measured once, by ``calibrate``, and kept as buffers.
    """

    def __init__(self, num_feat_s: int, num_feat_t: int, *,
                 latent: Annotated[Annotated[int, Field(ge=1)] | None, Field(
                     description='Channels of the latent space; null: as many as the teacher\'s features have. Not '
                                 'used with encoder: none, whose latent space is the teacher\'s own.')] = None,
                 encoder: Annotated[Literal['separate', 'shared', 'none'], Field(
                     description='separate (one for each network), shared (one for both) or none. With shared and '
                                 'none a student of another width is brought to the teacher\'s by a 1x1 '
                                 'convolution.')] = 'separate',
                 kind: Annotated[Literal['cnn', 'mlp'], Field(
                     description='cnn (3x3 convolutions) or mlp (1x1 convolutions).')] = 'cnn',
                 depth: Annotated[int, Field(ge=1, description='Convolutions in each encoder and decoder.')] = 1,
                 mask: Annotated[Literal['random3d', 'grid', 'similarity'], Field(
                     description='Which values the blend takes from the student: at random, a fixed pattern, or where '
                                 'both networks agree most.')] = 'random3d',
                 ratio: Annotated[float, Field(
                     ge=0, le=1, description='Share of the student\'s values in the blend.')] = 0.5) -> None:
        super().__init__()
        kernel = KERNELS[kind]
        latent = num_feat_t if latent is None else latent
        self.mask = MASKS[mask]
        self.ratio = ratio

        if encoder == 'separate':
            encode_s: nn.Module = _coder(num_feat_s, latent, latent, kernel, depth)
            encode_t: nn.Module = _coder(num_feat_t, latent, latent, kernel, depth)
        else:
            align = nn.Identity() if num_feat_s == num_feat_t else nn.Conv2d(num_feat_s, num_feat_t, 1)
            latent = latent if encoder == 'shared' else num_feat_t
            encode_t = _coder(num_feat_t, latent, latent, kernel, depth) if encoder == 'shared' else nn.Identity()
            encode_s = nn.Sequential(align, encode_t)
        self.encoders = nn.ModuleDict({STUDENT: encode_s, TEACHER: encode_t})
        self.decoders = nn.ModuleDict({STUDENT: _coder(latent, latent, num_feat_s, kernel, depth),
                                       TEACHER: _coder(latent, latent, num_feat_t, kernel, depth)})
        self.register_buffer('std_student', torch.ones(()))
        self.register_buffer('std_teacher', torch.ones(()))
        self.register_load_state_dict_pre_hook(_rename_buffers)

    def std(self, role: str) -> torch.Tensor:
        """Standard deviation of this network's features at this position, a 0-dim tensor."""
        return getattr(self, f'std_{role}')

    @torch.no_grad()
    def calibrate(self, feature_s: torch.Tensor, feature_t: torch.Tensor) -> None:
        """Set the standard deviations from features (N, C_S, H, W), (N, C_T, H, W), those of all processes together."""
        for role, feature in ((STUDENT, feature_s), (TEACHER, feature_t)):
            x = feature.double()
            moments = torch.stack([torch.ones_like(x).sum(), x.sum(), x.square().sum()])
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                torch.distributed.all_reduce(moments)
            count, mean, square = moments[0], moments[1] / moments[0], moments[2] / moments[0]
            variance = (square - mean.square()) * count / (count - 1).clamp(min=1)
            self.std(role).copy_(variance.clamp(min=1e-12).sqrt())

    # Convolutions are linear, so the standard deviation divides the output of the first one, and multiplies the input
    # of the last one: latent features, which have the fewest channels.

    def encode(self, feature: torch.Tensor, role: str) -> torch.Tensor:
        """Features of ``role`` (N, C, H, W), in its own range -> latent (N, L, H, W)."""
        layers: list[Any] = [layer for layer in self.encoders[role].modules()
                             if isinstance(layer, (nn.Conv2d, nn.ReLU))]
        if not layers:
            return feature / self.std(role)
        first = layers.pop(0)
        z = F.conv2d(feature, first.weight, None, padding=first.padding)
        z = torch.addcdiv(first.bias[:, None, None].to(z.dtype), z, self.std(role).to(z.dtype))
        for layer in layers:
            z = layer(z)
        return z

    def decode(self, z: torch.Tensor, role: str) -> torch.Tensor:
        """Latent (N, L, H, W) -> features of ``role`` (N, C, H, W), in its own range."""
        decoder: Any = self.decoders[role]
        *layers, last = decoder
        for layer in layers:
            z = layer(z)
        std = self.std(role)
        return F.conv2d(z * std.to(z.dtype), last.weight, last.bias * std, padding=last.padding)

    def mix(self, z_own: torch.Tensor, z_t: torch.Tensor, uniform: Uniform) -> torch.Tensor:
        """Blend latent features with the teacher's, both (N, L, H, W); mask values of 1 take ``z_own``."""
        return blend(self.mask(z_own, z_t, self.ratio, uniform), z_own, z_t)


def _rename_buffers(mixer: FeaturePriorMixer, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give the buffers of states of versions before 0.2 the names of today."""
    for role in (STUDENT, TEACHER):
        if f'{prefix}spread_{role}' in state:
            state[f'{prefix}std_{role}'] = state.pop(f'{prefix}spread_{role}')


@dataclass(eq=False)
class Mixed:
    """What the feature prior mixer made at one position; latent features are (N, L, H, W)."""
    mixer: FeaturePriorMixer
    z_s: torch.Tensor
    """Encoded student features."""
    z_t: torch.Tensor
    """Encoded teacher features, the teacher's prior."""
    z: torch.Tensor
    """Their blend, the enhanced features before decoding."""
    _decoded: dict[str, torch.Tensor] = field(default_factory=dict)

    def decoded(self, role: str) -> torch.Tensor:
        """The blend as features of ``role`` (N, C, H, W), decoded once for all that need it."""
        if role not in self._decoded:
            self._decoded[role] = self.mixer.decode(self.z, role)
        return self._decoded[role]


def mix_features(mixers: Sequence[FeaturePriorMixer], student: StagedOutput, teacher: StagedOutput,
                 uniform: Uniform) -> list[Mixed]:
    """Blend the features of two passes, position by position."""
    mixed = []
    for mixer, feature_s, feature_t in zip(mixers, student.features, teacher.features, strict=True):
        z_s, z_t = mixer.encode(feature_s, STUDENT), mixer.encode(feature_t, TEACHER)
        mixed.append(Mixed(mixer, z_s, z_t, mixer.mix(z_s, z_t, uniform)))
    return mixed


def chain(views: Mapping[str, StagedView], mixers: Sequence[FeaturePriorMixer], passes: Mapping[str, StagedOutput],
          mixed: Sequence[Mixed], route: Sequence[str], uniform: Uniform) -> list[torch.Tensor]:
    """Pass the first enhanced features to the output through one dynamic stack of student and teacher stages.

    After each stage the result is encoded by the network that made it, mixed with the teacher's prior at that
    position and decoded for the network that runs the next stage. The output of the last stage goes, unmixed, through
    the tail of the network that ran it, with that network's own shallow features for the global skip.

    Args:
        views: by role, cut into equally many stages.
        mixers: one per position, as ``mixed`` of ``mix_features``.
        passes: by role, of the same lq.
        route: the role that runs each stage.
        uniform: for the masks.

    Returns:
        One image (N, C_out, upscale * H, upscale * W).
    """
    feature = mixed[0].decoded(route[0])
    side: dict[str, dict[str, torch.Tensor]] = {role: {} for role in route}
    for stage, role in enumerate(route):
        feature = views[role].run_stage(stage, feature, side[role])
        if stage + 1 < len(route):
            position = stage + 1
            z = mixers[position].encode(feature, role)
            z = mixers[position].mix(z, mixed[position].z_t, uniform)
            feature = mixers[position].decode(z, route[position])
    return [views[role].finish(feature, passes[role], side[role])]


def restart(views: Mapping[str, StagedView], mixers: Sequence[FeaturePriorMixer], passes: Mapping[str, StagedOutput],
            mixed: Sequence[Mixed], route: Sequence[str], uniform: Uniform) -> list[torch.Tensor]:
    """Pass the enhanced features of every position to the output through one network, drawn for that position.

    Arguments as for ``chain``, but ``route`` has a role for each position, the last one included. Returns one image
    (N, C_out, upscale * H, upscale * W) per position.
    """
    outputs = []
    for position, role in enumerate(route):
        outputs.append(views[role].finish_from(position, mixed[position].decoded(role), passes[role]))
    return outputs


ASSEMBLIES = {'chain': chain, 'restart': restart}
