"""How many threads torch computes with, and how these wait for each other; to be set before torch is imported.

OpenMP threads spin for a long time while they wait for the next kernel. On a machine with other work, a thread that
spins takes the core of one that computes, and a step can take ten times as long. In a container whose processor time is
limited by a quota, torch starts a thread for each core of the host, with the same effect.
"""
from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

WAITING = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')
SPINS = 1000
"""Of a thread before it sleeps, in GNU's OpenMP, whose default is 300,000. No spin at all (OMP_WAIT_POLICY=PASSIVE)
makes steps of a small network a fifth slower on an idle machine, and so many cost nothing."""
CGROUPS = Path('/sys/fs/cgroup')


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


def cpu_quota(cgroups: Path = CGROUPS) -> float | None:
    """Cores that the control group of a container allows, whose root is mounted in it; None without a limit."""
    try:
        if (cgroups / 'cpu.max').exists():  # version 2
            limit, period = (cgroups / 'cpu.max').read_text().split()
        else:
            limit, period = ((cgroups / f'cpu/cpu.cfs_{name}_us').read_text() for name in ('quota', 'period'))
        return int(limit) / int(period) if int(limit) > 0 else None
    except (OSError, ValueError, ZeroDivisionError):  # no control groups, or no limit: 'max'
        return None
