"""Masks that blend latent features of student and teacher, both (N, C, H, W).

Convention, here and wherever a mask is used: 1 takes the student's value, 0 the teacher's. ``ratio`` is the expected
share of ones. A mask is boolean, drawn per sample, and of the shape of the features or broadcasts to it.
"""
from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

Uniform = Callable[[torch.Size], torch.Tensor]
"""Gives random numbers in [0, 1) of a shape."""
Mask = Callable[[torch.Tensor, torch.Tensor, float, Uniform], torch.Tensor]


def random3d(z_s: torch.Tensor, z_t: torch.Tensor, ratio: float, uniform: Uniform) -> torch.Tensor:
    """Each element of (N, C, H, W) on its own: the random 3D mask of the MiPKD paper (arXiv 2404.02573)."""
    return uniform(z_s.shape) < ratio


def grid(z_s: torch.Tensor, z_t: torch.Tensor, ratio: float, uniform: Uniform) -> torch.Tensor:
    """A fixed regular pattern over H and W, the same in every channel, sample and step: (1, 1, H, W).

    All pixels of a diagonal are alike, and the student's diagonals are spread evenly; at 0.5 this is a checkerboard.
    Nothing is drawn.
    """
    rows = torch.arange(z_s.shape[2], device=z_s.device)[:, None]
    columns = torch.arange(z_s.shape[3], device=z_s.device)
    diagonal = (rows + columns).double()
    return (torch.floor((diagonal + 1) * ratio) > torch.floor(diagonal * ratio))[None, None]


def similarity(z_s: torch.Tensor, z_t: torch.Tensor, ratio: float, uniform: Uniform) -> torch.Tensor:
    """The pixels where student and teacher agree most become the student's: (N, 1, H, W).

    Agreement is the cosine over channels; in each sample the ``ratio`` of pixels with the highest one is taken.
    Nothing is drawn.
    """
    agreement = F.cosine_similarity(z_s.detach().float(), z_t.detach().float(), dim=1).flatten(1)  # (N, H * W)
    taken = round(ratio * agreement.shape[1])
    order = agreement.argsort(dim=1, descending=True, stable=True)
    mask = torch.zeros_like(agreement, dtype=torch.bool).scatter_(1, order[:, :taken], True)
    return mask.view(z_s.shape[0], 1, *z_s.shape[2:])


MASKS: dict[str, Mask] = {'random3d': random3d, 'grid': grid, 'similarity': similarity}


def blend(mask: torch.Tensor, z_s: torch.Tensor, z_t: torch.Tensor) -> torch.Tensor:
    """z = I * z_S + (1 - I) * z_T, with I the mask."""
    return torch.where(mask, z_s, z_t)
