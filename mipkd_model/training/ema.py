"""Exponential moving average of a network's weights, for runs of any length."""
import torch
from torch import nn


def warm_decay(decay: float, step: int) -> float:
    """Decay at ``step`` (from 1): small at first, so that the average does not stick to the starting weights.

    min(decay, (1 + step) / (10 + step)): the schedule of TensorFlow's ExponentialMovingAverage with ``num_updates``.
    It reaches 0.999 after about 9,000 steps.
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float, skipped: bool | torch.Tensor = False) -> None:
    """Move ``ema`` towards ``network``: parameters by the average with ``decay`` in [0, 1], buffers by copy.

    ``skipped`` leaves ``ema`` as it is; a 0-dim bool tensor stays on the device.
    """
    averages, weights = tuple(ema.parameters()), tuple(network.parameters())
    if torch.is_tensor(skipped):
        moves = torch._foreach_sub(weights, averages)
        torch._foreach_mul_(moves, ~skipped * (1 - decay))
        torch._foreach_add_(averages, moves)
    elif skipped:
        return
    else:
        torch._foreach_lerp_(averages, weights, 1 - decay)
    for ema_buffer, buffer in zip(ema.buffers(), network.buffers(), strict=True):
        ema_buffer.copy_(torch.where(skipped, ema_buffer, buffer) if torch.is_tensor(skipped) else buffer)
