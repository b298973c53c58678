"""Which records count in which cell of a table, and what they give there."""
import math
import statistics
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mipkd_arch.base.errors import UserError

from ...data.benchmarks import ALIASES, SETS
from ...evaluation.records import Record
from ...experiments.methods import TEACHER
from ...training.identity import flat

METRICS = {'psnr': 2, 'ssim': 4}
"""Decimals that are printed, by metric."""
DATASETS = ('Set5', 'Set14', 'BSD100', 'Urban100')
"""The columns of the paper's tables."""
BICUBIC = 'Bicubic'
ORDER = (BICUBIC, TEACHER, 'Scratch', 'Logits-KD', 'FitNet', 'FitNet-mean', 'AT', 'RKD', 'FAKD', 'CSD', 'CrossKD',
         'DUKD', 'MiPKD')
"""Rows of a table; combinations of them follow, then DCKD and its combinations, then all others."""
NO_STUDENTS = (BICUBIC, TEACHER)
SHOWN = 24  # characters of a value that tells rows apart
TYPES = {'calculate_psnr': 'psnr', 'calculate_ssim': 'ssim'}
"""Metrics by what BasicSR calls them."""


class ProtocolError(UserError):
    """A record was measured by another protocol than the tables'."""


class RowName(NamedTuple):
    """Names one row of a pair's table."""
    scale: int
    method: str
    ensemble: bool = False
    """Whether it was measured with self-ensemble, which the field writes as ``+`` behind the method."""
    variant: str = ''
    """What tells its runs from others of the method, such as ``lr 0.0002``; '' where there are no others."""

    @property
    def name(self):
        """What it is asked for by."""
        return self.method + '+' * self.ensemble

    @property
    def label(self):
        return self.name + (f' ({self.variant})' if self.variant else '')

    @property
    def is_network(self):
        """Whether its figures are a network's, not those of bicubic, which any record has."""
        return self.method != BICUBIC


@dataclass(frozen=True)
class Run:
    """One run that counts in a cell."""
    file: Path
    record: Record
    psnr: float | None
    ssim: float | None
    iteration: int | None
    """Of a validation in the middle of training; None for a finished test and for bicubic."""


@dataclass(frozen=True)
class Measured:
    """What the runs of a cell give."""
    runs: tuple
    """``Run`` by seed and file."""
    left_out: tuple = ()
    """Files of records that do not count, for a newer one is of the same training, test or checkpoint."""
    overtaken: tuple = ()
    """Files of validations that do not count, for a later one or a finished test does."""

    def mean(self, metric):
        """Over the runs; None where one of them has no such metric."""
        values = self._values(metric)
        return None if None in values else sum(values) / len(values)

    def spread(self, metric):
        """Sample standard deviation over the runs, None for a single one."""
        values = self._values(metric)
        if len(values) < 2 or not all(value is not None and math.isfinite(value) for value in values):
            return None
        return statistics.stdev(values)

    def _values(self, metric):
        return [getattr(run, metric) for run in self.runs]


def printed(value, metric):
    """A value with the decimals of its metric, ``?`` for None."""
    return '?' if value is None else f'{value:.{METRICS[metric]}f}'


def in_order(method):
    """Sorting key of rows."""
    parts = method.split('+')
    if method in ORDER:
        return 0, [ORDER.index(method)], method
    if all(part in ORDER for part in parts):
        return 1, [ORDER.index(part) for part in parts], method
    return (2, [len(parts)], method) if parts[0] == 'DCKD' else (3, [], method)


def dataset_order(name):
    """Sorting key of columns: the known data sets, then others."""
    known = list(SETS)
    return (known.index(name) if name in known else len(known)), name


def row_of(record):
    """The row of a record in a table of its pair."""
    method = '+'.join(sorted(record.method.split('+'), key=in_order))  # FAKD+DUKD and DUKD+FAKD are one method
    return RowName(record.scale, method, bool(record.protocol.get('self_ensemble')))


def dataset_of(record):
    """The data set's usual name."""
    return ALIASES.get(record.dataset['name'], record.dataset['name'])


def scores_of(file, record, y_channel=True):
    """PSNR and SSIM of a record by the protocol of the tables: a border of ``scale`` pixels left out.

    Args:
        file (Path): of the record, for errors.
        record (Record): what was measured.
        y_channel (bool): on Y of YCbCr, else on RGB.

    Returns:
        tuple: dicts with ``psnr`` in dB and ``ssim``, None where not measured so: of the network, of bicubic.

    Raises:
        ProtocolError: it has neither by this protocol.
    """
    names = {}
    blocks = record.protocol.get('metrics') or {}
    for name, block in blocks.items():
        metric = TYPES.get(block.get('type'))
        if metric and block.get('crop_border') == record.scale and block.get('test_y_channel', False) == y_channel:
            names.setdefault(metric, name)
    if not any(name in record.mean for name in names.values()):
        found = ', '.join(f'{name} ({block.get("type")}, crop_border {block.get("crop_border")}, test_y_channel '
                          f'{str(block.get("test_y_channel", False)).lower()})' for name, block in blocks.items())
        raise ProtocolError(f'{file}: has no PSNR or SSIM {"on Y" if y_channel else "on RGB"} with crop_border '
                            f'{record.scale}, found {found or "no metrics"}; evaluate anew with such val.metrics')
    return tuple({metric: values.get(names.get(metric)) for metric in METRICS}
                 for values in (record.mean, record.bicubic))


