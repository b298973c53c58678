"""Rank, world size and rendezvous address of this process, from the variables that its launcher sets."""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from mipkd_arch.base.errors import UserError

RANKS = {'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), 'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID')}
NODES = ('SLURM_STEP_NODELIST', 'SLURM_NODELIST', 'SLURM_JOB_NODELIST')  # the first that is set counts
PORT = 29500  # torch's default
COMMANDS = {'pytorch': 'torchrun sets them: torchrun --nproc_per_node 2 basicsr/train.py -opt FILE',
            'slurm': 'srun sets them: srun --ntasks 2 python basicsr/train.py -opt FILE --launcher slurm'}


class RankInfo(NamedTuple):
    """Place of a process in a distributed run; the default is a process without others."""
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    master_addr: str = ''
    master_port: int = 0

    def as_env(self) -> dict[str, str]:
        """The variables that torchrun would set."""
        return {name.upper(): str(value) for name, value in self._asdict().items()}


def read_launcher_env(launcher: str | None, env: Mapping[str, str], port: int | None = None) -> RankInfo:
    """Read the place of this process; a UserError where a variable is missing, or contradicts the launcher.

    Args:
        launcher: 'none', 'pytorch' or 'slurm'. None uses the variables of torchrun if they are set, since processes
            that do not know of each other would all write the same folder.
        port: of the rendezvous under SLURM, unless MASTER_PORT is set; None: ``PORT``.
    """
    started = 'RANK' in env and 'WORLD_SIZE' in env
    if launcher == 'none' and started and env['WORLD_SIZE'] != '1':
        raise UserError(f'--launcher: none, but torchrun has started {env["WORLD_SIZE"]} processes, which would all '
                        'write the same files; omit --launcher')
    launcher = launcher or ('pytorch' if started else 'none')
    if launcher == 'none':
        return RankInfo()
    values = {name: env.get(name, '') for name in (*RANKS[launcher], 'MASTER_PORT')}
    address = env.get('MASTER_ADDR', '')
    if launcher == 'slurm':
        address = address or first_host(next((env[name] for name in NODES if env.get(name)), ''))
        values['MASTER_PORT'] = values['MASTER_PORT'] or str(port or PORT)
    wrong = [name for name, value in values.items() if not value.isdecimal()] + ['MASTER_ADDR'] * (not address)
    if wrong:
        raise UserError(f'--launcher {launcher}: {", ".join(wrong)} not set in the environment, or not to an integer; '
                        f'{COMMANDS[launcher]}')
    rank, world_size, local_rank, master_port = map(int, values.values())
    return RankInfo(rank, world_size, local_rank, address, master_port)


def first_host(nodes: str) -> str:
    """The first host of a list in the notation of SLURM, such as ``node[03-05,8],gpu1``; empty if there is none."""
    first = re.match(r'(?:\[[^\]]*\]|[^,\[])*', nodes)
    return re.sub(r'\[([^\]\-,]*)[^\]]*\]', r'\1', first[0]) if first else ''
