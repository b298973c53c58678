"""Blocks of an option file against the tables of ``schema``; what is found goes to ``Findings``."""
import re

import torch
from torch import nn

from mipkd_arch.base.errors import UserError, is_finite, near_miss, reason_of, shown
from mipkd_arch.prior_mixer import FeaturePriorMixer

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY

from ..data.paired_dataset import PairedSRDataset
from ..losses.schedule import WeightSchedule, without_schedule
from ..networks.argument_rules import check_rules
from ..training.optimizer import check_optimizer, make_optimizer
from . import schema
from .arguments import check_arguments, check_values
from .kinds import MAX_TEXT, Choice, Maybe, Number, Text, Whole
from .schema import BLOCK, NEEDED, TYPED

BASICSRS_DATA = {name for name, kind in DATASET_REGISTRY if kind.__module__.startswith('basicsr.')}
WEIGHT = Number(0, 10**6)
LATENT = Maybe(Whole(1))
MAX_DEPTH = 20
CHANNELS = ('num_in_ch', 'num_out_ch', 'in_chans')  # of images, as BasicSR's networks call them


def check_plain(found, value, where='', depth=0):
    """Check that all values are such as an option file can have: finite numbers, printable texts, no odd objects."""
    with found.catching():
        if depth > MAX_DEPTH:
            raise UserError(f'{where}: blocks and lists are nested more than {MAX_DEPTH} deep')
        if isinstance(value, dict):
            for name, item in value.items():
                check_plain(found, item, f'{where}.{name}'.lstrip('.'), depth + 1)
        elif isinstance(value, (list, tuple)):
            for place, item in enumerate(value):
                check_plain(found, item, f'{where}[{place}]', depth + 1)
        elif isinstance(value, (int, float)) and not is_finite(value):
            raise UserError(f'{where}: {shown(value)} is not a finite number, and no option takes such a one')
        elif isinstance(value, str) and not (value.isprintable() and len(value) <= MAX_TEXT):
            Text()(where, value)


def check_table(found, where, block, table, is_train, rest=()):
    """Check a block of options by its table; numbers that may be written ``5e3`` become whole in the block.

    Args:
        found (Findings): gets what is wrong.
        where (str): path of the block, '' for the whole file.
        block (dict): the options.
        table (dict[str, Option]): by name.
        is_train (bool): for ``basicsr/train.py``, else for ``basicsr/test.py``.
        rest (iterable[str]): names that are known besides, and checked elsewhere.
    """
    for name in block:
        if name not in table and name not in rest:
            path = f'{where}.{name}'.lstrip('.')
            gone = schema.why_gone(path)
            found.add(f'{path}: nothing reads this option, for {gone}; take it out' if gone else
                      f'{path}: nothing reads this option{near_miss(name, table)}; known are {", ".join(table)}')
    for name, option in table.items():
        path, default = f'{where}.{name}'.lstrip('.'), option.default_of(is_train)
        if block.get(name) is None and (option.kind in (BLOCK, TYPED) or option.hint or name not in block):
            if default is NEEDED:
                near = near_miss(name, set(block) - set(table))
                found.add(f'{path}: missing in the option file{near}' if not where else
                          f'{path}: missing{near}; it needs {option.kind}{option.hint}')
            continue
        if option.kind is BLOCK and not isinstance(block[name], dict):
            found.add(f'{path}: {shown(block[name])} is not a block of options')
            continue
        if option.kind is TYPED and not (isinstance(block[name], dict) and 'type' in block[name]):
            found.add(f'{path}: needs a block with a type')
            continue
        with found.catching():
            block[name] = option.kind(path, block[name])


def class_of(where, value, registry):
    """Return what is registered under the name, which BasicSR also looks up with its own suffix behind."""
    for name in (value, f'{value}_basicsr'):
        if isinstance(value, str) and name in registry:
            return registry.get(name)
    raise UserError(f'{where}: no {shown(value)} is registered{near_miss(value, registry.keys())}; known are '
                    f'{", ".join(sorted(registry.keys()))}, and what the folders of the option plugins have')


