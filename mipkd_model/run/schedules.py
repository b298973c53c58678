"""Learning rates and weights of losses over a whole training, without training: whether another schedule would have
been the same until now.
"""
import re
from collections.abc import Mapping
from typing import Any

import torch

from basicsr.models import lr_scheduler

from ..losses.schedule import WeightSchedule

KINDS = {'MultiStepLR': lr_scheduler.MultiStepRestartLR, 'MultiStepRestartLR': lr_scheduler.MultiStepRestartLR,
         'CosineAnnealingRestartLR': lr_scheduler.CosineAnnealingRestartLR}
PATH = 'train.scheduler.'
WARM_UP = 'train.warmup_iter'
WEIGHT = re.compile(r'train\.(\w+_opt)\.schedule\.(\w+)')


def is_of_schedule(path: str) -> bool:
    """Whether the option of that path decides about the course of the learning rate."""
    return path.startswith(PATH) or path == WARM_UP


def same_rates(before: dict[str, Any], train: dict, iterations: int) -> bool:
    """Whether a run would have had the same learning rate in each step until now by another schedule.

    Then it may go on with that: a period more behind those that are over, milestones that are still to come.

    Args:
        before: of the run, by paths of options, as ``identity`` gives it; where it is from a file it may be anything.
        train: block of the options.
        iterations: steps made.
    """
    block = {path.removeprefix(PATH): value for path, value in before.items() if path.startswith(PATH)}
    try:
        return (learning_rates(block, before.get(WARM_UP, -1), iterations)
                == learning_rates(train['scheduler'], train.get('warmup_iter', -1), iterations))
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError):  # no schedule, or not as long
        return False


def learning_rates(block: dict, warm_up: int, iterations: int) -> list[float]:
    """The learning rate of each step, from a first one of 1, as BasicSR's loop sets it.

    Args:
        block: of ``train.scheduler``.
        warm_up: ``train.warmup_iter``.
        iterations: how many steps.
    """
    arguments = {name: value for name, value in block.items() if name != 'type'}
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.)
    scheduler, group = KINDS[block['type']](optimizer, **arguments), optimizer.param_groups[0]
    rates = []
    for step in range(iterations):
        if step:
            scheduler.last_epoch = step
            group['lr'], = scheduler.get_lr()
        if step + 1 < warm_up:
            group['lr'] = group['initial_lr'] / warm_up * (step + 1)
        rates.append(group['lr'])
    return rates


def same_weights(before: Mapping[str, Any], now: Mapping[str, Any], iterations: int) -> set[str]:
    """Paths of those schedules of losses that differ, but by which each had the same weight in each step until now.

    Args:
        before: of the run, by paths of options, as ``identity`` gives it; where it is from a file it may be anything.
        now: the same of the options that it is to go on by.
        iterations: steps made.
    """
    was, will_be = _weight_schedules(before), _weight_schedules(now)
    always = WeightSchedule(start_factor=1., end_factor=1.)
    same = set()
    for name in was.keys() | will_be.keys():
        pair = was.get(name, always), will_be.get(name, always)
        if pair[0] == pair[1]:
            continue
        try:
            if all(pair[0].factor(step) == pair[1].factor(step) for step in range(1, iterations + 1)):
                same.add(name)
        except (ArithmeticError, KeyError, TypeError):  # no schedule
            continue
    return {path for path in (*before, *now) if (match := WEIGHT.fullmatch(path)) and match[1] in same}


def _weight_schedules(identity: Mapping[str, Any]) -> dict[str, WeightSchedule]:
    blocks: dict[str, dict[str, Any]] = {}
    for path, value in identity.items():
        if match := WEIGHT.fullmatch(path):
            blocks.setdefault(match[1], {})[match[2]] = value
    known = WeightSchedule.model_fields
    return {name: WeightSchedule.model_construct(**{key: value for key, value in block.items() if key in known})
            for name, block in blocks.items()}
