"""Checks of an option file, made before a run creates or moves anything.

Each finding is a ``UserError`` of one line: the option's path, what was found, what is allowed, the remedy.
``find_*`` collect all of them, ``check_*`` raise the first.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mipkd_arch.base.errors import UserError, printable, shown
from mipkd_arch.base.option_types import find_errors

from basicsr.utils.registry import MODEL_REGISTRY

from ..networks.machine import check_machine
from ..run.disk import check_disk
from ..run.resuming import resume_from_state
from ..schema.options import TestFile, TrainingFile
from . import blocks
from .blocks import check_call
from .dry_run import find_in_networks
from .findings import Findings
from .paths import find_in_files
from .plugins import find_in_plugins
from .reader import read_options
from .rules import RULES

__all__ = ['check_blocks', 'check_call', 'check_files', 'check_machine', 'check_networks', 'check_options',
           'check_script', 'find_everything', 'find_in_options', 'is_training', 'read_options']


def is_training(opt: Mapping[str, Any]) -> bool:
    """Whether options are those of a training, and not of a test: they say how and on what to train."""
    datasets = opt.get('datasets')
    return isinstance(datasets, dict) and 'train' in datasets or (
        opt.get('train') is not None and not (isinstance(datasets, dict) and any(
            str(phase).startswith('test') for phase in datasets)))


def check_script(opt: Mapping[str, Any], is_train: bool, file: object, start: str = 'basicsr/{}.py') -> None:
    """Check that options are for the script that was started.

    Args:
        opt: from ``read_options``.
        is_train: for a training, else for a test.
        file: the option file, for the message.
        start: how either is started, for the message, with {} for 'train' or 'test'.

    Raises:
        UserError: a test is to be run as a training, or the other way round.
    """
    datasets = opt.get('datasets')
    if not isinstance(datasets, dict) or not datasets:
        return
    if is_train and not is_training(opt):
        raise UserError(f'-opt: {printable(str(file))}: is the option file of a test; start {start.format("test")}')
    if not is_train and 'train' in datasets:  # a test may measure on val as well, and its file may keep train
        raise UserError(f'-opt: {printable(str(file))}: is the option file of a training; start '
                        f'{start.format("train")}')


def find_in_options(opt: dict[str, Any], is_train: bool) -> Findings:
    """What is wrong with options in themselves: names, types and ranges of values, and what does not go together.

    Args:
        opt: from ``read_options``. Integers that are written as ``5e3`` become integers.
        is_train: for a training, else for a test.
    """
    found = find_in_plugins(opt.get('plugins'))
    if found.errors:
        return found  # what the plugins would have registered is not known, and would be called a mistake, too
    with found.catching():
        if opt.get('model_type') is not None:
            blocks.class_of('model_type', opt['model_type'], MODEL_REGISTRY)
    blocks.find_all(opt, is_train, found)
    if is_train and opt.get('model_type') == 'MiPKDModel':
        for rule, paths in RULES:
            if found.are_sound(*paths):
                with found.catching():
                    rule(opt)
    return found


def check_blocks(opt: Mapping[str, Any], is_train: bool) -> None:
    """Check that an option file has the blocks that every run needs; arguments as for ``find_in_options``.

    Raises:
        UserError: on the first that is missing or no mapping.
    """
    for error in find_errors(TrainingFile if is_train else TestFile, opt, ignored=('extra_forbidden', )):
        raise error
    for phase, block in opt['datasets'].items():
        if not isinstance(block, dict) or 'type' not in block:
            raise UserError(f'datasets.{phase}: {shown(block)} is not a mapping with a type')


def check_options(opt: dict[str, Any], is_train: bool) -> None:
    """As ``find_in_options``; raises the first mistake."""
    find_in_options(opt, is_train).stop()


def check_files(opt: Mapping[str, Any]) -> None:
    """Check that the data and the weights that an option file names are there, and that lq and gt are pairs.

    Args:
        opt: options that ``check_options`` has passed.

    Raises:
        UserError: on the first that is missing; the message has the command that gets it.
    """
    found = find_in_files(opt)
    found.stop(**_origin(opt))
    for note in found.notes if not opt.get('rank') else ():
        print(note, flush=True)


def check_networks(opt: Mapping[str, Any], is_train: bool) -> Any:
    """Check that networks, weights and losses fit together, by building them once on the CPU.

    Args:
        opt: options that ``check_options`` and ``check_files`` have passed.
        is_train: as for ``find_in_options``.

    Returns:
        The ``Distiller`` of a training of MiPKDModel, else None.

    Raises:
        UserError: on the first that does not fit.
    """
    found = find_in_networks(opt, is_train)
    found.stop(**_origin(opt))
    return found.distiller


def find_everything(opt: dict[str, Any], is_train: bool) -> Findings:
    """What is wrong beyond the options themselves: with this machine, the files, and networks and losses.

    Args:
        opt: options that ``check_options`` has passed, complete.
        is_train: as for ``find_in_options``.
    """
    found = Findings()
    with found.catching():
        check_machine(opt, is_train)
    with found.catching():
        if is_train:
            resume_from_state(opt)
    files = find_in_files(opt)
    found.errors += files.errors
    found.notes += files.notes
    if not found.errors:
        networks = find_in_networks(opt, is_train)
        found.errors += networks.errors
        with found.catching():
            check_disk(opt, networks.distiller)
    return found


def _origin(opt: Mapping[str, Any]) -> dict[str, Any]:
    origin = opt.get('option_file') or {}
    return {'file': origin.get('file'), 'changed': origin.get('changed') or ()}
