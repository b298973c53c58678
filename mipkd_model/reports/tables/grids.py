"""A pair's table as a grid, with notes on every mark in it, and the table of where its figures come from."""
from collections import Counter
from pathlib import Path
from string import ascii_lowercase

from .cells import METRICS, printed
from .layouts import Grid, Span
from .pair_tables import second_figure
from .published import PAIRS, SOURCES, other_figures

UNKNOWN = '?'
_LOOKS = {1: 'best', 2: 'second'}


def pair_grid(table, shown, y_channel=True):
    """The table of a pair.

    Args:
        table (PairTable): what to show.
        shown (str): the published figures ``beside`` the measured ones, ``only`` the published ones, or ``none``.
        y_channel (bool): the figures are on Y, else on RGB.

    Returns:
        Grid: rows by scale and method.
    """
    if shown == 'beside' and table.pair not in PAIRS:
        shown = 'none'  # of other pairs nothing is published
    letters = _letters(table) if shown != 'none' else {}
    lines, scale = [], None
    for row, cells in table.rows.items():
        cells = list(cells.values())
        source = [f'[{",".join(marks)}]'] if (marks := _marks(cells, letters)) else []
        published = [_figures(cell, cell.published_value, cell.published_ranks) for cell in cells]
        of_row = {'measured': [measured_text(cell, row.is_network) for cell in cells],
                  ' '.join(['published', *source]): published}
        if any(cell.difference(metric) is not None for cell in cells for metric in METRICS):
            of_row['difference'] = [_figures(cell, cell.difference, {}, signed) for cell in cells]
        names = ['' if row.scale == scale else f'x{row.scale}', row.label]
        scale = row.scale
        if shown == 'none':
            lines.append((*names, *of_row['measured']))
        elif shown == 'only':
            lines.append((names[0], ' '.join([row.label, *source]), *published))
        else:
            for key, texts in of_row.items():
                lines.append((*names, key, *texts))
                names = ['', '']
    what = {'beside': 'measured and published', 'only': 'published', 'none': 'measured'}[shown]
    title = (f'{table.pair}: {what} PSNR (dB) / SSIM on {"Y" if y_channel else "RGB"}, a border of scale pixels left '
             'out')
    head = ('Scale', 'Method', *([''] if shown == 'beside' else []), *table.datasets)
    return Grid(title, head, tuple(lines), len(head) - len(table.datasets),
                tuple(_notes(table, shown, letters, lines)))


def sources_grid(table):
    """Where the measured figures of a pair's table come from: a row for each network that was measured."""
    by_network = {}
    for row, dataset, run in _runs(table):
        checkpoint = (run.record.checkpoint or {}).get('sha256')
        by_network.setdefault((row, run.record.name, checkpoint), []).append((dataset, run))
    lines = []
    for (row, *_), found in by_network.items():
        record = found[0][1].record
        checkpoint, training = record.checkpoint or {}, (record.training or {}).get('option_file') or {}
        weights = ' '.join(filter(None, [checkpoint.get('file'), (checkpoint.get('sha256') or '')[:12]]))
        lines.append((f'x{row.scale}', row.label, UNKNOWN if record.seed is None else str(record.seed),
                      ', '.join(dataset for dataset, _ in found), _code(training.get('command')),
                      _code(record.command), _code(weights),
                      _code(' '.join(sorted({str(run.file.parent) for _, run in found}))), record.finished[:10]))
    head = ('Scale', 'Method', 'Seed', 'Data sets', 'Trained by', 'Tested by', 'Checkpoint, SHA-256', 'Records', 'Date')
    return Grid(f'{table.pair}: where the measured figures come from', head, tuple(lines), len(head),
                (f'{UNKNOWN}: not known', ) if any(UNKNOWN in line for line in lines) else ())


def _code(text):
    return (Span(text, 'code'), ) if text else UNKNOWN


def measured_text(cell, is_network=True):
    """The measured figures of a cell with its marks.

    Args:
        cell (Cell): the cell.
        is_network (bool): its figures are a network's; those of bicubic have no marks of runs.
    """
    if not cell.measured:
        return UNKNOWN
    marks = '!' * any(run.record.dataset.get('good') is False for run in cell.measured.runs)
    marks += '†' * (is_network and any(run.iteration is not None for run in cell.measured.runs))
    spreads = {metric: cell.measured.spread(metric) for metric in METRICS}
    return _figures(cell, cell.value, cell.ranks, spreads=spreads) + ((marks, ) if marks else ())


def signed(value, metric):
    """A difference with its sign, and none for what prints as zero."""
    text = printed(value, metric)
    return text if value is None else text.lstrip('-') if float(text) == 0 else f'{value:+.{METRICS[metric]}f}'


def _figures(cell, value, ranks, show=printed, spreads=None):
    """PSNR/SSIM of a cell as spans; one ``?`` where both are unknown."""
    if all(value(metric) is None for metric in METRICS):
        return (UNKNOWN, )
    spans = []
    for metric in METRICS:
        text, look = show(value(metric), metric), _LOOKS.get(ranks.get(metric))
        spans.append(Span(text, look) if look else text)
        if spreads and spreads[metric] is not None:
            spans.append(Span(f' ± {printed(spreads[metric], metric)}', 'spread'))
        spans.append('/')
    return tuple(spans[:-1])


