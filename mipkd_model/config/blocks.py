"""Blocks of an option file against the schema, and against the classes that they name by ``type``."""
from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

import torch
from pydantic import BaseModel
from torch import nn

from mipkd_arch.base.arguments import arguments_model, find_argument_errors, renamed
from mipkd_arch.base.errors import UserError, near_miss, reason_of, shown
from mipkd_arch.base.option_types import UNREAD, find_errors, whole_numbers
from mipkd_arch.prior_mixer import GIVEN, FeaturePriorMixer

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, Registry

from ..losses.schedule import WeightSchedule, without_schedule
from ..networks.argument_rules import check_rules
from ..schema.data import dataset_options
from ..schema.options import (
    DistOptions,
    LoggerOptions,
    MetricOptions,
    PathOptions,
    TableOptions,
    TestFile,
    TrainingFile,
    ValidationOptions,
    ValOptions,
)
from ..schema.removed import UNFIT_DATA, why_removed
from ..schema.training import SCHEDULERS, LoopOptions, OptimizerOptions, ScheduleOptions, TrainOptions, is_loss
from ..training.optimizer import make_optimizer
from .findings import Findings

CHANNELS = ('num_in_ch', 'num_out_ch', 'in_chans')  # of images, as BasicSR's networks call them
METRIC_IMAGES = ('img', 'img2', 'input_order')


def check_block(found: Findings, path: str, block: Any, model: type[BaseModel], ignored: Collection[str] = ()) -> None:
    """Check a block by its model; integers that are written ``5e3`` become integers in it."""
    errors = find_errors(model, block, path, ignored=ignored)
    for error in errors:
        where, _, _ = str(error).partition(': ')
        why = why_removed(where)
        found.errors.append(error if why is None or UNREAD not in str(error) else UserError(
            f'{where}: {UNREAD}, for {why}; remove it'))
    if not errors and not ignored:
        whole_numbers(model, block)


def check_file(found: Findings, opt: dict[str, Any], is_train: bool, is_mipkd: bool) -> None:
    """Check the file itself and its blocks that are no datasets, networks, losses or metrics."""
    others = () if is_mipkd else ('extra_forbidden', )  # BasicSR's other models read more
    check_block(found, '', opt, TrainingFile if is_train else TestFile, others)
    # A test leaves the options of trainings alone; those that are there must be right all the same.
    missing = others if is_train else (*others, 'missing')
    models: dict[str, type[BaseModel]] = {
        'table': TableOptions, 'path': PathOptions, 'train': TrainOptions if is_mipkd else LoopOptions,
        'val': ValidationOptions if is_train else ValOptions, 'logger': LoggerOptions, 'dist_params': DistOptions}
    for name, model in models.items():
        if isinstance(opt.get(name), dict):
            check_block(found, name, opt[name], model, missing if name in ('train', 'logger') else others)


# ---------------------------------------------------------------- blocks of a class

def class_of(where: str, value: Any, registry: Registry) -> Any:
    """Return what is registered under the name, which BasicSR also looks up with its own suffix behind."""
    for name in (value, f'{value}_basicsr'):
        if isinstance(value, str) and name in registry:
            return registry.get(name)
    raise UserError(f'{where}: no {shown(value)} is registered{near_miss(value, registry.keys())}; known are '
                    f'{", ".join(sorted(registry.keys()))}, and what the folders of the option plugins have')


def find_in_call(where: str, block: Any, registry: Registry, given: tuple[str, ...] = ()) -> list[UserError]:
    """All that is wrong with a block ``{type: ..., argument: ...}``.

    A misspelled argument is an error even where the class has ``**kwargs`` to swallow it, as BasicSR's own SwinIR does.
    """
    if not isinstance(block, dict) or 'type' not in block:
        return [UserError(f'{where}: needs a block with a type')]
    try:
        target = class_of(f'{where}.type', block['type'], registry)
    except UserError as error:
        return [error]
    arguments, is_network = {name: value for name, value in block.items() if name != 'type'}, registry is ARCH_REGISTRY
    errors = find_argument_errors(target, arguments, where, given, sizes=is_network)
    if is_network and not errors:
        whole_numbers(arguments_model(target, given, True), arguments)
        block.update(arguments)
    return errors


def check_call(where: str, block: Any, registry: Registry) -> None:
    """As ``find_in_call``; raises the first mistake."""
    for error in find_in_call(where, block, registry):
        raise error


