"""Checks of an option file, made before a run creates or moves anything.

Each finding is a ``UserError`` of one line: the option's path, what was found, what is allowed, the remedy.
"""
from dataclasses import fields
from pathlib import Path

import torch
import yaml

from mipkd_arch.errors import UserError, near_miss, number_in, one_of, true_or_false
from mipkd_arch.prior_mixer import FeaturePriorMixer

from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
)

from .arguments import check_arguments
from .assemble import IMAGE_LOSSES, check_upscale, make_losses, make_network, make_teacher, make_views, needs_teacher
from .data.paired_dataset import PairedSRDataset
from .data.remedies import how_to_get
from .distiller import Distiller
from .evaluation.origin import read_run
from .step.optimizer import check_optimizer
from .step.options import StepOptions
from .teachers import how_to_get_weights, named_weights

TRAIN_KEYS = ('name', 'model_type', 'scale', 'num_gpu', 'datasets', 'network_g', 'path', 'train', 'logger')
TEST_KEYS = ('name', 'model_type', 'scale', 'num_gpu', 'datasets', 'network_g', 'path', 'val')
# What anything reads in an option file of MiPKDModel: BasicSR's pipeline, its SRModel, or this package. Blocks that
# have a type are checked against its arguments; losses may have any name that ends in _opt.
KNOWN_KEYS = {
    '': ('name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'datasets', 'network_g', 'network_t', 'path', 'train',
         'val', 'logger', 'table', 'dist_params', 'find_unused_parameters'),
    'table': ('pair', 'method'),
    'path': ('pretrain_network_g', 'pretrain_network_t', 'strict_load_g', 'strict_load_t', 'param_key_g',
             'param_key_t', 'ignore_resume_networks', 'resume_state'),
    'train': ('total_iter', 'warmup_iter', 'optim_g', 'scheduler', 'ema_decay', 'cuts_g', 'cuts_t', 'mixer_lr',
              *(field.name for field in fields(StepOptions)), 'mixer_opt', 'pixel_opt', 'kd_opt', 'feature_prior_opt',
              'block_prior_opt'),
    'val': ('val_freq', 'save_img', 'suffix', 'pbar', 'metrics', 'self_ensemble', 'tile', 'tile_pad'),
    'logger': ('print_freq', 'save_checkpoint_freq', 'use_tb_logger', 'wandb'),
}


