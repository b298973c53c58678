"""Rules between options of a training: combinations that cannot be, each found by a function of all options."""
from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

from mipkd_arch.base.errors import UserError

from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY, Registry

from ..losses import DistillLoss
from ..schema.training import IMAGE_LOSSES, active_losses

Options = Mapping[str, Any]


def _class_of(registry: Registry, block: Options) -> Any:
    return registry.get(block['type']) if block.get('type') in registry else None


def _is_distilling(block: Options) -> bool:
    kind = _class_of(LOSS_REGISTRY, block)
    return isinstance(kind, type) and issubclass(kind, DistillLoss)


def some_loss(opt: Options) -> None:
    if not active_losses(opt['train']):
        raise UserError('train: has no loss of a weight above 0; give at least one of pixel_opt, kd_opt, '
                        'feature_prior_opt, block_prior_opt')


def teacher_is_there(opt: Options) -> None:
    if opt.get('network_t') is not None:
        return
    for key, block in active_losses(opt['train']).items():
        if key == 'kd_opt' or _is_distilling(block):
            raise UserError(f'network_t: missing, but train.{key} needs a teacher')
    if (opt.get('val') or {}).get('check_teacher'):
        raise UserError('val.check_teacher: true, but there is no network_t; set false, or remove it')


def teacher_is_trained(opt: Options) -> None:
    block = opt.get('network_t')
    if block is None or not any(key == 'kd_opt' or _is_distilling(loss)
                                for key, loss in active_losses(opt['train']).items()):
        return
    path = opt['path'].get('pretrain_network_t')
    brings_weights = getattr(_class_of(ARCH_REGISTRY, block), 'brings_weights', False)
    if brings_weights and path is not None:
        raise UserError(f'path.pretrain_network_t: {path}: {block["type"]} brings its weights by network_t.file; set '
                        'this to null')
    if not brings_weights and path is None:
        raise UserError('path.pretrain_network_t: missing; a teacher without trained weights teaches noise')


def crops_fit(opt: Options) -> None:
    block = opt['datasets']['train']
    size = block.get('gt_size')
    if isinstance(size, int) and size % opt['scale']:  # a data set of BasicSR may mean something else
        raise UserError(f'datasets.train.gt_size: {size} is not a multiple of scale {opt["scale"]}')


def batch_has_parts(opt: Options) -> None:
    parts, batch = opt['train'].get('accumulate', 1), opt['datasets']['train']['batch_size_per_gpu']
    if batch % parts:
        raise UserError(f'train.accumulate: {parts} equal parts cannot be made of datasets.train.batch_size_per_gpu: '
                        f'{batch}; take a divisor')
    for key, block in active_losses(opt['train']).items():
        if parts > 1 and key in IMAGE_LOSSES and block.get('reduction') == 'sum':
            raise UserError(f'train.{key}.reduction: sum does not go with train.accumulate: {parts}, which takes means '
                            'over parts; take mean')
        needed = getattr(_class_of(LOSS_REGISTRY, block), 'min_batch', 1)
        if batch // parts < needed:
            raise UserError(f'datasets.train.batch_size_per_gpu: {batch}{f" in {parts} parts" if parts > 1 else ""}, '
                            f'but train.{key} compares the samples of a batch with each other and needs at least '
                            f'{needed}')


def wandb_has_a_log(opt: Options) -> None:
    logger = opt['logger']
    if (logger.get('wandb') or {}).get('project') is None:
        return
    if logger.get('use_tb_logger') is not True:
        raise UserError('logger.wandb.project: sends the log of TensorBoard, and use_tb_logger is not true; set it to '
                        'true, or the project to null')
    if importlib.util.find_spec('wandb') is None:
        raise UserError('logger.wandb.project: needs the package wandb, which is not installed; pip install wandb, or '
                        'set the project to null')


def workers_can_persist(opt: Options) -> None:
    block = opt['datasets']['train']
    if block.get('persistent_workers') and not block['num_worker_per_gpu']:
        raise UserError('datasets.train.persistent_workers: true needs num_worker_per_gpu above 0')


def validation_has_data(opt: Options) -> None:
    phases = [phase for phase in opt['datasets'] if phase.split('_')[0] == 'val']
    if opt.get('val') is not None and not phases:
        raise UserError('val: there is no dataset to validate on; add datasets.val, or remove val')
    if phases and opt.get('val') is None:
        raise UserError(f'datasets.{phases[0]}: nothing measures it, for there is no val; add val, or remove it')


def periods_cover_the_training(opt: Options) -> None:
    block, total = opt['train']['scheduler'], opt['train']['total_iter']
    weights = block.get('restart_weights', [1])
    if block['type'] == 'CosineAnnealingRestartLR':
        parts, name = block['periods'], 'periods'
        if sum(parts) < total:
            raise UserError(f'train.scheduler.periods: come to {sum(parts)} steps, fewer than total_iter: {total}; add '
                            f'a period, as in {[*parts, total - sum(parts)]}, and a restart weight (a run that goes on '
                            'takes a further one, not a longer one)')
    else:
        parts, name = block.get('restarts', [0]), 'restarts'
    if len(weights) != len(parts):
        raise UserError(f'train.scheduler.restart_weights: are {len(weights)}, and {name} are {len(parts)}; give as '
                        'many')


DATA = 'datasets.train'
RULES: tuple[tuple[Callable[[Options], None], tuple[str, ...]], ...] = (
    (some_loss, ('train', )),
    (teacher_is_there, ('train', 'network_t', 'val')),
    (teacher_is_trained, ('train', 'network_t', 'path')),
    (crops_fit, (f'{DATA}.gt_size', 'scale')),
    (batch_has_parts, ('train', f'{DATA}.batch_size_per_gpu')),
    (wandb_has_a_log, ('logger.wandb', 'logger.use_tb_logger')),
    (workers_can_persist, (f'{DATA}.persistent_workers', f'{DATA}.num_worker_per_gpu')),
    (validation_has_data, ('datasets', 'val')),
    (periods_cover_the_training, ('train.scheduler', 'train.total_iter')),
)
"""Functions of all options of a training, and the paths that must be sound for each."""
