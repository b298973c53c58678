"""What this machine has, and whether a run asks for more."""
import os
from pathlib import Path

import torch

from mipkd_arch.base.errors import UserError

GIB, MIB = 1024**3, 1024**2
SHARED_MEMORY = '/dev/shm'
PREFETCHED = 2  # batches that PyTorch has each worker make ahead
WORKERS_PER_CPU, FEW_WORKERS = 4, 32


def free_memory():
    """Bytes of memory that a process may still take; of the system, or of its control group where that is less."""
    found = []
    for line in _lines('/proc/meminfo'):
        if line.startswith('MemAvailable:'):
            found.append(int(line.split()[1]) * 1024)
    for group, limit, used in (('/sys/fs/cgroup', 'memory.max', 'memory.current'),
                               ('/sys/fs/cgroup/memory', 'memory.limit_in_bytes', 'memory.usage_in_bytes')):
        numbers = [''.join(_lines(f'{group}/{name}')) for name in (limit, used)]
        if all(number.isdecimal() for number in numbers):  # else it is another version of groups, or has no limit
            # What is kept of files counts as used, and is given back when it is asked for.
            files = sum(int(line.split()[1]) for line in _lines(f'{group}/memory.stat')
                        if line.startswith(('active_file ', 'inactive_file ')))
            found.append(int(numbers[0]) - int(numbers[1]) + files)
    return max(min(found), 0) if found else 8 * GIB


def _lines(file):
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []


def check_machine(opt, is_train):
    """Check that this machine has what the options ask for: GPUs, processors and memory.

    Args:
        opt (dict): options that ``check_options`` has passed.
        is_train (bool): for ``basicsr/train.py``, else for ``basicsr/test.py``.

    Raises:
        UserError: it has not.
    """
    cuda = torch.cuda.is_available()
    if opt['num_gpu'] not in ('auto', 0) and not cuda:
        raise UserError(f'num_gpu: {opt["num_gpu"]}, but torch sees no GPU; set num_gpu: auto, or 0 for the CPU')
    if not is_train:
        return
    block = opt['datasets']['train']
    if block.get('prefetch_mode') == 'cuda' and (opt['num_gpu'] == 0 or not cuda):
        raise UserError('datasets.train.prefetch_mode: cuda is for GPUs, and this runs on the CPU; set ~')
    workers, most = block['num_worker_per_gpu'], max(FEW_WORKERS, WORKERS_PER_CPU * (os.cpu_count() or 1))
    if workers > most:
        raise UserError(f'datasets.train.num_worker_per_gpu: {workers} processes are too many for the '
                        f'{os.cpu_count()} processors of this machine; at most {most} are allowed')
    side = block.get('gt_size')
    if isinstance(side, int):
        batches = 1 + (2 * workers if workers else 0) + block.get('num_prefetch_queue', 0)
        needed, free = block['batch_size_per_gpu'] * side**2 * 3 * (4 + batches), free_memory()
        if needed > free:
            raise UserError(f'datasets.train.batch_size_per_gpu: {block["batch_size_per_gpu"]} crops of '
                            f'{side}x{side} need {needed / GIB:.1f} GiB before a network sees them, and '
                            f'{free / GIB:.1f} GiB are free')
        _check_shared_memory(block, opt['scale'])


def _check_shared_memory(block, scale):
    """Check that the batches that workers keep ready fit into /dev/shm, by which Linux hands them over.

    They are all there whenever the training waits, as in a validation.
    """
    workers = block['num_worker_per_gpu']
    try:
        found = os.statvfs(SHARED_MEMORY)
    except (AttributeError, OSError):  # not on this system
        return
    free = found.f_bavail * found.f_frsize
    of_pixel = 1 if block['type'] == 'PairedSRDataset' else 4  # BasicSR's give float32
    pixels = block['gt_size']**2 + (block['gt_size'] // scale)**2
    needed = workers * PREFETCHED * block['batch_size_per_gpu'] * 3 * pixels * of_pixel
    if needed > free:
        raise UserError(f'datasets.train.num_worker_per_gpu: {workers} workers keep {workers * PREFETCHED} batches, '
                        f'{needed / MIB:.1f} MiB, in {SHARED_MEMORY}, which has {free / MIB:.1f} MiB free; set '
                        'num_worker_per_gpu: 0, or give it more room (docker run --shm-size 8g)')
