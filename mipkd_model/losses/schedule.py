"""How the weight of a loss changes over a training."""
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mipkd_arch.base.errors import UserError

from ..schema.training import ScheduleOptions


def without_schedule(block: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a loss as its class takes them."""
    return {name: value for name, value in block.items() if name != 'schedule'}


class WeightSchedule(ScheduleOptions):
    """A factor of ``loss_weight`` as a function of the iteration alone, so that a resumed run goes on exactly."""

    @classmethod
    def of(cls, block: Mapping[str, Any], path: str, total_iter: int) -> WeightSchedule:
        """The schedule of the option block at ``path``, ``start`` and ``end`` in iterations.

        Raises:
            UserError: an option is wrong, or ``end`` is not after ``start``.
        """
        found = cls.read(block, path)
        start, end = (value * total_iter if value <= 1 else value for value in (found.start, found.end))
        if not start < end:
            raise UserError(f'{path}.end: {found.end:g} is not after start: {found.start:g}; both are iterations, or, '
                            f'up to 1, shares of total_iter: {total_iter}')
        return found.model_copy(update={'start': start, 'end': end})

    def factor(self, iteration: int) -> float:
        """The factor in an iteration, of which the first is 1."""
        share = min(max((iteration - 1 - self.start) / (self.end - self.start), 0), 1)
        if share == 1:
            return self.end_factor
        share = {'constant': 0, 'linear': share, 'cosine': (1 - math.cos(math.pi * share)) / 2}[self.type]
        return self.start_factor + (self.end_factor - self.start_factor) * share
