"""What the processes of a distributed run exchange so that they train one network.

One exchange follows the backward pass, of all gradients in one tensor. ``DistributedDataParallel`` exchanges them
meanwhile, in parts, for which it must find out in each step which weights will have none; with a step whose way
through the networks is drawn, which leaves mixers out or passes a batch in parts, that is a matter of its internals.
Here every process sends the same numbers in every step, whatever the losses reached. For networks of a few million
weights there is little to gain by beginning sooner.
"""
import zlib

import torch
from torch import distributed
from torch.nn.modules.batchnorm import _NormBase

from mipkd_arch.base.errors import UserError

from .process_group import everyone, over_cpus


def same_everywhere(module):
    """Give every process the weights and buffers of the first one.

    Raises:
        UserError: the processes have built different modules.
    """
    tensors = [*module.parameters(), *module.buffers()]
    shapes = [(tuple(x.shape), str(x.dtype), x.requires_grad) for x in tensors]
    if any(other != shapes for other in everyone(shapes)):
        raise UserError('network_g: the processes have built different networks or mixers; start all of them with the '
                        'same option file')
    with torch.no_grad():
        for tensor in tensors:
            held = tensor.detach().contiguous()
            distributed.broadcast(held, 0)
            tensor.copy_(held)


@torch.no_grad()
def average(module, losses):
    """Replace gradients, and the statistics of batch norms, by their means over all processes.

    A weight that has a gradient in no process is left without one, which optimizers tell from a gradient of zeros.

    Args:
        module (nn.Module): with the same weights in each process.
        losses (dict[str, Tensor]): scalars by name.

    Returns:
        dict[str, Tensor]: means of the losses, the same in each process.

    Raises:
        UserError: the processes have losses of different names.
    """
    weights = [p for p in module.parameters() if p.requires_grad]
    # On the CPU, for only the host knows what has a gradient, and would otherwise wait for the GPU in each step.
    names = zlib.crc32(repr(list(losses)).encode())
    known = torch.tensor([names, -names, *(p.grad is not None for p in weights)])
    distributed.all_reduce(known, distributed.ReduceOp.MAX, over_cpus())
    highest, lowest, *reached = known.tolist()
    if highest != -lowest:
        raise UserError(f'train: the processes have different losses, this one {", ".join(losses)}; start all of them '
                        'with the same option file, and let a loss give the same names in each step')
    for weight, has in zip(weights, reached, strict=True):
        if has and weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    shared = [p.grad for p in weights if p.grad is not None]
    shared += [x for m in module.modules() if isinstance(m, _NormBase) and m.track_running_stats
               for x in (m.running_mean, m.running_var)]
    values = torch.stack(list(losses.values())).to(torch.float32)
    flat = torch.cat([*(x.reshape(-1) for x in shared), values])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    *parts, values = flat.split([*(x.numel() for x in shared), len(losses)])
    torch._foreach_copy_(shared, [part.view(x.shape) for x, part in zip(shared, parts, strict=True)])
    return dict(zip(losses, values, strict=True))
