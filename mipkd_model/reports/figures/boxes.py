"""The part of an image that figures enlarge: the box that is asked for, or the one where methods differ most."""
from collections.abc import Sequence

import numpy as np

from mipkd_arch.base.errors import UserError

from .pictures import Pictures

Box = tuple[int, int, int, int]
"""x, y, width and height in pixels of gt."""


def parse_numbers(text: str, where: str, form: str) -> tuple[int, ...]:
    """Parse integers with commas between them, as many as ``form``, such as ``W,H``, has.

    Raises:
        UserError: it is something else.
    """
    try:
        numbers = tuple(int(part) for part in text.split(','))
    except ValueError:
        numbers = ()
    if len(numbers) != len(form.split(',')):
        raise UserError(f'{where}: {text!r} is not of the form {form}, integers in pixels of the HR image')
    return numbers


def default_box_size(shape: Sequence[int]) -> tuple[int, int]:
    """(w, h) of the box that is chosen: a square, a fifth of the shorter side down to a multiple of 8, at least 8."""
    side = min(min(shape[:2]), max(8, min(shape[:2]) // 5 // 8 * 8))
    return side, side


def most_different_box(gt: np.ndarray, outputs: Sequence[np.ndarray], size: Sequence[int], border: int = 0) -> Box:
    """Where the methods differ most from one another in their error; of equal boxes the topmost, then leftmost.

    For each pixel, the variance over the methods of their squared error, which is the mean over R, G and B; of all
    boxes inside the border, the one with the greatest sum.

    Args:
        gt: uint8 (H, W, 3); ``outputs`` are the same of each method.
        size: (w, h) of the box in pixels; it keeps ``border`` pixels from the edges, or fewer if it is too large.

    Raises:
        UserError: the box is larger than the image.
    """
    width, height = size
    if not (1 <= width <= gt.shape[1] and 1 <= height <= gt.shape[0]):
        raise UserError(f'--box-size: {width},{height} does not fit into the image, which is '
                        f'{gt.shape[1]}x{gt.shape[0]}')
    errors = [np.square(output.astype(np.float64) - gt).mean(2) for output in outputs]
    sums = np.pad(np.var(errors, axis=0).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = (min(border, (places - 1) // 2) for places in total.shape)
    inside = total[top:len(total) - top, left:total.shape[1] - left]
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    return int(x) + left, int(y) + top, width, height


def choose_box(pictures: Pictures, box: Sequence[int] | None = None, size: Sequence[int] | None = None) -> Box:
    """The box (x, y, w, h) that is asked for, or the one of that size (w, h) where the records differ most.

    A single record is compared with bicubic. The box that is chosen keeps ``scale`` pixels from the edges, as the
    metrics leave them out.

    Raises:
        UserError: it does not lie in the image, or is empty.
    """
    if not box:
        compared = pictures.outputs if len(pictures.outputs) > 1 else [pictures.bicubic, *pictures.outputs]
        size = size or default_box_size(pictures.gt.shape)
        return most_different_box(pictures.gt, compared, size, pictures.scale)
    x, y, width, height = box
    image_height, image_width = pictures.gt.shape[:2]
    if min(width, height) < 1 or min(x, y) < 0 or x + width > image_width or y + height > image_height:
        raise UserError(f'--box: {width}x{height} at ({x}, {y}) does not lie in the image, which is '
                        f'{image_width}x{image_height}')
    return x, y, width, height
