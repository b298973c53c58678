"""Staged views of architectures that the spandrel library brings; imported only where spandrel is used."""
from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

import torch
from spandrel.architectures.ATD import ATD
from spandrel.architectures.Compact import Compact
from spandrel.architectures.DAT import DAT
from spandrel.architectures.DRCT import DRCT
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.FDAT import FDAT
from spandrel.architectures.GRL import GRL
from spandrel.architectures.HAT import HAT
from spandrel.architectures.MoSR import MoSR
from spandrel.architectures.PLKSR import PLKSR, RealPLKSR
from spandrel.architectures.RCAN import RCAN
from spandrel.architectures.RGT import RGT
from spandrel.architectures.SAFMN import SAFMN
from spandrel.architectures.SPAN import SPAN
from spandrel.architectures.SwinIR import SwinIR
from torch import Tensor, nn

from .basicsr_views import compact_view
from .staged_views import NoStagedView, StagedView, normalized, register_view
from .transformer_views import Layer, Size, as_tokens, embed_patches, layers_of, transformer_view, upsample_like_swinir

register_view(Compact)(compact_view)


def _refuse_unshuffle(net: nn.Module, factor: int) -> None:
    if factor > 1:
        raise NoStagedView(f'{type(net).__name__} begins with a pixel unshuffle by {factor}: its features are smaller '
                           'than lq and cannot be paired with those of another network')


def _flat(tokens: Tensor, size: Size) -> Tensor:
    # By reshape, then permute: for N = 1 another way gives other strides, hence another kernel of the convolution.
    return tokens.reshape(len(tokens), *size, -1).permute(0, 3, 1, 2)


@register_view(SwinIR)
def swinir_view(net: SwinIR) -> StagedView:
    """SwinIR: ``layers.0`` .. ``layers.<n-1>``, ``conv_after_body``."""
    _refuse_unshuffle(net, net.start_unshuffle)
    return transformer_view(net, layers_of(net), embed=partial(embed_patches, net), norm=net.norm,
                            to_features=net.patch_unembed, upsampler=net.upsampler, size_multiple=net.window_size)


