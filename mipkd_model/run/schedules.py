"""Whether another schedule of the learning rate, or of a loss's weight, would have been the same until now.

Then a run may resume with it: with one more period, or milestones that are still to come.
"""
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch

from basicsr.models import lr_scheduler

from ..losses.schedule import WeightSchedule

SCHEDULERS = {'MultiStepLR': lr_scheduler.MultiStepRestartLR, 'MultiStepRestartLR': lr_scheduler.MultiStepRestartLR,
              'CosineAnnealingRestartLR': lr_scheduler.CosineAnnealingRestartLR}
RATES = 'train.scheduler.'
WARM_UP = 'train.warmup_iter'
BLOCK = re.compile(rf'{RATES}|{WARM_UP}|train\.\w+_opt\.schedule\.')


def unseen_changes(before: Mapping[str, Any], now: Mapping[str, Any], iterations: int) -> set[str]:
    """Paths of schedules that differ, but gave each of the steps until now the same learning rate or weight.

    Args:
        before: identity of the run (see ``identity``), which may be anything where it is from a file.
        now: that of the options that it is to resume with.
        iterations: steps made.
    """
    changed = {path for path in {**before, **now} if before.get(path) != now.get(path)}
    same: set[str] = set()
    for block in {match[0] for path in changed if (match := BLOCK.match(path))}:
        with suppress(Exception):  # no schedule, or not as long
            if _values(before, block, iterations) == _values(now, block, iterations):
                same |= {path for path in changed if path.startswith(block)}
    return same


def _values(identity: Mapping[str, Any], block: str, iterations: int) -> list[float]:
    """Learning rates, or factors of a loss's weight, of all steps."""
    name = RATES if block == WARM_UP else block
    options = {path.removeprefix(name): value for path, value in identity.items() if path.startswith(name)}
    if name == RATES:
        return learning_rates(options, identity.get(WARM_UP, -1), iterations)
    schedule = WeightSchedule.model_construct(**(options or {'start_factor': 1., 'end_factor': 1.}))
    return [schedule.factor(step) for step in range(1, iterations + 1)]


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
