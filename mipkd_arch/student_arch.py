"""Student networks with the paper's sizes as defaults.

Each is BasicSR's own class with other default arguments: the state dict of ``EDSRStudent`` loads strictly into
BasicSR's ``EDSR`` of the same size, so a deployed student needs nothing of this package. Parameter counts are those of
the x4 students: 2.70M (EDSR), 5.17M (RCAN), 1.24M (SwinIR).
"""
from __future__ import annotations

from collections.abc import Sequence

from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.swinir_arch import SwinIR
from basicsr.utils.registry import ARCH_REGISTRY

RGB_MEAN = (0.4488, 0.4371, 0.4040)
"""Of DIV2K, in [0, 1]; EDSR, RCAN and SwinIR subtract it first and add it last."""


@ARCH_REGISTRY.register()
class EDSRStudent(EDSR):
    """EDSR compressed in width: 64 channels instead of 256, all 32 blocks.

    Args:
        num_in_ch, num_out_ch: channels of lq and of the output.
        num_feat: width of the body.
        num_block: residual blocks.
        upscale: 2^n or 3; 1 for images that keep their size.
        res_scale: factor of each block's residual.
        img_range: range in which the body works; lq and output are in [0, 1].
        rgb_mean: mean of the training images, in [0, 1].
    """

    def __init__(self, *, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 64, num_block: int = 32,
                 upscale: int = 4, res_scale: float = 0.1, img_range: float = 255.,
                 rgb_mean: Sequence[float] = RGB_MEAN) -> None:
        super().__init__(num_in_ch, num_out_ch, num_feat, num_block, upscale, res_scale, img_range, rgb_mean)


@ARCH_REGISTRY.register()
class RCANStudent(RCAN):
    """RCAN compressed in depth: 6 channel-attention blocks in each of the 10 groups instead of 20.

    Args:
        num_group: residual groups.
        num_block: channel-attention blocks in each group.
        squeeze_factor: reduction inside the channel attention.
        The others are those of ``EDSRStudent``.
    """

    def __init__(self, *, num_in_ch: int = 3, num_out_ch: int = 3, num_feat: int = 64, num_group: int = 10,
                 num_block: int = 6, squeeze_factor: int = 16, upscale: int = 4, res_scale: float = 1,
                 img_range: float = 255., rgb_mean: Sequence[float] = RGB_MEAN) -> None:
        super().__init__(num_in_ch, num_out_ch, num_feat, num_group, num_block, squeeze_factor, upscale, res_scale,
                         img_range, rgb_mean)


@ARCH_REGISTRY.register()
class SwinIRStudent(SwinIR):
    """SwinIR compressed in width and depth: 60 channels and 4 groups of 6 blocks instead of 180 and 6 of 6.

    Args:
        img_size: LR size the attention masks are prepared for; other sizes work and cost a little more.
        in_chans: channels of lq and of the output.
        embed_dim: width of the body; divisible by every entry of num_heads.
        depths: blocks in each group.
        num_heads: attention heads in each group.
        window_size: side of the attention windows.
        mlp_ratio: width of the MLP over embed_dim.
        drop_path_rate: stochastic depth while training; off in eval mode.
        upscale: 2, 3, 4 or 8; 1 for images that keep their size.
        img_range: range in which the body works.
        upsampler: 'pixelshuffle', 'pixelshuffledirect', 'nearest+conv' (x4 only), or '' (x1 only), which adds the
            output of the body to lq, for images with noise or JPEG artifacts.
        resi_connection: '1conv' or '3conv'.
    """

    def __init__(self, *, img_size: int = 48, in_chans: int = 3, embed_dim: int = 60,
                 depths: Sequence[int] = (6, 6, 6, 6), num_heads: Sequence[int] = (6, 6, 6, 6), window_size: int = 8,
                 mlp_ratio: float = 2., drop_path_rate: float = 0.1, upscale: int = 4, img_range: float = 1.,
                 upsampler: str = 'pixelshuffle', resi_connection: str = '1conv') -> None:
        # Keyword by keyword: SwinIR takes **kwargs and would swallow a misspelled option.
        super().__init__(img_size=img_size, in_chans=in_chans, embed_dim=embed_dim, depths=depths,
                         num_heads=num_heads, window_size=window_size, mlp_ratio=mlp_ratio,
                         drop_path_rate=drop_path_rate, upscale=upscale, img_range=img_range, upsampler=upsampler,
                         resi_connection=resi_connection)
