"""How long downsampling one image takes by BasicSR's ``imresize`` and by the package's own.

Both turn a uint8 RGB image into a uint8 LR image; their runs alternate, and each figure is a median. The last line is
one JSON object, whose outermost "ratio" is the smallest of all scales.

example:
  python benchmarks/bicubic.py
"""
import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import mipkd_model  # noqa: F401  (first: it says how torch's threads wait, and makes BasicSR importable)

# isort: split
import cv2
import numpy as np
import torch

from mipkd_model.data.bicubic import shrink

from basicsr.utils.matlab_functions import imresize


def photograph(width: int, height: int) -> np.ndarray:
    """A uint8 RGB image with smooth parts and some noise."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 16 + 2, width // 16 + 2, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8)


def basicsr(image: np.ndarray, scale: int) -> np.ndarray:
    """LR image by BasicSR, rounded once at the end."""
    lr = imresize(image.astype(np.float32) / 255, 1 / scale)
    return np.clip(np.round(lr * 255), 0, 255).astype(np.uint8)


def milliseconds(function: Callable[..., Any], *args: Any) -> float:
    """Time that one call takes."""
    start = time.perf_counter()
    function(*args)
    return 1000 * (time.perf_counter() - start)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--size', type=int, nargs=2, default=[2040, 1356], metavar=('WIDTH', 'HEIGHT'),
                        help='of the image')
    parser.add_argument('--repeats', type=int, default=9, help='runs of each, after a warm-up')
    args = parser.parse_args()

    image = photograph(*args.size)
    result: dict[str, Any] = {}
    for scale in (2, 3, 4):
        height, width = (side - side % scale for side in image.shape[:2])
        cropped = image[:height, :width]
        times = [[milliseconds(function, cropped, scale) for function in (basicsr, shrink)]
                 for _ in range(args.repeats + 1)][1:]
        theirs, ours = (statistics.median(column) for column in zip(*times, strict=True))
        result[f'x{scale}'] = {'basicsr_ms': round(theirs, 2), 'ours_ms': round(ours, 2),
                               'ratio': round(theirs / ours, 2)}
        print(f'x{scale}: BasicSR {theirs:.1f} ms, ours {ours:.1f} ms, {theirs / ours:.1f} times as fast')
    result['ratio'] = min(figures['ratio'] for figures in result.values())
    result['threads'] = torch.get_num_threads()
    print(json.dumps(result))
    return 0


if __name__ == '__main__':
    sys.exit(main())
