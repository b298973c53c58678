"""Networks tried on small images: which sizes they take, how much larger they make them, whether batches change them.

The images are always the same ones and nothing is drawn, so a run draws the same numbers with and without a trial.
"""
import weakref
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .base.errors import UserError, reason_of

MULTIPLES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 48, 64)
SMALL, SIDE = 8, 16  # the least sides of the images, in pixels: most networks take the first
LAST = 48  # what is tried where nothing else does; a multiple of all usual windows
STEPS = 0.7548776662466927, 0.5698402909980532, 0.3819660112501051, 0.2360679774997897  # irrational: nothing repeats


@dataclass(frozen=True)
class Tried:
    """What trying a network has found."""
    size_multiple: int
    """What H and W of its lq must be multiples of."""
    upscale: int
    """Factor between lq and the output."""


def trial_images(count, height, width, like=None):
    """RGB images (count, 3, height, width) in [0, 1) that look like noise and are the same at each call.

    Args:
        count, height, width (int): the shape.
        like (nn.Module | None): a network whose device and number format they have; None: float32 on the CPU.
    """
    places = [torch.arange(size, dtype=torch.float64) * step
              for size, step in zip((height, width, 3, count), STEPS, strict=True)]
    rows, columns, planes, numbers = places
    images = (numbers.view(-1, 1, 1, 1) + planes.view(-1, 1, 1) + rows.view(-1, 1) + columns).frac()
    weight = None if like is None else next((p for p in like.parameters() if p.is_floating_point()), None)
    return images.float() if weight is None else images.to(weight.device, weight.dtype)


@contextmanager
def in_eval_mode(network):
    """Context in which a network is in eval mode and nothing keeps gradients; each module gets its own mode back."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


_FOUND = weakref.WeakKeyDictionary()


def tried(network):
    """Find out by trying what sizes of lq a network takes; once for each network.

    Args:
        network (nn.Module): on any device, for RGB images.

    Returns:
        Tried: the least multiple with which images of two coprime numbers of it come out larger by one whole factor.

    Raises:
        UserError: none does.
    """
    if network not in _FOUND:
        _FOUND[network] = _try(network)
    return _FOUND[network]


def _try(network):
    with in_eval_mode(network):
        for multiple, side in ((1, SMALL), *((multiple, SIDE) for multiple in MULTIPLES)):
            times = -(-side // multiple)
            upscale, _ = _made(network, multiple * times, multiple * (times + 1))
            if upscale is not None:
                return Tried(multiple, upscale)
        upscale, reason = _made(network, LAST, LAST)
    kind = type(network).__name__
    if upscale is None:
        raise UserError(f'{kind} makes no image of one of {LAST}x{LAST} ({reason})')
    raise UserError(f'{kind} makes an image of one of {LAST}x{LAST}, but of none that was tried of unequal sides; '
                    'let its forward pad what it is given, and crop')


def _made(network, height, width):
    """Try one size. Returns by what whole factor the output is larger; or None, and why."""
    try:
        shape = tuple(network(trial_images(1, height, width, like=network)).shape)
    except UserError:
        raise
    except Exception as error:  # any network, any failure
        return None, reason_of(error)
    upscale = shape[-1] // width if len(shape) == 4 else 0
    if upscale and shape[-2:] == (upscale * height, upscale * width):
        return upscale, None
    return None, f'it gives {shape}'


def takes_batches(run, images):
    """Whether a function gives for a batch what it gives for each of its images.

    Args:
        run (callable): images (N, C, H, W) to images.
        images (Tensor): at least two.
    """
    single = torch.cat([run(image[None].clone()) for image in images])
    try:
        together = run(images.clone())
    except Exception:  # any network, any failure
        return False
    return together.shape == single.shape and bool((together - single).abs().max() <= tolerance(single))


def tolerance(images):
    """By how much two ways of computing the same images may differ: their rounding, and the root of it on contrasts.

    Args:
        images (Tensor): finite, of the number format that they were computed in.
    """
    unit = torch.finfo(images.dtype).eps
    contrast = (images - images.mean()).abs().max()
    return 16 * unit * images.abs().max() + unit**0.5 * contrast
