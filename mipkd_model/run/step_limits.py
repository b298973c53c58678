"""Contexts of each training step that name the options which help when memory or processors are short."""
from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager
from typing import Any

import torch

from mipkd_arch.base.failures import on_no_memory

from basicsr.utils import get_root_logger

PERIOD = 30.0
"""Seconds of steps that are measured together; any machine is busy for a moment."""
SHARE = 0.6
"""Of these seconds, processor time below which a process waits for others most of the time."""


def memory_of_steps(opt: dict[str, Any], iteration: int) -> AbstractContextManager[None]:
    """Context of a step; raises a UserError that names the options which decide about memory when that runs out."""
    def message(asked: str) -> str:
        parts, data = opt['train'].get('accumulate', 1), opt['datasets']['train']
        batch, side = data['batch_size_per_gpu'], data.get('gt_size')
        split = f'raise train.accumulate: {parts} and use --auto_resume, or ' if batch > parts else ''
        crops = f'{batch} crops of {side}x{side}' if side else f'{batch} samples'
        return (f'iteration {iteration:,}: not enough memory for a step of {crops}{asked}; {split}lower '
                f'datasets.train.batch_size_per_gpu: {batch} or gt_size: {side}, or use smaller networks')

    return on_no_memory(message)


class Pace:
    """Context of each step on a CPU; warns once if steps take far longer than what is computed in them.

    With more threads than processors, in all processes together, a process waits for its own threads.

    Args:
        device: of the training. On a GPU nothing is measured, since the processor waits there by design.
    """

    def __init__(self, device: torch.device) -> None:
        self.active = device.type == 'cpu'
        self.wall = self.computed = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self.add(time.perf_counter() - self._start[0], time.process_time() - self._start[1])

    def add(self, wall: float, computed: float) -> None:
        """Count a step that took ``wall`` seconds, and ``computed`` seconds of processor time of all its threads."""
        self.wall, self.computed = self.wall + wall, self.computed + computed
        if not self.active or self.wall < PERIOD:
            return
        if self.computed < SHARE * self.wall:
            self.active = False
            get_root_logger().warning(
                f'In {self.wall:.0f} s of steps this process computed for {self.computed:.0f} s: it waits for others, '
                f'or for its own {torch.get_num_threads()} threads, on {os.cpu_count()} processors. Set '
                'OMP_NUM_THREADS=1 and OMP_WAIT_POLICY=PASSIVE in the environment of all processes.')
        self.wall = self.computed = 0.0
