"""What ranks exchange so that they train one network: the first weights, and the gradients of each step.

``DistributedDataParallel`` is not used: it would have to find the unused weights of each step, whose route through the
networks is drawn. With a few million weights, exchanging them during the backward pass would gain little.
"""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn

from .process_group import check_same

NORM_STATISTICS = ('running_mean', 'running_var')


def broadcast_parameters(module: nn.Module) -> None:
    """Give all ranks the weights and buffers of rank 0; a UserError where they have built different modules."""
    tensors = [*module.parameters(), *module.buffers()]
    check_same({'network_g and its mixers': [(tuple(x.shape), str(x.dtype), x.requires_grad) for x in tensors]})
    with torch.no_grad():
        for tensor in tensors:
            sent = tensor.detach().contiguous()
            distributed.broadcast(sent, 0)
            tensor.copy_(sent)


@torch.no_grad()
def mean_over_ranks(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Means over all ranks, of tensors of the same shapes in each, without gradient; one rank alone has its own."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [tensor.detach() for tensor in tensors]
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    return [part.view(tensor.shape) for part, tensor in
            zip(flat.split([tensor.numel() for tensor in tensors]), tensors, strict=True)]


class GradientAllReduce:
    """Averages gradients, losses, and the running statistics of batch norms over all ranks."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.names: list[str] | None = None

    @torch.no_grad()
    def __call__(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Replace the gradients by their means. A weight without a gradient on all ranks stays without one.

        Returns the means of the scalar losses, by name; a UserError where the ranks have losses of different names.
        """
        weights = [p for p in self.module.parameters() if p.requires_grad]
        # On the CPU, since the host knows which weights have a gradient, and would wait for the GPU in each step.
        known = torch.tensor([list(losses) != self.names, *(p.grad is not None for p in weights)], dtype=torch.uint8)
        distributed.all_reduce(known, distributed.ReduceOp.MAX)
        names_changed, *has_gradient = known.tolist()
        if names_changed:
            check_same({'train: losses': list(losses)})
            self.names = list(losses)
        for weight, has in zip(weights, has_gradient, strict=True):
            if has and weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        averaged = [p.grad for p in weights if p.grad is not None]
        averaged += [buffer for name, buffer in self.module.named_buffers() if name.endswith(NORM_STATISTICS)]
        values = torch.stack(list(losses.values())).to(torch.float32)
        *parts, values = mean_over_ranks([*averaged, values])
        for x, part in zip(averaged, parts, strict=True):
            x.copy_(part)
        return dict(zip(losses, values, strict=True))
