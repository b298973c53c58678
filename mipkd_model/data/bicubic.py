"""Bicubic resizing as MATLAB's ``imresize`` does it, to the last bit: published figures rest on LR that MATLAB made.

Three of its behaviors are in use, which differ in the type of the input and in what happens at the border:

======= ======== ======== ==================================== ===========================
variant input    border   rounding                             found in
======= ======== ======== ==================================== ===========================
A       uint8    mirror   to uint8 after each of both passes   Set5, Set14
B       uint8    clamp    the same                             BSD100 (an older MATLAB)
C       float64  mirror   none                                 ``im2double`` in user code
======= ======== ======== ==================================== ===========================

The kernel is the cubic convolution of Keys (1981) with a = -0.5, widened by 1/scale for downsampling.
"""
from collections.abc import Sequence

import cv2
import numpy as np

ROWS = 5  # output rows computed at once: few enough for the cache, enough for the matrix product


def cubic(x: np.ndarray) -> np.ndarray:
    """Cubic convolution kernel with a = -0.5, zero outside [-2, 2] (Keys 1981, equation 15)."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0))


def taps(length: int, size: int, scale: float, antialiasing: bool = True,
         border: str = 'mirror') -> tuple[np.ndarray, np.ndarray]:
    """Input positions and weights of every output position along one dimension.

    Args:
        length, size: number of input and output positions.
        scale: output positions per input position.
        antialiasing: widen the kernel for downsampling.
        border: 'mirror' repeats the image in reverse beyond its edge, 'clamp' repeats the edge itself.

    Returns:
        int64 positions and float64 weights, both (size, T); rows of weights sum to 1.
    """
    stretch = min(scale, 1) if antialiasing else 1
    width = 4 / stretch
    center = np.arange(1, size + 1) / scale + 0.5 * (1 - 1 / scale)  # counted from 1, as the order of rounding asks
    index = np.floor(center - width / 2)[:, None] + np.arange(int(np.ceil(width)) + 2)
    weight = stretch * cubic(stretch * (center[:, None] - index))
    weight /= weight.sum(axis=1, keepdims=True)
    index = index.astype(np.int64) - 1
    if border == 'mirror':
        index %= 2 * length
        index = np.minimum(index, 2 * length - 1 - index)
    elif border == 'clamp':
        index = index.clip(0, length - 1)
    else:
        raise ValueError(f"border: {border!r} is neither 'mirror' nor 'clamp'")
    used = weight.any(axis=0)
    return index[:, used], weight[:, used]


def imresize(image: np.ndarray, scale: float | None = None, size: Sequence[int] | None = None,
             antialiasing: bool = True, border: str = 'mirror') -> np.ndarray:
    """Resize an image as MATLAB's ``imresize(image, scale)`` or ``imresize(image, size)`` does.

    Args:
        image: (H, W) or (H, W, C) of uint8, in [0, 255], or float64, in any range.
        scale: output size over input size; the output has ceil(scale * length) positions.
        size: output (H, W), instead of ``scale``.
        antialiasing: as in MATLAB; without effect on upsampling.
        border: 'mirror' for variants A and C, 'clamp' for B.

    Returns:
        An image of the same type; float64 is neither rounded nor clipped.

    Raises:
        ValueError: another type, or not just one of scale and size.
    """
    if image.dtype not in (np.uint8, np.float64) or image.ndim not in (2, 3):
        raise ValueError(f'imresize: {image.dtype} {image.shape} is not uint8 or float64 of (H, W) or (H, W, C)')
    if scale is not None and size is None:
        scales = [scale, scale]
        # The guard keeps 339 from becoming 340 where scale * length is 339.0000000000001.
        size = [int(np.ceil(round(scale * length, 9))) for length in image.shape[:2]]
    elif size is not None and scale is None:
        scales = [out / length for out, length in zip(size, image.shape, strict=False)]
    else:
        raise ValueError('imresize: takes either a scale or a size')
    resize = _resize_uint8 if image.dtype == np.uint8 else _resize_float
    out = image.reshape(*image.shape[:2], -1)
    for dim in (0, 1) if scales[0] <= scales[1] else (1, 0):  # the smallest factor first, for both passes round
        index, weight = taps(image.shape[dim], size[dim], scales[dim], antialiasing, border)
        rows = _transpose(out) if dim else out
        done = resize(rows.reshape(len(rows), -1), index, weight).reshape(len(index), *rows.shape[1:])
        out = _transpose(done) if dim else done
    return out.reshape(*size, *image.shape[2:])


def shrink(image: np.ndarray, scale: int, border: str = 'mirror') -> np.ndarray:
    """Bicubic LR of a uint8 image (H, W) or (H, W, C), cropped from its top-left corner to multiples of ``scale``."""
    height, width = (side // scale for side in image.shape[:2])
    return imresize(image[:height * scale, :width * scale], size=(height, width), border=border)


def _transpose(image: np.ndarray) -> np.ndarray:
    """(H, W, C) to (W, H, C), contiguous; much faster by OpenCV than by numpy."""
    return cv2.transpose(image).reshape(image.shape[1], image.shape[0], image.shape[2])


def _resize_float(rows: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted sums of rows (N, M), in the order of the taps."""
    out = np.zeros((len(index), rows.shape[1]))
    for tap in range(index.shape[1]):
        out += weight[:, tap, None] * rows[index[:, tap]]
    return out


