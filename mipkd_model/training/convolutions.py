"""Convolutions as a training step runs them: the ends of a network in float32, and a frozen network's without what
only trained weights need.

A convolution is replaced by one of a subclass that has the same parameters, so state dicts, optimizers and copies see
no difference. Staged views hold modules, so they are made afterwards.
"""
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input


class Float32Conv2d(nn.Conv2d):
    """``nn.Conv2d`` that autocast leaves in float32."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


class FrozenConv2d(nn.Conv2d):
    """``nn.Conv2d`` without weight gradients, which keeps no input for the backward pass, as PyTorch would.

    Outputs are the same to the last bit, gradients up to rounding.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not (torch.is_grad_enabled() and x.requires_grad):
            return super().forward(x)
        return _FrozenConvolution.apply(x, self.weight, self.bias, self.stride, self.padding, self.dilation,
                                        self.groups)


class FrozenFloat32Conv2d(Float32Conv2d, FrozenConv2d):
    """Both."""


FROZEN = {nn.Conv2d: FrozenConv2d, Float32Conv2d: FrozenFloat32Conv2d}
STORED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
          FrozenConv2d)


def keep_ends_in_float32(network: nn.Module) -> None:
    """Let the first and the last 2D convolution of a network run in float32 under autocast, unless there is only one.

    Both work on images: rounded to the 8 bits of a bfloat16, the last one would decide the sign of small differences,
    and the gradient of the first one is most of the gradient's norm. Measured in docs/speed.md.
    """
    names = [name for name, module in network.named_modules() if type(module) is nn.Conv2d]
    if len(names) > 1:
        for name in (names[0], names[-1]):
            _replace(network, name, Float32Conv2d)


def discard_inputs(network: nn.Module) -> None:
    """Let the 2D convolutions inside a frozen network keep no input for the backward pass."""
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if name and type(module) in FROZEN and module.padding_mode == 'zeros' and not isinstance(module.padding, str):
            if isinstance(module.weight, nn.Parameter):  # not so where a weight norm computes it
                _replace(network, name, FROZEN[type(module)])


def store_in_bf16(network: nn.Module) -> None:
    """Store the weights of a frozen network's convolutions and linear layers in bfloat16.

    Autocast would cast them, to the same bits, in every forward pass. Layers that it leaves in float32, and those that
    compute their weights, stay as they are.
    """
    for module in network.modules():
        if type(module) in STORED and isinstance(module.weight, nn.Parameter):
            module.to(torch.bfloat16)


def _replace(network: nn.Module, name: str, kind: type[nn.Conv2d]) -> None:
    old = network.get_submodule(name)
    assert isinstance(old, nn.Conv2d)
    names = ('in_channels', 'out_channels', 'kernel_size', 'stride', 'padding', 'dilation', 'groups', 'padding_mode')
    arguments = {name: getattr(old, name) for name in names}
    new = kind(**arguments, bias=old.bias is not None, device='meta').train(old.training)
    new.weight, new.bias = old.weight, old.bias
    parent, _, child = name.rpartition('.')
    setattr(network.get_submodule(parent), child, new)


class _FrozenConvolution(torch.autograd.Function):
    """``F.conv2d`` with the gradient of its input only."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, *arguments: Any
                ) -> torch.Tensor:
        output = F.conv2d(x, weight, bias, *arguments)
        ctx.save_for_backward(weight.to(output.dtype))  # autocast may have cast it
        ctx.shape, ctx.arguments = x.shape, arguments
        return output

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x = conv2d_input(ctx.shape, ctx.saved_tensors[0], gradient, *ctx.arguments)
        return x, *[None] * (2 + len(ctx.arguments))
