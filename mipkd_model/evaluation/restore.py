"""How a whole image goes through a network: padded to what it needs, in tiles, turned and flipped.

A function from lq (N, C, H, W) to the output (N, C, scale * H, scale * W) is made into another one of that kind, so
that they can be put into each other.
"""
import torch

from mipkd_arch.base.errors import UserError
from mipkd_arch.staged_view import crop_to, pad_to_multiple

TILE_PAD = 16  # lq pixels


def padded(run, multiple, scale):
    """Pad lq by reflection to multiples and crop the output, as windows of attention need it.

    Raises:
        UserError: when it runs, for an output of another scale.
    """
    def run_padded(lq):
        seen = pad_to_multiple(lq, multiple)
        output = run(seen.clone())  # some networks write into what they are given, and tiles overlap
        if output.shape[-2:] != (scale * seen.shape[-2], scale * seen.shape[-1]):
            (height, width), (out_height, out_width) = seen.shape[-2:], output.shape[-2:]
            raise UserError(f'scale: {scale} of the option file, but the network makes {out_width}x{out_height} of '
                            f'{width}x{height}')
        return crop_to(output, lq, scale)

    return run_padded


def tiled(run, tile, tile_pad, scale):
    """Run tile by tile, for images that do not fit into memory whole.

    The output is that of the whole image where ``tile_pad`` is as large as what an output pixel sees; attention and
    averages over the whole image, as RCAN's, see all of it.

    Args:
        run (callable): for lq of any size.
        tile (int): side of a tile in lq pixels.
        tile_pad (int): lq pixels that a tile sees beyond its edge, where the image goes on.
        scale (int): factor between lq and the output.
    """
    def run_tiles(lq):
        height, width = lq.shape[-2:]
        rows = []
        for top in range(0, height, tile):
            row = []
            for left in range(0, width, tile):
                up, west = min(top, tile_pad), min(left, tile_pad)
                down, east = min(top + tile, height), min(left + tile, width)
                part = run(lq[..., top - up:down + tile_pad, left - west:east + tile_pad])
                row.append(part[..., up * scale:(up + down - top) * scale, west * scale:(west + east - left) * scale])
            rows.append(torch.cat(row, -1))
        return torch.cat(rows, -2)

    return run_tiles


def self_ensembled(run):
    """Mean of what the eight flips and turns of lq give, undone; the geometric self-ensemble of EDSR (CVPRW 2017)."""
    def run_all(lq):
        total = 0
        for turn in (False, True):
            for flips in ((), (-1,), (-2,), (-1, -2)):
                seen = (lq.transpose(-1, -2) if turn else lq).flip(flips)
                output = run(seen).flip(flips)
                total = total + (output.transpose(-1, -2) if turn else output)
        return total / 8

    return run_all


def restorer(network, scale, multiple=1, tile=None, tile_pad=None, self_ensemble=False):
    """The function that super-resolves whole images with a network.

    Args:
        network (nn.Module): in eval mode.
        scale (int): factor between lq and the output.
        multiple (int): what sides of lq must be multiples of.
        tile, tile_pad (int | None), self_ensemble (bool): as in ``val``.
    """
    run = padded(network, multiple, scale)
    if tile:
        run = tiled(run, tile, pad_of(tile_pad), scale)
    return self_ensembled(run) if self_ensemble else run


def pad_of(tile_pad):
    """``val.tile_pad``, or what it is where it is not given."""
    return TILE_PAD if tile_pad is None else tile_pad
