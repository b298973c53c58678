"""Losses and times of a training, read from the log files of BasicSR's ``MessageLogger``."""
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PATTERN = 'train_*.log'
TIME = len('20260102_030405')  # at the end of a log file's name
# [name..][epoch:  0, iter:   1,000, lr:(5.000e-04,)] [eta: 1 day, 0:07:08, time (data): 0.494 (0.012)] l_pix: 1.29e-01
LINE = re.compile(r'\]\[epoch:\s*\d+, iter:\s*(?P<iteration>[\d,]+), lr:\([^)]*\)\] '
                  r'(?:\[eta: .*?, time \(data\): (?P<seconds>[\d.]+) \([\d.]+\)\] )?(?P<losses>.*)')
LOSS = re.compile(r'(\S+): (-?(?:\d\.\d+e[+-]\d+|inf)|nan) ')  # without the final space, the line was cut short


@dataclass(frozen=True)
class TrainingLog:
    """What a run has logged, as arrays (N,) with NaN where a line lacks a value."""
    iterations: NDArray[np.int64]  # in ascending order
    losses: dict[str, NDArray[np.float64]]  # by name, such as l_pix
    seconds: NDArray[np.float64]  # per iteration, which BasicSR averages over up to 200 iterations


def read_log(folder: str | Path) -> TrainingLog:
    """Read all ``train_*.log`` of a run's folder, such as ``experiments/<name>``, in the order of their times.

    A resumed run starts from an earlier iteration: from there on its lines replace those logged before.
    """
    rows: dict[int, tuple[float, dict[str, str]]] = {}
    for file in sorted(Path(folder).glob(PATTERN), key=lambda file: (file.stem[-TIME:], file.name)):
        for match in map(LINE.search, file.read_text(encoding='utf-8', errors='replace').splitlines()):
            if match:
                iteration = int(match['iteration'].replace(',', ''))
                while rows and next(reversed(rows)) >= iteration:
                    rows.popitem()
                rows[iteration] = float(match['seconds'] or 'nan'), dict(LOSS.findall(match['losses']))
    names = dict.fromkeys(name for _, losses in rows.values() for name in losses)
    return TrainingLog(
        iterations=np.array(list(rows), np.int64),
        losses={name: np.array([float(losses.get(name, 'nan')) for _, losses in rows.values()]) for name in names},
        seconds=np.array([seconds for seconds, _ in rows.values()], np.float64))


def seconds_per_iteration(folder: str | Path) -> float | None:
    """Median of the logged seconds per iteration of a run; None if nothing is logged."""
    seconds = read_log(folder).seconds
    seconds = seconds[np.isfinite(seconds)]
    return float(np.median(seconds)) if len(seconds) else None
