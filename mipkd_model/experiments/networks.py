"""The teachers, students and pairs that are compared."""
from __future__ import annotations

from typing import Any, NamedTuple

from ..networks.catalog import FOLDER, OFFICIAL

SCALES = (2, 3, 4)


class Student(NamedTuple):
    """A student of any scale."""
    about: str  # what it is and how large, in a few words
    block: dict[str, Any]  # its block in an option file; the value None stands for the scale
    parameters: dict[int, int]  # how many it has, by scale


def _counts(x2: int, x3: int, x4: int) -> dict[int, int]:
    return {2: x2, 3: x3, 4: x4}


def _edsr(num_feat: int, num_block: int, parameters: dict[int, int], note: str = '') -> Student:
    block = {'type': 'EDSRStudent', 'num_feat': num_feat, 'num_block': num_block, 'upscale': None, 'res_scale': 0.1}
    return Student(f'EDSR of {num_feat} channels and {num_block} blocks{note}', block, parameters)


READING = " (this project's reading of compression in {})"
STUDENTS = {
    'EDSR': _edsr(64, 32, _counts(2551555, 2736195, 2699267)),
    # The paper compresses EDSR in width alone. In depth: about the ratio of RCAN's pair, 20 to 6 blocks.
    'EDSR_depth': _edsr(256, 10, _counts(14766083, 17716483, 17126403), READING.format('depth')),
    'EDSR_compound': _edsr(64, 10, _counts(926723, 1111363, 1074435), READING.format('width and depth')),
    'RCAN': Student('RCAN of 10 groups of 6 blocks',
                    {'type': 'RCANStudent', 'num_feat': 64, 'num_group': 10, 'num_block': 6, 'squeeze_factor': 16,
                     'upscale': None, 'res_scale': 1}, _counts(5023603, 5208243, 5171315)),
    'SwinIR': Student('SwinIR of 60 channels and 4 groups of 6 blocks',
                      {'type': 'SwinIRStudent', 'upscale': None, 'img_size': 48, 'embed_dim': 60,
                       'depths': [6, 6, 6, 6], 'num_heads': [6, 6, 6, 6], 'window_size': 8, 'mlp_ratio': 2,
                       'upsampler': 'pixelshuffle', 'resi_connection': '1conv'}, _counts(1087727, 1272367, 1235439)),
    'SwinIR_light': Student('SwinIR-light: 60 channels and 4 groups of 6 blocks, upsampled in one step',
                            {'type': 'SwinIRStudent', 'upscale': None, 'img_size': 48, 'embed_dim': 60,
                             'depths': [6, 6, 6, 6], 'num_heads': [6, 6, 6, 6], 'window_size': 8, 'mlp_ratio': 2,
                             'upsampler': 'pixelshuffledirect', 'resi_connection': '1conv'},
                            _counts(910152, 918267, 929628)),
    'Compact': Student('Compact (SRVGGNet) of 64 channels and 16 convolutions',
                       {'type': 'CompactStudent', 'num_feat': 64, 'num_conv': 16, 'upscale': None,
                        'act_type': 'prelu'}, _counts(600652, 609307, 621424)),
    'SPAN': Student('SPAN of 48 channels; in use its convolutions are folded, to a fifth of the parameters',
                    {'type': 'SPAN', 'feature_channels': 48, 'upscale': None}, _counts(2221140, 2227635, 2236728)),
    'RealPLKSR_tiny': Student('RealPLKSR of 64 channels and 12 blocks with kernels of 13x13',
                              {'type': 'RealPLKSR', 'dim': 64, 'n_blocks': 12, 'kernel_size': 13, 'use_ea': False,
                               'upscaling_factor': None}, _counts(2351308, 2359963, 2372080)),
}
"""By name. Those of the type EDSRStudent start at x4 from their x2 student, as in the paper's family of work."""

TEACHERS = {'EDSR': 'EDSR_Lx', 'RCAN': 'RCAN_BIX', 'SwinIR': 'SwinIR_Mx', 'DAT_light': 'DAT_light_x',
            'DAT_2': 'DAT_2_x', 'HAT': 'HAT_x', 'ATD': 'ATD_x', 'RRDBNet': 'RRDBNet_x'}
"""Name of the published weights of each teacher, to which the scale is added."""
TEACHER_PARAMETERS = {'EDSR': _counts(40729603, 43680003, 43089923), 'RCAN': _counts(15444643, 15629283, 15592355),
                      'SwinIR': _counts(11752487, 11937127, 11900199)}
"""By teacher and scale; of the others only the file of their weights has the sizes."""

PAIRS = (('EDSR', 'EDSR'), ('RCAN', 'RCAN'), ('SwinIR', 'SwinIR'), ('EDSR', 'EDSR_depth'), ('EDSR', 'EDSR_compound'),
         ('SwinIR', 'EDSR'), ('RCAN', 'EDSR'), ('DAT_light', 'EDSR'), ('EDSR', 'SwinIR'), ('SwinIR', 'RCAN'),
         ('DAT_light', 'Compact'), ('DAT_light', 'SPAN'), ('HAT', 'Compact'), ('HAT', 'RealPLKSR_tiny'))
"""The chosen pairs, teacher and student: the paper's three, two more compressions of EDSR, across families, and
transformers that teach the networks that people deploy."""

NAMED_CUTS = {('EDSR', 'EDSR'): ['body.10', 'body.21'], ('RCAN', 'RCAN'): ['body.2', 'body.6']}
"""Where the paper's family of work cuts both networks of a pair; the others are cut into three even stages."""


def student_block(student: str, scale: int) -> dict[str, Any]:
    """The option block of a student, by its name in ``STUDENTS``."""
    return {key: scale if value is None else value for key, value in STUDENTS[student].block.items()}


def has_weights(teacher: str, scale: int) -> bool:
    """Whether weights of a teacher are published for a scale."""
    return teacher_key(teacher, scale) in OFFICIAL


def teacher_key(teacher: str, scale: int) -> str:
    """What ``mipkd teacher get`` calls a teacher, by its name in ``TEACHERS``."""
    return f'{TEACHERS[teacher]}{scale}'


def teacher_block(teacher: str, scale: int) -> tuple[dict[str, Any], str | None]:
    """The option block of a teacher, and the path of weights to load into it, None where the block names them."""
    official = OFFICIAL[teacher_key(teacher, scale)]
    path, block = f'{FOLDER}/{official.file}', official.network
    if block['type'] == 'SpandrelNetwork':
        return {**block, 'file': path}, None
    return block, path
