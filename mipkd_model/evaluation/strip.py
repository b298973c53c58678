"""A strip of crops that is the same at each validation of a training, but for what the student makes of it."""
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ..data.bicubic import imresize
from .evaluate import to_uint8
from .metrics import Image
from .restore import TILE_PAD, Restore

SIDE, IMAGES, GAP = 128, 4, 4
"""Pixels of gt along a crop, number of images, white pixels between crops."""


class Strip:
    """Crops of the first images of a dataset, of each the square with the most detail.

    Networks see TILE_PAD lq pixels more on each side, or as many as there are.

    Args:
        dataset: items as for ``evaluate``, with gt.
        scale: of the dataset.
    """

    def __init__(self, dataset: Any, scale: int) -> None:
        self.scale = scale
        items = [dataset[index] for index in range(min(IMAGES, len(dataset)))]
        lq = [to_uint8(item['lq']) for item in items]
        shorter = min(min(image.shape[:2]) for image in lq)
        self.side, window = min(max(1, SIDE // scale), shorter), min(SIDE // scale + 2 * TILE_PAD, shorter)
        self.bicubic: list[Image] = []
        self.gt: list[Image] = []
        self.places: list[tuple[int, int]] = []  # of the crop in what the networks see
        windows = []
        for item, image in zip(items, lq, strict=True):
            height, width = image.shape[:2]
            gt = to_uint8(item['gt'])[:height * scale, :width * scale]
            top, left = most_detailed(gt, self.side, scale)
            self.gt.append(self._crop(gt, top, left))
            self.bicubic.append(self._crop(imresize(image, size=gt.shape[:2]), top, left))
            y, x = (min(max(0, place - (window - self.side) // 2), length - window)
                    for place, length in ((top, height), (left, width)))
            self.places.append((top - y, left - x))
            windows.append(torch.from_numpy(image[y:y + window, x:x + window]).permute(2, 0, 1))
        self.lq = torch.stack(windows)  # uint8 (N, 3, window, window)

    def restored(self, restore: Restore, device: torch.device) -> list[Image]:
        """The crops as a network restores them, uint8 (side, side, 3)."""
        with torch.no_grad():
            output = restore(self.lq.to(device).float() / 255).nan_to_num()
        return [self._crop(to_uint8(image), *place) for image, place in zip(output, self.places, strict=True)]

    def _crop(self, image: Image, top: int, left: int) -> Image:
        y, x, side = (length * self.scale for length in (top, left, self.side))
        return image[y:y + side, x:x + side]


def most_detailed(gt: Image, side: int, scale: int) -> tuple[int, int]:
    """Where gt has the steepest edges: top and left, in lq pixels, of the first such square of ``side`` lq pixels.

    Args:
        gt: uint8 (scale * H, scale * W, 3).
    """
    gray = gt.astype(np.float32).mean(2)
    steps = np.abs(np.diff(gray, axis=0, append=gray[-1:])) + np.abs(np.diff(gray, axis=1, append=gray[:, -1:]))
    sums: Tensor = avg_pool2d(avg_pool2d(torch.from_numpy(steps)[None], scale), side, stride=1)[0]
    top, left = np.unravel_index(sums.numpy().argmax(), sums.shape)
    return int(top), int(left)


def side_by_side(columns: Sequence[Sequence[Image]]) -> Image:
    """One image of columns of crops of the same size, a row for each image."""
    rows = [np.hstack([np.pad(crop, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for crop in row])
            for row in zip(*columns, strict=True)]
    return np.vstack(rows)[:-GAP, :-GAP]
