"""Mixed precision: the number format that convolutions and matrix products of a training step run in."""
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mipkd_arch.base.errors import UserError

# Caps of oneDNN, in which PyTorch computes on CPUs; with these bfloat16 is emulated, slower than float32.
CAPS_WITHOUT_BF16 = ('sse41', 'avx', 'avx2', 'avx2_vnni', 'avx2_vnni_2', 'avx512_core', 'avx512_core_vnni')


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 runs in hardware: CUDA from Ampere on, CPUs with AVX512-BF16 or AMX that oneDNN may use."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    cap = os.environ.get('ONEDNN_MAX_CPU_ISA') or os.environ.get('DNNL_MAX_CPU_ISA') or ''
    in_use = torch.backends.mkldnn.is_available() and bool(torch.backends.mkldnn.enabled)
    if not in_use or cap.lower() in CAPS_WITHOUT_BF16:
        return False
    if hasattr(torch.cpu, 'get_capabilities'):
        found = torch.cpu.get_capabilities()
        return bool(found.get('avx512_bf16') or found.get('amx_tile'))
    # Older versions, such as 2.6, have no public way to ask.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def check_precision(precision: str, device: torch.device) -> None:
    """Raise a ``UserError`` where a ``train.precision`` is not for the device of a training."""
    if precision == 'tf32' and device.type != 'cuda':
        raise UserError('train.precision: tf32 is a format of GPUs, and this runs on the CPU; take auto, timed, bf16 '
                        'or fp32')


def uses_bf16(precision: str, device: torch.device) -> bool:
    """Whether a step of this ``train.precision`` runs in bfloat16 on a device."""
    return precision == 'bf16' or (precision in ('auto', 'timed') and has_fast_bf16(device))


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Context in which the networks of a step run: bfloat16 autocast, or nothing for float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(precision, device))


@contextmanager
def float32_products(precision: str, device: torch.device) -> Iterator[None]:
    """Context of a whole step: float32 convolutions and products on a GPU use TF32 with precision 'tf32' alone.

    PyTorch would take it for convolutions by default.
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
