"""Tiny networks of architectures whose classes are spandrel's, by name, each a function of nothing."""
import pytest
import torch

pytest.importorskip('spandrel', reason='spandrel is not installed')

from spandrel.architectures.ATD import ATD
from spandrel.architectures.Compact import Compact
from spandrel.architectures.DRCT import DRCT
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.FDAT import FDAT
from spandrel.architectures.GRL import GRL
from spandrel.architectures.HAT import HAT
from spandrel.architectures.RCAN import RCAN
from spandrel.architectures.RGT import RGT
from spandrel.architectures.SwinIR import SwinIR

from mipkd_arch.spandrel_students_arch import PLKSR, SAFMN, SPAN, MoSR, RealPLKSR

from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact

WINDOWS = {'img_size': 16, 'embed_dim': 12, 'depths': [2, 2], 'num_heads': [2, 2], 'window_size': 4}


def _swinir(upsampler, upscale):
    return lambda: SwinIR(upscale=upscale, upsampler=upsampler, mlp_ratio=2, **WINDOWS)


TEACHERS = {
    'SwinIR': _swinir('pixelshuffle', 2),
    'SwinIR_direct': _swinir('pixelshuffledirect', 3),
    'SwinIR_nearest': _swinir('nearest+conv', 4),
    'SwinIR_nearest_x2': _swinir('nearest+conv', 2),
    'SwinIR_restoring': _swinir('', 1),
    'HAT': lambda: HAT(upscale=2, num_feat=16, squeeze_factor=4, **WINDOWS),
    'ATD': lambda: ATD(upscale=2, category_size=16, num_tokens=8, reducted_dim=4, convffn_kernel_size=3, mlp_ratio=2,
                       upsampler='pixelshuffle', **WINDOWS),
    'DRCT': lambda: DRCT(upscale=2, gc=8, upsampler='pixelshuffle', **WINDOWS),
    'GRL': lambda: GRL(img_size=16, embed_dim=16, upscale=2, upsampler='pixelshuffle', depths=[2, 2],
                       num_heads_window=[2, 2], num_heads_stripe=[2, 2], window_size=4, stripe_size=[4, 4],
                       anchor_window_down_factor=2),
    'RGT': lambda: RGT(img_size=16, embed_dim=32, depth=[2, 2], num_heads=[2, 2], upscale=2, split_size=[4, 4]),
    'RCAN': lambda: RCAN(scale=2, n_resgroups=2, n_resblocks=2, n_feats=16),
    'ESRGAN': lambda: ESRGAN(num_filters=8, num_blocks=3, scale=4),
    'ESRGAN_x3': lambda: ESRGAN(num_filters=8, num_blocks=3, scale=3),
    'FDAT': lambda: FDAT(scale=2, embed_dim=16, num_groups=2, depth_per_group=1, num_heads=2, window_size=4),
    'RRDBNet': lambda: RRDBNet(3, 3, scale=4, num_feat=8, num_block=3, num_grow_ch=4),
}
STUDENTS = {
    'Compact': lambda: Compact(num_feat=16, num_conv=4, upscale=2),
    'Compact_leakyrelu': lambda: Compact(num_feat=16, num_conv=4, upscale=2, act_type='leakyrelu'),
    'SRVGGNetCompact': lambda: SRVGGNetCompact(num_feat=16, num_conv=4, upscale=2),
    'SPAN': lambda: SPAN(feature_channels=16, upscale=2),
    'SPAN_without_norm': lambda: SPAN(feature_channels=16, upscale=2, norm=False),
    'PLKSR': lambda: PLKSR(dim=16, n_blocks=3, upscaling_factor=2, kernel_size=5),
    'RealPLKSR': lambda: RealPLKSR(dim=16, n_blocks=3, upscaling_factor=2, kernel_size=5, dropout=0.1),
    'RealPLKSR_dysample': lambda: RealPLKSR(dim=16, n_blocks=3, upscaling_factor=2, kernel_size=5, dysample=True),
    'SAFMN': lambda: SAFMN(dim=16, n_blocks=3, upscaling_factor=2),
    'MoSR': lambda: MoSR(upscale=2, n_block=3, dim=16, drop_path=0.1),
    'MoSR_gps': lambda: MoSR(upscale=2, n_block=3, dim=16, upsampler='gps'),
    'MoSR_dysample': lambda: MoSR(upscale=2, n_block=3, dim=16, upsampler='dys'),
}


def build(name):
    """The network, whose weights are random, none of them 0, and the same at each call."""
    torch.manual_seed(0)
    network = {**TEACHERS, **STUDENTS}[name]()
    for parameter in network.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return network
