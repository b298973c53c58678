"""Whether images are what they should be: as many, as large, paired, undamaged, and shrunk as MATLAB does it."""
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from basicsr.metrics import calculate_psnr

from .. import DataError
from ..benchmarks import SETS, known_set
from ..bicubic import imresize, shrink
from ..folders import is_hidden
from ..raw_lmdb import RawLmdb
from ..stores import check_pair, lq_names, open_store


class Finding(NamedTuple):
    """One result: whether it is as it should be, and a line that says what was found."""

    good: bool
    text: str


class Pair(NamedTuple):
    """Two stores and the scale between them."""

    gt: Path
    lq: Path
    scale: int


def find_pairs(folder):
    """Pairs in a folder: ``<part>_HR.lmdb`` with ``<part>_LRx4.lmdb``, or ``HR`` with ``LR_bicubic/X4``.

    Raises:
        DataError: there are none.
    """
    folder = Path(folder)
    pairs = []
    for scale in (1, 2, 3, 4, 8):
        for lq in sorted(path for path in folder.glob(f'*_LRx{scale}.lmdb') if not is_hidden(path.name)):
            pairs.append(Pair(lq.with_name(lq.name.replace(f'_LRx{scale}', '_HR')), lq, scale))
        if (folder / f'LR_bicubic/X{scale}').is_dir():
            pairs.append(Pair(folder / 'HR', folder / f'LR_bicubic/X{scale}', scale))
    if not pairs:
        raise DataError(f'{folder}: holds neither *_HR.lmdb with *_LRx4.lmdb nor HR with LR_bicubic/X4; name both with '
                        '--gt and --lq')
    return pairs


def verify(pair, limit=120, progress=iter):
    """Check one pair of stores.

    Args:
        pair (Pair): what to check.
        limit (int): compare the pixels of at most so many pairs, spread evenly; 0 compares all. Checksums are checked
            on all images whatever the limit.
        progress (callable): wraps what is gone through, for a progress bar.

    Returns:
        list[Finding]: in the order of checking; it ends early where nothing further can be checked.
    """
    try:
        gt, lq = open_store(pair.gt), open_store(pair.lq)
    except DataError as error:
        return [Finding(False, str(error))]
    name = known_set(pair.gt)
    findings = [judge_count(len(gt.shapes), name, gt.path)]
    findings += [Finding(True, f'{store.path}: left out: {store.left_out}') for store in (gt, lq) if store.left_out]
    try:
        findings.extend(_checksums(gt, lq, progress))
        pairs = list(lq_names(gt.shapes, lq.shapes, pair.scale, f'{pair.gt} and {pair.lq}').items())
        for gt_name, lq_name in pairs:
            check_pair(lq_name, gt.shapes[gt_name], lq.shapes[lq_name], pair.scale, pair.lq)
        findings.append(Finding(True, f'{len(pairs)} pairs of fitting sizes'))
        if limit and len(pairs) > limit:
            pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, limit).astype(int)]
        recipes, psnr = Counter(), []
        for gt_name, lq_name in progress(pairs):
            image, small = gt.read(gt_name), lq.read(lq_name)
            recipes[recipe(image, small, pair.scale)] += 1
            psnr.append(bicubic_psnr(image, small, pair.scale))
    except DataError as error:
        return [*findings, Finding(False, str(error))]
    made = [_recipe(recipes)] if pair.scale > 1 else []  # at x1 they are given, not made of the HR images
    return [*findings, *made, judge_psnr(float(np.mean(psnr)), name, pair.scale)]


def judge_count(found, name, where):
    """Compare a number of images with that of the known set of that name (None: of no known set)."""
    if name is None or found == SETS[name].count:
        return Finding(True, f'{found} images')
    return Finding(False, f'{where}: has {found} images, but {name} has {SETS[name].count}; fetch it anew')


def _checksums(gt, lq, progress):
    for store in (gt, lq):
        if isinstance(store, RawLmdb):
            bad = store.corrupt_images(progress)
            yield Finding(not bad, f'{store.path}: {len(bad)} images are damaged, such as {bad[0]!r}; remove it and '
                                   'pack it anew' if bad else f'{store.path.name}: all checksums are right')


def recipe(gt, lq, scale):
    """How an LR image was made from its HR image: 'A' or 'B' of ``bicubic``, 'rounded once', or 'something else'."""
    for variant, border in (('A', 'mirror'), ('B', 'clamp')):
        if np.array_equal(shrink(gt, scale, border), lq):
            return variant
    height, width = lq.shape[:2]
    once = imresize(gt[:height * scale, :width * scale] / 255, size=(height, width)).clip(0, 1) * 255
    # Half a level is the error of one rounding; BasicSR's float32 may fall on either side of a half.
    return 'rounded once' if np.abs(once - lq).max() < 0.501 else 'something else'


def bicubic_psnr(gt, lq, scale):
    """PSNR in dB of lq enlarged by variant A against gt, on Y, without a border of ``scale`` pixels."""
    height, width = (scale * side for side in lq.shape[:2])
    up = imresize(lq, size=(height, width))
    return calculate_psnr(up[..., ::-1], gt[:height, :width, ::-1], crop_border=scale, test_y_channel=True)


def _recipe(recipes):
    total = sum(recipes.values())
    if recipes['A'] + recipes['B'] == total:
        which = ' and '.join(f'variant {variant}' for variant in 'AB' if recipes[variant])
        return Finding(True, f'LR of {total} images is MATLAB\'s bicubic to the last bit ({which})')
    if recipes['something else']:
        return Finding(False, f'LR of {recipes["something else"]} of {total} images is not MATLAB\'s bicubic of these '
                              'HR images: other HR images, another kernel or no antialiasing; take the official LR, '
                              'or pack without LR to have it made')
    return Finding(False, f'LR of {recipes["rounded once"]} of {total} images was rounded once, as Python\'s copies of '
                          'imresize do, not after each pass as MATLAB does; pack without LR to have it made exactly')


def judge_psnr(psnr, name, scale):
    """Compare PSNR of bicubic, in dB on Y, with that of the known set of that name (None: of no known set)."""
    known = SETS[name].bicubic.get(scale) if name else None
    if known is None:
        return Finding(True, f'{"bicubic" if scale > 1 else "lq itself, bicubic"} x{scale} gives {psnr:.3f} dB on Y')
    if abs(psnr - known) <= SETS[name].tolerance:
        return Finding(True, f'bicubic x{scale} gives {psnr:.3f} dB on Y, as on the known {name} ({known} dB)')
    hint = ' (HR of half size is a usual wrong copy)' if name == 'Urban100' else ''
    return Finding(False, f'bicubic x{scale} gives {psnr:.3f} dB on Y, but {known} dB on the known {name}: these are '
                          f'other images{hint}; fetch it: mipkd data benchmark')
