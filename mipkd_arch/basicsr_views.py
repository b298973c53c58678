"""Staged views of BasicSR's own architectures, one function each."""
from __future__ import annotations

import math
from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.archs.swinir_arch import SwinIR

from .staged_views import NoStagedView, StagedView, normalized, register_view
from .transformer_views import embed_patches, layers_of, transformer_view


@register_view(EDSR, RCAN)
def residual_cnn_view(net: EDSR | RCAN) -> StagedView:
    """EDSR and RCAN: ``body.0`` .. ``body.<n-1>``, ``conv_after_body``. Features are in the network's ``img_range``."""

    def head(lq: Tensor) -> Tensor:
        return net.conv_first(normalized(net, lq))

    def tail(deep: Tensor, shallow: Tensor) -> Tensor:
        # BasicSR adds the skip in place; here it must not be, because losses compare ``deep``.
        image = net.conv_last(net.upsample(deep + shallow))
        return image / net.img_range + net.mean

    blocks = {f'body.{i}': block for i, block in enumerate(net.body)}
    blocks['conv_after_body'] = net.conv_after_body
    return StagedView(net, head, blocks, tail, num_feat=net.conv_first.out_channels,
                      upscale=math.prod(getattr(layer, 'upscale_factor', 1) for layer in net.upsample))


@register_view(SwinIR)
def swinir_view(net: SwinIR) -> StagedView:
    """SwinIR: ``layers.0`` .. ``layers.<n-1>``, ``conv_after_body``."""
    # Blocks shrink their window where img_size is smaller than it, so the constructor's argument may not be the truth.
    window = net.layers[0].residual_group.blocks[0].window_size
    return transformer_view(net, layers_of(net), embed=partial(embed_patches, net), norm=net.norm,
                            to_features=net.patch_unembed, upsampler=net.upsampler, size_multiple=window)


@register_view(SRVGGNetCompact)
def compact_view(net: SRVGGNetCompact) -> StagedView:
    """Compact: pairs of a convolution and its activation, named by the latter: ``body.3``, ``body.5``, ..."""
    first, *layers, last = net.body[0:2], *(net.body[i:i + 2] for i in range(2, len(net.body) - 1, 2)), net.body[-1]

    def run(feature: Tensor, pair: nn.ModuleList) -> Tensor:
        for layer in pair:
            feature = layer(feature)
        return feature

    def tail(deep: Tensor, shallow: Tensor, lq: Tensor) -> Tensor:
        return net.upsampler(last(deep)) + F.interpolate(lq, scale_factor=net.upscale, mode='nearest')

    blocks = {f'body.{2 * i + 3}': partial(run, pair=pair) for i, pair in enumerate(layers)}
    return StagedView(net, partial(run, pair=first), blocks, tail, num_feat=net.num_feat, upscale=net.upscale)


@register_view(RRDBNet)
def rrdbnet_view(net: RRDBNet) -> StagedView:
    """RRDBNet (ESRGAN): ``body.0`` .. ``body.<n-1>``, ``conv_body``. At x1 and x2 its features are smaller than lq."""
    if net.scale != 4:
        raise NoStagedView(f'RRDBNet with scale: {net.scale} has features smaller than lq, which cannot be paired with '
                           'those of another network')

    def tail(deep: Tensor, shallow: Tensor) -> Tensor:
        feature = shallow + deep
        for conv in (net.conv_up1, net.conv_up2):
            feature = net.lrelu(conv(F.interpolate(feature, scale_factor=2, mode='nearest')))
        return net.conv_last(net.lrelu(net.conv_hr(feature)))

    blocks = {**{f'body.{i}': block for i, block in enumerate(net.body)}, 'conv_body': net.conv_body}
    return StagedView(net, net.conv_first, blocks, tail, num_feat=net.conv_first.out_channels, upscale=4)
