"""A frozen network as training uses it: nothing is kept or repeated that only trained weights would need.

Gradients go through the teacher's blocks to what comes before them, and never into their weights.
"""
import torch
from torch import nn
from torch.nn import functional as F


def store_as_cast(network):
    """Keep the weights of a frozen network's convolutions and linear layers in bfloat16, as autocast would cast them.

    Autocast remembers what it has cast for weights that are trained, and casts those that are not in every pass anew.
    The values are the same to the last bit. Normalisations and what else autocast leaves in float32 stay as they are.
    """
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
            module.to(torch.bfloat16)


def forget_inputs(network):
    """Let a frozen network's 2D convolutions keep no input for the way back.

    PyTorch keeps it whether or not the weights are trained, though the gradient of the input is made of the weights
    and of the output's gradient alone. Values stay the same to the last bit, gradients up to rounding.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d and module.padding_mode == 'zeros' and not isinstance(module.padding, str):
            module.__class__ = FrozenConv2d


class FrozenConv2d(nn.Conv2d):
    """``nn.Conv2d`` whose weights have no gradient."""

    def _conv_forward(self, x, weight, bias):
        if torch.is_grad_enabled() and x.requires_grad:
            return _Convolution.apply(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        return super()._conv_forward(x, weight, bias)


class _Convolution(torch.autograd.Function):
    """``F.conv2d`` with the gradient of its input only."""

    @staticmethod
    def forward(ctx, x, weight, bias, *how):
        output = F.conv2d(x, weight, bias, *how)
        ctx.save_for_backward(weight.to(output.dtype))  # autocast may have cast it
        ctx.shape, ctx.how = x.shape, how
        return output

    @staticmethod
    def backward(ctx, gradient):
        weight, = ctx.saved_tensors
        return torch.nn.grad.conv2d_input(ctx.shape, weight, gradient, *ctx.how), *[None] * (2 + len(ctx.how))
