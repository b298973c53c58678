"""Public datasets: addresses, checksums, the PSNR of bicubic on them, and the commands that put data in place.

The MD5 sums are those by which torchSR checks these files. PSNR of bicubic is on Y, without a border of ``scale``
pixels. Three decimals: measured on EDSR's benchmark files. Two: from the tables of RCAN (ECCV 2018).
"""
from dataclasses import dataclass
from pathlib import Path, PurePath

from mipkd_arch.base.errors import command

DIV2K = 'http://data.vision.ee.ethz.ch/cvl/DIV2K'
BENCHMARK = 'https://cv.snu.ac.kr/research/EDSR/benchmark.tar'
MD5 = {
    'DIV2K_train_HR.zip': 'bdc2d9338d4e574fe81bf7d158758658',
    'DIV2K_train_LR_bicubic_X2.zip': '9a637d2ef4db0d0a81182be37fb00692',
    'DIV2K_train_LR_bicubic_X3.zip': 'ad80b9fe40c049a07a8a6c51bfab3b6d',
    'DIV2K_train_LR_bicubic_X4.zip': '76c43ec4155851901ebbe8339846d93d',
    'benchmark.tar': '4ace41d33c2384b97e6b320cd0afd6ba',
}


@dataclass(frozen=True)
class KnownSet:
    """What a dataset must look like: number of images, PSNR of bicubic in dB by scale, and tolerance of it in dB."""
    count: int
    bicubic: dict[int, float]
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


def known_set(path: Path) -> str | None:
    """Name of the known set that a path belongs to by one of its parts, or None."""
    names = [ALIASES.get(part, part) for part in reversed(path.parts)]
    return next((name for name in names if name in SETS), None)


def source_of(path: str | Path) -> str | None:
    """The command of ``mipkd data`` that makes the data at ``path``: 'div2k', 'benchmark' or None."""
    parts = PurePath(path).parts
    return 'div2k' if 'DIV2K' in parts else 'benchmark' if 'benchmark' in parts else None


def how_to_get(path: str | Path, scale: int) -> str:
    """One sentence with the command that makes the data at ``path``."""
    source, is_lmdb = source_of(path), PurePath(path).suffix == '.lmdb'
    if source == 'benchmark' and not (scale == 1 and is_lmdb):
        return f'Fetch the benchmark sets: {command("mipkd", "data", "benchmark")}'
    if source == 'div2k' and scale > 1:
        return f'Fetch and pack DIV2K: {command("mipkd", "data", "div2k", "--scale", scale)}'
    if is_lmdb:
        lr = ('--lr', 'FOLDER') if scale == 1 else ()
        pack = command('mipkd', 'data', 'pack', '--hr', 'FOLDER', *lr, '--scale', scale, '--out', PurePath(path).parent)
        return f'Pack folders: {pack}'
    return 'Correct the path; it is relative to the folder in which the command is started'
