"""What a run needs of this machine: GPUs, processors, shared memory, and memory for networks that are built."""
from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from mipkd_arch.base.errors import UserError

GIB, MIB = 1024**3, 1024**2
SHARED_MEMORY = '/dev/shm'
PREFETCHED = 2  # batches that PyTorch has each worker make ahead
WORKERS_PER_CPU, FEW_WORKERS = 4, 32
MAX_TENSORS, MAX_WEIGHTS = 10_000, 2 * GIB  # of one network; the largest published ones have 2,000 and 0.2 GiB


@contextmanager
def limited_size(where: str) -> Iterator[None]:
    """Context in which a network is built, and refused as soon as its weights are absurdly large."""
    tensors = taken = 0

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal tensors, taken
        if parameter is not None:
            tensors, taken = tensors + 1, taken + parameter.numel() * parameter.element_size()
        if tensors > MAX_TENSORS or taken > MAX_WEIGHTS:
            raise UserError(f'{where}: has more than {MAX_TENSORS} tensors of weights, or {MAX_WEIGHTS // GIB} GiB of '
                            'them; check its sizes')

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or 'allocate memory' in str(error):
            raise UserError(f'{where}: there is not enough memory to build it; check its sizes') from None
        raise
    finally:
        hook.remove()


def check_machine(opt: Mapping[str, Any], is_train: bool) -> None:
    """Check that this machine has what the options ask for: GPUs, processors and shared memory.

    Args:
        opt: options that ``check_options`` has passed.
        is_train: for a training, else for a test.

    Raises:
        UserError: it has not.
    """
    if opt['num_gpu'] not in ('auto', 0) and not torch.cuda.is_available():
        raise UserError(f'num_gpu: {opt["num_gpu"]}, but torch sees no GPU; set num_gpu: auto, or 0 for the CPU')
    if not is_train:
        return
    block = opt['datasets']['train']
    workers, most = block['num_worker_per_gpu'], max(FEW_WORKERS, WORKERS_PER_CPU * (os.cpu_count() or 1))
    if workers > most:
        raise UserError(f'datasets.train.num_worker_per_gpu: {workers} processes are too many for the '
                        f'{os.cpu_count()} processors of this machine; at most {most} are allowed')
    if not isinstance(block.get('gt_size'), int):
        return  # a dataset of a user's own may mean something else
    # BasicSR's datasets give float32.
    pixels = (block['gt_size']**2 + (block['gt_size'] // opt['scale'])**2)
    size = block['batch_size_per_gpu'] * 3 * pixels * (1 if block['type'] == 'PairedSRDataset' else 4)
    _check_shared_memory(workers, size)


def _check_shared_memory(workers: int, size: int) -> None:
    """Check that the batches that workers keep ready fit into /dev/shm, by which Linux hands them over.

    They are all there whenever the training waits, as in a validation.
    """
    try:
        found = os.statvfs(SHARED_MEMORY)
    except (AttributeError, OSError):  # not on this system
        return
    free, needed = found.f_bavail * found.f_frsize, workers * PREFETCHED * size
    if needed > free:
        raise UserError(f'datasets.train.num_worker_per_gpu: {workers} workers keep {workers * PREFETCHED} batches, '
                        f'{needed / MIB:.1f} MiB, in {SHARED_MEMORY}, which has {free / MIB:.1f} MiB free; set '
                        'num_worker_per_gpu: 0, or give it more room (docker run --shm-size 8g)')
