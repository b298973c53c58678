"""Builders of tiny networks, real architectures that a CPU runs in milliseconds, and of what they are fed with."""
from functools import partial

import numpy as np
import torch

from mipkd_model.data.prepare.raw_lmdb_writer import Entry, write_raw_lmdb

from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.swinir_arch import SwinIR

EDSR_SIZES = {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 3, 'res_scale': 0.1}
RCAN_SIZES = {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 16, 'num_group': 3, 'num_block': 1, 'squeeze_factor': 4}
SWINIR_SIZES = {'img_size': 16, 'embed_dim': 12, 'depths': (2, 2, 2), 'num_heads': (2, 2, 2), 'window_size': 4,
                'mlp_ratio': 2., 'drop_path_rate': 0.3, 'upsampler': 'pixelshuffle'}


def edsr(upscale=4, **sizes):
    return EDSR(**{**EDSR_SIZES, 'upscale': upscale, **sizes})


def rcan(upscale=4, **sizes):
    return RCAN(**{**RCAN_SIZES, 'upscale': upscale, **sizes})


def swinir(upscale=4, **sizes):
    return SwinIR(**{**SWINIR_SIZES, 'upscale': upscale, **sizes})


NETWORKS = {
    'EDSR': edsr,
    'RCAN': rcan,
    'SwinIR': swinir,
    'SwinIR_direct': partial(swinir, upsampler='pixelshuffledirect'),
    'SwinIR_nearest': partial(swinir, upsampler='nearest+conv'),
    'SwinIR_3conv': partial(swinir, resi_connection='3conv'),
    'SwinIR_ape': partial(swinir, ape=True),
    'SwinIR_restoring': lambda upscale=1, **sizes: swinir(1, upsampler='', **sizes),
}
"""By name, each a function of upscale ('nearest+conv' knows x4 alone, restoring x1; with ape, lq must be 16x16)."""

STUDENTS = {
    'EDSR': {'type': 'EDSRStudent', 'num_feat': 8, 'num_block': 2, 'upscale': 2},
    'RCAN': {'type': 'RCANStudent', 'num_feat': 16, 'num_group': 2, 'num_block': 2, 'squeeze_factor': 4, 'upscale': 2},
    'SwinIR': {'type': 'SwinIRStudent', 'img_size': 16, 'embed_dim': 12, 'depths': [2], 'num_heads': [2],
               'window_size': 4, 'upscale': 2},
    'Compact': {'type': 'SRVGGNetCompact', 'num_feat': 8, 'num_conv': 2, 'upscale': 2},
    'SPAN': {'type': 'SPAN', 'feature_channels': 8, 'upscale': 2},
}
"""Option blocks of students at x2, by name."""


def noise(height, width, seed=0):
    """A uint8 RGB image (height, width, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def raw_lmdb(path, images):
    """Write arrays, by name, as a raw LMDB. Returns its path."""
    write_raw_lmdb(path, [Entry(name, image.shape, f'{name}.png', lambda image=image: image)
                          for name, image in images.items()])
    return path


def seeded(seed=3):
    """A generator that starts at the seed."""
    return torch.Generator().manual_seed(seed)


def uniform(seed=3):
    """A source of random numbers in [0, 1) for masks, from the seed."""
    return partial(torch.rand, generator=seeded(seed))


def dat_file(folder, upscale=4, **sizes):
    """Write the weights of a tiny DAT of one group, as DAT-light has it, for the spandrel library. Returns the file."""
    from spandrel.architectures.DAT import DAT
    network = DAT(**{'img_size': 16, 'embed_dim': 32, 'depth': [4], 'num_heads': [2], 'split_size': [2, 4],
                     'resi_connection': '3conv', 'upsampler': 'pixelshuffledirect', 'upscale': upscale, **sizes})
    file = folder / f'DAT_x{upscale}.pth'
    torch.save({'params': network.state_dict()}, file)
    return file
