"""Student networks with the paper's sizes as defaults.

Each is BasicSR's own class with other default arguments: the state dict of ``EDSRStudent`` loads strictly into
BasicSR's ``EDSR`` of the same size, so a deployed student needs nothing of this package. Any size can be given in the
option file. Parameter counts are those of the x4 students: 2.70M (EDSR), 5.17M (RCAN), 1.24M (SwinIR).
"""
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.swinir_arch import SwinIR
from basicsr.utils.registry import ARCH_REGISTRY

RGB_MEAN = (0.4488, 0.4371, 0.4040)


@ARCH_REGISTRY.register()
class EDSRStudent(EDSR):
    """EDSR compressed in width: 64 channels instead of 256, all 32 blocks.

    Args:
        num_in_ch, num_out_ch (int): channels of lq and of the output.
        num_feat (int): width of the body.
        num_block (int): residual blocks.
        upscale (int): 2^n or 3; 1 for images that keep their size.
        res_scale (float): factor of each block's residual.
        img_range (float): range in which the body works; lq and output are in [0, 1].
        rgb_mean (sequence[float]): mean of the training images, in [0, 1].
    """

    def __init__(self, *, num_in_ch=3, num_out_ch=3, num_feat=64, num_block=32, upscale=4, res_scale=0.1,
                 img_range=255., rgb_mean=RGB_MEAN):
        super().__init__(num_in_ch, num_out_ch, num_feat, num_block, upscale, res_scale, img_range, rgb_mean)


@ARCH_REGISTRY.register()
class RCANStudent(RCAN):
    """RCAN compressed in depth: 6 channel-attention blocks in each of the 10 groups instead of 20.

    Args:
        num_group (int): residual groups.
        num_block (int): channel-attention blocks in each group.
        squeeze_factor (int): reduction inside the channel attention.
        The others are those of ``EDSRStudent``.
    """

    def __init__(self, *, num_in_ch=3, num_out_ch=3, num_feat=64, num_group=10, num_block=6, squeeze_factor=16,
                 upscale=4, res_scale=1, img_range=255., rgb_mean=RGB_MEAN):
        super().__init__(num_in_ch, num_out_ch, num_feat, num_group, num_block, squeeze_factor, upscale, res_scale,
                         img_range, rgb_mean)


@ARCH_REGISTRY.register()
class SwinIRStudent(SwinIR):
    """SwinIR compressed in width and depth: 60 channels and 4 groups of 6 blocks instead of 180 and 6 of 6.

    Args:
        img_size (int): LR size the attention masks are prepared for; other sizes work and cost a little more.
        in_chans (int): channels of lq and of the output.
        embed_dim (int): width of the body; divisible by every entry of num_heads.
        depths (sequence[int]): blocks in each group.
        num_heads (sequence[int]): attention heads in each group.
        window_size (int): side of the attention windows.
        mlp_ratio (float): width of the MLP over embed_dim.
        drop_path_rate (float): stochastic depth while training; off in eval mode.
        upscale (int): 2, 3, 4 or 8; 1 for images that keep their size.
        img_range (float): range in which the body works.
        upsampler (str): 'pixelshuffle', 'pixelshuffledirect', 'nearest+conv' (x4 alone), or '' (x1 alone), which adds
            what the network makes to lq, for images with noise or JPEG artifacts.
        resi_connection (str): '1conv' or '3conv'.
    """

    def __init__(self, *, img_size=48, in_chans=3, embed_dim=60, depths=(6, 6, 6, 6), num_heads=(6, 6, 6, 6),
                 window_size=8, mlp_ratio=2., drop_path_rate=0.1, upscale=4, img_range=1., upsampler='pixelshuffle',
                 resi_connection='1conv'):
        # Keyword by keyword: SwinIR takes **kwargs and would swallow a misspelt option.
        super().__init__(img_size=img_size, in_chans=in_chans, embed_dim=embed_dim, depths=depths,
                         num_heads=num_heads, window_size=window_size, mlp_ratio=mlp_ratio,
                         drop_path_rate=drop_path_rate, upscale=upscale, img_range=img_range, upsampler=upsampler,
                         resi_connection=resi_connection)
