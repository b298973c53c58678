"""Which measured and which published figures go into which cell, and which of them are the best."""
import math
from dataclasses import dataclass, field, replace

from .cells import DATASETS, METRICS, NO_STUDENTS, Measured, RowName, dataset_order, in_order, printed
from .published import PAIRS, SOURCES, Fact, published_cells


@dataclass(frozen=True)
class Cell:
    """One method on one data set at one scale."""
    measured: Measured | None = None
    published: Fact | None = None
    others: tuple = ()
    """Published figures for the same cell that differ from ``published``."""
    ranks: dict = field(default_factory=dict)
    """Place of the measured figure among the students', 1 is the best, by metric."""
    published_ranks: dict = field(default_factory=dict)
    """The same of the published figure among the published ones."""

    def value(self, metric):
        """The measured mean, None where there is none."""
        return self.measured.mean(metric) if self.measured else None

    def published_value(self, metric):
        """The published figure, None where there is none."""
        return getattr(self.published, metric) if self.published else None

    def difference(self, metric):
        """Measured minus published, None where one of them is unknown."""
        ours, theirs = self.value(metric), self.published_value(metric)
        return None if ours is None or theirs is None else ours - theirs


@dataclass(frozen=True)
class PairTable:
    """The table of one pair."""
    pair: str
    datasets: tuple
    rows: dict
    """dict[RowName, dict[str, Cell]]: by row and data set, in the order to show."""


def pair_tables(measured, *, published=True, pairs=None, scales=None, datasets=None, methods=None):
    """Tables of all pairs.

    Args:
        measured (dict): as ``measured_cells`` gives it.
        published (bool): put the published figures beside, and rows that are known from publications alone.
        pairs, scales, datasets, methods (sequence | None): what to show; methods in that order; None: all.

    Returns:
        list[PairTable]: of the pairs that have any figure.
    """
    facts = published_cells() if published else {}
    names = {(pair, row) for pair, row, _ in measured}
    named = {(pair, row._replace(variant='')) for pair, row in names if row.variant}
    names |= {(pair, RowName(scale, row)) for pair, scale, row, _ in facts} - named
    tables = []
    for pair in pairs or sorted({pair for pair, _ in names}, key=pair_order):
        rows = [row for of, row in names if of == pair and (scales is None or row.scale in scales)
                and (methods is None or row.name in methods)]
        rows.sort(key=lambda row: (row.scale, methods.index(row.name) if methods else in_order(row.method), row))
        columns = datasets or columns_of(measured, pair)
        cells = {row: {dataset: _cell(measured, facts, pair, row, dataset) for dataset in columns} for row in rows}
        # A row whose figures are all of data sets that are not shown says nothing.
        cells = {row: of for row, of in cells.items() if any(cell.measured or cell.published for cell in of.values())}
        if cells:
            tables.append(PairTable(pair, tuple(columns), _ranked(cells, columns)))
    return tables


def columns_of(measured, pair):
    """The paper's data sets for its pairs, and the others that a pair is measured on."""
    found = {dataset for of, _, dataset in measured if of == pair}
    return sorted(found | (set(DATASETS) if pair in PAIRS else set()), key=dataset_order)


def pair_order(pair):
    """Sorting key of pairs: the paper's, then others."""
    return (PAIRS.index(pair) if pair in PAIRS else len(PAIRS)), pair


def ranks(values, metric):
    """Places of values, 1 being the highest; those that print alike share a place.

    Args:
        values (dict): floats by any key; None and nan have no place.
        metric (str): whose printed decimals decide.

    Returns:
        dict[key, int]: empty for fewer than two values, among which nothing is best.
    """
    rounded = {key: float(printed(value, metric)) for key, value in values.items()
               if value is not None and not math.isnan(value)}
    places = sorted(set(rounded.values()), reverse=True)
    return {key: places.index(value) + 1 for key, value in rounded.items()} if len(rounded) > 1 else {}


def tidy_rows(tables):
    """One flat dict for each cell with a figure, for CSV; None where a figure is unknown."""
    return [_tidy(table.pair, row, dataset, cell) for table in tables for row, cells in table.rows.items()
            for dataset, cell in cells.items() if cell.measured or cell.published]


def _cell(measured, facts, pair, row, dataset):
    # A figure of self-ensemble is not comparable with the published ones, which are without.
    found = [] if row.ensemble else facts.get((pair, row.scale, row.method, dataset), [])
    first = found[0] if found else None
    others = tuple(fact for fact in found[1:] if any(
        None not in (theirs := (getattr(fact, metric), getattr(first, metric)))
        and len({printed(value, metric) for value in theirs}) > 1 for metric in METRICS))
    return Cell(measured.get((pair, row, dataset)), first, others)


def _ranked(rows, datasets):
    """The rows with the places of their figures by scale and data set, with and without self-ensemble apart."""
    rows = {row: dict(cells) for row, cells in rows.items()}
    for group in {(row.scale, row.ensemble) for row in rows}:
        students = [row for row in rows if (row.scale, row.ensemble) == group and row.method not in NO_STUDENTS]
        for dataset in datasets:
            ours, theirs = ({metric: ranks({row: value(rows[row][dataset], metric) for row in students}, metric)
                             for metric in METRICS} for value in (Cell.value, Cell.published_value))
            for row in students:
                rows[row][dataset] = replace(
                    rows[row][dataset],
                    ranks={metric: places[row] for metric, places in ours.items() if row in places},
                    published_ranks={metric: places[row] for metric, places in theirs.items() if row in places})
    return rows


def _tidy(pair, row, dataset, cell):
    runs = cell.measured.runs if cell.measured else ()
    values = {'pair': pair, 'scale': row.scale, 'method': row.method, 'self_ensemble': row.ensemble,
              'setting': row.variant, 'dataset': dataset}
    for metric in METRICS:
        values |= {metric: cell.value(metric), f'{metric}_std': cell.measured and cell.measured.spread(metric)}
    values['runs'] = len(runs)
    values |= {f'{metric}_rank': cell.ranks.get(metric) for metric in METRICS}
    values |= {f'published_{metric}': cell.published_value(metric) for metric in METRICS}
    values['published_source'] = cell.published and SOURCES[cell.published.source].text
    values['published_otherwise'] = '; '.join(f'{second_figure(fact)} in {SOURCES[fact.source].text}'
                                              for fact in cell.others)
    values |= {f'published_{metric}_rank': cell.published_ranks.get(metric) for metric in METRICS}
    values |= {f'{metric}_difference': cell.difference(metric) for metric in METRICS}
    is_network = row.is_network
    values['seeds'] = ' '.join('?' if run.record.seed is None else str(run.record.seed) for run in runs if is_network)
    values['records'] = '; '.join(str(run.file) for run in runs)
    values['iterations'] = ' '.join(str(run.iteration) for run in runs if run.iteration is not None)
    values['known_images'] = ' '.join(str(run.record.dataset.get('good')) for run in runs)
    return values


def second_figure(fact):
    """The figures of a fact, such as ``32.98`` or ``32.64/0.9002``."""
    return '/'.join(printed(value, metric) for metric, value in (('psnr', fact.psnr), ('ssim', fact.ssim))
                    if value is not None)
