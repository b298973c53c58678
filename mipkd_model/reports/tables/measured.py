"""Which records count in which cell of a table, and what they give there."""
import math
import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mipkd_arch.base.errors import UserError

from ...data.benchmarks import ALIASES, SETS
from ...evaluation.records import Record
from ...experiments.methods import TEACHER

METRICS = {'psnr': 2, 'ssim': 4}
"""Decimals that are printed, by metric."""
METRIC_TYPES = {'calculate_psnr': 'psnr', 'calculate_ssim': 'ssim'}
"""Metrics by what BasicSR calls them."""
DATASETS = ('Set5', 'Set14', 'BSD100', 'Urban100')
"""The columns of the paper's tables."""
BICUBIC = 'Bicubic'
ORDER = (BICUBIC, TEACHER, 'Scratch', 'Logits-KD', 'FitNet', 'FitNet-mean', 'AT', 'RKD', 'FAKD', 'CSD', 'CrossKD',
         'DUKD', 'MiPKD')
"""Rows of a table; combinations of them follow, then DCKD and its combinations, then all others."""
NOT_STUDENTS = (BICUBIC, TEACHER)
SHOWN = 24  # characters of a setting's value that a table shows


class ProtocolError(UserError):
    """A record was measured by another protocol than that of the tables."""


class RowName(NamedTuple):
    """Names one row of a pair's table."""
    scale: int
    method: str
    ensemble: bool = False
    """Whether it was measured with self-ensemble, which the field writes as ``+`` behind the method."""
    settings: str = ''
    """Settings that its runs do not share with other runs of the method, such as ``lr 0.0002``."""

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


@dataclass(frozen=True)
class RunResult:
    """What one run gives in a cell."""
    file: Path
    record: Record
    psnr: float | None
    ssim: float | None
    iteration: int | None
    """Of a validation in the middle of training; None for a finished test and for bicubic."""


@dataclass(frozen=True)
class Measured:
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
    if method in ORDER:
        return 0, [ORDER.index(method)], method
    if all(part in ORDER for part in parts):
        return 1, [ORDER.index(part) for part in parts], method
    return (2, [len(parts)], method) if parts[0] == 'DCKD' else (3, [], method)


def dataset_order(name: str) -> tuple[int, str]:
    """Sorting key of columns: the public datasets, then others."""
    known = list(SETS)
    return (known.index(name) if name in known else len(known)), name


def row_of(record: Record) -> RowName:
    """The row of a record in a table of its pair, without settings."""
    method = '+'.join(sorted(record.method.split('+'), key=method_order))  # FAKD+DUKD and DUKD+FAKD are one method
    return RowName(record.scale, method, bool(record.protocol.get('self_ensemble')))


def scores_of(file: Path, record: Record, y_channel: bool = True) -> tuple[dict[str, float | None], ...]:
    """PSNR in dB and SSIM of the network and of bicubic by the protocol of the tables, None where not measured so.

    A border of ``scale`` pixels is left out; figures are on Y of YCbCr or on RGB.

    Raises:
        ProtocolError: the record has neither by this protocol.
    """
    names: dict[str, str] = {}
    blocks = record.protocol.get('metrics') or {}
    for name, block in blocks.items():
        metric = METRIC_TYPES.get(block.get('type'))
        is_y = block.get('test_y_channel', False)
        if metric and block.get('crop_border') == record.scale and is_y == y_channel:
            names.setdefault(metric, name)
    if not any(name in record.mean for name in names.values()):
        found = ', '.join(f'{name} ({block.get("type")}, crop_border {block.get("crop_border")}, test_y_channel '
                          f'{str(block.get("test_y_channel", False)).lower()})' for name, block in blocks.items())
        raise ProtocolError(f'{file}: has no PSNR or SSIM {"on Y" if y_channel else "on RGB"} with crop_border '
                            f'{record.scale}, found {found or "no metrics"}; evaluate again with such val.metrics')
    return tuple({metric: values.get(names.get(metric, '')) for metric in METRICS}
                 for values in (record.mean, record.bicubic))


def measured_cells(records: Mapping[Path, Record], y_channel: bool = True,
                   warn: Callable[[str], None] = lambda text: None) -> Cells:
    """Sort records, by file, into the cells of the tables; ``warn`` is called for each one of another protocol.

    Raises:
        ProtocolError: no record has figures by the protocol.
    """
    runs: dict[tuple[str, RowName, str], list[RunResult]] = {}
    bicubic: dict[tuple[str, RowName, str], list[RunResult]] = {}
    refused, settings = [], row_settings(records)
    for file, record in records.items():
        try:
            scores, of_bicubic = scores_of(file, record, y_channel)
        except ProtocolError as error:
            refused.append(error)
            continue
        row = row_of(record)._replace(settings=settings[file])
        dataset = ALIASES.get(record.dataset['name'], record.dataset['name'])
        result = RunResult(file, record, scores['psnr'], scores['ssim'], record.iteration)
        runs.setdefault((record.pair, row, dataset), []).append(result)
        result = RunResult(file, record, of_bicubic['psnr'], of_bicubic['ssim'], None)
        bicubic.setdefault((record.pair, RowName(record.scale, BICUBIC), dataset), []).append(result)
    if refused and not runs:
        raise refused[0]
    for reason in refused:
        warn(f'left out: {reason}')
    return {**{place: Measured(_counted(found)) for place, found in runs.items()},
            **{place: Measured((max(found, key=_age), )) for place, found in bicubic.items()}}


def row_settings(records: Mapping[Path, Record]) -> dict[Path, str]:
    """By file the settings, apart from the seed, in which the runs of a row differ; '' where all are equal."""
    rows: dict[tuple, dict[Path, dict[str, Any]]] = {}
    found: dict[Path, str] = {}
    for file, record in records.items():
        rows.setdefault((record.pair, row_of(record)), {})[file] = _settings(record)
    for settings in rows.values():
        # A setting that one run does not know is unknown, and no difference.
        values: dict[str, set[str]] = {}
        for of_run in settings.values():
            for path, value in of_run.items():
                values.setdefault(path, set()).add(str(value))
        differing = [path for path, known in values.items() if len(known) > 1]
        found |= {file: _settings_text(of_run, differing) for file, of_run in settings.items()}
    return found


def _settings(record: Record) -> dict[str, Any]:
    """All that decides about a record's figures but the seed: plain values by paths of options."""
    training, protocol = record.training or {}, record.protocol
    options = training.get('options')
    if not options:  # of a run that an older version described
        options = {'batch size': training.get('batch_size'),
                   'teacher': (training.get('teacher') or {}).get('sha256')}
    found = {**{f'network_g.{name}': value for name, value in record.network.items()}, **options,
             'train.total_iter': training.get('total_iter'), 'tile': protocol.get('tile') or 'none',
             'tile_pad': protocol.get('tile_pad') or 'none', 'precision': protocol.get('precision')}
    return {path: value for path, value in found.items() if value is not None}


def _settings_text(settings: Mapping[str, Any], paths: Sequence[str]) -> str:
    """Values of settings, by the last parts of their paths as far as these differ; '' without paths."""
    ends = Counter(path.rpartition('.')[2] for path in paths)
    words = []
    for path in paths:
        end = path.rpartition('.')[2]
        name = end if ends[end] == 1 else '.'.join(path.split('.')[-2:])
        words.append(f'{name} {str(settings.get(path, "?"))[:SHOWN]}')
    return ', '.join(words)


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
    identities: set[tuple] = {('run', run.get('name'), run.get('seed'))}
    if record.checkpoint:
        identities.add(('checkpoint', record.checkpoint['sha256']))
    return identities
