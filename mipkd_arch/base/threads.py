"""How many threads torch computes with, and how these wait for each other; to be set before torch is imported.

A thread that spins while it waits takes the core of one that computes, where a machine has other work or a container
has a quota of processor time below its cores; a step can take ten times as long then.
"""
from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

WAITING = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')
SPINS = 1000
"""Of a thread before it sleeps, in GNU's OpenMP, whose default is 300,000. No spin at all makes steps of a small
network a fifth slower on an idle machine, and so many cost nothing."""
QUOTA = Path('/sys/fs/cgroup/cpu.max')
"""Processor time and period of the control group of a container, whose root is mounted in it; 'max' is no limit."""


def set_thread_defaults(env: MutableMapping[str, str] = os.environ) -> None:
    """Let waiting threads soon sleep, and have no more than a quota gives cores; what ``env`` has already stays."""
    if not any(name in env for name in WAITING):
        env['GOMP_SPINCOUNT'] = str(SPINS)
    quota = cpu_quota()
    if quota is not None and quota < available_cpus():
        env.setdefault('OMP_NUM_THREADS', str(max(1, int(quota))))


def available_cpus() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def cpu_quota(file: Path = QUOTA) -> float | None:
    """Cores that the control group of a container allows; None without a limit."""
    try:
        limit, period = file.read_text().split()
        return int(limit) / int(period)
    except (OSError, ValueError):
        return None
