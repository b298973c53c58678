"""Whether images are the right ones: number, sizes, pairs, checksums, and LR made as MATLAB does it."""
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from math import inf, log10
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import DataError
from ..benchmarks import SETS, known_set
from ..bicubic import imresize, shrink
from ..folders import is_hidden
from ..raw_lmdb import RawLmdb
from ..stores import open_store, paired


class Finding(NamedTuple):
    """One result: whether it is as it should be, and a line that says what was found."""
    good: bool
    text: str


class Pair(NamedTuple):
    """Two stores and the scale between them."""
    gt: Path
    lq: Path
    scale: int


def find_pairs(folder: str | Path) -> list[Pair]:
    """Pairs in a folder: ``<part>_HR.lmdb`` with ``<part>_LRx4.lmdb``, or ``HR`` with ``LR_bicubic/X4``.

    Raises:
        DataError: there are none.
    """
    folder, pairs = Path(folder), []
    for scale in (1, 2, 3, 4, 8):
        for lq in sorted(path for path in folder.glob(f'*_LRx{scale}.lmdb') if not is_hidden(path.name)):
            pairs.append(Pair(lq.with_name(lq.name.replace(f'_LRx{scale}', '_HR')), lq, scale))
        if (folder / f'LR_bicubic/X{scale}').is_dir():
            pairs.append(Pair(folder / 'HR', folder / f'LR_bicubic/X{scale}', scale))
    if not pairs:
        raise DataError(f'{folder}: holds neither *_HR.lmdb with *_LRx4.lmdb nor HR with LR_bicubic/X4; name both with '
                        '--gt and --lq')
    return pairs


def verify(pair: Pair, limit: int = 120, progress: Callable[[Any], Iterable] = iter) -> Iterator[Finding]:
    """Check one pair of stores, until nothing further can be checked.

    Args:
        pair: what to check.
        limit: compare the pixels of at most so many pairs, spread evenly; 0: of all. Checksums are always checked.
        progress: wraps what is iterated over, for a progress bar.
    """
    try:
        yield from _check(pair, limit, progress)
    except DataError as error:
        yield Finding(False, str(error))


def _check(pair: Pair, limit: int, progress: Callable[[Any], Iterable]) -> Iterator[Finding]:
    gt, lq = open_store(pair.gt), open_store(pair.lq)
    name = known_set(pair.gt)
    yield judge_count(len(gt.shapes), name, gt.path)
    for store in (gt, lq):
        if store.left_out:
            yield Finding(True, f'{store.path}: left out: {store.left_out}')
        if isinstance(store, RawLmdb):
            bad = store.corrupt_images(progress)
            yield Finding(not bad, f'{store.path}: {len(bad)} images are damaged, such as {bad[0]!r}; remove it and '
                                   'pack it again' if bad else f'{store.path.name}: all checksums are right')
    pairs = paired(gt, lq, pair.scale)
    yield Finding(True, f'{len(pairs)} pairs of fitting sizes')
    if limit and len(pairs) > limit:
        pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, limit).astype(int)]
    recipes: Counter[str] = Counter()
    psnr = []
    for gt_name, lq_name in progress(pairs):
        image, small = gt.read(gt_name), lq.read(lq_name)
        recipes[recipe(image, small, pair.scale)] += 1
        psnr.append(bicubic_psnr(image, small, pair.scale))
    if pair.scale > 1:  # at x1 they are given, not made from the HR images
        yield _judge_recipes(recipes)
    yield judge_psnr(float(np.mean(psnr)), name, pair.scale)


def judge_count(found: int, name: str | None, where: object) -> Finding:
    """Compare a number of images with that of the known set of that name (None: of no known set)."""
    if name is None or found == SETS[name].count:
        return Finding(True, f'{found} images')
    return Finding(False, f'{where}: has {found} images, but {name} has {SETS[name].count}; download it again')


def recipe(gt: np.ndarray, lq: np.ndarray, scale: int) -> str:
    """How an LR image was made from its HR image: 'A' or 'B' of ``bicubic``, 'rounded once', or 'something else'."""
    for variant, border in (('A', 'mirror'), ('B', 'clamp')):
        if np.array_equal(shrink(gt, scale, border), lq):
            return variant
    height, width = lq.shape[:2]
    once = imresize(gt[:height * scale, :width * scale] / 255, size=(height, width)).clip(0, 1) * 255
    # Half a level is the error of one rounding; BasicSR's float32 may fall on either side of a half.
    return 'rounded once' if np.abs(once - lq).max() < 0.501 else 'something else'


def _to_y(image: np.ndarray) -> np.ndarray:
    """Y of YCbCr (BT.601) of uint8 RGB (H, W, 3), as BasicSR's ``to_y_channel``: float64 (H, W), in [16, 235]."""
    y = np.dot(image[..., ::-1].astype(np.float32) / 255, [24.966, 128.553, 65.481]) + 16
    return ((y / 255).astype(np.float32) * 255).astype(np.float64)


def bicubic_psnr(gt: np.ndarray, lq: np.ndarray, scale: int) -> float:
    """PSNR in dB of lq upsampled by variant A against gt, on Y, without a border of ``scale`` pixels."""
    height, width = (scale * side for side in lq.shape[:2])
    inner = slice(scale, height - scale), slice(scale, width - scale)
    mse = np.square(_to_y(imresize(lq, size=(height, width))[inner]) - _to_y(gt[inner])).mean()
    return 10 * log10(255**2 / mse) if mse else inf


def _judge_recipes(recipes: Counter[str]) -> Finding:
    total = sum(recipes.values())
    if set(recipes) <= {'A', 'B'}:
        which = ' and '.join(f'variant {variant}' for variant in sorted(recipes))
        return Finding(True, f'LR of {total} images is MATLAB\'s bicubic to the last bit ({which})')
    why = 'is not MATLAB\'s bicubic of these: it has other HR images or another kernel'
    if not recipes['something else']:
        why = 'was rounded once, not after each pass as MATLAB does'
    wrong = recipes['something else'] or recipes['rounded once']
    return Finding(False, f'LR of {wrong} of {total} images {why}; take the official LR, or pack without LR')


def judge_psnr(psnr: float, name: str | None, scale: int) -> Finding:
    """Compare PSNR of bicubic, in dB on Y, with that of the known set of that name (None: of no known set)."""
    found = f'bicubic x{scale} gives {psnr:.3f} dB on Y'
    known = SETS[name].bicubic.get(scale) if name else None
    if name is None or known is None:
        return Finding(True, found)
    if abs(psnr - known) <= SETS[name].tolerance:
        return Finding(True, f'{found}, as on the known {name} ({known} dB)')
    return Finding(False, f'{found}, but {known} dB on the known {name}: these are other images, or HR of half size; '
                          'download it: mipkd data benchmark')
