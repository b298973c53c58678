"""Which measured and which published figures go into which cell of a pair's table, and which of them are the best."""
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ...data.benchmarks import SETS as PUBLIC
from ...experiments.runs import SETS
from .measured import METRICS, NOT_STUDENTS, Cells, Measured, RowName, method_order, printed
from .published import PAIRS, SOURCES, PublishedResult, published_cells


@dataclass
class Cell:
    """One method on one dataset at one scale; ranks are among the students, 1 is the best, by metric."""
    measured: Measured | None = None
    published: PublishedResult | None = None
    ranks: dict[str, int] = field(default_factory=dict)
    published_ranks: dict[str, int] = field(default_factory=dict)

    def value(self, metric: str) -> float | None:
        """The measured mean, None where there is none."""
        return self.measured.mean(metric) if self.measured else None

    def published_value(self, metric: str) -> float | None:
        """The published figure, None where there is none."""
        return getattr(self.published, metric) if self.published else None

    def difference(self, metric: str) -> float | None:
        """Measured minus published, None where one of them is unknown."""
        ours, theirs = self.value(metric), self.published_value(metric)
        return None if ours is None or theirs is None else ours - theirs


class PairResults(NamedTuple):
    """The results of one pair."""
    pair: str
    datasets: tuple[str, ...]
    rows: dict[RowName, dict[str, Cell]]  # cells by row and dataset, in the order to show


def pair_results(measured: Cells, *, published: bool = True, pairs: Sequence[str] | None = None,
                 scales: Sequence[int] | None = None, datasets: Sequence[str] | None = None,
                 methods: Sequence[str] | None = None) -> list[PairResults]:
    """Results of all pairs that have any figure; None shows all, ``methods`` are shown in their order.

    Published figures add rows that are known from publications alone.
    """
    theirs = published_cells() if published else {}
    names = {(pair, row) for pair, row, _ in measured}
    with_settings = {(pair, row._replace(settings='')) for pair, row in names if row.settings}
    names |= {(pair, RowName(scale, method)) for pair, scale, method, _ in theirs} - with_settings
    found = []
    for pair in pairs or sorted({pair for pair, _ in names}, key=pair_order):
        columns = tuple(datasets or columns_of(measured, pair))
        chosen = [row for of, row in names if of == pair and (scales is None or row.scale in scales)
                  and (methods is None or row.name in methods)]
        chosen.sort(key=lambda row: (row.scale, methods.index(row.name) if methods else method_order(row.method), row))
        rows = {}
        for row in chosen:
            # A figure of self-ensemble is not comparable with the published ones, which are without.
            cells = {dataset: Cell(measured.get((pair, row, dataset)), None if row.ensemble else theirs.get(
                (pair, row.scale, row.method, dataset))) for dataset in columns}
            if any(cell.measured or cell.published for cell in cells.values()):
                rows[row] = cells
        if rows:
            _rank(rows, columns)
            found.append(PairResults(pair, columns, rows))
    return found


def columns_of(measured: Cells, pair: str) -> list[str]:
    """The paper's datasets for its pairs, and the others that a pair is measured on; public ones first."""
    found = {dataset for of, _, dataset in measured if of == pair} | (set(SETS) if pair in PAIRS else set())
    return [name for name in PUBLIC if name in found] + sorted(found - set(PUBLIC))


def pair_order(pair: str) -> tuple[int, str]:
    """Sorting key of pairs: the paper's, then others."""
    return (PAIRS.index(pair) if pair in PAIRS else len(PAIRS)), pair


def ranks(values: Mapping[Any, float | None], metric: str) -> dict[Any, int]:
    """Ranks of values by their keys, 1 being the highest; those that print alike share a rank, None and nan have none.

    Empty for fewer than two values, among which nothing is best.
    """
    rounded = {key: float(printed(value, metric)) for key, value in values.items()
               if value is not None and not math.isnan(value)}
    places = sorted(set(rounded.values()), reverse=True)
    return {key: places.index(value) + 1 for key, value in rounded.items()} if len(rounded) > 1 else {}


def _rank(rows: Mapping[RowName, Mapping[str, Cell]], datasets: Sequence[str]) -> None:
    """Rank the figures of students by scale and dataset, with and without self-ensemble apart."""
    for group in {(row.scale, row.ensemble) for row in rows}:
        students = [row for row in rows if (row.scale, row.ensemble) == group and row.method not in NOT_STUDENTS]
        for dataset in datasets:
            cells = [rows[row][dataset] for row in students]
            for metric in METRICS:
                for index, rank in ranks(dict(enumerate(cell.value(metric) for cell in cells)), metric).items():
                    cells[index].ranks[metric] = rank
                published = dict(enumerate(cell.published_value(metric) for cell in cells))
                for index, rank in ranks(published, metric).items():
                    cells[index].published_ranks[metric] = rank


def csv_rows(results: Sequence[PairResults]) -> list[dict[str, Any]]:
    """One flat dict for each cell with a figure; None where a figure is unknown."""
    return [_csv_row(of_pair.pair, row, dataset, cell) for of_pair in results for row, cells in of_pair.rows.items()
            for dataset, cell in cells.items() if cell.measured or cell.published]


def _csv_row(pair: str, row: RowName, dataset: str, cell: Cell) -> dict[str, Any]:
    runs = cell.measured.runs if cell.measured else ()
    values: dict[str, Any] = {'pair': pair, 'scale': row.scale, 'method': row.method, 'self_ensemble': row.ensemble,
                              'setting': row.settings, 'dataset': dataset}
    for metric in METRICS:
        values[metric] = cell.value(metric)
        values[f'{metric}_std'] = cell.measured and cell.measured.std(metric)
    values['runs'] = len(runs)
    values |= {f'{metric}_rank': cell.ranks.get(metric) for metric in METRICS}
    values |= {f'published_{metric}': cell.published_value(metric) for metric in METRICS}
    values['published_source'] = cell.published and SOURCES[cell.published.source]
    values |= {f'published_{metric}_rank': cell.published_ranks.get(metric) for metric in METRICS}
    values |= {f'{metric}_difference': cell.difference(metric) for metric in METRICS}
    seeds = ['?' if run.record.seed is None else str(run.record.seed) for run in runs]
    values['seeds'] = ' '.join(seeds) if row.is_network else ''
    values['records'] = '; '.join(str(run.file) for run in runs)
    values['iterations'] = ' '.join(str(run.iteration) for run in runs if run.iteration is not None)
    values['known_images'] = ' '.join(str(run.record.dataset.get('good')) for run in runs)
    return values
