"""The staged view of window transformers that share SwinIR's plan: SwinIR, HAT, ATD, DRCT, GRL, RGT, DAT.

Between two convolutions, ``conv_first`` and ``conv_after_body``, these networks work on tokens (N, H * W, C). Each
block of the view takes and gives features (N, C, H, W), which only relabels the same memory.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from .staged_views import StagedView, normalized

Size = tuple[int, int]
Layer = Callable[[Tensor, Size], Tensor]
"""(tokens (N, H * W, C), (H, W)) -> tokens."""


def as_tokens(feature: Tensor) -> Tensor:
    """Features (N, C, H, W) as tokens (N, H * W, C)."""
    return feature.flatten(2).transpose(1, 2)


def as_features(tokens: Tensor, size: Size) -> Tensor:
    """Tokens (N, H * W, C) as features (N, C, H, W)."""
    return tokens.transpose(1, 2).unflatten(2, size)


def embed_patches(net: Any, feature: Tensor) -> Tensor:
    """What SwinIR and most of its descendants do with features (N, C, H, W) before their first layer: tokens."""
    tokens = net.patch_embed(feature)
    if net.ape:
        tokens = tokens + net.absolute_pos_embed
    return net.pos_drop(tokens) if hasattr(net, 'pos_drop') else tokens


def upsample_like_swinir(net: Any, upsampler: str, feature: Tensor) -> Tensor:
    """Upsample features (N, C, H, W) to an image, in one of the ways that SwinIR has."""
    if upsampler == 'pixelshuffledirect':
        return net.upsample(feature)
    feature = net.conv_before_upsample(feature)
    if upsampler == 'pixelshuffle':
        return net.conv_last(net.upsample(feature))
    for conv in (getattr(net, name) for name in ('conv_up1', 'conv_up2', 'conv_up3') if hasattr(net, name)):
        feature = net.lrelu(conv(F.interpolate(feature, scale_factor=2, mode='nearest')))
    return net.conv_last(net.lrelu(net.conv_hr(feature)))


def transformer_view(net: Any, layers: Mapping[str, Layer], *, embed: Callable[[Tensor], Tensor],
                     norm: Callable[[Tensor], Tensor], to_features: Callable[[Tensor, Size], Tensor] = as_features,
                     upsampler: str = 'pixelshuffle', size_multiple: int = 1, min_size: int = 1,
                     pad_mode: str = 'reflect', normalize: bool = True) -> StagedView:
    """The view of a network that has SwinIR's plan: its layers, then ``conv_after_body``.

    Args:
        net: has ``conv_first``, ``conv_after_body``, ``mean`` and ``img_range``, and what the upsampler needs.
        layers: by name, in order.
        embed: features (N, C, H, W) -> tokens (N, H * W, C), before the first layer.
        norm: tokens -> tokens, after the last layer.
        to_features: tokens -> features, before ``conv_after_body``. Its strides must be those of the network's own
            forward, since they decide which kernel a convolution takes.
        upsampler: 'pixelshuffle', 'pixelshuffledirect' or 'nearest+conv'; anything else adds the output to lq, as
            networks do that restore images of their own size.
        normalize: whether the network subtracts its mean and multiplies by its range.
    """
    restores = upsampler not in ('pixelshuffle', 'pixelshuffledirect', 'nearest+conv')

    def begin(lq: Tensor) -> Tensor:
        return normalized(net, lq) if normalize else lq

    def head(lq: Tensor) -> Tensor:
        return net.conv_first(begin(lq))

    def block(feature: Tensor, layer: Layer, first: bool) -> Tensor:
        size = feature.shape[-2], feature.shape[-1]
        return as_features(layer(embed(feature) if first else as_tokens(feature), size), size)

    def close(feature: Tensor) -> Tensor:
        size = feature.shape[-2], feature.shape[-1]
        return net.conv_after_body(to_features(norm(as_tokens(feature)), size))

    def tail(deep: Tensor, shallow: Tensor, lq: Tensor) -> Tensor:
        image = deep + shallow
        image = begin(lq) + net.conv_last(image) if restores else upsample_like_swinir(net, upsampler, image)
        return image / net.img_range + net.mean if normalize else image

    blocks: dict[str, Callable[[Tensor], Tensor]] = {
        name: partial(block, layer=layer, first=i == 0) for i, (name, layer) in enumerate(layers.items())}
    blocks['conv_after_body'] = close
    return StagedView(net, head, blocks, tail, num_feat=net.embed_dim, upscale=1 if restores else net.upscale,
                      size_multiple=size_multiple, min_size=min_size, pad_mode=pad_mode)


def layers_of(net: nn.Module, *context: Callable[[Tensor, Size], Any]) -> dict[str, Layer]:
    """The layers of a network by name; each is called with tokens, size and what ``context`` makes of these two."""
    def call(layer: nn.Module, tokens: Tensor, size: Size) -> Tensor:
        return layer(tokens, size, *(make(tokens, size) for make in context))

    return {f'layers.{i}': partial(call, layer) for i, layer in enumerate(net.layers)}  # type: ignore[arg-type]
