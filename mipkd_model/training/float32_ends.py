"""The first and the last convolution of a network, in float32 while the rest of a step runs in bfloat16."""
import torch
from torch import nn


class Float32Conv2d(nn.Conv2d):
    """``nn.Conv2d`` that autocast leaves alone."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def keep_ends_in_float32(network: nn.Module) -> None:
    """Let the first and the last 2D convolution of a network run in float32 under autocast; a bare one stays as it is.

    Both deal in images. The last one decides by how much an image is off, and a loss such as L1 takes the sign of
    that: where student and teacher, or student and ground truth, have come near to each other, rounding the image to
    the 8 bits of a bfloat16 decides on the sign instead. The gradient of the first one is a sum over pixels in the
    network's own range, often 255, and so most of the gradient's norm. Both together are a few percent of the
    multiplications, for one of their sides has the 3 channels of an image.

    Measured in docs/speed.md.
    """
    found = [module for module in network.modules() if type(module) is nn.Conv2d]
    if len(found) > 1:
        for module in (found[0], found[-1]):
            module.__class__ = Float32Conv2d
