"""How the weight of a loss changes over a training."""
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mipkd_arch.base.errors import UserError

TYPES = ('constant', 'linear', 'cosine')


def without_schedule(block: Mapping[str, Any]) -> dict[str, Any]:
    """A loss's block of options as its class takes it."""
    return {name: value for name, value in block.items() if name != 'schedule'}


@dataclass(frozen=True)
class WeightSchedule:
    """A factor of ``loss_weight`` as a function of the iteration alone, so that a resumed run goes on exactly.

    ``start`` and ``end`` are iterations, or, up to 1, shares of ``total_iter``.
    """
    type: str = 'cosine'
    """'linear' or 'cosine' (half a wave) from start to end, or 'constant': start_factor until end, then end_factor."""
    start: float = 0
    """Until here the factor is ``start_factor``."""
    end: float = 1.0
    """From here on it is ``end_factor``."""
    start_factor: float = 1.0
    """Factor at the start, at least 0."""
    end_factor: float = 0.0
    """Factor at the end, at least 0."""

    @classmethod
    def of(cls, block: Mapping[str, Any], path: str, total_iter: int) -> 'WeightSchedule':
        """The schedule of an option block, ``start`` and ``end`` in iterations.

        Args:
            block: options by the names of the fields.
            path: of the block, for messages.
            total_iter: iterations of the training.

        Raises:
            UserError: ``end`` is not after ``start``.
        """
        found = cls(**block)
        start, end = (value * total_iter if value <= 1 else value for value in (found.start, found.end))
        if not start < end:
            raise UserError(f'{path}.end: {found.end} is not after start: {found.start}; both are iterations, or, up '
                            f'to 1, shares of total_iter: {total_iter}')
        return replace(found, start=start, end=end)

    def factor(self, iteration: int) -> float:
        """The factor in an iteration, of which the first is 1."""
        share = min(max((iteration - 1 - self.start) / (self.end - self.start), 0), 1)
        if share == 1:
            return self.end_factor
        share = {'constant': 0, 'linear': share, 'cosine': (1 - math.cos(math.pi * share)) / 2}[self.type]
        return self.start_factor + (self.end_factor - self.start_factor) * share
