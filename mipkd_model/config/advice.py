"""What is allowed in the options of a training, and is hardly meant: a schedule that does not fit the length."""
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..schema.training import active_losses
from ..training.build import make_schedules
from ..training.ema import warm_decay

LONG_WARM_UP = 1 / 4  # of a training, from which on most of it is not what it was planned to be
CUT_OFF = 0.1  # of a period: what may be missing of the last one


def advice(opt: Mapping[str, Any]) -> list[str]:
    """What to look at before a training is started, a line each that begins with the option's path.

    Args:
        opt: options of a training that ``check_options`` has passed.
    """
    train = opt.get('train') or {}
    if opt.get('model_type') != 'MiPKDModel' or not train.get('scheduler'):
        return []
    total = int(train['total_iter'])
    return [*_of_schedule(train['scheduler'], total), *_of_weights(train, total),
            *_of_train(train, total), *_of_frequencies(opt, total)]


def _of_schedule(block: Mapping[str, Any], total: int) -> Iterator[str]:
    end = f'train.total_iter is {total:,}'
    for name, falls in (('milestones', 'the learning rate falls at none of them'), ('restarts', 'none is reached')):
        steps = [step for step in block.get(name) or () if step]
        late = [step for step in steps if step >= total]
        if late:
            what = falls if len(late) == len(steps) else f'{", ".join(f"{step:,}" for step in late)} are never reached'
            yield f'train.scheduler.{name}: {steps}, but {end}: {what}'
    if periods := block.get('periods'):
        ends = [sum(periods[:count]) for count in range(1, len(periods) + 1)]
        last = next(number for number, step in enumerate(ends) if step >= total)
        missing = (ends[last] - total) / periods[last]
        if missing > CUT_OFF:
            share = (1 + math.cos(math.pi * (1 - missing))) / 2
            yield (f'train.scheduler.periods: {periods}, but {end}: the last one is cut off where the learning rate '
                   f'is {share:.0%} of its start')
        elif last + 1 < len(periods):
            yield f'train.scheduler.periods: {periods}, but {end}: the last {len(periods) - last - 1} are never reached'


def _of_weights(train: Mapping[str, Any], total: int) -> Iterator[str]:
    losses = [key.removesuffix('_opt') for key in active_losses(train)]
    for name, schedule in make_schedules(train, losses).items():
        where, end = f'train.{name}_opt.schedule', f'train.total_iter is {total:,}'
        if schedule.start >= total:
            yield f'{where}.start: {schedule.start:,g}, but {end}: the weight stays as at the start'
        elif schedule.end > total:
            yield (f'{where}.end: {schedule.end:,g}, but {end}: the factor is {schedule.factor(total):.2f} at the last '
                   f'step, not {schedule.end_factor:g}')


def _of_train(train: Mapping[str, Any], total: int) -> Iterator[str]:
    warm_up = int(train.get('warmup_iter', -1))
    if warm_up > LONG_WARM_UP * total:
        yield (f'train.warmup_iter: {warm_up:,} of {total:,} steps, in which the learning rate only rises; shorten '
               'it, or set -1 for none')
    decay = train.get('ema_decay') or 0
    if decay and 1 / (1 - decay) > total:
        reached = warm_decay(decay, total)
        yield (f'train.ema_decay: {decay} is an average over {round(1 / (1 - decay)):,} steps, and there are '
               f'{total:,}; it begins with few, and ends with {round(1 / (1 - reached)):,}')


def _of_frequencies(opt: Mapping[str, Any], total: int) -> Iterator[str]:
    for block, name, what in (('val', 'val_freq', 'the network is measured at the end alone'),
                              ('logger', 'save_checkpoint_freq', 'nothing is saved before the end'),
                              ('logger', 'print_freq', 'no losses are logged')):
        freq = (opt.get(block) or {}).get(name)
        if freq is not None and int(freq) > total:
            yield f'{block}.{name}: {int(freq):,}, but train.total_iter is {total:,}: {what}'
