"""Several processes that train one network: how they find each other, what they exchange, how they end.

BasicSR's ``init_dist`` takes NCCL alone, divides by the number of GPUs, and picks the GPU by the process's number
among those of all machines.
"""
import faulthandler
import os
import random
import re
import signal
import time
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed

from mipkd_arch.base import cli, errors
from mipkd_arch.base.errors import UserError, one_of, reason_of

from .launcher_env import Place, find_place

BACKENDS = ('auto', 'nccl', 'gloo')
TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others: above what one of them may do alone, as the last images of a validation."""
LAST_WORDS = 5
"""Seconds that a process with nothing to say leaves to the one that says it, before it ends."""
TOGETHER = 2
"""Seconds within which processes that compute the same make the same mistake."""
EXIT = 30
"""Seconds in which a process ends after a failure, whatever its libraries wait for."""


class _Told(UserError):
    """A mistake that this process is to tell, whatever the others say."""


class _Meeting:
    """Of this process with the others; one for the process, as the process group is."""
    place = Place()
    control = None  # group over the CPUs beside that of the GPUs


# ---------------------------------------------------------------- beginning and end

def start(launcher, opt):
    """Meet the other processes of a distributed run, if it is one. Sets ``dist``, ``rank`` and ``world_size``.

    A process takes the GPU of its number on its machine. Where no ``manual_seed`` is given, all get one and the same.
    One process alone, started by whatever launcher, is no distributed run.

    Args:
        launcher (str | None): 'none', 'pytorch' or 'slurm'; None where ``--launcher`` is not given, which takes
            torchrun's variables where they are there.
        opt (dict): all options; ``num_gpu``, ``dist_params`` and ``manual_seed`` are read.

    Raises:
        UserError: the environment, the options or the machine do not allow it, or the others cannot be reached.
    """
    given = opt.get('dist_params') or {}
    place = _Meeting.place = find_place(launcher, os.environ, given.get('port'))
    opt.update(dist=place.world_size > 1, rank=place.rank, world_size=place.world_size)
    backend = backend_of(given.get('backend', 'auto'), opt.get('num_gpu'), place)
    if not opt['dist']:
        return
    os.environ.update(place.variables)
    try:
        distributed.init_process_group(backend, timeout=TIMEOUT)
        _Meeting.control = distributed.new_group(backend='gloo', timeout=TIMEOUT) if backend != 'gloo' else None
        everyone(None)
    except (RuntimeError, ValueError) as error:
        raise UserError(f'{place.address}:{place.port}: the {place.world_size} processes do not find each other '
                        f'({reason_of(error)}); are MASTER_ADDR and MASTER_PORT those of the first machine, and is '
                        'the port free?') from None
    if opt.get('manual_seed') is None:
        opt['manual_seed'] = everyone(random.randint(1, 10000))[0]


def backend_of(asked, num_gpu, place):
    """What processes exchange tensors by; where they train on GPUs, this one takes its own.

    Args:
        asked (str): of ``BACKENDS``.
        num_gpu (int | str | None): of the options; 0 trains on the CPU, 'auto' where there is no GPU.
        place (Place): of this process.

    Returns:
        str: 'nccl' or 'gloo'.

    Raises:
        UserError: the GPUs are not there.
    """
    one_of('dist_params.backend', asked, BACKENDS)
    count = torch.cuda.device_count()
    on_gpu = count > 0 if num_gpu == 'auto' else bool(num_gpu)
    if place.world_size > 1 and asked == 'nccl' and not on_gpu:
        raise UserError(f'dist_params.backend: nccl is for GPUs, and num_gpu: {num_gpu} trains on the CPU; set '
                        'backend: auto')
    if not on_gpu or not place.address:
        return 'gloo'
    if not count:
        raise UserError(f'num_gpu: {num_gpu}, but torch sees no GPU; set num_gpu: auto, or 0 for the CPU')
    if count == 1 and 'SLURM_GPUS_PER_TASK' in os.environ:
        torch.cuda.set_device(0)  # srun shows each process its own GPU alone
    elif place.local_rank >= count:
        raise _Told(f'LOCAL_RANK: {place.local_rank}, but torch sees {count} GPUs on this machine; start at most '
                        f'--nproc_per_node {count}, or set num_gpu: 0')
    else:
        torch.cuda.set_device(place.local_rank)
    return 'nccl' if asked != 'gloo' and distributed.is_nccl_available() else 'gloo'


def stop():
    """Part from the other processes, after the last of them has come so far. Does nothing without others."""
    if distributed.is_initialized():
        everyone(None)
        distributed.destroy_process_group()
    _Meeting.place, _Meeting.control = Place(), None


def exit_status(function, *args):
    """As ``mipkd_arch.base.cli.exit_status``, for one process of several.

    The one that fails says why, and the others, in one line each, that they have lost it. Of a mistake that is made
    before the processes have met, each machine has one line.
    """
    return cli.exit_status(_with_others, function, *args)


def _with_others(function, *args):
    try:
        function(*args)
        stop()
    except SystemExit:  # as all were asked to, or in silence; the others are not waited for
        if distributed.is_initialized():
            distributed.destroy_process_group()
        raise
    except Exception as error:
        place = _Meeting.place if _Meeting.place.world_size > 1 else _place_so_far()
        if place.world_size == 1:
            raise
        # A library may wait for processes that are gone when this one takes it down.
        faulthandler.dump_traceback_later(EXIT, exit=True, file=open(os.devnull, 'w'))
        if not isinstance(error, UserError) and not is_of_exchange(error) and (line := cli.failure_line(error)):
            error = UserError(line)
        told = not isinstance(error, UserError) or isinstance(error, _Told)
        if not told and not distributed.is_initialized() and place.local_rank:
            _wait_for_the_word()
        label = f'process {place.rank} of {place.world_size}: '
        if is_of_exchange(error):
            raise UserError(f'{label}lost the others ({_short(error)})') from None
        if not told:
            if distributed.is_initialized() and _first_says_so(place.rank, errors.one_line(error)):
                _leave_the_word()
            if place.rank:
                raise UserError(label + errors.one_line(error)) from None
        raise


def _short(error):
    """What an exchange says, without the line of its source code and the advice behind the first sentence."""
    return re.sub(r'^\[[^\]]*\] ', '', reason_of(error)).partition('. This is')[0]


def _place_so_far():
    """Where this process stands, for one that has not yet been told by which launcher it was started."""
    slurm = 'RANK' not in os.environ and 'SLURM_STEP_ID' in os.environ
    try:
        return find_place('slurm' if slurm else None, os.environ)
    except UserError:
        return Place()


def _first_says_so(rank, message):
    """Whether this is not the first process and that one has made the same mistake; else it is told to the others."""
    store = distributed.distributed_c10d._get_default_store()
    try:
        store.set(f'mistake of {rank}', message)
        if rank == 0:
            return False
        store.wait(['mistake of 0'], timedelta(seconds=TOGETHER))
        return store.get('mistake of 0').decode() == message
    except RuntimeError:  # there is none, or the first process, which may keep the store, is gone
        return False


def _wait_for_the_word():
    """Let another process speak. torchrun ends all processes when one has ended, so that one needs time to."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    time.sleep(LAST_WORDS)


