"""Staged views of architectures that the spandrel library brings; imported only where spandrel is used."""
from __future__ import annotations

from functools import partial

from spandrel.architectures.DAT import DAT
from torch import Tensor, nn

from .basicsr_views import normalized
from .staged_views import StagedView, register_view


@register_view(DAT)
def dat_view(net: DAT) -> StagedView:
    """DAT (arXiv 2308.03364): its residual groups, or the blocks of its group where it has only one.

    DAT has ``layers.0`` .. ``layers.<n-1>``, ``conv_after_body``. DAT-light has one group, which could not be cut:
    its blocks ``layers.0.blocks.0`` .. ``layers.0.blocks.<n-1>``, ``layers.0.conv`` are the pieces, and the group's
    own skip connection, which starts at the normalized shallow features, is closed in the tail. Inside, DAT works on
    tokens (N, H * W, C); each piece takes and gives features (N, C, H, W), which only relabels the same memory.
    """
    single = len(net.layers) == 1

    def head(lq: Tensor) -> Tensor:
        return net.conv_first(normalized(net, lq))

    def to_features(tokens: Tensor, size: tuple[int, ...]) -> Tensor:
        # By reshape, then permute: for N = 1 another way gives other strides, hence another kernel of the convolution.
        return tokens.reshape(-1, *size, net.embed_dim).permute(0, 3, 1, 2)

    def block(feature: Tensor, layer: nn.Module, first: bool) -> Tensor:
        size = tuple(feature.shape[-2:])
        tokens = net.before_RG(feature) if first else feature.flatten(2).transpose(1, 2)
        return to_features(layer(tokens, size), size)

    def close(tokens: Tensor, size: tuple[int, ...]) -> Tensor:
        return net.conv_after_body(to_features(net.norm(tokens), size))

    def close_features(feature: Tensor) -> Tensor:
        return close(feature.flatten(2).transpose(1, 2), tuple(feature.shape[-2:]))

    def tail(deep: Tensor, shallow: Tensor) -> Tensor:
        if single:
            tokens = net.before_RG(shallow) + deep.flatten(2).transpose(1, 2)
            deep = close(tokens, tuple(shallow.shape[-2:]))
        image = deep + shallow
        if net.upsampler == 'pixelshuffle':
            image = net.conv_last(net.upsample(net.conv_before_upsample(image)))
        else:
            image = net.upsample(image)
        return image / net.img_range + net.mean

    if single:
        pieces = {f'layers.0.blocks.{i}': layer for i, layer in enumerate(net.layers[0].blocks)}
        closing = {'layers.0.conv': net.layers[0].conv}
    else:
        pieces = {f'layers.{i}': layer for i, layer in enumerate(net.layers)}
        closing = {'conv_after_body': close_features}
    blocks = {name: partial(block, layer=layer, first=i == 0) for i, (name, layer) in enumerate(pieces.items())}
    return StagedView(net, head, {**blocks, **closing}, tail, num_feat=net.embed_dim, upscale=net.upscale)