def check_call(where, block, registry, given=()):
    """Check that a block ``{type: ..., argument: ...}`` fits what it names.

    A misspelt argument is an error even where the class has ``**kwargs`` to swallow it, as BasicSR's own SwinIR does.
    """
    if not isinstance(block, dict) or 'type' not in block:
        raise UserError(f'{where}: needs a block with a type')
    target, arguments = class_of(f'{where}.type', block['type'], registry), _arguments(block)
    check_arguments(where, arguments, target, given)
    check_values(where, arguments, target, sizes=registry is ARCH_REGISTRY)


def _arguments(block):
    return {name: value for name, value in block.items() if name != 'type'}


def check_networks_blocks(found, opt, of_rgb):
    """Check ``network_g`` and the other networks; ``of_rgb`` wants them to take and give RGB images."""
    for key in opt:
        if key.startswith('network_') and opt[key] is not None:
            with found.catching():
                check_call(key, opt[key], ARCH_REGISTRY)
                check_rules(key, opt[key], ARCH_REGISTRY.get(opt[key]['type']))
                for name in CHANNELS:
                    if of_rgb and opt[key].get(name, 3) != 3:
                        raise UserError(f'{key}.{name}: {shown(opt[key][name])}, but images are RGB; set 3')


def check_losses(found, train):
    """Check the blocks of losses, and that of their mixers."""
    for key, block in train.items():
        path = f'train.{key}'
        if not key.endswith('_opt') or block is None:
            continue
        with found.catching():
            if key == 'mixer_opt':
                if not isinstance(block, dict):
                    raise UserError(f'{path}: {shown(block)} is not a block of options')
                check_arguments(path, block, FeaturePriorMixer, ('num_feat_s', 'num_feat_t'))
                check_values(path, block, FeaturePriorMixer, sizes=True)
                if 'latent' in block:
                    LATENT(f'{path}.latent', block['latent'])
                continue
            name = key.removesuffix('_opt')
            if not re.fullmatch(r'[A-Za-z]\w*', name) or hasattr(nn.ModuleDict, name) or name == 'training':
                raise UserError(f'{path}: {shown(name)} cannot be the name of a loss; take another before _opt')
            if isinstance(block, dict) and 'schedule' in block:
                _check_schedule(found, f'{path}.schedule', block['schedule'], train)
                block = without_schedule(block)
            check_call(path, block, LOSS_REGISTRY)
            if 'loss_weight' in block:
                WEIGHT(f'{path}.loss_weight', block['loss_weight'])


def _check_schedule(found, path, block, train):
    """Check ``train.<name>_opt.schedule``."""
    if block is None:
        return
    if not isinstance(block, dict):
        raise UserError(f'{path}: {shown(block)} is not a block of options')
    check_table(found, path, block, schema.SCHEDULE, True)
    if found.spare(path, 'train.total_iter') and 'total_iter' in train:
        WeightSchedule.of(block, path, train['total_iter'])


def check_optimizer_block(found, block):
    """Check ``train.optim_g``, by a step of the optimizer on one number."""
    where = 'train.optim_g'
    with found.catching():
        for name, option in schema.OPTIMIZER.items():
            if isinstance(block, dict) and name in block:
                block[name] = option.kind(f'{where}.{name}', block[name])
        if isinstance(block, dict) and 'betas' in block:
            block['betas'] = [float(beta) for beta in block['betas']]  # PyTorch takes no whole ones
        check_optimizer(block, where)
        try:
            weight = torch.zeros(1, requires_grad=True)
            weight.grad = torch.zeros(1)
            make_optimizer(block, [weight]).step()
        except Exception as error:  # PyTorch's own words on any other argument
            raise UserError(f'{where}: {block["type"]} refuses these options ({reason_of(error)})') from None