def _resize_uint8(rows: np.ndarray, index: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """As ``_resize_float``, rounded half up to uint8, but computed fast.

    A float32 matrix product gives all values with a known bound of error. A value closer than that to the point between
    two roundings is computed again in float64 in the order of the taps. Factors of 2, 3 and 4 do not need that: weights
    that are multiples of 2**-14 leave float32 exact, and multiples of 1/81 no value closer than 1/162 to that point.
    """
    count, columns = len(index), rows.shape[1]
    out = np.empty((count, columns), np.uint8)
    bound = 255 * np.abs(weight).sum(axis=1).max() * (index.shape[1] + 2) * 2.0**-23
    # 14 bits behind the point and 9 before it: float32 holds 24.
    sure = not (weight * 2**14 % 1).any() or bound < 1 / 162 and np.abs((weight * 81 + 0.5) % 1 - 0.5).max() < 1e-9
    tops = np.arange(0, count, ROWS)
    first = np.minimum.reduceat(index.min(axis=1), tops)
    last = np.maximum.reduceat(index.max(axis=1), tops) + 1
    widest = (last - first).max()
    matrix = np.zeros((count, widest), np.float32)
    np.add.at(matrix, (np.arange(count)[:, None], index - first.repeat(ROWS)[:count, None]),
              weight.astype(np.float32))
    # Reused, since fresh memory costs more than the arithmetic.
    source = np.empty((widest, columns), np.float32)
    value, whole = np.empty((2, ROWS, columns), np.float32)
    close_to_half = [np.empty(0, np.int64)]
    for top, low, high in zip(tops, first, last, strict=True):
        done = slice(top, min(count, top + ROWS))
        v, w = value[:done.stop - top], whole[:done.stop - top]
        np.copyto(source[:high - low], rows[low:high])
        np.matmul(matrix[done, :high - low], source[:high - low], out=v)
        if sure:
            np.add(v, 0.5, out=w)
        else:
            np.rint(v, out=w)  # right everywhere but near a half, and there it is overwritten
            np.subtract(v, w, out=v)
            close_to_half.append(np.flatnonzero(np.abs(v, out=v).ravel() > 0.5 - bound) + top * columns)
        np.clip(w, 0, 255, out=w)
        np.copyto(out[done], w, casting='unsafe')  # cuts off what is behind the point
    close = np.concatenate(close_to_half)
    y, x = np.divmod(close, columns)
    exact = np.zeros(len(close))
    for tap in range(index.shape[1]):
        exact += weight[y, tap] * rows[index[y, tap], x]
    out.ravel()[close] = np.floor(exact + 0.5).clip(0, 255)
    return out
