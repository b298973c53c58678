"""Whether another schedule of the learning rate, or of a loss's weight, would have been the same until now.

Then a run may resume with it: with one more period, or milestones that are still to come.
"""
import re
from collections.abc import Mapping
from typing import Any

import torch

from basicsr.models import lr_scheduler

from ..losses.schedule import WeightSchedule

SCHEDULERS = {'MultiStepLR': lr_scheduler.MultiStepRestartLR, 'MultiStepRestartLR': lr_scheduler.MultiStepRestartLR,
              'CosineAnnealingRestartLR': lr_scheduler.CosineAnnealingRestartLR}
PATH = 'train.scheduler.'
WARM_UP = 'train.warmup_iter'
WEIGHT = re.compile(r'train\.(\w+_opt)\.schedule\.(\w+)')
CONSTANT = WeightSchedule.model_construct(start_factor=1., end_factor=1.)


def unseen_changes(before: Mapping[str, Any], now: Mapping[str, Any], iterations: int) -> set[str]:
    """Paths of schedules that differ, but gave each of the steps until now the same learning rate or weight.

    Args:
        before: identity of the run (see ``identity``), which may be anything where it is from a file.
        now: that of the options that it is to resume with.
        iterations: steps made.
    """
    changed = {path for path in {**before, **now} if before.get(path) != now.get(path)}
    same: set[str] = set()
    rates = {path for path in changed if path.startswith(PATH) or path == WARM_UP}
    try:
        if rates and _rates(before, iterations) == _rates(now, iterations):
            same |= rates
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError):
        pass  # no schedule, or not as long
    was, is_now = _weight_schedules(before), _weight_schedules(now)
    for name in {match[1] for path in changed if (match := WEIGHT.fullmatch(path))}:
        pair = was.get(name, CONSTANT), is_now.get(name, CONSTANT)
        try:
            if all(pair[0].factor(step) == pair[1].factor(step) for step in range(1, iterations + 1)):
                same |= {path for path in changed if path.startswith(f'train.{name}.schedule.')}
        except (ArithmeticError, KeyError, TypeError):
            continue  # no schedule
    return same


def _rates(identity: Mapping[str, Any], iterations: int) -> list[float]:
    block = {path.removeprefix(PATH): value for path, value in identity.items() if path.startswith(PATH)}
    return learning_rates(block, identity.get(WARM_UP, -1), iterations)


def learning_rates(block: Mapping[str, Any], warm_up: int, iterations: int) -> list[float]:
    """The learning rate of each step, from a first one of 1, as BasicSR's loop sets it.

    Args:
        block: of ``train.scheduler``.
        warm_up: ``train.warmup_iter``.
        iterations: number of steps.
    """
    arguments = {name: value for name, value in block.items() if name != 'type'}
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.)
    scheduler, group = SCHEDULERS[block['type']](optimizer, **arguments), optimizer.param_groups[0]
    rates = []
    for step in range(iterations):
        if step:
            scheduler.last_epoch = step
            group['lr'], = scheduler.get_lr()
        if step + 1 < warm_up:
            group['lr'] = group['initial_lr'] / warm_up * (step + 1)
        rates.append(group['lr'])
    return rates


def _weight_schedules(identity: Mapping[str, Any]) -> dict[str, WeightSchedule]:
    blocks: dict[str, dict[str, Any]] = {}
    for path, value in identity.items():
        if (match := WEIGHT.fullmatch(path)) and match[2] in WeightSchedule.model_fields:
            blocks.setdefault(match[1], {})[match[2]] = value
    # Not validated, for an identity may be from any file.
    return {name: WeightSchedule.model_construct(**block) for name, block in blocks.items()}
