"""Which records count in which cell of a table, and what they give there."""
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mipkd_arch.base.errors import UserError

from ...data.benchmarks import ALIASES
from ...evaluation.records import Record
from ...experiments.methods import TEACHER

METRICS = {'psnr': 2, 'ssim': 4}
"""Decimals that are printed, by metric."""
METRIC_TYPES = {'calculate_psnr': 'psnr', 'calculate_ssim': 'ssim'}
"""Metrics by what BasicSR calls them."""
BICUBIC = 'Bicubic'
ORDER = (BICUBIC, TEACHER, 'Scratch', 'Logits-KD', 'FitNet', 'FitNet-mean', 'AT', 'RKD', 'FAKD', 'CSD', 'CrossKD',
         'DUKD', 'MTKD', 'Meta-KD', 'ECO', 'MiPKD')
"""Rows of a table; combinations of them follow, then DCKD and its combinations, then all others."""
NOT_STUDENTS = (BICUBIC, TEACHER)
SHOWN = 24  # characters of a setting's value that a table shows


class RowName(NamedTuple):
    """Names one row of a pair's table."""
    scale: int
    method: str
    ensemble: bool = False
    """Whether it was measured with self-ensemble, which the field writes as ``+`` behind the method."""
    settings: str = ''  # settings that its runs do not share with other runs of the method, such as ``lr 0.0002``

    @property
    def name(self) -> str:
        """The name of the method on the command line."""
        return self.method + '+' * self.ensemble

    @property
    def label(self) -> str:
        """The name in tables."""
        return self.name + (f' ({self.settings})' if self.settings else '')

    @property
    def is_network(self) -> bool:
        """Whether its figures are a network's; those of bicubic are in every record."""
        return self.method != BICUBIC


class RunResult(NamedTuple):
    """What one run gives in a cell."""
    file: Path
    record: Record
    psnr: float | None
    ssim: float | None
    iteration: int | None  # of a validation in the middle of training; None for a finished test and for bicubic


class Measured(NamedTuple):
    """The runs of a cell, by seed and file."""
    runs: tuple[RunResult, ...]

    def mean(self, metric: str) -> float | None:
        """Mean over the runs; None where one of them has no such metric."""
        values = self._values(metric)
        return None if None in values else sum(values) / len(values)

    def std(self, metric: str) -> float | None:
        """Sample standard deviation over the runs, None for a single one and for values that are not finite."""
        values = self._values(metric)
        if len(values) < 2 or not all(value is not None and math.isfinite(value) for value in values):
            return None
        return statistics.stdev(values)

    def _values(self, metric: str) -> list[Any]:
        return [getattr(run, metric) for run in self.runs]


Cells = dict[tuple[str, RowName, str], Measured]
"""By pair, row and dataset."""


def printed(value: float | None, metric: str) -> str:
    """A value with the decimals of its metric, ``?`` for None."""
    return '?' if value is None else f'{value:.{METRICS[metric]}f}'


def method_order(method: str) -> tuple:
    """Sorting key of rows."""
    parts = method.split('+')
    if all(part in ORDER for part in parts):
        return len(parts) > 1, [ORDER.index(part) for part in parts], method
    return (2, [len(parts)], method) if parts[0] == 'DCKD' else (3, [], method)


def row_of(record: Record) -> RowName:
    """The row of a record in a table of its pair, without settings."""
    method = '+'.join(sorted(record.method.split('+'), key=method_order))  # FAKD+DUKD and DUKD+FAKD are one method
    return RowName(record.scale, method, bool(record.protocol.get('self_ensemble')))