def check_scheduler(found, block):
    """Check ``train.scheduler``."""
    where = 'train.scheduler'
    with found.catching():
        Choice(tuple(schema.SCHEDULERS))(f'{where}.type', block['type'])
        check_table(found, where, block, schema.SCHEDULERS[block['type']], True, rest=('type', ))


def check_metrics(found, metrics):
    """Check ``val.metrics``."""
    if not isinstance(metrics, dict) or not all(isinstance(name, str) for name in metrics):
        found.add(f'val.metrics: {shown(metrics)} is not a block of metrics by their names')
        return
    for name, block in metrics.items():
        path = f'val.metrics.{name}'
        with found.catching():
            Text(64)(path, name)
            options = {key: value for key, value in block.items() if key != 'better'} if isinstance(block, dict) else (
                block)
            check_call(path, options, METRIC_REGISTRY, given=('img', 'img2', 'input_order'))
            if block['type'].endswith('_pt'):
                raise UserError(f'{path}.type: {block["type"]} takes tensors; take {block["type"].removesuffix("_pt")}')
            for key in ('crop_border', 'test_y_channel', 'better'):
                if key in block:
                    schema.METRIC[key].kind(f'{path}.{key}', block[key])


def check_datasets(found, opt, is_train):
    """Check ``datasets``: phases, types, and the options of each."""
    if is_train and 'train' not in opt['datasets']:
        found.add('datasets.train: missing, there is nothing to train on')
    if not is_train and not opt['datasets']:
        found.add('datasets: is empty, there is nothing to test on')
    names, allowed = {}, ('train', 'val') if is_train else ('test', 'val')
    for phase, block in opt['datasets'].items():
        where = f'datasets.{phase}'
        if phase.split('_')[0] not in allowed or (phase.startswith('train') and phase != 'train'):
            found.add(f'{where}: is not a phase; allowed are {", ".join(allowed)} and '
                      f'{" and ".join(f"{name}_<name>" for name in allowed if name != "train")}')
            continue
        if not isinstance(block, dict) or 'type' not in block:
            found.add(f'{where}: needs a block with a type')
            continue
        with found.catching():
            class_of(f'{where}.type', block['type'], DATASET_REGISTRY)
            if block['type'] == PairedSRDataset.__name__ and opt.get('model_type') != 'MiPKDModel':
                raise UserError(f'{where}.type: PairedSRDataset gives uint8 images, which {opt.get("model_type")} does '
                                'not take; use PairedImageDataset, or model_type: MiPKDModel')
        table = schema.TRAIN_DATA if phase == 'train' else schema.MEASURED_DATA
        ours, unfit = opt.get('model_type') == 'MiPKDModel', ()
        if ours and block['type'] in BASICSRS_DATA:
            unfit = [name for name in schema.UNFIT_DATA if name in block]
            for name in unfit:
                if block[name] is not None:
                    found.add(f'{where}.{name}: {shown(block[name])}: {schema.UNFIT_DATA[name]}')
        if ours and block['type'] == 'PairedImageDataset':
            own = schema.PAIRED_IMAGE_TRAIN_DATA if phase == 'train' else schema.PAIRED_IMAGE_DATA
            check_table(found, where, block, {**(schema.TRAIN_DATA if phase == 'train' else schema.DATA), **own},
                        is_train, rest=unfit)
        elif ours and block['type'] == 'SingleImageDataset' and phase != 'train':
            check_table(found, where, block, schema.SINGLE_IMAGE_DATA, is_train, rest=unfit)
        elif block['type'] != PairedSRDataset.__name__:  # has options of its own, and BasicSR's pipeline these
            table = {name: option for name, option in table.items() if name != 'gt_size'
                     and not (name.startswith('dataroot') and block.get(name) is None)}
            check_table(found, where, block, table, is_train, rest=block)
        else:
            check_table(found, where, block, table, is_train)
        name = block.get('name')
        if phase != 'train' and isinstance(name, str):
            if name in names:
                found.add(f'{where}.name: {name} is the name of {names[name]} too; each data set needs its own, for '
                          'its records')
            names.setdefault(name, where)
