"""The card's picture: the same crop by bicubic, by the student and of the ground truth."""
from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..base.files import atomic_write
from ..data.bicubic import imresize, shrink
from ..data.images import read_image
from ..reports.figures.pictures import most_different_box
from . import OVERLAP, TILE
from .measure import as_image
from .runtimes import Model
from .upscale import upscale_array

CROP, ZOOM, BAR = 96, 3, 24
"""Side of the crop in pixels of gt, its magnification, and the height of a caption."""


def pair_of_file(file: Path, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """A photograph, cropped to a multiple of the scale, and the LR image that MATLAB's bicubic makes of it."""
    gt = read_image(file)
    gt = np.ascontiguousarray(gt[:gt.shape[0] // scale * scale, :gt.shape[1] // scale * scale])
    return gt, shrink(gt, scale)


def write_comparison(model: Model, pair: tuple[np.ndarray, np.ndarray], file: Path) -> None:
    """Write the picture; the crop is where bicubic and the student differ most in their error.

    Args:
        pair: gt and the LR image, uint8 RGB (H, W, 3), the first ``scale`` times as large.
    """
    gt, lq = pair
    student = as_image(upscale_array(lq / np.float32(255), model, TILE, OVERLAP).transpose(2, 0, 1)[None])
    bicubic = imresize(lq, size=gt.shape[:2])
    width, height = (min(CROP, side) for side in gt.shape[1::-1])
    x, y, width, height = most_different_box(gt, [bicubic, student], (width, height), model.scale)
    sheet = Image.new('RGB', (3 * (width * ZOOM + 4) - 4, height * ZOOM + BAR), 'white')
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for number, (title, image) in enumerate({'bicubic': bicubic, 'student': student, 'ground truth': gt}.items()):
        crop = Image.fromarray(np.ascontiguousarray(image[y:y + height, x:x + width]))
        left = number * (width * ZOOM + 4)
        sheet.paste(crop.resize((width * ZOOM, height * ZOOM), Image.Resampling.NEAREST), (left, 0))
        pen.text((left + width * ZOOM / 2, height * ZOOM + BAR / 2), title, 'black', font, anchor='mm')
    with atomic_write(file) as temporary:
        sheet.save(temporary, 'PNG', optimize=True)
