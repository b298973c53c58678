"""Which number format the heavy layers of a training step run in."""
import os
from contextlib import contextmanager

import torch

from mipkd_arch.base.errors import UserError, one_of

PRECISIONS = ('auto', 'bf16', 'tf32', 'fp32')


# Caps of oneDNN, in which PyTorch computes convolutions and products on CPUs. It then emulates bfloat16 at half the
# speed of float32, or leaves it to loops of PyTorch's own, at a thirtieth. A name that it does not know is no cap.
CAPS_WITHOUT_BF16 = ('sse41', 'avx', 'avx2', 'avx2_vnni', 'avx2_vnni_2', 'avx512_core', 'avx512_core_vnni')


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 runs in hardware: CUDA from Ampere on, CPUs with AVX512-BF16 or AMX that oneDNN may use.

    ``ONEDNN_MAX_CPU_ISA``, or ``DNNL_MAX_CPU_ISA``, caps what it uses. Arm's bfloat16 is not asked for: no step has
    been timed on it.
    """
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cap = os.environ.get('ONEDNN_MAX_CPU_ISA') or os.environ.get('DNNL_MAX_CPU_ISA') or ''
    in_use = torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()
    return (in_use and cap.lower() not in CAPS_WITHOUT_BF16
            and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()))


def check_precision(precision, device):
    """Check ``train.precision``.

    Raises:
        UserError: it is none, or not for this device.
    """
    one_of('train.precision', precision, PRECISIONS)
    if precision == 'tf32' and device.type != 'cuda':
        raise UserError('train.precision: tf32 is a format of GPUs, and this runs on the CPU; take auto, bf16 or fp32')


def uses_bf16(precision, device):
    """Whether a step runs in bfloat16; arguments as for ``autocast``."""
    return precision == 'bf16' or (precision == 'auto' and has_fast_bf16(device))


def autocast(precision, device):
    """Context in which the networks of a step run: bfloat16 autocast, or nothing for float32.

    Args:
        precision (str): 'bf16', 'tf32', 'fp32', or 'auto' for bf16 where the hardware has it, else fp32.
        device (torch.device): of the step.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(precision, device))


@contextmanager
def float32_products(precision, device):
    """Context in which a whole step runs, the way back included: what convolutions and products of float32 are made of.

    They are float32's own unless the precision is 'tf32', which rounds factors to 10 bits. PyTorch would take TF32 for
    convolutions without being asked. Arguments as for ``autocast``.
    """
    if device.type != 'cuda':
        yield
        return
    tf32, before = precision == 'tf32', torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('high' if tf32 else 'highest')
    try:
        cudnn = torch.backends.cudnn
        with cudnn.flags(enabled=True, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=tf32):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
