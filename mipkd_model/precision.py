"""Which number format the heavy layers of a training step run in."""
import torch
from torch import nn

from mipkd_arch.errors import one_of

PRECISIONS = ('auto', 'bf16', 'fp32')


def has_fast_bf16(device):
    """Whether bfloat16 runs in hardware: CUDA from Ampere on, CPUs with AVX512-BF16 or AMX."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def uses_bf16(precision, device):
    """Whether a step runs in bfloat16; arguments as for ``autocast``."""
    one_of('train.precision', precision, PRECISIONS)
    return precision == 'bf16' or (precision == 'auto' and has_fast_bf16(device))


def store_as_cast(network):
    """Keep the weights of a frozen network's convolutions and linear layers in bfloat16, as autocast would cast them.

    Autocast remembers what it has cast for weights that are trained, and casts those that are not in every pass anew.
    The values are the same to the last bit. Normalisations and what else autocast leaves in float32 stay as they are.
    """
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)):
            module.to(torch.bfloat16)


def autocast(precision, device):
    """Context in which a step runs: bfloat16 autocast, or nothing for float32.

    Args:
        precision (str): 'bf16', 'fp32', or 'auto' for bf16 where the hardware has it.
        device (torch.device): of the step.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(precision, device))