def measured_cells(records: Mapping[Path, Record], y_channel: bool = True,
                   warn: Callable[[str], None] = lambda text: None) -> Cells:
    """Sort records, by file, into the cells of the tables.

    PSNR in dB and SSIM are on Y of YCbCr or on RGB, with a border of ``scale`` pixels left out; ``warn`` is called for
    each record that has neither.

    Raises:
        UserError: no record has figures by this protocol.
    """
    found: dict[tuple[str, RowName, str], list[RunResult]] = {}
    refused, settings = [], row_settings(records)
    for file, record in records.items():
        names = _metric_names(record, y_channel)
        if not names:
            blocks = ', '.join(f'{name} {block}' for name, block in (record.protocol.get('metrics') or {}).items())
            refused.append(f'{file}: has no PSNR or SSIM {"on Y" if y_channel else "on RGB"} with crop_border '
                           f'{record.scale}, found {blocks or "no metrics"}; evaluate again with such val.metrics')
            continue
        dataset = ALIASES.get(record.dataset['name'], record.dataset['name'])
        network = row_of(record)._replace(settings=settings[file])
        for row, values, iteration in ((network, record.mean, record.iteration),
                                       (RowName(record.scale, BICUBIC), record.bicubic, None)):
            psnr, ssim = (values.get(names.get(metric, '')) for metric in METRICS)
            found.setdefault((record.pair, row, dataset), []).append(RunResult(file, record, psnr, ssim, iteration))
    if refused and not found:
        raise UserError(refused[0])
    for reason in refused:
        warn(f'left out: {reason}')
    return {place: Measured(_counted(runs) if place[1].is_network else (max(runs, key=_age), ))
            for place, runs in found.items()}


def _metric_names(record: Record, y_channel: bool) -> dict[str, str]:
    """Names of the record's PSNR and SSIM by the protocol of the tables; empty without any."""
    names: dict[str, str] = {}
    for name, block in (record.protocol.get('metrics') or {}).items():
        metric, is_y = METRIC_TYPES.get(block['type']), block.get('test_y_channel', False)
        if metric and block.get('crop_border') == record.scale and is_y == y_channel and name in record.mean:
            names.setdefault(metric, name)
    return names


def row_settings(records: Mapping[Path, Record]) -> dict[Path, str]:
    """By file the settings, apart from the seed, in which the runs of a row differ; '' where all are equal."""
    rows: dict[tuple, dict[Path, dict[str, Any]]] = {}
    for file, record in records.items():
        rows.setdefault((record.pair, row_of(record)), {})[file] = _settings(record)
    found: dict[Path, str] = {}
    for settings in rows.values():
        # A setting that one run does not know is unknown, and no difference.
        values: dict[str, set[str]] = {}
        for of_run in settings.values():
            for path, value in of_run.items():
                values.setdefault(path, set()).add(str(value))
        differing = {path: path.rpartition('.')[2] for path, known in values.items() if len(known) > 1}
        count = Counter(differing.values())
        for file, of_run in settings.items():
            found[file] = ', '.join(f'{end if count[end] == 1 else path} {str(of_run.get(path, "?"))[:SHOWN]}'
                                    for path, end in differing.items())
    return found


def _settings(record: Record) -> dict[str, Any]:
    """All that decides about a record's figures but the seed: plain values by paths of options."""
    training, protocol = record.training or {}, record.protocol
    options = training.get('options') or {}
    found = {**{f'network_g.{name}': value for name, value in record.network.items()}, **options,
             'train.total_iter': training.get('total_iter'), 'precision': protocol.get('precision'),
             **{name: protocol.get(name) or 'none' for name in ('tile', 'tile_pad')}}
    return {path: value for path, value in found.items() if value is not None}


def _age(run: RunResult) -> tuple[int, str]:
    return run.iteration or 0, run.record.finished


def _counted(runs: Sequence[RunResult]) -> tuple[RunResult, ...]:
    """The runs of a cell that count: finished tests, else validations of the last iteration; the newest of each run."""
    finished = [run for run in runs if run.iteration is None]
    seen: set[tuple] = set()
    counted = []
    for run in sorted(finished or runs, key=_age, reverse=True):
        identities = _identities(run.record)
        if seen.isdisjoint(identities):
            counted.append(run)
            seen |= identities
    last = max(run.iteration or 0 for run in counted)  # trainings that are not as far are not compared with those
    counted = [run for run in counted if (run.iteration or 0) == last]
    return tuple(sorted(counted, key=lambda run: (run.record.seed is None, run.record.seed or 0, str(run.file))))


def _identities(record: Record) -> set[tuple]:
    """What two records of one run share: the training, or the test where that is not known; the weights."""
    run = record.training or {'name': record.name, 'seed': record.seed}
    weights = {(record.checkpoint['sha256'], )} if record.checkpoint else set()
    return {(run.get('name'), run.get('seed')), *weights}
