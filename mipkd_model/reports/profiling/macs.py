"""Parameters and multiply-accumulates of a network, counted exactly, without computing anything.

A multiply-accumulate (MAC) is one product of a convolution or of a matrix product; attention's two, queries by keys
and weights by values, are among them. Biases, norms, activations, pooling, resizing, sums and products by element are
not counted, nor are operations that PyTorch's own counter does not know, such as deformable convolutions.
"""
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mipkd_arch.base.errors import UserError, one_line, reason_of
from mipkd_arch.ensemble_arch import TeacherEnsemble
from mipkd_arch.staged_views import find_view

from basicsr.utils.registry import ARCH_REGISTRY

from ...config.blocks import check_call
from ...networks.build import make_network
from ...networks.catalog import how_to_get_weights
from . import LR_SIZE

INPUT_CHANNELS = ('num_in_ch', 'in_chans', 'in_channels')  # what BasicSR's networks call them


class NetworkCost(NamedTuple):
    """What a network costs, wherever it runs."""
    parameters: int
    macs: int  # multiply-accumulates for one image, as this module counts them


def network_cost(block: dict[str, Any], size: int | tuple[int, int] = LR_SIZE, where: str = 'network') -> NetworkCost:
    """Count the parameters and multiply-accumulates of a network for one image.

    Nothing is computed; only a network whose forward pass depends on the values of its features is really run.

    Args:
        block: its option block, ``type`` and arguments, of anything in BasicSR's ``ARCH_REGISTRY``.
        size: LR side, or height and width, in pixels; padded to what the network needs.
        where: what errors call it.

    Raises:
        UserError: the network cannot be built, or fails on an image of that size.
    """
    network = build(block, where)
    shape = lq_shape(network, block, size)
    try:
        try:
            with FakeTensorMode(allow_non_fake_inputs=True):
                macs = _count(network, shape)
        except Exception:  # any network, any failure; the real run says what it is
            network = build(block, where)  # the first one may have kept features without values
            macs = _count(network, shape)
    except Exception as error:
        raise failed(error, f'{where}: {block["type"]}', shape) from None
    return NetworkCost(sum(parameter.numel() for one in whole(network) for parameter in one.parameters()), macs)


def whole(network: nn.Module) -> list[nn.Module]:
    """A network, and those that it runs without having their weights, as an ensemble does with its teachers."""
    return [network, *network.teachers.values()] if isinstance(network, TeacherEnsemble) else [network]


def build(block: dict[str, Any], where: str) -> nn.Module:
    """Build a network from its option block, without trained weights; in eval mode, on the CPU.

    Raises:
        UserError: the block does not fit the network, a file that it names is missing, or the network refuses it.
    """
    check_call(where, block, ARCH_REGISTRY)
    file = block.get('file')
    if file is not None and not Path(str(file)).expanduser().is_file():
        raise UserError(f'{where}.file: {file} is not there. {how_to_get_weights(str(file))}')
    try:
        # BasicSR prints where it finds a type under a longer name; stdout is for the result.
        with redirect_stdout(sys.stderr):
            return make_network({'network_g': block, 'path': {}}, 'g')[0].eval()
    except UserError as error:
        raise UserError(f'{where}: {one_line(error).removeprefix("network_g: ")}') from None


def lq_shape(network: nn.Module, block: dict[str, Any], size: int | tuple[int, int], batch: int = 1
             ) -> tuple[int, int, int, int]:
    """Shape (N, C, H, W) of what a network is run on for LR images of ``size``, a side or (height, width).

    H and W are rounded up to the multiple that its staged view names, as the view itself pads.
    """
    view = find_view(network)
    multiple = 1 if view is None else view.size_multiple
    height, width = (size, size) if isinstance(size, int) else size
    channels = next((block[key] for key in INPUT_CHANNELS if key in block), 3)
    return batch, channels, height + -height % multiple, width + -width % multiple


def failed(error: Exception, network: str, shape: tuple[int, ...]) -> UserError:
    """The error for the failure of a network on an lq of that shape (N, C, H, W)."""
    return UserError(f'{network} fails on {shape[0]} x LR {shape[2]}x{shape[3]} ({reason_of(error)})')


def _count(network: nn.Module, shape: tuple[int, ...]) -> int:
    counter = FlopCounterMode(display=False)
    # Attention runs as the matrix products that it is: not every fused kernel of it is known to the counter.
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            network(torch.zeros(shape))
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.get_total_flops() // 2
