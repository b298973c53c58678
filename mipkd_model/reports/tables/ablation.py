"""Tables of MiPKD's ablations: the variants by dataset, and whether they come out in the published order."""
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...experiments.ablations import Ablation
from .layouts import Table
from .measured import Cells, RowName, printed
from .pair_table import UNKNOWN, measured_notes, measured_text, protocol_words, rank_notes
from .results import Cell, PairResults, columns_of, csv_rows, pair_results

FULL = 'MiPKD'
"""The variant that every published order puts first."""
FURTHER = {'components': (('MiPKD-feature', 'Logits-KD'), ('MiPKD-block', 'Logits-KD')),
           'encoders': (('MiPKD-encoder-shared', 'MiPKD-encoder-none'), )}
"""What else is published, by ablation: the better and the worse method of two."""


def published_order(name: str, variants: Iterable[str]) -> list[tuple[str, str]]:
    """What is published of an ablation's order: the better and the worse method of two."""
    return [(FULL, method) for method in variants if method != FULL] + list(FURTHER.get(name, ()))


def agreement(order: Sequence[tuple[str, str]], values: Mapping[str, float | None], labels: Mapping[str, str]) -> str:
    """Whether mean PSNR in dB by method, None where it is not measured, has the ``published_order``, as printed.

    Returns:
        ``yes``; ``no:`` or ``equal:`` and which variants; ``?`` where something is not measured and nothing differs.
    """
    found: dict[str, list[str]] = {'no': [], 'equal': []}
    pairs = [(better, worse) for better, worse in order
             if values.get(better) is not None and values.get(worse) is not None]
    for better, worse in pairs:
        high, low = (float(printed(values[method], 'psnr')) for method in (better, worse))
        if high <= low:
            kind, sign = ('no', '>') if high < low else ('equal', '=')
            found[kind].append(f'{labels[worse]} {sign} {labels[better]}')
    for kind, differences in found.items():
        if differences:
            return f'{kind}: {", ".join(differences)}'
    return 'yes' if len(pairs) == len(order) else UNKNOWN


def ablation_results(ablation: Ablation, measured: Cells, pair: str, scale: int,
                     datasets: Sequence[str] | None = None) -> PairResults:
    """The measured figures of an ablation's variants, a row for each; ``datasets`` are by default the paper's."""
    datasets = tuple(datasets or columns_of(measured, pair))
    found = pair_results(measured, published=False, pairs=[pair], scales=[scale], datasets=datasets,
                         methods=list(ablation.variants))
    rows: dict[RowName, dict[str, Cell]] = {}
    for method in ablation.variants:
        of_method = {row: cells for row, cells in (found[0].rows if found else {}).items() if row.method == method}
        rows |= of_method or {RowName(scale, method): {dataset: Cell() for dataset in datasets}}
    return PairResults(pair, datasets, rows)


def ablation_table(name: str, ablation: Ablation, results: PairResults, scale: int, y_channel: bool = True) -> Table:
    """The results of an ablation as a table of variants by datasets; figures are on Y or RGB."""
    lines = [(ablation.variants[row.method], row.label, *(measured_text(cell) for cell in cells.values()))
             for row, cells in results.rows.items()]
    lines.append(('as published?', '', *_agreements(name, ablation, results).values()))
    notes = [f'published order (the numbers are not known): {ablation.published}',
             'as published?: whether PSNR has this order; ? where a variant is not measured',
             *rank_notes(lines, 'among the variants on a dataset, as printed')]
    title = f'{ablation.title}, {results.pair} x{scale}: measured {protocol_words(y_channel)}'
    return Table(title, ('Variant', 'Method', *results.datasets), tuple(lines), 2, (*notes, *measured_notes(results)))


def ablation_rows(name: str, ablation: Ablation, results: PairResults) -> list[dict[str, Any]]:
    """One flat dict for each measured variant and dataset, for CSV."""
    agree = _agreements(name, ablation, results)
    return [{'ablation': name, 'variant': ablation.variants[row['method']],
             **{key: value for key, value in row.items() if 'published' not in key and 'difference' not in key},
             'as_published': agree[row['dataset']]} for row in csv_rows([results])]


def _agreements(name: str, ablation: Ablation, results: PairResults) -> dict[str, str]:
    order, count = published_order(name, ablation.variants), Counter(row.method for row in results.rows)
    # Of a variant with several settings it is not known which one is meant.
    alone = {row.method: cells for row, cells in results.rows.items() if count[row.method] == 1}
    return {dataset: agreement(order, {method: cells[dataset].value('psnr') for method, cells in alone.items()},
                               ablation.variants) for dataset in results.datasets}
