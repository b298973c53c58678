"""Checks of an option file, made before a run creates or moves anything.

Each finding is a ``UserError`` of one line: the option's path, what was found, what is allowed, the remedy.
``find_*`` collect all of them, ``check_*`` raise the first.
"""
from __future__ import annotations

import random
from collections.abc import Mapping
from copy import deepcopy
from os import path as osp
from typing import Any

import torch

from mipkd_arch.base.errors import UserError, printable, reason_of

from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY

from ..data.basicsr_data import check_data
from ..data.benchmarks import how_to_get
from ..data.paired_dataset import PairedSRDataset
from ..evaluation.metrics import OURS
from ..losses.csd_loss import VGG19
from ..networks.catalog import how_to_get_weights, named_weights
from ..networks.machine import check_machine
from ..run.disk import check_disk
from ..run.resuming import resume_from_state
from .blocks import check_call, class_of, find_all
from .dry_run import check_networks
from .findings import Findings
from .plugins import find_in_plugins
from .reader import read_options
from .rules import broken_rules

__all__ = ['check_call', 'check_files', 'check_machine', 'check_networks', 'check_options', 'check_script',
           'find_everything', 'find_in_options', 'is_training', 'read_options']
SSIM_WINDOW = 11


def is_training(opt: Mapping[str, Any]) -> bool:
    """Whether options are those of a training, and not of a test: they say how and on what to train."""
    datasets = opt.get('datasets')
    phases = list(datasets) if isinstance(datasets, dict) else []
    return 'train' in phases or opt.get('train') is not None and not any(
        str(phase).startswith('test') for phase in phases)


def check_script(opt: Mapping[str, Any], is_train: bool, file: object, start: str = 'basicsr/{}.py') -> None:
    """Check that a test is not run as a training, or the other way round.

    ``file`` and ``start``, with {} for 'train' or 'test', are for the message.
    """
    datasets = opt.get('datasets')
    if not isinstance(datasets, dict) or not datasets:
        return
    # A test may measure on val as well, and its file may keep train.
    if not is_training(opt) if is_train else 'train' in datasets:
        kind = 'test' if is_train else 'train'
        raise UserError(f'-opt: {printable(str(file))}: is the option file of a {kind}{"" if is_train else "ing"}; '
                        f'start {start.format(kind)}')


def find_in_options(opt: dict[str, Any], is_train: bool) -> Findings:
    """What is wrong with options in themselves: names, types and ranges of values, and what does not go together."""
    found = find_in_plugins(opt.get('plugins'))
    if found.errors:
        return found  # what the plugins would have registered is not known, and would be called a mistake, too
    with found.catching():
        if opt.get('model_type') is not None:
            class_of('model_type', opt['model_type'], MODEL_REGISTRY)
    find_all(found, opt, is_train)
    if is_train and opt.get('model_type') == 'MiPKDModel' and not found.errors:
        found.add(*broken_rules(opt))
    return found


def check_options(opt: dict[str, Any], is_train: bool) -> None:
    """As ``find_in_options``; raises the first mistake."""
    find_in_options(opt, is_train).stop()


def find_in_files(opt: Mapping[str, Any]) -> Findings:
    """What is wrong with the images and weights that options name: missing, not readable, not pairs, too small.

    Messages have the command that gets what is missing; notes tell which files of folders are left out.
    """
    found = Findings()
    for phase, block in opt['datasets'].items():
        with found.catching():
            for key in ('dataroot_gt', 'dataroot_lq'):
                path = block.get(key)
                if path is not None and not osp.exists(osp.expanduser(path)):
                    raise UserError(f'datasets.{phase}.{key}: {path} is not there. {how_to_get(path, opt["scale"])}')
            found.notes += _open(opt, phase, block)
    perceptual = (opt.get('train') or {}).get('perceptual_opt')
    named = {'train.perceptual_opt': VGG19} if perceptual and opt.get('is_train', True) else {}
    for where, path in {**named_weights(opt), **named}.items():
        with found.catching():
            if not osp.isfile(osp.expanduser(path)):
                raise UserError(f'{where}: {path} is not there. {how_to_get_weights(path)}')
    return found


def _open(opt: Mapping[str, Any], phase: str, block: dict[str, Any]) -> list[str]:
    """Open a dataset and check what it reads. Returns what is left out of its folders."""
    notes: list[str] = []
    kind = class_of(f'datasets.{phase}.type', block['type'], DATASET_REGISTRY)
    try:
        data = kind({**deepcopy(block), 'phase': phase.split('_')[0], 'scale': opt['scale']})
        if len(data) and kind is not PairedSRDataset:  # others find out what is wrong when they read
            if kind.__module__.startswith('basicsr.'):
                check_data(data, f'datasets.{phase}', measured=phase != 'train')
            drawn = random.getstate()
            with torch.random.fork_rng(devices=[]):
                item = data[0]
            random.setstate(drawn)
            if phase == 'train' and opt.get('model_type') == 'MiPKDModel' and 'gt' not in item:
                raise UserError(f'datasets.train.type: {block["type"]} has no gt, which a training needs; take '
                                'PairedSRDataset')
    except UserError:
        raise
    except Exception as error:  # any dataset, any failure
        raise UserError(f'datasets.{phase}: {block["type"]} refuses these options ({type(error).__name__}: '
                        f'{reason_of(error)})') from None
    if not len(data):
        raise UserError(f'datasets.{phase}: has no images')
    if kind is PairedSRDataset:
        notes += [f'datasets.{phase}.dataroot_{key}: {store.path}: left out: {store.left_out}'
                  for key, store in (('gt', data.gt), ('lq', data.lq)) if store.left_out]
        if phase != 'train':
            _check_borders(opt, phase, min(data.gt.shapes.items(), key=lambda item: min(item[1][:2])))
    return notes


def _check_borders(opt: Mapping[str, Any], phase: str, smallest: tuple[str, tuple[int, ...]]) -> None:
    name, (height, width, _) = smallest
    for metric, block in ((opt.get('val') or {}).get('metrics') or {}).items():
        border = block.get('crop_border', 0)
        needed = 2 * border + (SSIM_WINDOW if block['type'] == 'calculate_ssim' else 1)
        if block['type'] in OURS and min(height, width) < needed:
            raise UserError(f'val.metrics.{metric}.crop_border: {border} leaves too little of image {name!r} of '
                            f'datasets.{phase}, which is {width}x{height}; at least {needed}x{needed} is needed')


def check_files(opt: Mapping[str, Any]) -> None:
    """As ``find_in_files``; raises the first mistake, and prints the notes where there is none."""
    found, origin = find_in_files(opt), opt.get('option_file') or {}
    found.stop(origin.get('file'), origin.get('changed') or ())
    for note in found.notes if not opt.get('rank') else ():
        print(note, flush=True)


def find_everything(opt: dict[str, Any], is_train: bool) -> Findings:
    """What is wrong with this machine, the files, and networks and losses; the options are checked and complete."""
    found = find_in_files(opt)
    with found.catching():
        check_machine(opt, is_train)
        if is_train:
            resume_from_state(opt)
        if not found.errors:
            check_disk(opt, check_networks(opt, is_train))
    return found