def _leave_the_word():
    """End in silence, after the process that speaks."""
    _wait_for_the_word()
    raise SystemExit(1)


def is_of_exchange(error):
    """Whether an exception comes from an exchange among processes, which fails when one of them is gone."""
    if isinstance(error, distributed.DistError):
        return True
    frames, traceback = [], error.__traceback__
    while traceback is not None:
        frames.append(traceback.tb_frame.f_globals.get('__name__', ''))
        traceback = traceback.tb_next
    return isinstance(error, RuntimeError) and any(name.startswith('torch.distributed.') for name in frames)


# ---------------------------------------------------------------- exchange

def over_cpus():
    """The group of all processes that exchanges tensors on the CPU; None without others."""
    if not distributed.is_initialized():
        return None
    return _Meeting.control or distributed.group.WORLD


def agree(flag):
    """Whether any process has the flag; all must ask. Costs no more than a message: on one machine, some 0.1 ms."""
    group = over_cpus()
    if group is None:
        return bool(flag)
    found = torch.tensor(int(bool(flag)), dtype=torch.uint8)
    distributed.all_reduce(found, distributed.ReduceOp.MAX, group)
    return bool(found)


def everyone(value):
    """What each process gives, in the order of their numbers: any objects of Python. All must ask."""
    if (group := over_cpus()) is None:
        return [value]
    found = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, value, group)
    return found


def check_alike(values):
    """Check that all processes have the same values; all must ask.

    Args:
        values (dict): plain values by the paths of options.

    Raises:
        UserError: names the first that differs, in all processes alike.
    """
    first, *others = everyone(values)
    for rank, other in enumerate(others, 1):
        for path in {**first, **other}:
            if first.get(path) != other.get(path):
                found = ', and '.join(f'{reason_of(repr(x.get(path)))} in process {number}'
                                      for number, x in ((0, first), (rank, other)))
                raise UserError(f'{path}: {found}; start all processes with the same option file, where they see the '
                                'same files')


def gathered(tensor):
    """The whole batch, of all processes' shares (N, ...) of one shape, in the order of their numbers."""
    if not distributed.is_initialized():
        return tensor
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format)
             for _ in range(distributed.get_world_size())]
    distributed.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


@contextmanager
def together():
    """Context of what all processes do alike, such as checks: they leave it together, or none does.

    Of the processes that have found a mistake, the first says so, once; all others end in silence.

    Raises:
        UserError: this process is to tell it.
        SystemExit: another one does.
    """
    if not distributed.is_initialized():
        yield
        return
    mistake = None
    try:
        yield
    except UserError as error:
        mistake = errors.one_line(error)
    except Exception as error:
        everyone(reason_of(error))  # nobody waits for this process
        raise
    found = everyone(mistake)
    if not any(found):
        return
    first = next(rank for rank, message in enumerate(found) if message)
    if distributed.get_rank() != first:
        _leave_the_word()
    raise _Told(f'process {first} of {len(found)}: {found[first]}' if first else found[0])
