"""Exponential moving average of a network's weights, for runs of any length."""
import torch


def warm_decay(decay, step):
    """Decay at ``step`` (counted from 1): small at first, so that the average is not stuck at the starting weights.

    min(decay, (1 + step) / (10 + step)): the schedule of TensorFlow's ExponentialMovingAverage with ``num_updates``.
    It reaches 0.999 after about 9,000 steps.
    """
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_ema(ema, network, decay, skipped=False):
    """Move ``ema`` towards ``network``: parameters by the average, buffers by copy. ``decay`` 0 copies all.

    Args:
        ema, network (nn.Module): of one kind.
        decay (float): in [0, 1].
        skipped (bool | Tensor): True leaves ``ema`` as it is; a 0-dim bool on the device is not waited for.
    """
    if not torch.is_tensor(skipped):
        if skipped:
            return
        torch._foreach_lerp_(list(ema.parameters()), list(network.parameters()), 1 - decay)
    else:
        moves = torch._foreach_sub(list(network.parameters()), list(ema.parameters()))
        torch._foreach_mul_(moves, ~skipped * (1 - decay))
        torch._foreach_add_(list(ema.parameters()), moves)
    for ema_buffer, buffer in zip(ema.buffers(), network.buffers(), strict=True):
        ema_buffer.copy_(torch.where(skipped, ema_buffer, buffer) if torch.is_tensor(skipped) else buffer)
