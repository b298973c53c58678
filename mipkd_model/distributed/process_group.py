"""The process group of a distributed run: how ranks meet, agree, report a mistake once, and end.

BasicSR's ``init_dist`` supports NCCL only, and selects the GPU by the rank among the processes of all machines.
"""
from __future__ import annotations

import faulthandler
import os
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from mipkd_arch.base import cli, errors
from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.base.streams import say

from .launcher_env import read_launcher_env

TIMEOUT = timedelta(minutes=30)
"""How long a rank waits for the others: longer than the last images of a validation take one rank alone."""
EXIT = 30
"""Seconds in which a rank ends after a failure."""


def init(launcher: str | None, dist_params: Mapping[str, Any]) -> None:
    """Join the other ranks of a distributed run; before options are checked, so that one rank reports mistakes.

    The one group is gloo for objects and tensors on the CPU, and NCCL for tensors on GPUs, unless
    ``dist_params.backend`` is gloo. A UserError where the ranks do not find each other.
    """
    info = read_launcher_env(launcher, os.environ, dist_params.get('port'))
    if info.world_size == 1:
        return
    os.environ.update(info.as_env())
    on_gpu = torch.cuda.is_available() and distributed.is_nccl_available() and dist_params.get('backend') != 'gloo'
    try:
        distributed.init_process_group('cpu:gloo,cuda:nccl' if on_gpu else 'gloo', timeout=TIMEOUT)
        random.seed(all_gather_object(random.random())[0])  # all ranks draw the same manual_seed
    except (RuntimeError, ValueError) as error:
        raise UserError(f'{info.master_addr}:{info.master_port}: the {info.world_size} processes do not find each '
                        f'other ({reason_of(error)}); check MASTER_ADDR and MASTER_PORT, and that the port is '
                        'free') from None


def set_up(opt: dict[str, Any]) -> None:
    """Set ``dist``, ``rank`` and ``world_size`` of the options, and select the GPU of this rank."""
    opt.update(dist=distributed.is_initialized(), rank=0, world_size=1)
    if not opt['dist']:
        return
    opt.update(rank=distributed.get_rank(), world_size=distributed.get_world_size())
    count, local_rank = torch.cuda.device_count(), int(os.environ['LOCAL_RANK'])
    if not count or not opt['num_gpu']:
        return
    if count == 1 and 'SLURM_GPUS_PER_TASK' in os.environ:
        local_rank = 0  # srun shows each process only its own GPU
    if local_rank >= count:
        raise UserError(f'LOCAL_RANK: {local_rank}, but torch sees {count} GPUs on this machine; start at most '
                        f'--nproc_per_node {count}, or set num_gpu: 0')
    torch.cuda.set_device(local_rank)


def exit_status(function: Callable[..., object], *args: object) -> int:
    """As ``mipkd_arch.base.cli.exit_status``; in a distributed run, the line of a failure begins with the rank.

    Other ranks notice a failure when they next wait for this one, and end with a line of their own.
    """
    return cli.exit_status(_run, function, *args)


def _run(function: Callable[..., object], *args: object) -> None:
    failed = False
    try:
        function(*args)
        all_gather_object(None)  # no rank leaves the group while another one still needs it
    except Exception as error:
        failed = True
        if not distributed.is_initialized():
            raise
        # A library may wait for ranks that are gone when the interpreter takes it down.
        faulthandler.dump_traceback_later(EXIT, exit=True)
        modules = [frame.f_globals.get('__name__', '') for frame, _ in traceback.walk_tb(error.__traceback__)]
        # gloo raises plain RuntimeErrors when a rank is gone.
        lost = isinstance(error, RuntimeError) and any(name.startswith('torch.distributed.') for name in modules)
        line = f'lost the others ({reason_of(error)})' if lost else _line_of(error)
        if line is None:
            raise
        raise UserError(f'rank {distributed.get_rank()} of {distributed.get_world_size()}: {line}') from None
    finally:
        if not failed and distributed.is_initialized():
            distributed.destroy_process_group()


def _line_of(error: Exception) -> str | None:
    return errors.one_line(error) if isinstance(error, UserError) else cli.failure_line(error)


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank. A collective: all ranks must call it; it takes some 0.1 ms on a machine."""
    if not distributed.is_initialized():
        return flag
    flags = torch.tensor(int(flag), dtype=torch.uint8)
    distributed.all_reduce(flags, distributed.ReduceOp.MAX)
    return bool(flags)


def all_gather_object(value: Any) -> list[Any]:
    """The objects that all ranks give, in the order of ranks. A collective: all ranks must call it."""
    if not distributed.is_initialized():
        return [value]
    values = [None] * distributed.get_world_size()
    distributed.all_gather_object(values, value)
    return values


@contextmanager
def collective() -> Iterator[None]:
    """Context of what all ranks do alike, such as checks: all of them leave it, or all exit with status 1.

    The first rank that fails reports its mistake, and no rank ends before, since torchrun would end that one, too.
    Collectives inside must come first, where no rank can have failed. A process without others raises as usual.
    """
    line = None
    try:
        yield
    except Exception as error:
        if not distributed.is_initialized():
            raise
        rank = distributed.get_rank()
        label = f'rank {rank} of {distributed.get_world_size()}: ' if rank else ''
        found = _line_of(error)
        line = f'error: {label}{found}' if found else ''.join(traceback.format_exception(error))
    failed = [rank for rank, fails in enumerate(all_gather_object(line is not None)) if fails]
    if not failed:
        return
    if line is not None and distributed.get_rank() == failed[0]:
        say(line)
    all_gather_object(None)
    sys.exit(1)


def check_same(values: dict[str, Any]) -> None:
    """Check that all ranks have the same plain values, given by the paths of options. A collective.

    Raises:
        UserError: names the first that differs, on all ranks alike.
    """
    first, *others = all_gather_object(values)
    for rank, other in enumerate(others, 1):
        for path in {**first, **other}:
            found, expected = other.get(path), first.get(path)
            if found != expected:
                raise UserError(f'{path}: {reason_of(repr(expected))} on rank 0, and {reason_of(repr(found))} on rank '
                                f'{rank}; start all ranks with the same option file, where they see the same files')
