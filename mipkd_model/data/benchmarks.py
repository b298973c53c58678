"""Public data sets: where they are, how their files are recognised, and what bicubic gives on them.

The hashes are those that torchSR's data set classes check these files by. PSNR of bicubic is on Y, with a
border of ``scale`` pixels left out. Three decimals: measured on EDSR's benchmark files. Two: as RCAN (ECCV 2018)
prints it.
"""
from typing import NamedTuple

DIV2K = 'http://data.vision.ee.ethz.ch/cvl/DIV2K'
BENCHMARK = 'https://cv.snu.ac.kr/research/EDSR/benchmark.tar'
MD5 = {
    'DIV2K_train_HR.zip': 'bdc2d9338d4e574fe81bf7d158758658',
    'DIV2K_train_LR_bicubic_X2.zip': '9a637d2ef4db0d0a81182be37fb00692',
    'DIV2K_train_LR_bicubic_X3.zip': 'ad80b9fe40c049a07a8a6c51bfab3b6d',
    'DIV2K_train_LR_bicubic_X4.zip': '76c43ec4155851901ebbe8339846d93d',
    'benchmark.tar': '4ace41d33c2384b97e6b320cd0afd6ba',
}


class KnownSet(NamedTuple):
    """What a data set must look like.

    Attributes:
        count (int): number of images.
        bicubic (dict[int, float]): PSNR in dB of bicubic by scale.
        tolerance (float): of the PSNR, in dB.
    """

    count: int
    bicubic: dict
    tolerance: float = 0.01


SETS = {
    'Set5': KnownSet(5, {2: 33.673, 3: 30.403, 4: 28.429}, 0.002),
    'Set14': KnownSet(14, {2: 30.325, 3: 27.631, 4: 26.088}, 0.002),
    'BSD100': KnownSet(100, {2: 29.561, 3: 27.21, 4: 25.962}),
    'Urban100': KnownSet(100, {2: 26.88, 3: 24.46, 4: 23.14}, 0.1),
    'Manga109': KnownSet(109, {2: 30.80, 3: 26.95, 4: 24.89}, 0.1),
    'DIV2K': KnownSet(800, {}),
}
ALIASES = {'B100': 'BSD100', 'BSDS100': 'BSD100', 'DIV2K_train': 'DIV2K'}


def known_set(path):
    """Name of the known set that a path belongs to by one of its parts, or None."""
    for part in reversed(path.parts):
        name = ALIASES.get(part, part)
        if name in SETS:
            return name
    return None
