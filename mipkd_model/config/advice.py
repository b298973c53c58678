"""What is allowed in the options of a training, and is hardly meant: a schedule that does not fit the length."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..schema.training import active_losses
from ..training.build import make_schedules

LONG_WARM_UP = 1 / 4  # of a training, from which on most of it is not what it was planned to be
CUT_OFF = 0.1  # of a period: what may be missing of the last one


def advice(opt: Mapping[str, Any]) -> list[str]:
    """What to look at before a training with these options starts: lines that begin with an option's path."""
    train = opt.get('train') or {}
    if opt.get('model_type') != 'MiPKDModel' or not train.get('scheduler'):
        return []
    end = f'but train.total_iter is {train["total_iter"]:,}'
    return [f'{path}: {value}, {end}: {what}' for path, value, what in _unfit(opt, train, train['total_iter'])]


def _unfit(opt: Mapping[str, Any], train: Mapping[str, Any], total: int) -> Iterator[tuple[str, Any, str]]:
    """Path, value and consequence of each option that does not fit the length of the training."""
    for name in ('milestones', 'restarts'):
        steps = train['scheduler'].get(name) or []
        if late := [step for step in steps if step >= total]:
            yield f'train.scheduler.{name}', steps, f'never reached are {late}'
    periods = train['scheduler'].get('periods')
    if periods and sum(periods) - total > CUT_OFF * periods[-1]:
        yield 'train.scheduler.periods', periods, 'the learning rate does not come to the end of the last one'
    for name, schedule in make_schedules(train, [key.removesuffix('_opt') for key in active_losses(train)]).items():
        if schedule.end > total:
            yield f'train.{name}_opt.schedule.end', f'{schedule.end:,g}', 'the weight does not come to its end_factor'
    for key, loss in active_losses(train).items():
        if loss.get('every', 1) > total:
            yield f'train.{key}.every', f'{loss["every"]:,}', 'its networks stay as they were drawn'
    warm_up, decay = train.get('warmup_iter', -1), train.get('ema_decay', 0)
    if warm_up > LONG_WARM_UP * total:
        yield 'train.warmup_iter', warm_up, 'in most of it the learning rate only rises; shorten it, or set -1 for none'
    if 1 / (1 - decay) > total:
        yield 'train.ema_decay', decay, f'it is an average over {round(1 / (1 - decay)):,} steps'
    for block, name, what in (('val', 'val_freq', 'the network is measured at the end alone'),
                              ('logger', 'save_checkpoint_freq', 'nothing is saved before the end'),
                              ('logger', 'print_freq', 'no losses are logged')):
        freq = (opt.get(block) or {}).get(name)
        if freq is not None and freq > total:
            yield f'{block}.{name}', f'{freq:,}', what