def check_networks(found: Findings, opt: Mapping[str, Any], of_rgb: bool) -> None:
    """Check ``network_g`` and the other networks; ``of_rgb``: they take and make RGB images."""
    for key, block in opt.items():
        if not key.startswith('network_') or block is None:
            continue
        errors = find_in_call(key, block, ARCH_REGISTRY)
        found.errors += errors
        if errors:
            continue
        with found.catching():
            check_rules(key, block, ARCH_REGISTRY.get(block['type']))
        for name in CHANNELS:
            if of_rgb and block.get(name, 3) != 3:
                found.add(f'{key}.{name}: {shown(block[name])}, but images are RGB; set 3')


def check_losses(found: Findings, train: Mapping[str, Any]) -> None:
    """Check the blocks of losses, and that of their mixers."""
    mixer_opt = train.get('mixer_opt')
    if isinstance(mixer_opt, dict):
        found.errors += find_argument_errors(FeaturePriorMixer, mixer_opt, 'train.mixer_opt', GIVEN, sizes=True)
    for key, block in train.items():
        if is_loss(key) and block is not None:
            _check_loss(found, f'train.{key}', key.removesuffix('_opt'), block, train)


def _check_loss(found: Findings, path: str, name: str, block: Any, train: Mapping[str, Any]) -> None:
    if not re.fullmatch(r'[A-Za-z]\w*', name) or hasattr(nn.ModuleDict, name) or name == 'training':
        found.add(f'{path}: {shown(name)} cannot be the name of a loss; take another before _opt')
        return
    if isinstance(block, dict) and block.get('schedule') is not None:
        check_block(found, f'{path}.schedule', block['schedule'], ScheduleOptions)
        if found.are_sound(f'{path}.schedule', 'train.total_iter') and 'total_iter' in train:
            with found.catching():
                WeightSchedule.of(block['schedule'], f'{path}.schedule', train['total_iter'])
    found.errors += find_in_call(path, without_schedule(block) if isinstance(block, dict) else block, LOSS_REGISTRY)
    if found.are_sound(path):
        found.notes += [f'{path}.{old}: is called {new} now; write {new}: {value}'
                        for old, new, value in renamed(block['type'], block) if old != new]
    weight = block.get('loss_weight') if isinstance(block, dict) else None
    if isinstance(weight, (int, float)) and not 0 <= weight <= 10**6 and found.are_sound(path):
        found.add(f'{path}.loss_weight: {weight} is not a number from 0 to 1000000')


def check_optimizer(found: Findings, block: dict[str, Any]) -> None:
    """Check ``train.optim_g``, at last by a step of the optimizer."""
    where = 'train.optim_g'
    check_block(found, where, block, OptimizerOptions)
    if not found.are_sound(where):
        return
    if 'betas' in block:
        block['betas'] = [float(beta) for beta in block['betas']]  # PyTorch takes no integers
    found.errors += find_argument_errors(getattr(torch.optim, block['type']), {
        name: value for name, value in block.items() if name != 'type'}, where, ('params', ))
    if not found.are_sound(where):
        return
    try:
        weight = torch.zeros(1, requires_grad=True)
        weight.grad = torch.zeros(1)
        make_optimizer(block, [weight]).step()
    except Exception as error:  # PyTorch's own words on any other argument
        found.add(f'{where}: {block["type"]} refuses these options ({reason_of(error)})')


def check_scheduler(found: Findings, block: dict[str, Any]) -> None:
    """Check ``train.scheduler``."""
    kind = block.get('type')
    if not isinstance(kind, str) or kind not in SCHEDULERS:
        found.add(f'train.scheduler.type: {shown(kind)} is not known{near_miss(kind, SCHEDULERS)}; allowed are '
                  f'{", ".join(SCHEDULERS)}')
        return
    check_block(found, 'train.scheduler', block, SCHEDULERS[kind])


