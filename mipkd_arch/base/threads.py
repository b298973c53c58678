"""How many threads the kernels of torch use, and how these wait for each other; to be set before torch is imported.

The OpenMP threads of torch spin for a long time while they wait for the next kernel. On a machine that has other
work, too, a thread that spins takes the core of one that computes, and a step can take ten times as long. In a
container whose processor time is limited by a quota, torch starts a thread for each core of the host, with the same
effect.
"""
import math
import os
from collections.abc import MutableMapping
from pathlib import Path

WAITING = ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT', 'KMP_BLOCKTIME')
SPINS = 1000
"""Of a thread before it sleeps, by GNU's OpenMP, which torch has on Linux; that spins 300,000 times by itself. No spin
at all (OMP_WAIT_POLICY=PASSIVE) makes steps of a small network a fifth slower on an idle machine, and so many cost
nothing."""
CGROUPS = Path('/sys/fs/cgroup')
MEMBERSHIP = Path('/proc/self/cgroup')


def set_thread_defaults(env: MutableMapping[str, str] = os.environ) -> None:
    """Let threads soon sleep that wait, and have no more than a quota gives cores; what ``env`` says already stays.

    Args:
        env: environment variables, which OpenMP reads when torch is loaded.
    """
    if not any(name in env for name in WAITING):
        env['GOMP_SPINCOUNT'] = str(SPINS)
    quota = cpu_quota()
    if quota is not None and quota < available_cpus():
        env.setdefault('OMP_NUM_THREADS', str(max(1, math.floor(quota))))


def available_cpus() -> int:
    """Cores that this process may run on."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_quota(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """Processor time per time that the control groups of this process allow, in cores; None without a limit.

    Args:
        cgroups: where the control groups are mounted, version 2 or the controllers of version 1 below it.
        membership: the file that names the groups of this process, one ``id:controllers:path`` a line.
    """
    quotas = []
    for line in _lines(membership):
        _, controllers, path = line.split(':', 2)
        if controllers == '':
            root, read = cgroups, _quota_v2
        elif 'cpu' in controllers.split(','):
            root, read = next((cgroups / name for name in (controllers, 'cpu') if (cgroups / name).is_dir()),
                              cgroups), _quota_v1
        else:
            continue
        group = root / path.lstrip('/')
        # In a container the path may be that of the host; the group of the container is then mounted as the root.
        folders = {root, *(folder for folder in (group, *group.parents) if root in folder.parents)}
        quotas += [quota for folder in folders if (quota := read(folder)) is not None]
    return min(quotas, default=None)


def _quota_v2(group: Path) -> float | None:
    limit, _, period = ''.join(_lines(group / 'cpu.max')).partition(' ')
    return int(limit) / int(period) if limit.isdecimal() and period.isdecimal() and int(period) else None


def _quota_v1(group: Path) -> float | None:
    limit, period = (''.join(_lines(group / f'cpu.cfs_{name}_us')) for name in ('quota', 'period'))
    return int(limit) / int(period) if limit.isdecimal() and period.isdecimal() and int(period) else None


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
