"""How long a run trains, and what of its option file follows from that."""
from dataclasses import dataclass

PUBLISHED = 250_000
"""Iterations of the paper's family of work."""
EMA_ITERATIONS = 1000
"""Iterations that the average of the weights extends over in a run of that length."""


@dataclass(frozen=True)
class Schedule:
    """A training of ``total_iter`` iterations: the published one, or one of another length in its proportions."""
    total_iter: int = PUBLISHED

    @property
    def milestones(self) -> list[int]:
        """Iterations at which the learning rate falls: after 2/5 and 4/5 of the run."""
        return sorted({max(1, self.total_iter * fifths // 5) for fifths in (2, 4)})

    @property
    def ema_decay(self) -> float:
        """Decay of the average of the weights, which extends over at most a tenth of the run."""
        return round(1 - 1 / min(EMA_ITERATIONS, max(10, self.total_iter // 10)), 4)

    @property
    def save_freq(self) -> int:
        """Iterations between two validations, and between two checkpoints: ten of each in a run, more in long ones."""
        return min(5000, -(-self.total_iter // 10))

    @property
    def print_freq(self) -> int:
        """Iterations between two lines of the log."""
        return min(100, -(-self.total_iter // 100))