@register_view(HAT)
def hat_view(net: HAT) -> StagedView:
    """HAT (arXiv 2205.04437): ``layers.0`` .. ``layers.<n-1>``, ``conv_after_body``."""
    @lru_cache(maxsize=1)
    def parameters(size: Size, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
        return {'attn_mask': net.calculate_mask(size, dtype=dtype).to(device),
                'rpi_sa': net.relative_position_index_SA, 'rpi_oca': net.relative_position_index_OCA}

    def context(tokens: Tensor, size: Size) -> dict[str, Tensor]:
        return parameters(size, tokens.dtype, tokens.device)

    return transformer_view(net, layers_of(net, context), embed=partial(embed_patches, net), norm=net.norm,
                            to_features=net.patch_unembed, upsampler=net.upsampler, size_multiple=net.window_size)


@register_view(ATD)
def atd_view(net: ATD) -> StagedView:
    """ATD (arXiv 2401.08209): ``layers.0`` .. ``layers.<n-1>``, ``conv_after_body``."""
    @lru_cache(maxsize=1)
    def parameters(size: Size, device: torch.device) -> dict[str, Tensor]:
        return {'attn_mask': net.calculate_mask(list(size)).to(device), 'rpi_sa': net.relative_position_index_SA}

    def context(tokens: Tensor, size: Size) -> dict[str, Tensor]:
        return parameters(size, tokens.device)

    return transformer_view(net, layers_of(net, context), embed=partial(embed_patches, net), norm=net.norm,
                            to_features=net.patch_unembed, upsampler=net.upsampler, size_multiple=net.window_size,
                            pad_mode='symmetric', normalize=net.is_norm)


@register_view(DRCT)
def drct_view(net: DRCT) -> StagedView:
    """DRCT (arXiv 2404.00722): ``layers.0`` .. ``layers.<n-1>``, ``conv_after_body``."""
    return transformer_view(net, layers_of(net), embed=partial(embed_patches, net), norm=net.norm,
                            to_features=net.patch_unembed, upsampler=net.upsampler,
                            size_multiple=net.layers[0].swin1.window_size)


@register_view(GRL)
def grl_view(net: GRL) -> StagedView:
    """GRL (arXiv 2303.00748): ``layers.0`` .. ``layers.<n-1>``, ``conv_after_body``."""
    def embed(feature: Tensor) -> Tensor:
        return net.pos_drop(net.norm_start(as_tokens(feature)))

    def context(tokens: Tensor, size: Size) -> Any:
        return net.get_table_index_mask(tokens.device, size)

    return transformer_view(net, layers_of(net, context), embed=embed, norm=net.norm_end, upsampler=net.upsampler,
                            size_multiple=net.pad_size)


@register_view(RGT)
def rgt_view(net: RGT) -> StagedView:
    """RGT (arXiv 2303.06373): ``layers.0`` .. ``layers.<n-1>``, ``conv_after_body``."""
    return transformer_view(net, layers_of(net), embed=net.before_RG, norm=net.norm, to_features=_flat,
                            min_size=16)


@register_view(DAT)
def dat_view(net: DAT) -> StagedView:
    """DAT (arXiv 2308.03364): its residual groups, or the blocks of its group where it has only one.

    DAT has ``layers.0`` .. ``layers.<n-1>``, ``conv_after_body``. DAT-light has one group, which could not be cut:
    its blocks ``layers.0.blocks.0`` .. ``layers.0.blocks.<n-1>``, ``layers.0.conv`` are the pieces, and the group's
    own skip connection, which starts at the normalized shallow features, is closed in the tail.
    """
    many = transformer_view(net, layers_of(net), embed=net.before_RG, norm=net.norm, to_features=_flat,
                            upsampler=net.upsampler)
    if len(net.layers) > 1:
        return many
    group = net.layers[0]

    def block(feature: Tensor, layer: Layer, first: bool) -> Tensor:
        size = feature.shape[-2], feature.shape[-1]
        return _flat(layer(net.before_RG(feature) if first else as_tokens(feature), size), size)

    def tail(deep: Tensor, shallow: Tensor) -> Tensor:
        size = shallow.shape[-2], shallow.shape[-1]
        tokens = net.norm(net.before_RG(shallow) + as_tokens(deep))
        image = net.conv_after_body(_flat(tokens, size)) + shallow
        return upsample_like_swinir(net, net.upsampler, image) / net.img_range + net.mean

    blocks: dict[str, Callable[[Tensor], Tensor]] = {
        f'layers.0.blocks.{i}': partial(block, layer=layer, first=i == 0) for i, layer in enumerate(group.blocks)}
    blocks['layers.0.conv'] = group.conv
    return StagedView(net, many.head, blocks, tail, num_feat=net.embed_dim, upscale=net.upscale)


@register_view(RCAN)
def rcan_view(net: RCAN) -> StagedView:
    """RCAN with its authors' names: ``body.0`` .. ``body.<n>``, of which the last is a convolution."""
    _refuse_unshuffle(net, net.downscale_factor)

    def head(lq: Tensor) -> Tensor:
        return net.head(net.sub_mean(lq * net.rgb_range))

    def tail(deep: Tensor, shallow: Tensor) -> Tensor:
        return net.add_mean(net.tail(deep + shallow)) / net.rgb_range

    blocks = {f'body.{i}': block for i, block in enumerate(net.body)}
    return StagedView(net, head, blocks, tail, num_feat=net.body[-1].out_channels, upscale=net.scale)


@register_view(ESRGAN)
def esrgan_view(net: ESRGAN) -> StagedView:
    """ESRGAN with its first names: ``model.1.sub.0`` .. ``model.1.sub.<n>``, of which the last is a convolution."""
    _refuse_unshuffle(net, net.shuffle_factor or 1)
    first, body, *upsampling = net.model

    def tail(deep: Tensor, shallow: Tensor) -> Tensor:
        image = shallow + deep
        for layer in upsampling:
            image = layer(image)
        return image

    blocks = {f'model.1.sub.{i}': block for i, block in enumerate(body.sub)}
    return StagedView(net, first, blocks, tail, num_feat=first.out_channels, upscale=net.scale)


@register_view(SAFMN)
def safmn_view(net: SAFMN) -> StagedView:
    """SAFMN (arXiv 2302.13800): ``feats.0`` .. ``feats.<n-1>``."""
    blocks = {f'feats.{i}': block for i, block in enumerate(net.feats)}
    return StagedView(net, net.to_feat, blocks, lambda deep, shallow: net.to_img(deep + shallow),
                      num_feat=net.to_feat.out_channels, upscale=net.to_img[1].upscale_factor)


@register_view(FDAT)
def fdat_view(net: FDAT) -> StagedView:
    """FDAT: ``groups.0`` .. ``groups.<n-1>``, ``conv_after``."""
    _refuse_unshuffle(net, net.pad or 1)
    blocks = {**{f'groups.{i}': group for i, group in enumerate(net.groups)}, 'conv_after': net.conv_after}
    return StagedView(net, net.conv_first, blocks, lambda deep, shallow: net.upsampler(deep + shallow),
                      num_feat=net.conv_first.out_channels, upscale=net.upscale)


@register_view(PLKSR, RealPLKSR)
def plksr_view(net: PLKSR | RealPLKSR) -> StagedView:
    """PLKSR and RealPLKSR (arXiv 2404.11848): ``feats.1`` .. ``feats.<n>``."""
    end = -2 if isinstance(net, RealPLKSR) else -1  # RealPLKSR has a dropout before its last convolution

    def tail(deep: Tensor, shallow: Tensor, lq: Tensor) -> Tensor:
        return net.to_img(net.feats[end:](deep) + net.repeat_op(lq))

    blocks = {f'feats.{i + 1}': block for i, block in enumerate(net.feats[1:end])}
    upscale = round((net.feats[-1].out_channels / 3)**0.5)
    return StagedView(net, net.feats[0], blocks, tail, num_feat=net.feats[0].out_channels, upscale=upscale)


@register_view(MoSR)
def mosr_view(net: MoSR) -> StagedView:
    """MoSR: ``gblocks.1`` .. ``gblocks.<n>``; the five layers behind its blocks are part of the tail."""
    first, *blocks = net.gblocks[:-5]
    end: Any = net.upsampler[1] if isinstance(net.upsampler, nn.Sequential) else net.upsampler  # DySample or GPS
    upscale = end.scale if hasattr(end, 'scale') else getattr(end, 'ps', end).upscale_factor

    def tail(deep: Tensor, shallow: Tensor, lq: Tensor) -> Tensor:
        return net.upsampler(net.gblocks[-5:](deep) + (net.shortcut(lq) - 0.5))

    return StagedView(net, first, {f'gblocks.{i + 1}': block for i, block in enumerate(blocks)}, tail,
                      num_feat=first.out_channels, upscale=upscale)


@register_view(SPAN)
def span_view(net: SPAN) -> StagedView:
    """SPAN (arXiv 2311.12770): ``block_1`` .. ``block_6``, ``conv_2``.

    Its tail concatenates four features: after the head, after ``block_1``, within ``block_6`` and after ``conv_2``.
    """
    def head(lq: Tensor) -> Tensor:
        return net.conv_1(normalized(net, lq) if net.is_norm else lq)

    def block(feature: Tensor, index: int) -> Any:
        feature, inner, _ = getattr(net, f'block_{index}')(feature)
        return feature, {1: {'block_1': feature}, 6: {'block_6.c1_r': inner}}.get(index, {})

    def tail(deep: Tensor, shallow: Tensor, side: dict[str, Tensor]) -> Tensor:
        features = torch.cat([shallow, deep, side['block_1'], side['block_6.c1_r']], 1)
        return net.upsampler(net.conv_cat(features))

    blocks: dict[str, Callable[[Tensor], Any]] = {f'block_{i}': partial(block, index=i) for i in range(1, 7)}
    blocks['conv_2'] = net.conv_2
    return StagedView(net, head, blocks, tail, num_feat=net.conv_cat.out_channels,
                      upscale=net.upsampler[1].upscale_factor)