def measured_cells(records, y_channel=True, tell=lambda text: None):
    """Sort records into the cells of the tables; those of another protocol are left out.

    Args:
        records (dict[Path, Record]): as ``find_records`` gives them.
        y_channel (bool): figures on Y, else on RGB.
        tell (callable): is told of each record that is left out.

    Returns:
        dict[tuple, Measured]: by pair, ``RowName`` and data set.

    Raises:
        ProtocolError: no record has figures by the protocol.
    """
    runs, bicubic, refused, variants = {}, {}, [], row_variants(records)
    for file, record in records.items():
        try:
            scores, of_bicubic = scores_of(file, record, y_channel)
        except ProtocolError as error:
            refused.append(error)
            continue
        row = row_of(record)._replace(variant=variants[file])
        place = record.pair, dataset_of(record)
        runs.setdefault((place, row), []).append(Run(file, record, **scores, iteration=record.iteration))
        bicubic.setdefault((place, RowName(record.scale, BICUBIC)), []).append(
            Run(file, record, **of_bicubic, iteration=None))
    if refused and not runs:
        raise refused[0]
    for error in refused:
        tell(f'left out: {error}')
    cells = {(place[0], row, place[1]): _measured(found) for (place, row), found in runs.items()}
    for (place, row), found in bicubic.items():
        cells[place[0], row, place[1]] = Measured((max(found, key=_age), ))
    return cells


def row_variants(records):
    """What tells the runs of each row apart that differ in more than the seed, in words.

    Args:
        records (dict[Path, Record]): as ``find_records`` gives them.

    Returns:
        dict[Path, str]: by file; '' where all runs of the pair, the method and the scale are alike.
    """
    groups, found = {}, {}
    for file, record in records.items():
        groups.setdefault((record.pair, row_of(record)), {})[file] = settings_of(record)
    for settings in groups.values():
        # What one of them does not know is unknown, and nothing to tell others by.
        values = {}
        for of in settings.values():
            for path, value in of.items():
                values.setdefault(path, set()).add(str(value))
        differing = [path for path, known in values.items() if len(known) > 1]
        found |= {file: words_of(of, differing) for file, of in settings.items()}
    return found


def settings_of(record):
    """All that decides about a record's figures but the seed: plain values by paths of options."""
    training, protocol = record.training or {}, record.protocol
    options = training.get('options') or {'batch size': training.get('batch_size'),
                                          'teacher': (training.get('teacher') or {}).get('sha256')}
    found = {**dict(flat(record.network, 'network_g')), **options, 'train.total_iter': training.get('total_iter'),
             'tile': protocol.get('tile') or 'none', 'tile_pad': protocol.get('tile_pad') or 'none',
             'precision': protocol.get('precision')}
    return {path: value for path, value in found.items() if value is not None}


def words_of(settings, paths):
    """Values of settings, by the last parts of their paths as far as these differ; '' without paths."""
    ends = Counter(path.rpartition('.')[2] for path in paths)
    words = []
    for path in paths:
        end = path.rpartition('.')[2]
        name = end if ends[end] == 1 else '.'.join(path.split('.')[-2:])
        value = str(settings.get(path, '?'))
        words.append(f'{name} {value[:SHOWN]}')
    return ', '.join(words)


def _age(run):
    return run.iteration or 0, run.record.finished


def _measured(runs):
    """Of all runs of one cell, those that count: finished tests, else validations of one iteration, each run once."""
    overtaken, seen, chosen, left_out = [], set(), [], []
    if any(run.iteration is None for run in runs):
        overtaken = [run for run in runs if run.iteration is not None]
    for run in sorted((run for run in runs if run not in overtaken), key=_age, reverse=True):
        names = _identities(run.record)
        if not seen.isdisjoint(names):
            (left_out if run.iteration is None else overtaken).append(run)
            continue
        seen |= names
        chosen.append(run)
    last = max(run.iteration or 0 for run in chosen)  # trainings that are not as far are not compared with those
    overtaken += [run for run in chosen if (run.iteration or 0) < last]
    chosen = [run for run in chosen if (run.iteration or 0) == last]
    chosen.sort(key=lambda run: (run.record.seed is None, run.record.seed or 0, str(run.file)))
    return Measured(tuple(chosen), *(tuple(run.file for run in group) for group in (left_out, overtaken)))


def _identities(record):
    """What two records of one run have in common: the training, or the test where that is not known; the weights."""
    run = record.training or {'name': record.name, 'seed': record.seed}
    names = {('run', run.get('name'), run.get('seed'))}
    if record.checkpoint:
        names.add(('checkpoint', record.checkpoint['sha256']))
    return names
