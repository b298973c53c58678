"""How long a run trains, and what of its option file follows from that."""
from dataclasses import dataclass

PUBLISHED = 250_000
"""Steps of the paper's family of work."""
HORIZON = 1000
"""Steps that the average of the weights looks back on in a run of that length."""


@dataclass(frozen=True)
class Schedule:
    """A training of ``total_iter`` steps: the published one, or one of another length in its proportions."""
    total_iter: int = PUBLISHED

    @property
    def milestones(self) -> list[int]:
        """Steps at which the learning rate falls: after 2/5 and 4/5 of the run."""
        return sorted({max(1, self.total_iter * fifths // 5) for fifths in (2, 4)})

    @property
    def ema_decay(self) -> float:
        """Decay of the average of the weights, which looks back on at most a tenth of the run."""
        return round(1 - 1 / min(HORIZON, max(10, self.total_iter // 10)), 4)

    @property
    def save_freq(self) -> int:
        """Steps between two validations, and between two savings: ten of each in a run, more in long ones."""
        return min(5000, -(-self.total_iter // 10))

    @property
    def print_freq(self) -> int:
        """Steps between two lines of the log."""
        return min(100, -(-self.total_iter // 100))