def _letters(table):
    """Marks of the sources in a table: letters by their keys."""
    keys = dict.fromkeys(cell.published.source for cells in table.rows.values() for cell in cells.values()
                         if cell.published)
    return dict(zip((key for key in SOURCES if key in keys), ascii_lowercase, strict=False))


def _marks(cells, letters):
    return sorted({letters[cell.published.source] for cell in cells if cell.published and letters})


def _runs(table):
    return [(row, dataset, run) for row, cells in table.rows.items() for dataset, cell in cells.items()
            if cell.measured and row.is_network for run in cell.measured.runs]


def rank_notes(lines, among):
    """The note on the best and the second figure in lines of texts, none where nothing is marked so."""
    looks = {span.look for span in _spans(lines) if isinstance(span, Span)}
    if 'best' in looks:
        second = [', ', Span('second', 'second')] if 'second' in looks else []
        yield Span('best', 'best'), *second, f': {among}'


def _spans(lines):
    return [span for line in lines for text in line if not isinstance(text, str) for span in text]


def _notes(table, shown, letters, lines):
    """Notes on the marks that are in the table."""
    apart = ', measured and published apart' if shown == 'beside' else ''
    yield from rank_notes(lines, f'among the students shown, by scale and data set, as printed{apart}')
    if any(UNKNOWN in span for span in _spans(lines) if isinstance(span, str)):
        yield {'beside': '?: not measured, or not published', 'only': '?: not published',
               'none': '?: not measured'}[shown]
    if any('difference' in line for line in lines):
        yield 'difference: measured minus published'
    if shown != 'only':
        yield from measured_notes(table)
    for key, letter in letters.items():
        yield f'[{letter}] {SOURCES[key].text}'
    for row, cells in table.rows.items() if letters else ():
        for dataset, cell in cells.items():
            for fact in cell.others:
                yield (f'x{row.scale} {row.label}, {dataset}: also published: {second_figure(fact)} in '
                       f'{SOURCES[fact.source].text}')
    for text, reason in other_figures(table.pair).items() if letters else ():
        yield f'published, but not for these rows ({reason}): {text}'


def seed_twice(runs):
    """Whether runs of one cell, which differ in nothing but the seed, have the same seed."""
    seeds = [run.record.seed for run in runs if run.record.seed is not None]
    return len(set(seeds)) < len(seeds)


def measured_notes(table):
    """Notes on what is special about the measured figures of a table."""
    runs = _runs(table)
    several, unfinished, doubtful, images, left_out, overtaken = {}, {}, {}, {}, {}, {}
    for row, cells in table.rows.items():
        for dataset, cell in cells.items():
            if cell.measured and row.is_network:
                if len(cell.measured.runs) > 1:
                    several.setdefault(f'x{row.scale} {row.label}: {len(cell.measured.runs)}', []).append(dataset)
                left_out |= dict.fromkeys(map(str, cell.measured.left_out))
                overtaken |= dict.fromkeys(map(str, cell.measured.overtaken))
    for row, dataset, run in runs:
        images.setdefault(f'x{row.scale} {dataset}', {}).setdefault(run.record.dataset['sha256'], str(run.file))
        if run.iteration is not None:
            unfinished.setdefault(f'x{row.scale} {row.label} at iteration {run.iteration}', []).append(dataset)
        if run.record.dataset.get('good') is False:
            doubtful[f'x{row.scale} {dataset}: {run.record.dataset["check"]}'] = None
    if several:
        counts = '; '.join(f'{row} ({", ".join(datasets)})' for row, datasets in several.items())
        yield f'±: mean and sample standard deviation over runs; {counts}'
    if any(row.variant for row in table.rows):
        yield 'in parentheses: what tells the runs of a method apart beside the seed; they are not averaged'
    if any(row.ensemble for row in table.rows):
        yield 'a + behind a method: with self-ensemble, compared only among themselves'
    if doubtful:
        yield f'!: not the known images; {"; ".join(doubtful)}'
    if unfinished:
        where = '; '.join(f'{run} ({", ".join(dict.fromkeys(datasets))})' for run, datasets in unfinished.items())
        yield f'†: validation in the middle of training, not a finished test; {where}'
    if left_out:
        yield f'left out, for a newer record is of the same training, test or checkpoint: {", ".join(left_out)}'
    if overtaken:
        folders = Counter(str(Path(file).parent) for file in overtaken)
        yield ('left out, validations followed by a later one or by a finished test: '
               + ', '.join(f'{count} in {folder}' for folder, count in folders.items()))
    for row, cells in table.rows.items():
        for dataset, cell in cells.items():
            if cell.measured and row.is_network and seed_twice(cell.measured.runs):
                yield f'x{row.scale} {row.label}, {dataset}: a seed is there twice; are these trainings of their own?'
    for where, by_images in images.items():
        if len(by_images) > 1:
            yield f'{where}: measured on {len(by_images)} different sets of images: {", ".join(by_images.values())}'
