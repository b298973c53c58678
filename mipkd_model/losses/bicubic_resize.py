"""Bicubic resizing of a batch on its device, equal to ``mipkd_model.data.bicubic`` on the images it comes from."""
from functools import lru_cache

import numpy as np
import torch

from ..data.bicubic import taps


@lru_cache(maxsize=16)
def _matrix(length: int, size: int, device: torch.device) -> torch.Tensor:
    """Weights of all output positions on all input positions, float32 (size, length)."""
    index, weight = taps(length, size, size / length)
    matrix = np.zeros((size, length))
    np.add.at(matrix, (np.arange(size)[:, None], index), weight)
    return torch.from_numpy(matrix).float().to(device)


def bicubic(images: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Resize images as MATLAB's ``imresize`` does those of uint8 (variant A), with antialiasing for downsampling.

    Args:
        images: (N, C, H, W) in [0, 1], rounded to 8 bits.
        height, width: size of the output; both sides are scaled by the same factor.

    Returns:
        float32 (N, C, height, width) in [0, 1], again of 8 bits; without gradient.
    """
    def to_uint8_range(x: torch.Tensor) -> torch.Tensor:
        return (x + 0.5).floor_().clamp_(0, 255)

    with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
        levels = to_uint8_range(images.float() * 255)
        levels = to_uint8_range(_matrix(images.shape[-2], height, images.device) @ levels)
        return to_uint8_range(levels @ _matrix(images.shape[-1], width, images.device).T) / 255
