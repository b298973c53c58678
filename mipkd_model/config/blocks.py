"""Blocks of an option file against the schema, and against the classes that they name by ``type``."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel

from mipkd_arch.base.arguments import find_argument_errors, renamed
from mipkd_arch.base.errors import UserError, near_miss, one_of, reason_of, shown
from mipkd_arch.base.network_record import brings_weights
from mipkd_arch.base.option_types import find_errors
from mipkd_arch.base.registry_names import registered_name
from mipkd_arch.prior_mixer import GIVEN, FeaturePriorMixer

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, Registry

from ..losses.schedule import WeightSchedule, without_schedule
from ..networks.catalog import teachers_of
from ..schema import options as schema
from ..schema.data import dataset_options
from ..schema.training import SCHEDULERS, LoopOptions, OptimizerOptions, TrainOptions, is_loss
from ..training.optimizer import make_optimizer
from .findings import Findings

METRIC_IMAGES = ('img', 'img2', 'input_order')


def find_all(found: Findings, opt: dict[str, Any], is_train: bool) -> None:
    """Check all blocks, each in itself."""
    is_mipkd, train, val = opt.get('model_type') == 'MiPKDModel', opt.get('train'), opt.get('val')
    if isinstance(train, dict) and train.get('cuda_graphs') is False:  # in all option files of version 0.1
        del train['cuda_graphs']
        found.notes.append('train.cuda_graphs: nothing reads this option any more; remove it')
    _check_file(found, opt, is_train, is_mipkd)
    if isinstance(opt.get('datasets'), dict):
        _check_datasets(found, opt['datasets'], is_train, opt.get('model_type'))
    _check_networks(found, opt)
    if isinstance(train, dict):
        _check_losses(found, train)
        if is_train and is_mipkd and isinstance(train.get('optim_g'), dict):
            _check_optimizer(found, train['optim_g'])
        if is_train and is_mipkd and isinstance(train.get('scheduler'), dict):
            with found.catching():
                kind = one_of('train.scheduler.type', train['scheduler'].get('type'), tuple(SCHEDULERS))
                found.add(*find_errors(SCHEDULERS[kind], train['scheduler'], 'train.scheduler'))
    if isinstance(val, dict) and val.get('metrics') is not None:
        _check_metrics(found, val['metrics'])


def _check_file(found: Findings, opt: dict[str, Any], is_train: bool, is_mipkd: bool) -> None:
    """Check the file itself and its blocks that are no datasets, networks, losses or metrics."""
    others = () if is_mipkd else ('extra_forbidden', )  # BasicSR's other models read more
    found.add(*find_errors(schema.TrainingFile if is_train else schema.TestFile, opt, ignored=others))
    # A test leaves the options of trainings alone; those that are there must be right all the same.
    missing = others if is_train else (*others, 'missing')
    logger = opt.get('logger')
    blocks: list[tuple[str, Any, type[BaseModel]]] = [
        ('table', opt.get('table'), schema.TableOptions), ('path', opt.get('path'), schema.PathOptions),
        ('train', opt.get('train'), TrainOptions if is_mipkd else LoopOptions),
        ('val', opt.get('val'), schema.ValidationOptions if is_train else schema.ValOptions),
        ('logger', logger, schema.LoggerOptions), ('dist_params', opt.get('dist_params'), schema.DistOptions),
        ('logger.wandb', logger.get('wandb') if isinstance(logger, dict) else None, schema.WandbOptions)]
    for path, block, model in blocks:
        if isinstance(block, dict):
            found.add(*find_errors(model, block, path, ignored=missing if path in ('train', 'logger') else others))


# ---------------------------------------------------------------- blocks of a class

def class_of(where: str, value: Any, registry: Registry) -> Any:
    """Return what is registered under the name, which BasicSR also looks up with its own suffix behind."""
    if isinstance(value, str) and (name := registered_name(registry, value)) in registry:
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
    return find_argument_errors(target, _without_type(block), where, given, sizes=registry is ARCH_REGISTRY)


def check_call(where: str, block: Any, registry: Registry) -> None:
    """As ``find_in_call``; raises the first mistake."""
    for error in find_in_call(where, block, registry):
        raise error


def _without_type(block: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name != 'type'}


def _check_networks(found: Findings, opt: Mapping[str, Any]) -> None:
    """Check ``network_g`` and the other networks, and the teachers that one of them consists of."""
    for key, network in opt.items():
        if not key.startswith('network_') or network is None:
            continue
        found.add(*find_in_call(key, network, ARCH_REGISTRY))
        files: dict[Any, str] = {}
        for name, block in teachers_of(network).items():
            where = f'{key}.teachers.{name}'
            mistakes = _find_in_teacher(where, block)
            found.add(*mistakes)
            if not mistakes and files.setdefault(block['file'], name) != name:
                found.notes.append(f'{where}: has the weights of {files[block["file"]]}; the same image is taken twice')


def _find_in_teacher(where: str, block: Any) -> list[UserError]:
    """All that is wrong with the block of one of several teachers, which has the file of its weights in any case."""
    if isinstance(block, dict) and not isinstance(block.get('file'), str):
        return [UserError(f'{where}.file: missing; name the file of its weights, a string')]
    if isinstance(block, dict) and isinstance(block.get('type'), str) and (
            registered_name(ARCH_REGISTRY, block['type']) in ARCH_REGISTRY) and not brings_weights(block):
        block = {name: value for name, value in block.items() if name != 'file'}
    return find_in_call(where, block, ARCH_REGISTRY)


def _check_losses(found: Findings, train: Mapping[str, Any]) -> None:
    """Check the blocks of losses, and that of their mixers."""
    mixer_opt = train.get('mixer_opt')
    if isinstance(mixer_opt, dict):
        found.add(*find_argument_errors(FeaturePriorMixer, mixer_opt, 'train.mixer_opt', GIVEN, sizes=True))
    for key, block in train.items():
        if is_loss(key) and block is not None:
            _check_loss(found, f'train.{key}', block, train.get('total_iter'))


def _check_loss(found: Findings, path: str, block: Any, total_iter: Any) -> None:
    if isinstance(block, dict) and block.get('schedule') is not None:
        if isinstance(total_iter, int):
            with found.catching():
                WeightSchedule.of(block['schedule'], f'{path}.schedule', total_iter)
        block = without_schedule(block)
    errors = find_in_call(path, block, LOSS_REGISTRY)
    found.add(*errors)
    if errors:
        return
    found.notes += [f'{path}.{old}: is called {new} now; write {new}: {value}'
                    for old, new, value in renamed(block['type'], block) if old != new]
    weight = block.get('loss_weight')
    if isinstance(weight, (int, float)) and not 0 <= weight <= 10**6:
        found.add(f'{path}.loss_weight: {weight} is not a number from 0 to 1000000')


def _check_optimizer(found: Findings, block: dict[str, Any]) -> None:
    """Check ``train.optim_g``, at last by a step of the optimizer."""
    where = 'train.optim_g'
    errors = find_errors(OptimizerOptions, block, where)
    if not errors:
        if 'betas' in block:
            block['betas'] = [float(beta) for beta in block['betas']]  # PyTorch takes no integers
        errors = find_argument_errors(getattr(torch.optim, block['type']), _without_type(block), where, ('params', ))
    found.add(*errors)
    if errors:
        return
    try:
        weight = torch.zeros(1, requires_grad=True)
        weight.grad = torch.zeros(1)
        make_optimizer(block, [weight]).step()
    except Exception as error:  # PyTorch's own words on any other argument
        found.add(f'{where}: {block["type"]} refuses these options ({reason_of(error)})')


def _check_metrics(found: Findings, metrics: Any) -> None:
    """Check ``val.metrics``."""
    if not isinstance(metrics, dict) or not all(isinstance(name, str) for name in metrics):
        found.add(f'val.metrics: {shown(metrics)} is not a mapping of metrics by their names')
        return
    for name, block in metrics.items():
        path = f'val.metrics.{name}'
        errors = find_errors(schema.MetricOptions, block, path)
        found.add(*errors or find_in_call(path, {key: value for key, value in block.items() if key != 'better'},
                                          METRIC_REGISTRY, METRIC_IMAGES))


# ---------------------------------------------------------------- datasets

def _check_datasets(found: Findings, datasets: Mapping[str, Any], is_train: bool, model_type: Any) -> None:
    """Check ``datasets``: phases, types, and the options of each."""
    if is_train and 'train' not in datasets:
        found.add('datasets.train: missing, there is nothing to train on')
    if not is_train and not datasets:
        found.add('datasets: is empty, there is nothing to test on')
    names: dict[str, str] = {}
    for phase, block in datasets.items():
        where = f'datasets.{phase}'
        if not _is_phase(phase, is_train):
            allowed = 'train, val and val_<name>' if is_train else 'test, val, test_<name> and val_<name>'
            found.add(f'{where}: is not a phase; allowed are {allowed}')
        elif not isinstance(block, dict) or 'type' not in block:
            found.add(f'{where}: needs a block with a type')
        else:
            with found.catching():
                _check_dataset(found, where, phase, block, model_type)
            name = block.get('name')
            if phase != 'train' and isinstance(name, str) and names.setdefault(name, where) != where:
                found.add(f'{where}.name: {name} is the name of {names[name]} too; each dataset needs its own, for its '
                          'records')


def _is_phase(phase: Any, is_train: bool) -> bool:
    name, _, rest = str(phase).partition('_')
    return phase == 'train' if is_train and name == 'train' else name in (('val', ) if is_train else ('test', 'val'))


def _check_dataset(found: Findings, where: str, phase: str, block: dict[str, Any], model_type: Any) -> None:
    kind, is_mipkd = block['type'], model_type == 'MiPKDModel'
    class_of(f'{where}.type', kind, DATASET_REGISTRY)
    if kind == 'PairedSRDataset' and not is_mipkd:
        raise UserError(f'{where}.type: PairedSRDataset gives uint8 images, which {model_type} does not take; use '
                        'PairedImageDataset, or model_type: MiPKDModel')
    found.add(*find_errors(dataset_options(kind, phase == 'train', is_mipkd), block, where))
