"""Whether the steps of a training get the processors that they need."""
import os
import time

import torch

from basicsr.utils import get_root_logger

LOOKED_AT = 30.0
"""Seconds of steps that are looked at; a machine is busy for a moment at any time."""
SHARE = 0.6
"""Of those seconds, processor time below which a process waits for others most of the time."""


class Pace:
    """Context of each step on a CPU; once it says that steps take far longer than what is computed in them.

    A process alone computes all the time in a step, with one thread or more. With more threads than processors, in all
    processes together, it waits for its own threads, which wait for a processor.

    Args:
        device: of the training. On a GPU nothing is looked at, for there a processor waits by design.
    """

    def __init__(self, device: torch.device) -> None:
        self.looking, self.wall, self.computed = device.type == 'cpu', 0., 0.

    def __enter__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def __exit__(self, *error) -> None:
        if error[0] is None:
            self.took(time.perf_counter() - self._start[0], time.process_time() - self._start[1])

    def took(self, wall: float, computed: float) -> None:
        """Count a step that took so many seconds, and so many of processor time, of all its threads."""
        self.wall, self.computed = self.wall + wall, self.computed + computed
        if not self.looking or self.wall < LOOKED_AT:
            return
        if self.computed < SHARE * self.wall:
            self.looking = False
            get_root_logger().warning(
                f'In {self.wall:.0f} s of steps this process computed for {self.computed:.0f} s: it waits for others, '
                f'or for its own {torch.get_num_threads()} threads, on {os.cpu_count()} processors{_load()}. Fewer '
                'threads (OMP_NUM_THREADS=1) that do not spin (OMP_WAIT_POLICY=PASSIVE), set in the environment of all '
                'processes, help.')
        self.wall = self.computed = 0.


def _load() -> str:
    try:
        return f' with a load of {os.getloadavg()[0]:.1f}'
    except (AttributeError, OSError):  # Windows
        return ''
