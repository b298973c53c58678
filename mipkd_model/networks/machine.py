"""What a run needs of this machine: GPUs and shared memory."""
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from mipkd_arch.base.errors import UserError

MIB = 1024**2
SHARED_MEMORY = '/dev/shm'  # by which Linux hands batches over from workers
PREFETCHED = 2  # batches that PyTorch has each worker make ahead


def check_machine(opt: Mapping[str, Any], is_train: bool) -> None:
    """Check that this machine has what the options ask for.

    Args:
        opt: options that ``check_options`` has passed.
        is_train: for a training, else for a test.

    Raises:
        UserError: there is no GPU, or no room in shared memory for the batches that workers keep ready.
    """
    if opt['num_gpu'] not in ('auto', 0) and not torch.cuda.is_available():
        raise UserError(f'num_gpu: {opt["num_gpu"]}, but torch sees no GPU; set num_gpu: auto, or 0 for the CPU')
    if not is_train or not os.path.isdir(SHARED_MEMORY):
        return
    block = opt['datasets']['train']
    if not isinstance(block.get('gt_size'), int):
        return  # a dataset of a user's own may mean something else
    batches = block['num_worker_per_gpu'] * PREFETCHED
    pixels = block['gt_size']**2 + (block['gt_size'] // opt['scale'])**2
    bytes_per_value = 1 if block['type'] == 'PairedSRDataset' else 4  # BasicSR's datasets give float32
    needed = batches * block['batch_size_per_gpu'] * 3 * pixels * bytes_per_value
    found = os.statvfs(SHARED_MEMORY)
    free = found.f_bavail * found.f_frsize
    if needed > free:
        raise UserError(f'datasets.train.num_worker_per_gpu: {block["num_worker_per_gpu"]} workers keep {batches} '
                        f'batches, {needed / MIB:.1f} MiB, in {SHARED_MEMORY}, which has {free / MIB:.1f} MiB free; '
                        'set num_worker_per_gpu: 0, or give it more room (docker run --shm-size 8g)')
