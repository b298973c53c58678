"""Rules between options of a training: combinations that cannot be."""
from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import Any

from ..schema.training import IMAGE_LOSSES, active_losses

Options = Mapping[str, Any]


def broken_rules(opt: Options) -> Iterator[str]:
    """A line for each rule that options of a training break; each block must be right in itself."""
    yield from _of_data(opt)
    yield from _of_weight_selection(opt)
    yield from _of_wandb(opt['logger'])
    yield from _of_scheduler(opt['train']['scheduler'], opt['train']['total_iter'])


def _of_data(opt: Options) -> Iterator[str]:
    block, train = opt['datasets']['train'], opt['train']
    size, batch, parts = block.get('gt_size'), block['batch_size_per_gpu'], train.get('accumulate', 1)
    if isinstance(size, int) and size % opt['scale']:  # a dataset of BasicSR may mean something else
        yield f'datasets.train.gt_size: {size} is not a multiple of scale {opt["scale"]}'
    if batch % parts:
        yield (f'train.accumulate: {parts} equal parts cannot be made of datasets.train.batch_size_per_gpu: {batch}; '
               'take a divisor')
    for key, loss in active_losses(train).items():
        if parts > 1 and key in IMAGE_LOSSES and loss.get('reduction') == 'sum':
            yield (f'train.{key}.reduction: sum does not go with train.accumulate: {parts}, which takes means over '
                   'parts; take mean')
    if block.get('persistent_workers') and not block['num_worker_per_gpu']:
        yield 'datasets.train.persistent_workers: true needs num_worker_per_gpu above 0'
    phases = [phase for phase in opt['datasets'] if phase.split('_')[0] == 'val']
    if opt.get('val') is not None and not phases:
        yield 'val: there is no dataset to validate on; add datasets.val, or remove val'
    if phases and opt.get('val') is None:
        yield f'datasets.{phases[0]}: nothing measures it, for there is no val; add val, or remove it'


def _of_weight_selection(opt: Options) -> Iterator[str]:
    blocks, start = opt['train'].get('weight_selection'), opt['path'].get('pretrain_network_g')
    if blocks is None:
        return
    if start is not None:
        yield (f'train.weight_selection: {blocks} and path.pretrain_network_g: {start} both give initial weights of '
               'the student; set one of them to null')
    if opt.get('network_t') is None:
        yield f'network_t: missing; train.weight_selection: {blocks} takes weights of it'


def _of_wandb(logger: Options) -> Iterator[str]:
    if (logger.get('wandb') or {}).get('project') is None:
        return
    if logger.get('use_tb_logger') is not True:
        yield ('logger.wandb.project: sends the log of TensorBoard, and use_tb_logger is not true; set it to true, or '
               'the project to null')
    elif importlib.util.find_spec('wandb') is None:
        yield 'logger.wandb.project: needs the package wandb, which is not installed; pip install wandb'


def _of_scheduler(block: Options, total: int) -> Iterator[str]:
    name = 'periods' if block['type'] == 'CosineAnnealingRestartLR' else 'restarts'
    parts, weights = block.get(name, [0]), block.get('restart_weights', [1])
    if name == 'periods' and sum(parts) < total:
        yield (f'train.scheduler.periods: come to {sum(parts)} steps, fewer than total_iter: {total}; add a period, as '
               f'in {[*parts, total - sum(parts)]}, and a restart weight (a run that is resumed takes a further one, '
               'not a longer one)')
    elif len(weights) != len(parts):
        yield f'train.scheduler.restart_weights: are {len(weights)}, and {name} are {len(parts)}; give as many'
