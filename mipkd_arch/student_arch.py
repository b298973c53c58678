"""Students of BasicSR's classes: EDSR, RCAN and SwinIR in the paper's sizes, and Compact with weights to start from.

Each is BasicSR's own class with other default arguments or initial weights: the state dict of ``EDSRStudent`` loads
strictly into BasicSR's ``EDSR`` of the same size, so a deployed student needs nothing of this package. Parameter counts
are those of the x4 students: 2.70M (EDSR), 5.17M (RCAN), 1.24M (SwinIR), 0.62M (Compact).
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.archs.swinir_arch import SwinIR
from basicsr.utils.registry import ARCH_REGISTRY

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Of DIV2K, in [0, 1]; EDSR, RCAN and SwinIR subtract it first and add it last."""
Channels = Annotated[int, Field(description='Channels of images, which are in [0, 1].')]
Width = Annotated[int, Field(description='Channels of the body.')]
Upscale = Annotated[int, Field(description='2^n or 3; 1 for images that keep their size.')]
AnyUpscale = Annotated[int, Field(ge=1, description='Factor between lq and the output.')]
ResScale = Annotated[float, Field(description='Factor of the residual of each block.')]
Range = Annotated[float, Field(description='Range in which the body works.')]
Mean = Annotated[Sequence[float], Field(description='Mean of the training images, in [0, 1].')]


@ARCH_REGISTRY.register()
class EDSRStudent(EDSR):
    """EDSR compressed in width: 64 channels instead of 256, all 32 blocks."""

    def __init__(self, *, num_in_ch: Channels = 3, num_out_ch: Channels = 3, num_feat: Width = 64,
                 num_block: Annotated[int, Field(description='Residual blocks.')] = 32, upscale: Upscale = 4,
                 res_scale: ResScale = 0.1, img_range: Range = 255., rgb_mean: Mean = RGB_MEAN) -> None:
        super().__init__(num_in_ch, num_out_ch, num_feat, num_block, upscale, res_scale, img_range, rgb_mean)


@ARCH_REGISTRY.register()
class RCANStudent(RCAN):
    """RCAN compressed in depth: 6 channel-attention blocks in each of the 10 groups instead of 20."""

    def __init__(self, *, num_in_ch: Channels = 3, num_out_ch: Channels = 3, num_feat: Width = 64,
                 num_group: Annotated[int, Field(description='Residual groups.')] = 10,
                 num_block: Annotated[int, Field(description='Channel-attention blocks in each group.')] = 6,
                 squeeze_factor: Annotated[int, Field(description='Reduction inside the channel attention.')] = 16,
                 upscale: Upscale = 4, res_scale: ResScale = 1, img_range: Range = 255.,
                 rgb_mean: Mean = RGB_MEAN) -> None:
        super().__init__(num_in_ch, num_out_ch, num_feat, num_group, num_block, squeeze_factor, upscale, res_scale,
                         img_range, rgb_mean)


@ARCH_REGISTRY.register()
class SwinIRStudent(SwinIR):
    """SwinIR compressed in width and depth: 60 channels and 4 groups of 6 blocks instead of 180 and 6 of 6."""

    def __init__(self, *, img_size: Annotated[int, Field(
            description='LR size the attention masks are prepared for; other sizes work and cost a little more.')] = 48,
            in_chans: Channels = 3,
            embed_dim: Annotated[int, Field(
                description='Channels of the body; divisible by every entry of num_heads.')] = 60,
            depths: Annotated[Sequence[int], Field(description='Blocks in each group.')] = (6, 6, 6, 6),
            num_heads: Annotated[Sequence[int], Field(description='Attention heads in each group.')] = (6, 6, 6, 6),
            window_size: Annotated[int, Field(description='Side of the attention windows.')] = 8,
            mlp_ratio: Annotated[float, Field(description='Channels of the MLP over embed_dim.')] = 2.,
            drop_path_rate: Annotated[float, Field(
                ge=0, lt=1, description='Stochastic depth while training; off in eval mode.')] = 0.1,
            upscale: Annotated[int, Field(description='2, 3, 4 or 8; 1 for images that keep their size.')] = 4,
            img_range: Range = 1.,
            upsampler: Annotated[Literal['pixelshuffle', 'pixelshuffledirect', 'nearest+conv', ''], Field(
                description='nearest+conv is for x4 only; an empty string, for x1 only, adds the output of the body to '
                            'lq, against noise or JPEG artifacts.')] = 'pixelshuffle',
            resi_connection: Annotated[Literal['1conv', '3conv'], Field(
                description='Convolutions that close each group.')] = '1conv') -> None:
        # Keyword by keyword: SwinIR takes **kwargs and would swallow a misspelled option.
        super().__init__(img_size=img_size, in_chans=in_chans, embed_dim=embed_dim, depths=depths,
                         num_heads=num_heads, window_size=window_size, mlp_ratio=mlp_ratio,
                         drop_path_rate=drop_path_rate, upscale=upscale, img_range=img_range, upsampler=upsampler,
                         resi_connection=resi_connection)


@ARCH_REGISTRY.register()
class CompactStudent(SRVGGNetCompact):
    """Compact (SRVGGNet) with initial weights that keep the variance of its features (He et al., arXiv 1502.01852).

    By PyTorch's own initial weights each of the plain convolutions halves what differs between pixels, until the biases
    alone are left: in a short training its image losses never move it from its skip, the nearest neighbour of lq.
    """

    SLOPES = {'relu': 0., 'prelu': 0.25, 'leakyrelu': 0.1}
    """Of the activations below 0; that of prelu is trained."""

    def __init__(self, *, num_in_ch: Channels = 3, num_out_ch: Channels = 3, num_feat: Width = 64,
                 num_conv: Annotated[int, Field(description='Convolutions of the body.')] = 16,
                 upscale: AnyUpscale = 4,
                 act_type: Annotated[Literal['prelu', 'relu', 'leakyrelu'], Field(
                     description='Activation.')] = 'prelu') -> None:
        super().__init__(num_in_ch, num_out_ch, num_feat, num_conv, upscale, act_type)
        convolutions = [module for module in self.body if isinstance(module, nn.Conv2d)]
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, self.SLOPES[act_type])
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]  # has one
        with torch.no_grad():
            convolutions[-1].weight *= 0.1  # it begins near the skip
