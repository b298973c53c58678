"""Inference on whole images: with padding, in tiles, with self-ensemble."""
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mipkd_arch.base.errors import UserError
from mipkd_arch.staged_views import crop_to, pad_to_multiple

Restore = Callable[[Tensor], Tensor]
"""From lq (N, C, H, W) to the output (N, C, scale * H, scale * W)."""
TILE_PAD = 16  # lq pixels


def padded(restore: Restore, size_multiple: int, scale: int, lq: Tensor) -> Tensor:
    """Pad lq by reflection to multiples of ``size_multiple``, as attention windows need it, and crop the output.

    Raises:
        UserError: the output has another scale.
    """
    inputs = pad_to_multiple(lq, size_multiple)
    output = restore(inputs.clone())  # some networks write into their input, and tiles overlap
    (height, width), (out_height, out_width) = inputs.shape[-2:], output.shape[-2:]
    if (out_height, out_width) != (scale * height, scale * width):
        raise UserError(f'scale: found {scale}, but the output of the network for {width}x{height} pixels is '
                        f'{out_width}x{out_height}; set scale to that of the network')
    return crop_to(output, lq, scale)


def tiled(restore: Restore, tile: int, tile_pad: int, scale: int, lq: Tensor) -> Tensor:
    """Process lq in tiles, for images that do not fit into memory.

    Tiles of ``tile`` x ``tile`` lq pixels get up to ``tile_pad`` pixels of context on each side. The output equals that
    of the whole image if that covers the receptive field; with attention or pooling over the whole image it cannot.
    """
    height, width = lq.shape[-2:]
    rows = []
    for top in range(0, height, tile):
        row = []
        for left in range(0, width, tile):
            pad_top, pad_left = min(top, tile_pad), min(left, tile_pad)
            bottom, right = min(top + tile, height), min(left + tile, width)
            part = restore(lq[..., top - pad_top:bottom + tile_pad, left - pad_left:right + tile_pad])
            row.append(part[..., pad_top * scale:(pad_top + bottom - top) * scale,
                            pad_left * scale:(pad_left + right - left) * scale])
        rows.append(torch.cat(row, -1))
    return torch.cat(rows, -2)


def self_ensembled(restore: Restore, lq: Tensor) -> Tensor:
    """Self-ensemble: the mean output over the eight flips and transpositions of lq, undone (x8; EDSR, CVPRW 2017)."""
    total: Any = 0
    for transposed in (False, True):
        for flips in ((), (-1,), (-2,), (-1, -2)):
            output = restore((lq.transpose(-1, -2) if transposed else lq).flip(flips)).flip(flips)
            total = total + (output.transpose(-1, -2) if transposed else output)
    return total / 8


def restorer(network: Restore, scale: int, size_multiple: int = 1, tile: int | None = None,
             tile_pad: int = TILE_PAD, self_ensemble: bool = False) -> Restore:
    """Inference of a network in eval mode on whole images; arguments as of ``val`` in option files."""
    restore: Restore = partial(padded, network, size_multiple, scale)
    if tile:
        restore = partial(tiled, restore, tile, tile_pad, scale)
    return partial(self_ensembled, restore) if self_ensemble else restore
