"""Networks run on small images, to learn which sizes they take, their upscale and whether batches change their output.

The images are the same at each call and draw no random numbers, so a run is the same with and without a probe.
"""
from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from .base.errors import UserError, reason_of

MULTIPLES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 48, 64)
SMALL, SIDE = 8, 16  # sides of the images in pixels; most networks take the smaller ones


class NetworkProbe(NamedTuple):
    """What a network needs of its input, and how large its output is."""
    size_multiple: int
    """What H and W of its lq must be multiples of."""
    upscale: int
    """Factor between lq and the output."""


def trial_images(count: int, height: int, width: int, like: nn.Module | None = None) -> torch.Tensor:
    """RGB images (count, 3, height, width) of noise in [0, 1), the same at each call.

    Args:
        like: a network whose device and dtype they have; None: float32 on the CPU.
    """
    images = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0), device='cpu')
    weight = None if like is None else next((p for p in like.parameters() if p.is_floating_point()), None)
    return images if weight is None else images.to(weight)


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Context of a network in eval mode without gradients; each module gets its own mode back."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


_PROBES: weakref.WeakKeyDictionary[nn.Module, NetworkProbe] = weakref.WeakKeyDictionary()


def probe_network(network: nn.Module) -> NetworkProbe:
    """Run an RGB network, once, on images of several sizes, up to one that it super-resolves by an integer factor.

    Raises:
        UserError: there is none.
    """
    if network not in _PROBES:
        _PROBES[network] = _probe(network)
    return _PROBES[network]


def _probe(network: nn.Module) -> NetworkProbe:
    with in_eval_mode(network):
        for multiple, side in ((1, SMALL), *((multiple, SIDE) for multiple in MULTIPLES)):
            height = side + -side % multiple
            width = height + multiple
            try:
                shape = network(trial_images(1, height, width, like=network)).shape
            except UserError:
                raise
            except Exception as error:  # any network, any failure
                reason = reason_of(error)
                continue
            upscale = shape[-1] // width
            if upscale and shape[-2:] == (upscale * height, upscale * width):
                return NetworkProbe(multiple, upscale)
            reason = f'its output is {tuple(shape)}'
    raise UserError(f'{type(network).__name__} does not super-resolve an image of {width}x{height} ({reason})')


def takes_batches(run: Callable[[torch.Tensor], torch.Tensor], images: torch.Tensor) -> bool:
    """Whether a function gives for a batch of images (N, C, H, W) what it gives for each of them."""
    single = torch.cat([run(image[None].clone()) for image in images])
    try:
        batch = run(images.clone())
    except Exception:  # any network, any failure
        return False
    return batch.shape == single.shape and bool((batch - single).abs().max() <= tolerance(single))


def tolerance(images: torch.Tensor) -> torch.Tensor:
    """Bound on the difference of two ways of computing the same images: their rounding, and its root on contrasts."""
    unit = torch.finfo(images.dtype).eps
    contrast = (images - images.mean()).abs().max()
    return 16 * unit * images.abs().max() + unit**0.5 * contrast
