"""Losses and times of a training run, read from its log files as BasicSR's ``MessageLogger`` writes them."""
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PATTERN = 'train_*.log'
STAMP = len('20260102_030405')  # the time at the end of a log file's name
# [name..][epoch:  0, iter:   1,000, lr:(5.000e-04,)] [eta: 1 day, 0:07:08, time (data): 0.494 (0.012)] l_pix: 1.29e-01
LINE = re.compile(r'\]\[epoch:\s*\d+, iter:\s*(?P<iteration>[\d,]+), lr:\([^)]*\)\] '
                  r'(?:\[eta: .*?, time \(data\): (?P<seconds>[\d.]+) \([\d.]+\)\] )?(?P<losses>.*)')
# The space behind a value says that the line was not cut off in it.
LOSS = re.compile(r'(\S+): (-?(?:\d\.\d+e[+-]\d+|inf)|nan) ')


@dataclass(frozen=True)
class TrainingLog:
    """What a run has logged; all arrays are float64 or int64 of shape (N,), NaN where a line lacks the value."""
    iterations: np.ndarray
    """In ascending order."""
    losses: dict
    """Arrays by name, such as ``l_pix``."""
    seconds: np.ndarray
    """Seconds per iteration, which BasicSR averages over up to 200 iterations."""


def read_log(folder):
    """Read all ``train_*.log`` of a run's folder in the order of the times in their names.

    A resumed run starts from an earlier iteration again: from there on its lines replace what was logged before.

    Args:
        folder: as ``experiments/<name>``.

    Returns:
        TrainingLog: without any entry if nothing was logged.
    """
    rows = []  # of (iteration, seconds, losses)
    for file in sorted(Path(folder).glob(PATTERN), key=lambda file: (file.stem[-STAMP:], file.name)):
        for match in map(LINE.search, file.read_text(encoding='utf-8', errors='replace').splitlines()):
            if match:
                iteration = int(match['iteration'].replace(',', ''))
                while rows and rows[-1][0] >= iteration:
                    rows.pop()
                rows.append((iteration, float(match['seconds'] or 'nan'), dict(LOSS.findall(match['losses']))))
    names = dict.fromkeys(name for *_, losses in rows for name in losses)
    return TrainingLog(
        iterations=np.array([iteration for iteration, *_ in rows], np.int64),
        losses={name: np.array([float(losses.get(name, 'nan')) for *_, losses in rows]) for name in names},
        seconds=np.array([seconds for _, seconds, _ in rows], np.float64))


def seconds_per_iteration(folder):
    """Median of the logged seconds per iteration of a run, None where nothing is logged."""
    seconds = read_log(folder).seconds
    seconds = seconds[np.isfinite(seconds)]
    return float(np.median(seconds)) if len(seconds) else None
