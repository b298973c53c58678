"""Rank, world size and rendezvous address of this process, from the variables that its launcher sets."""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mipkd_arch.base.errors import UserError

RANKS = {'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), 'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID')}
NODES = ('SLURM_STEP_NODELIST', 'SLURM_NODELIST', 'SLURM_JOB_NODELIST')  # the first that is set counts
PORT = 29500  # torch's default
COMMANDS = {'pytorch': 'torchrun sets them: torchrun --nproc_per_node 2 basicsr/train.py -opt FILE',
            'slurm': 'srun sets them: srun --ntasks 2 python basicsr/train.py -opt FILE --launcher slurm'}


@dataclass(frozen=True)
class RankInfo:
    """Place of a process in a distributed run; the default is a process without others."""
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    master_addr: str = ''
    master_port: int = 0

    def as_env(self) -> dict[str, str]:
        """The variables that torchrun would set."""
        return {name.upper(): str(value) for name, value in vars(self).items()}


def read_launcher_env(launcher: str | None, env: Mapping[str, str], port: int | None = None) -> RankInfo:
    """Read the place of this process.

    Args:
        launcher: 'none', 'pytorch' or 'slurm'. None uses the variables of torchrun if they are set, since processes
            that do not know of each other would all write the same folder.
        port: of the rendezvous under SLURM, unless MASTER_PORT is set; None: ``PORT``.

    Raises:
        UserError: a variable is missing or not a number, or contradicts the launcher.
    """
    started = 'RANK' in env and 'WORLD_SIZE' in env
    if launcher == 'none' and started and env['WORLD_SIZE'] != '1':
        raise UserError(f'--launcher: none, but torchrun has started {env["WORLD_SIZE"]} processes, which would all '
                        'write the same files; omit --launcher')
    launcher = launcher or ('pytorch' if started else 'none')
    if launcher == 'none':
        return RankInfo()
    values = {name: env.get(name, '') for name in (*RANKS[launcher], 'MASTER_PORT', 'MASTER_ADDR')}
    if launcher == 'slurm':
        nodes = next((env[name] for name in NODES if env.get(name)), '')
        values['MASTER_ADDR'] = values['MASTER_ADDR'] or first_host(nodes)
        values['MASTER_PORT'] = values['MASTER_PORT'] or str(port or PORT)
    if missing := [name for name, value in values.items() if not value]:
        raise UserError(f'--launcher {launcher}: {", ".join(missing)} not set in the environment; {COMMANDS[launcher]}')
    address = values.pop('MASTER_ADDR')
    for name, value in values.items():
        if not value.isdecimal():
            raise UserError(f'{name}: {value!r} in the environment is not an integer of at least 0; let torchrun or '
                            'srun set it')
    rank, world_size, local_rank, listens = map(int, values.values())
    return RankInfo(rank, world_size, local_rank, address, listens)


def first_host(nodes: str) -> str:
    """The first host of a list in the notation of SLURM, such as ``node[03-05,8],gpu1``; empty if there is none."""
    first = re.match(r'(?:\[[^\]]*\]|[^,\[])*', nodes)
    return re.sub(r'\[([^\]\-,]*)[^\]]*\]', r'\1', first[0]) if first else ''
