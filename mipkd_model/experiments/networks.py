"""The teachers, students and pairs that are compared."""
import json
from dataclasses import dataclass
from functools import cache

import torch

from ..networks.build import make_network
from ..networks.catalog import FOLDER, OFFICIAL

SCALES = (2, 3, 4)

TEACHERS = {'EDSR': 'EDSR_Lx', 'RCAN': 'RCAN_BIX', 'SwinIR': 'SwinIR_Mx', 'DAT_light': 'DAT_light_x'}
"""What ``OFFICIAL`` calls each teacher, the scale being added at the end."""


@dataclass(frozen=True)
class Student:
    """A student of any scale."""
    about: str
    """What it is and how large, in a few words."""
    block: dict
    """Its block in an option file, ``upscale`` being filled in for the scale."""


def _edsr(num_feat, num_block, note=''):
    return Student(f'EDSR of {num_feat} channels and {num_block} blocks{note}',
                   {'type': 'EDSRStudent', 'num_feat': num_feat, 'num_block': num_block, 'upscale': None,
                    'res_scale': 0.1})


READING = " (this project's reading of compression in {})"
STUDENTS = {
    'EDSR': _edsr(64, 32),
    # The paper compresses EDSR in width alone. In depth: about the ratio of RCAN's pair, 20 to 6 blocks.
    'EDSR_depth': _edsr(256, 10, READING.format('depth')),
    'EDSR_compound': _edsr(64, 10, READING.format('width and depth')),
    'RCAN': Student('RCAN of 10 groups of 6 blocks',
                    {'type': 'RCANStudent', 'num_feat': 64, 'num_group': 10, 'num_block': 6, 'squeeze_factor': 16,
                     'upscale': None, 'res_scale': 1}),
    'SwinIR': Student('SwinIR of 60 channels and 4 groups of 6 blocks',
                      {'type': 'SwinIRStudent', 'upscale': None, 'img_size': 48, 'embed_dim': 60,
                       'depths': [6, 6, 6, 6], 'num_heads': [6, 6, 6, 6], 'window_size': 8, 'mlp_ratio': 2,
                       'upsampler': 'pixelshuffle', 'resi_connection': '1conv'}),
}
"""By name. Those of the type EDSRStudent start at x4 from their x2 student, as in the paper's family of work."""

PAIRS = (('EDSR', 'EDSR'), ('RCAN', 'RCAN'), ('SwinIR', 'SwinIR'), ('EDSR', 'EDSR_depth'), ('EDSR', 'EDSR_compound'),
         ('SwinIR', 'EDSR'), ('RCAN', 'EDSR'), ('DAT_light', 'EDSR'), ('EDSR', 'SwinIR'), ('SwinIR', 'RCAN'))
"""The chosen pairs, teacher and student: the paper's three, two more compressions of EDSR, and across families."""

NAMED_CUTS = {('EDSR', 'EDSR'): ['body.10', 'body.21'], ('RCAN', 'RCAN'): ['body.2', 'body.6']}
"""Where the paper's family of work cuts both networks of a pair; the others are cut into three even stages."""


def student_block(student, scale):
    """The option block of a student, by its name in ``STUDENTS``."""
    return {**STUDENTS[student].block, 'upscale': scale}


def teacher_key(teacher, scale):
    """What ``OFFICIAL`` and ``mipkd teacher get`` call a teacher, by its name in ``TEACHERS``."""
    return f'{TEACHERS[teacher]}{scale}'


def teacher_block(teacher, scale):
    """The option block of a teacher, and the path of weights to load into it, None where the block brings them."""
    official = OFFICIAL[teacher_key(teacher, scale)]
    path = f'{FOLDER}/{official.file}'
    if official.network['type'] == 'SpandrelNetwork':
        return {**official.network, 'file': path}, None
    return official.network, path


def student_parameters(student, scale):
    """Number of parameters of a student."""
    return parameters_of(student_block(student, scale))


def teacher_parameters(teacher, scale):
    """Number of parameters of a teacher; None where only the file of its weights has the sizes."""
    block, path = teacher_block(teacher, scale)
    return parameters_of(block) if path else None


def parameters_of(block):
    """Number of parameters of a network's block."""
    return _parameters_of(json.dumps(block))


@cache
def _parameters_of(text):
    block = json.loads(text)  # of a text, for it can be looked up: hundreds of files name a dozen networks
    # Nothing is allocated on the meta device. SwinIR reads a tensor's values while it is built, which meta has not.
    with torch.device('cpu' if block['type'].startswith('SwinIR') else 'meta'):
        network, _ = make_network({'network_g': block, 'path': {}}, 'g')
    return sum(parameter.numel() for parameter in network.parameters())
