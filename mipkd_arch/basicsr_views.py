"""Staged views of BasicSR's own architectures, one function each."""
from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.swinir_arch import SwinIR

from .staged_views import StagedView, register_view


def normalized(net: Any, lq: Tensor) -> Tensor:
    """lq (N, 3, H, W) without the network's mean, in its range."""
    net.mean = net.mean.type_as(lq)  # as the network's own forward does; the tail relies on it
    return (lq - net.mean) * net.img_range


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
    """SwinIR: ``layers.0`` .. ``layers.<n-1>``, ``conv_after_body``.

    Inside, SwinIR works on tokens (N, H * W, C); each block takes and gives features (N, C, H, W), which only
    relabels the same memory. Lq sizes must be multiples of the window, hence ``size_multiple``. Without an upsampler,
    as for images with noise or JPEG artifacts, the network's output is added to lq, hence ``lq_in_tail``.
    """
    restores = net.upsampler not in ('pixelshuffle', 'pixelshuffledirect', 'nearest+conv')  # as its forward decides

    def head(lq: Tensor) -> Tensor:
        return net.conv_first(normalized(net, lq))

    def embed(feature: Tensor) -> Tensor:
        tokens = net.patch_embed(feature)
        return net.pos_drop(tokens + net.absolute_pos_embed if net.ape else tokens)

    def block(feature: Tensor, layer: nn.Module, first: bool = False) -> Tensor:
        size = tuple(feature.shape[-2:])
        tokens = embed(feature) if first else feature.flatten(2).transpose(1, 2)
        return layer(tokens, size).transpose(1, 2).unflatten(2, size)

    def close(feature: Tensor) -> Tensor:
        size = tuple(feature.shape[-2:])
        tokens = net.norm(feature.flatten(2).transpose(1, 2))
        return net.conv_after_body(net.patch_unembed(tokens, size))

    def tail(deep: Tensor, shallow: Tensor, lq: Tensor | None = None) -> Tensor:
        image = deep + shallow
        if lq is not None:  # as ``lq_in_tail`` says
            image = normalized(net, lq) + net.conv_last(image)
        elif net.upsampler == 'pixelshuffle':
            image = net.conv_last(net.upsample(net.conv_before_upsample(image)))
        elif net.upsampler == 'pixelshuffledirect':
            image = net.upsample(image)
        else:
            image = net.conv_before_upsample(image)
            for conv in (net.conv_up1, net.conv_up2):
                image = net.lrelu(conv(F.interpolate(image, scale_factor=2, mode='nearest')))
            image = net.conv_last(net.lrelu(net.conv_hr(image)))
        return image / net.img_range + net.mean

    blocks: dict[str, Callable[[Tensor], Tensor]] = {
        f'layers.{i}': partial(block, layer=layer, first=i == 0) for i, layer in enumerate(net.layers)}
    blocks['conv_after_body'] = close
    # Blocks shrink their window where img_size is smaller than it, so the constructor's argument may not be the truth.
    window = net.layers[0].residual_group.blocks[0].window_size
    return StagedView(net, head, blocks, tail, num_feat=net.embed_dim, upscale=1 if restores else net.upscale,
                      size_multiple=window, lq_in_tail=restores)