def read_options(path):
    """Read an option file as plain data; tags that would build Python objects are refused.

    BasicSR's own reader runs such tags, so this one comes first.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f'-opt: {path}: no such option file')
    try:
        opt = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, 'problem_mark', None)
        where = f' line {mark.line + 1}:' if mark else ''
        raise UserError(f'{path}:{where} {getattr(error, "problem", None) or "not a YAML text"}') from None
    if not isinstance(opt, dict):
        raise UserError(f'{path}: is not an option file, which is a mapping of names to values')
    return opt


def check_blocks(opt, is_train):
    """Check that an option file has the blocks that every run needs; BasicSR's parser relies on them.

    Args:
        opt (dict): what ``read_options`` gave.
        is_train (bool): for ``basicsr/train.py``, else for ``basicsr/test.py``.

    Raises:
        UserError: on the first that is missing or no block.
    """
    for key in TRAIN_KEYS if is_train else TEST_KEYS:
        if opt.get(key) is None:
            raise UserError(f'{key}: missing in the option file{near_miss(key, opt)}')
    for key in ('datasets', 'network_g', 'path', 'train', 'logger', 'val', 'table'):
        if opt.get(key) is not None and not isinstance(opt[key], dict):
            raise UserError(f'{key}: {opt[key]!r} is not a block of options')
    for phase, block in opt['datasets'].items():
        if not isinstance(block, dict) or 'type' not in block:
            raise UserError(f'datasets.{phase}: needs a block with a type')


def check_keys(opt):
    """Check that something reads every key of an option file; a misspelt one would leave its default in force.

    Args:
        opt (dict): what ``read_options`` gave, before BasicSR's parser adds its own keys.

    Raises:
        UserError: on the first that is unknown.
    """
    if opt['model_type'] != 'MiPKDModel':
        return  # BasicSR's other models have keys of their own
    for block, known in KNOWN_KEYS.items():
        for key in (opt.get(block) if block else opt) or ():
            if key not in known and not (block == 'train' and str(key).endswith('_opt')):
                raise UserError(f'{block}.{key}: nothing reads this option{near_miss(key, known)}; known are '
                                f'{", ".join(known)}'.lstrip('.'))


def check_options(opt, is_train):
    """Check the structure of an option file and the types it names.

    Args:
        opt (dict): parsed options.
        is_train (bool): as for ``check_blocks``.

    Raises:
        UserError: on the first thing that is wrong.
    """
    check_blocks(opt, is_train)
    _check_name('name', opt['name'])
    _check_type('model_type', opt['model_type'], MODEL_REGISTRY)
    for key in opt:
        if key.startswith('network_') and opt[key] is not None:
            check_call(key, opt[key], ARCH_REGISTRY)
    if is_train and opt['model_type'] == 'MiPKDModel':
        check_optimizer(opt['train'].get('optim_g'))
    for key, value in (opt.get('train') or {}).items():
        if key == 'mixer_opt':
            if not isinstance(value or {}, dict):
                raise UserError(f'train.mixer_opt: {value!r} is not a block of options')
            check_arguments('train.mixer_opt', value or {}, FeaturePriorMixer, ('num_feat_s', 'num_feat_t'))
        elif key.endswith('_opt') and value is not None:
            check_call(f'train.{key}', value, LOSS_REGISTRY)
    _check_validation(opt)
    _check_datasets(opt, is_train)


def check_files(opt):
    """Check that the data and the weights that an option file names are there, and that lq and gt are pairs.

    Args:
        opt (dict): parsed options that ``check_options`` has passed.

    Raises:
        UserError: on the first that is missing; the message has the command that gets it.
    """
    for phase, block in opt['datasets'].items():
        for key in ('dataroot_gt', 'dataroot_lq'):
            path = block.get(key)
            if path is not None and not Path(path).expanduser().exists():
                raise UserError(f'datasets.{phase}.{key}: {path} is not there. {how_to_get(path, opt["scale"])}')
        if block['type'] == PairedSRDataset.__name__:
            PairedSRDataset({**block, 'phase': phase.split('_')[0], 'scale': opt['scale']})
    for where, path in named_weights(opt).items():
        if not Path(path).expanduser().is_file():
            raise UserError(f'{where}: {path} is not there. {how_to_get_weights(path)}')


def check_networks(opt, is_train):
    """Check that networks, weights and losses fit together, by assembling them once on the CPU.

    Args:
        opt (dict): parsed options that ``check_options`` and ``check_files`` have passed.
        is_train (bool): as for ``check_options``.

    Raises:
        UserError: on the first that does not fit.
    """
    if opt['model_type'] != 'MiPKDModel':
        return  # BasicSR's other models have rules of their own
    with torch.random.fork_rng(devices=[]):  # a run draws the same numbers with and without the check
        student, report = make_network(opt, 'g')
        if not is_train:
            check_upscale(opt, 'g', student)
            if report is None:
                raise UserError('path.pretrain_network_g: missing; a network without trained weights is not worth a '
                                'test')
            if opt['path'].get('pretrain_network_g'):
                read_run(opt['path']['pretrain_network_g'])
        else:
            losses = make_losses(opt['train'])
            options = StepOptions.of(opt, torch.device('cuda' if opt['num_gpu'] else 'cpu'))
            _check_batch(opt, losses, options.accumulate)
            teacher = make_teacher(opt)[0] if needs_teacher(opt, losses) else None
            Distiller(*make_views(opt, student, teacher, losses), losses, opt['train'].get('mixer_opt'))


def _check_batch(opt, losses, parts):
    found = opt['datasets']['train']['batch_size_per_gpu']
    for key in IMAGE_LOSSES:
        if parts > 1 and (opt['train'].get(key) or {}).get('reduction') == 'sum':
            raise UserError(f'train.{key}.reduction: sum does not go with train.accumulate: {parts}, which takes means '
                            'over parts; take mean')
    for name, loss in losses.items():
        needed = getattr(loss, 'min_batch', 1)
        if found // parts < needed:
            raise UserError(f'datasets.train.batch_size_per_gpu: {found}{f" in {parts} parts" if parts > 1 else ""}, '
                            f'but train.{name}_opt compares the samples of a batch with each other and needs at least '
                            f'{needed}')


def _check_type(where, value, registry):
    """Return what is registered under the name, which BasicSR also looks up with its own suffix behind."""
    for name in (value, f'{value}_basicsr'):
        if isinstance(value, str) and name in registry:
            return registry.get(name)
    raise UserError(f'{where}: no {value!r} is registered{near_miss(value, registry.keys())}; known are '
                    f'{", ".join(sorted(registry.keys()))}')


def check_call(where, block, registry, given=()):
    """Check that a block ``{type: ..., argument: ...}`` fits what it names.

    A misspelt argument is an error even where the class has ``**kwargs`` to swallow it, as BasicSR's own SwinIR does.
    """
    if not isinstance(block, dict) or 'type' not in block:
        raise UserError(f'{where}: needs a block with a type')
    target = _check_type(f'{where}.type', block['type'], registry)
    check_arguments(where, {name: value for name, value in block.items() if name != 'type'}, target, given)


def _check_validation(opt):
    val = opt.get('val') or {}
    metrics = val.get('metrics') or {}
    if not isinstance(metrics, dict) or not all(isinstance(name, str) for name in metrics):
        raise UserError(f'val.metrics: {metrics!r} is not a block of metrics by their names')
    for name, block in metrics.items():
        _check_metric(f'val.metrics.{name}', block)
    for key, low in (('tile', 1), ('tile_pad', 0)):
        if val.get(key) is not None:
            number_in(f'val.{key}', val[key], low, integer=True)
    for key in ('self_ensemble', 'save_img', 'pbar'):
        true_or_false(f'val.{key}', val.get(key, False))
    for key, value in (opt.get('table') or {}).items():
        if not isinstance(value, str):
            raise UserError(f'table.{key}: {value!r} is not a text')


def _check_metric(where, block):
    options = {key: value for key, value in block.items() if key != 'better'} if isinstance(block, dict) else block
    check_call(where, options, METRIC_REGISTRY, given=('img', 'img2', 'input_order'))
    if block['type'].endswith('_pt'):
        raise UserError(f'{where}.type: {block["type"]} takes tensors; take {block["type"].removesuffix("_pt")}')
    if 'crop_border' in block:
        number_in(f'{where}.crop_border', block['crop_border'], 0, integer=True)
    true_or_false(f'{where}.test_y_channel', block.get('test_y_channel', False))
    one_of(f'{where}.better', block.get('better', 'higher'), ('higher', 'lower'))


def _check_name(where, name):
    """Names become parts of paths."""
    if not isinstance(name, str) or not name.strip() or {'/', '\\'} & set(name) or name in ('.', '..'):
        raise UserError(f'{where}: {name!r} is no name of a file; give a text without / and \\')


def _check_datasets(opt, is_train):
    if is_train and 'train' not in opt['datasets']:
        raise UserError('datasets.train: missing, there is nothing to train on')
    if not is_train and not opt['datasets']:
        raise UserError('datasets: is empty, there is nothing to test on')
    names = {}
    for phase, block in opt['datasets'].items():
        where = f'datasets.{phase}'
        allowed = ('train', 'val') if is_train else ('test', 'val')
        if phase.split('_')[0] not in allowed:
            raise UserError(f'{where}: is not a phase; allowed are {", ".join(allowed)} and {allowed[1]}_<name>')
        _check_type(f'{where}.type', block['type'], DATASET_REGISTRY)
        if phase == 'train':
            number_in(f'{where}.batch_size_per_gpu', block.get('batch_size_per_gpu'), 1, integer=True)
        if phase != 'train':
            _check_name(f'{where}.name', block.get('name'))
            if block['name'] in names:
                raise UserError(f'{where}.name: {block["name"]} is the name of {names[block["name"]]} too; each data '
                                'set needs its own, for its records')
            names[block['name']] = f'datasets.{phase}'
        if block['type'] == PairedSRDataset.__name__ and opt['model_type'] != 'MiPKDModel':
            raise UserError(f'{where}.type: PairedSRDataset gives uint8 images, which {opt["model_type"]} does not '
                            'take; use PairedImageDataset, or model_type: MiPKDModel')
