"""Where a process stands among those of a distributed run, from the variables that its launcher has set."""
import re
from dataclasses import dataclass

from mipkd_arch.base.errors import UserError, one_of

LAUNCHERS = ('none', 'pytorch', 'slurm')
TORCHRUN = ('RANK', 'WORLD_SIZE', 'LOCAL_RANK', 'MASTER_ADDR', 'MASTER_PORT')
SLURM = ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID')
NODES = ('SLURM_STEP_NODELIST', 'SLURM_NODELIST', 'SLURM_JOB_NODELIST')  # the first that is set counts
PORT = 29500  # torch's own
COMMAND = 'torchrun --nproc_per_node 2 basicsr/train.py -opt FILE'


@dataclass(frozen=True)
class Place:
    """Of one process."""
    rank: int = 0
    """Its number among all, from 0."""
    world_size: int = 1
    """How many there are."""
    local_rank: int = 0
    """Its number among those of its machine, from 0."""
    address: str = ''
    """Where the first process listens; '' for one process alone."""
    port: int = 0

    @property
    def variables(self):
        """The place in torchrun's variables."""
        return dict(zip(TORCHRUN, map(str, (self.rank, self.world_size, self.local_rank, self.address, self.port)),
                        strict=True))


def find_place(launcher, env, port=None):
    """The place of this process.

    Args:
        launcher (str | None): of ``LAUNCHERS``; None takes torchrun's variables where they are there, for processes
            that know nothing of each other would all write one folder.
        env (dict[str, str]): the environment.
        port (int | None): for SLURM, unless MASTER_PORT is set. None: ``PORT``.

    Raises:
        UserError: a variable is missing or wrong, or contradicts the launcher.
    """
    if launcher is not None:
        one_of('--launcher', launcher, LAUNCHERS)
    started = 'RANK' in env and 'WORLD_SIZE' in env
    if launcher == 'none' and started and _whole(env, 'WORLD_SIZE', 1) > 1:
        raise UserError(f'--launcher: none, but torchrun has started {env["WORLD_SIZE"]} processes, which would all '
                        'write the same files; leave --launcher out')
    if launcher == 'slurm':
        return _slurm_place(env, port)
    return _torchrun_place(env) if launcher == 'pytorch' or (launcher is None and started) else Place()


def _torchrun_place(env):
    if missing := [name for name in TORCHRUN if not env.get(name)]:
        raise UserError(f'--launcher pytorch: {", ".join(missing)} not set in the environment; torchrun sets them: '
                        f'{COMMAND}')
    size = _whole(env, 'WORLD_SIZE', 1)
    return Place(_whole(env, 'RANK', 0, size - 1), size, _whole(env, 'LOCAL_RANK', 0), env['MASTER_ADDR'],
                 _whole(env, 'MASTER_PORT', 1, 65535))


def _slurm_place(env, port):
    missing = [name for name in SLURM if not env.get(name)]
    nodes = next((env[name] for name in NODES if env.get(name)), None)
    if missing or not (nodes or env.get('MASTER_ADDR')):
        raise UserError(f'--launcher slurm: {", ".join(missing or ["SLURM_NODELIST"])} not set in the environment; '
                        'srun sets them: srun --ntasks 2 python basicsr/train.py -opt FILE --launcher slurm')
    size = _whole(env, 'SLURM_NTASKS', 1)
    address = env.get('MASTER_ADDR') or first_host(nodes)
    listens = _whole(env, 'MASTER_PORT', 1, 65535) if env.get('MASTER_PORT') else port or PORT
    return Place(_whole(env, 'SLURM_PROCID', 0, size - 1), size, _whole(env, 'SLURM_LOCALID', 0), address, listens)


def _whole(env, name, low, high=None):
    """A variable that must be a whole number."""
    text = env[name]
    if not re.fullmatch('[0-9]{1,9}', text) or int(text) < low or (high is not None and int(text) > high):
        allowed = f'of at least {low}' if high is None else f'from {low} to {high}'
        raise UserError(f'{name}: {text!r} in the environment is not a whole number {allowed}; leave these variables '
                        'to torchrun or srun')
    return int(text)


def first_host(nodes):
    """The first host of a list as SLURM writes it, such as ``node[03-05,8],gpu1``."""
    first = re.match(r'(?:\[[^\]]*\]|[^,\[])*', nodes)[0]
    host = re.sub(r'\[([^\]\-,]*)[^\]]*\]', r'\1', first)
    if not re.fullmatch(r'[\w.:-]+', host):
        raise UserError(f'SLURM_NODELIST: {nodes!r} in the environment is no list of hosts; set MASTER_ADDR to the '
                        'name of the first one')
    return host
