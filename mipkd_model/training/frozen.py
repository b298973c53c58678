"""A frozen network as training uses it: nothing is kept or repeated that only trained weights would need.

Gradients go through the teacher's blocks to what comes before them, and never into their weights.
"""
import torch
from torch import nn
from torch.nn import functional as F

from .float32_ends import Float32Conv2d

CAST = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def store_as_cast(network):
    """Keep the weights of a frozen network's convolutions and linear layers in bfloat16, as autocast would cast them.

    Autocast remembers what it has cast for weights that are trained, and casts those that are not in every pass anew.
    The values are the same to the last bit. Normalisations and what else autocast leaves in float32 stay as they are,
    and so do layers that compute their weights, as those with a weight norm do.
    """
    for module in network.modules():
        if type(module) in CAST and not module._forward_pre_hooks:
            module.to(torch.bfloat16)


def forget_inputs(network):
    """Let a frozen network's 2D convolutions keep no input for the way back.

    PyTorch keeps it whether or not the weights are trained, though the gradient of the input is made of the weights
    and of the output's gradient alone. Values stay the same to the last bit, gradients up to rounding.
    """
    for module in network.modules():
        if type(module) in FROZEN and module.padding_mode == 'zeros' and not isinstance(module.padding, str):
            module.__class__ = FROZEN[type(module)]


class FrozenConv2d(nn.Conv2d):
    """``nn.Conv2d`` whose weights have no gradient."""

    def _conv_forward(self, x, weight, bias):
        if torch.is_grad_enabled() and x.requires_grad:
            return _Convolution.apply(x, weight, bias, self.stride, self.padding, self.dilation, self.groups)
        return super()._conv_forward(x, weight, bias)


class FrozenFloat32Conv2d(Float32Conv2d, FrozenConv2d):
    """Both."""


FROZEN = {nn.Conv2d: FrozenConv2d, Float32Conv2d: FrozenFloat32Conv2d}


class _Convolution(torch.autograd.Function):
    """``F.conv2d`` with the gradient of its input only, which is the transposed convolution of the output's."""

    @staticmethod
    def forward(ctx, x, weight, bias, stride, padding, dilation, groups):
        output = F.conv2d(x, weight, bias, stride, padding, dilation, groups)
        ctx.save_for_backward(weight.to(output.dtype))  # autocast may have cast it
        ctx.how = stride, padding, dilation, groups
        # Rows and columns at the end that a stride leaves out.
        ctx.rest = [(size + 2 * p - d * (k - 1) - 1) % s for size, k, s, p, d in
                    zip(x.shape[-2:], weight.shape[-2:], stride, padding, dilation, strict=True)]
        return output

    @staticmethod
    def backward(ctx, gradient):
        stride, padding, dilation, groups = ctx.how
        weight, = ctx.saved_tensors
        x = F.conv_transpose2d(gradient, weight, None, stride, padding, ctx.rest, groups, dilation)
        return x, *[None] * 6
