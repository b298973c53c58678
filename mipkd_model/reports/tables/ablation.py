"""Tables of MiPKD's ablations: the variants side by side, and whether they come out in the published order."""
from collections import Counter

from .cells import RowName, printed
from .grids import UNKNOWN, measured_notes, measured_text, rank_notes
from .layouts import Grid
from .pair_tables import Cell, PairTable, columns_of, pair_tables, tidy_rows

FULL = 'MiPKD'
"""The variant that every published order puts first."""
_FURTHER = {'components': (('MiPKD-feature', 'Logits-KD'), ('MiPKD-block', 'Logits-KD')),
            'encoders': (('MiPKD-encoder-shared', 'MiPKD-encoder-none'), )}


def published_order(name, variants):
    """What is published of an ablation's order: list of the better and the worse method of two."""
    return [(FULL, method) for method in variants if method != FULL] + list(_FURTHER.get(name, ()))


def agreement(order, values, labels):
    """Whether PSNR follows an order.

    Args:
        order (list[tuple]): the better and the worse method of two.
        values (dict): mean PSNR by method, None where it is not measured.
        labels (dict): what the methods are called in the answer.

    Returns:
        str: ``yes``; ``no:`` and what contradicts, as printed; ``equal:`` and what is, where nothing contradicts; ``?``
        where neither is the case but something is not measured.
    """
    wrong, equal, unknown = [], [], False
    for better, worse in order:
        pair = [values.get(method) for method in (better, worse)]
        if None in pair:
            unknown = True
            continue
        high, low = (float(printed(value, 'psnr')) for value in pair)
        if high < low:
            wrong.append(f'{labels[worse]} > {labels[better]}')
        elif not high > low:
            equal.append(f'{labels[worse]} = {labels[better]}')
    if wrong or equal:
        return f'no: {", ".join(wrong)}' if wrong else f'equal: {", ".join(equal)}'
    return UNKNOWN if unknown else 'yes'


def ablation_table(ablation, measured, pair, scale, datasets=None):
    """The measured figures of an ablation's variants.

    Args:
        ablation (Ablation): its variants.
        measured (dict): as ``measured_cells`` gives it.
        pair (str), scale (int): of which networks.
        datasets (sequence | None): columns; None: the paper's and those found.

    Returns:
        PairTable: a row for each variant, measured or not.
    """
    datasets = datasets or columns_of(measured, pair)
    tables = pair_tables(measured, published=False, pairs=[pair], scales=[scale], datasets=datasets,
                         methods=list(ablation.variants))
    rows = tables[0].rows if tables else {}
    of_variants = [row for method in ablation.variants for row in
                   [found for found in rows if found.method == method and not found.ensemble]
                   or [RowName(scale, method)]]
    return PairTable(pair, tuple(datasets), {
        row: rows.get(row) or {dataset: Cell() for dataset in datasets} for row in of_variants})


def ablation_grid(name, ablation, table, scale, y_channel=True):
    """An ablation as a grid of variants by data sets.

    Args:
        name (str): of the ablation.
        ablation (Ablation): its title, variants and published order.
        table (PairTable): what ``ablation_table`` gave.
        scale (int): of the networks.
        y_channel (bool): the figures are on Y, else on RGB.
    """
    lines = [(ablation.variants[row.method], row.label, *(measured_text(cell) for cell in cells.values()))
             for row, cells in table.rows.items()]
    lines.append(('as published?', '', *_agreements(name, ablation, table).values()))
    notes = [f'published order (the numbers are not known): {ablation.published}',
             'as published?: whether PSNR has this order; ? where a variant is not measured',
             *rank_notes(lines, 'among the variants on a data set, as printed')]
    title = (f'{ablation.title}, {table.pair} x{scale}: measured PSNR (dB) / SSIM on {"Y" if y_channel else "RGB"}, '
             'a border of scale pixels left out')
    return Grid(title, ('Variant', 'Method', *table.datasets), tuple(lines), 2, (*notes, *measured_notes(table)))


def ablation_rows(name, ablation, table):
    """One flat dict for each measured variant and data set, for CSV."""
    agree = _agreements(name, ablation, table)
    return [{'ablation': name, 'variant': ablation.variants[row['method']],
             **{key: value for key, value in row.items() if 'published' not in key and 'difference' not in key},
             'as_published': agree[row['dataset']]} for row in tidy_rows([table])]


def _agreements(name, ablation, table):
    order, count = published_order(name, ablation.variants), Counter(row.method for row in table.rows)
    # Of a variant that was trained in several ways it is not known which one is meant.
    alone = {row: cells for row, cells in table.rows.items() if count[row.method] == 1}
    return {dataset: agreement(order, {row.method: cells[dataset].value('psnr') for row, cells in alone.items()},
                               ablation.variants) for dataset in table.datasets}
