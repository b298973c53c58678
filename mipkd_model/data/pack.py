"""From image files to raw LMDBs."""
import shutil
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from basicsr.utils.matlab_functions import imresize

from .raw_lmdb import DataError, write_raw_lmdb

SUFFIXES = ('.png', '.bmp', '.jpg', '.jpeg', '.tif', '.tiff', '.webp')


def list_images(folder):
    """Image files of a folder, sorted by name.

    Raises:
        DataError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f'{folder}: no such folder of images')
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f'{folder}: holds no images ({", ".join(SUFFIXES)})')
    return files


def read_image(file):
    """Read an image file as uint8 RGB (H, W, 3); gray ones get three equal channels.

    Raises:
        DataError: the file is not a readable image.
    """
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f'{file}: is not a readable image; copy it anew or take it out of the folder')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def modcrop(image, scale):
    """Crop an image (H, W, C) from its top-left corner to multiples of scale."""
    height, width = (side - side % scale for side in image.shape[:2])
    return image[:height, :width]


def shrink(image, scale):
    """Bicubic LR of a uint8 RGB image (H, W, 3) by BasicSR's MATLAB-like ``imresize``, rounded once at the end."""
    lr = imresize(modcrop(image, scale).astype(np.float64) / 255, 1 / scale)
    return np.clip(np.round(lr * 255), 0, 255).astype(np.uint8)


def lr_name(name, scale):
    """Name of a gt image, given that of its lq image: DIV2K writes ``0001x4`` for ``0001``."""
    return name.removesuffix(f'x{scale}')


def pack_pairs(hr_files, out_gt, out_lq, scale, lr_files=None, min_side=0):
    """Pack gt and lq images into two raw LMDBs.

    Args:
        hr_files (sequence[Path]): gt image files; their stems become the names.
        out_gt, out_lq: the databases to write.
        scale (int): gt size over lq size.
        lr_files (sequence[Path] | None): lq files, named as gt or with ``x<scale>`` behind; None makes them.
        min_side (int): leave out images with a gt side shorter than this.

    Returns:
        tuple[int, int]: images packed, images left out for their size.

    Raises:
        DataError: see ``write_raw_lmdb``; also where an lq file is missing.
    """
    sources = None
    if lr_files is not None:
        sources = {lr_name(file.stem, scale): file for file in lr_files}
        missing = [file.stem for file in hr_files if file.stem not in sources]
        if missing:
            raise DataError(f'{lr_files[0].parent}: has no x{scale} image for {missing[0]!r} '
                            f'({len(missing)} are missing)')
    kept = []

    def read_gt():
        for file in tqdm(hr_files, f'pack {Path(out_gt).name}', unit='image'):
            image = read_image(file)
            if min(image.shape[:2]) >= min_side:
                kept.append(file)
                yield file.stem, modcrop(image, scale)

    def read_lq():
        for file in tqdm(kept, f'pack {Path(out_lq).name}', unit='image'):
            yield file.stem, read_image(sources[file.stem]) if sources else shrink(read_image(file), scale)

    for out in (out_gt, out_lq):  # both, before hours of work on the first
        if Path(out).exists():
            raise DataError(f'{out}: exists already and is left alone; remove it first to make it anew')
    write_raw_lmdb(out_gt, read_gt())
    try:
        write_raw_lmdb(out_lq, read_lq())
    except BaseException:
        shutil.rmtree(out_gt)  # written just now, and of no use alone
        raise
    return len(kept), len(hr_files) - len(kept)