def check_metrics(found: Findings, metrics: Any) -> None:
    """Check ``val.metrics``."""
    if not isinstance(metrics, dict) or not all(isinstance(name, str) for name in metrics):
        found.add(f'val.metrics: {shown(metrics)} is not a mapping of metrics by their names')
        return
    for name, block in metrics.items():
        path = f'val.metrics.{name}'
        if not isinstance(block, dict) or 'type' not in block:
            found.add(f'{path}: needs a block with a type')
            continue
        kind = block['type']
        if isinstance(kind, str) and kind.endswith('_pt'):
            found.add(f'{path}.type: {kind} takes tensors; take {kind.removesuffix("_pt")}')
            continue
        check_block(found, path, block, MetricOptions)
        if found.are_sound(path):
            found.errors += find_in_call(path, {key: value for key, value in block.items() if key != 'better'},
                                         METRIC_REGISTRY, METRIC_IMAGES)


# ---------------------------------------------------------------- datasets

def check_datasets(found: Findings, opt: Mapping[str, Any], is_train: bool) -> None:
    """Check ``datasets``: phases, types, and the options of each."""
    datasets = opt['datasets']
    if is_train and 'train' not in datasets:
        found.add('datasets.train: missing, there is nothing to train on')
    if not is_train and not datasets:
        found.add('datasets: is empty, there is nothing to test on')
    for phase, block in datasets.items():
        if not _is_phase(phase, is_train):
            allowed = 'train, val and val_<name>' if is_train else 'test, val, test_<name> and val_<name>'
            found.add(f'datasets.{phase}: is not a phase; allowed are {allowed}')
        elif not isinstance(block, dict) or 'type' not in block:
            found.add(f'datasets.{phase}: needs a block with a type')
        else:
            _check_dataset(found, f'datasets.{phase}', phase, block, opt.get('model_type'))
    _check_names(found, datasets)


def _is_phase(phase: Any, is_train: bool) -> bool:
    name, _, rest = str(phase).partition('_')
    return phase == 'train' if is_train and name == 'train' else name in (('val', ) if is_train else ('test', 'val'))


def _check_dataset(found: Findings, where: str, phase: str, block: dict[str, Any], model_type: Any) -> None:
    is_mipkd = model_type == 'MiPKDModel'
    with found.catching():
        kind = class_of(f'{where}.type', block['type'], DATASET_REGISTRY)
        if block['type'] == 'PairedSRDataset' and not is_mipkd:
            raise UserError(f'{where}.type: PairedSRDataset gives uint8 images, which {model_type} does not take; use '
                            'PairedImageDataset, or model_type: MiPKDModel')
        if is_mipkd and kind.__module__.startswith('basicsr.'):
            unfit = [name for name in UNFIT_DATA if block.get(name) is not None]
            for name in unfit:
                found.add(f'{where}.{name}: {shown(block[name])}: {UNFIT_DATA[name]}')
            if not UNFIT_DATA.keys().isdisjoint(block):
                block = {name: value for name, value in block.items() if name not in UNFIT_DATA}
        check_block(found, where, block, dataset_options(block['type'], phase == 'train', is_mipkd))


def _check_names(found: Findings, datasets: Mapping[str, Any]) -> None:
    """Each dataset that is measured needs a name of its own, for its records."""
    names: dict[str, str] = {}
    for phase, block in datasets.items():
        name = block.get('name') if isinstance(block, dict) else None
        if phase == 'train' or not isinstance(name, str):
            continue
        if name in names:
            found.add(f'datasets.{phase}.name: {name} is the name of {names[name]} too; each dataset needs its own, '
                      'for its records')
        names.setdefault(name, f'datasets.{phase}')


def find_all(opt: dict[str, Any], is_train: bool, found: Findings) -> None:
    """Check all blocks, each in itself."""
    is_mipkd, train, val = opt.get('model_type') == 'MiPKDModel', opt.get('train'), opt.get('val')
    if isinstance(train, dict) and train.get('cuda_graphs') is False:  # in all option files of version 0.1
        del train['cuda_graphs']
        found.notes.append(f'train.cuda_graphs: {UNREAD}, for {why_removed("train.cuda_graphs")}; '
                           'remove it')
    check_file(found, opt, is_train, is_mipkd)
    if isinstance(opt.get('datasets'), dict):
        check_datasets(found, opt, is_train)
    check_networks(found, opt, of_rgb=is_mipkd)
    if isinstance(train, dict):
        check_losses(found, train)
        for name, check in (('optim_g', check_optimizer), ('scheduler', check_scheduler)):
            if is_train and is_mipkd and isinstance(train.get(name), dict):
                check(found, train[name])
    if isinstance(val, dict) and val.get('metrics') is not None:
        check_metrics(found, val['metrics'])
    found.keep_first()
