"""Which number format the heavy layers of a training step run in."""
import torch

from mipkd_arch.errors import one_of

PRECISIONS = ('auto', 'bf16', 'fp32')


def has_fast_bf16(device):
    """Whether bfloat16 runs in hardware: CUDA from Ampere on, CPUs with AVX512-BF16 or AMX."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def autocast(precision, device):
    """Context in which a step runs: bfloat16 autocast, or nothing for float32.

    Args:
        precision (str): 'bf16', 'fp32', or 'auto' for bf16 where the hardware has it.
        device (torch.device): of the step.
    """
    one_of('train.precision', precision, PRECISIONS)
    enabled = precision == 'bf16' or (precision == 'auto' and has_fast_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)
