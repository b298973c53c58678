"""What came of a study's runs, a line for each in one JSON file, and how long the methods' steps take."""
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from study_file import KIND, ROOT

from mipkd_arch.base.errors import UserError, reason_of
from mipkd_model.base.files import atomic_write


class Run(NamedTuple):
    """One training."""
    kind: str
    variant: str
    iters: int
    seed: int

    def __str__(self) -> str:
        return f'{self.kind}, {self.variant}, {self.iters} iterations, seed {self.seed}'


KEPT = ROOT / 'docs/results/study.json'
"""Of the runs that this project's pages are made from."""

Record = dict[str, Any]
"""What came of a run: ``kind`` (that of ``KIND`` where it is absent), ``variant``, ``seed``, ``iters``; ``test``, by
set the means of the metrics; ``psnr_teacher``, by set the PSNR in dB between images of student and teacher;
``watched``, by set and iteration the PSNR while it trained."""


@dataclass
class Results:
    """Of runs, and of measured steps by kind and method."""
    runs: dict[Run, Record] = field(default_factory=dict)
    steps: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """``seconds``: mean time of a step in each of equal parts of the training; ``threads`` and ``device`` of it."""

    @classmethod
    def read(cls, file: str | Path | None) -> 'Results':
        """Of a file that ``write`` has made; none where there is no such file."""
        found = cls()
        if file and Path(file).exists():
            try:
                for line in json.loads(Path(file).read_text()):
                    found.add(line)
            except (ValueError, KeyError, TypeError) as error:
                raise UserError(f'{file}: is not a file of results ({reason_of(error)}); --results names one that '
                                'a study has written, or a new one') from None
        return found

    def add(self, line: Record) -> None:
        """A record, or the times of a step; numbers are rounded to four digits after the point."""
        line = _rounded(line)
        kind = line.get('kind', KIND)
        if 'seconds' in line:
            self.steps[kind, line['method']] = line
        else:
            self.runs[Run(kind, line['variant'], line['iters'], line['seed'])] = line

    def write(self, file: str | Path) -> None:
        """All as JSON, a line for each; what others have added to the file meanwhile stays there."""
        both = Results.read(file)
        both.runs.update(self.runs)
        both.steps.update(self.steps)
        runs = [both.runs[run] for run in sorted(both.runs, key=lambda run: (run.kind, run.iters, *run))]
        lines = [json.dumps(line) for line in [*runs, *(both.steps[key] for key in sorted(both.steps))]]
        with atomic_write(file) as temporary:
            temporary.write_text('[\n' + ',\n'.join(lines) + '\n]\n')


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


def at_end(record: Record, name: str) -> float | None:
    """The PSNR of a run on a set at its end, tested or else watched; None where it was neither."""
    if name in record['test']:
        return float(record['test'][name]['psnr'])
    curve: Mapping[str, float] = record['watched'].get(name, {})
    return curve[max(curve, key=int)] if curve else None
