"""The results of a pair as a table with notes on every mark in it, and the table of where its figures come from."""
from collections.abc import Callable, Iterator, Mapping, Sequence
from string import ascii_lowercase

from .layouts import Styled, Table, Text
from .measured import METRICS, RowName, RunResult, printed
from .published import PAIRS, SOURCES
from .results import Cell, PairResults

UNKNOWN = '?'
STYLES = {1: 'best', 2: 'second'}
"""Styles by rank."""


def pair_table(results: PairResults, measured: bool = True, published: bool = True, y_channel: bool = True) -> Table:
    """The table of a pair: rows by scale and method, with the measured and the published figures on Y or RGB."""
    published = published and (results.pair in PAIRS or not measured)
    sources = {cell.published.source for cells in results.rows.values() for cell in cells.values() if cell.published}
    letters = dict(zip((key for key in SOURCES if key in sources and published), ascii_lowercase, strict=False))
    lines: list[tuple[Text, ...]] = []
    scale = None
    for row, by_dataset in results.rows.items():
        cells = list(by_dataset.values())
        names = ['' if row.scale == scale else f'x{row.scale}', row.label]
        scale = row.scale
        marks = sorted({letters[cell.published.source] for cell in cells if published and cell.published})
        mark = f' [{",".join(marks)}]' if marks else ''
        ours = [measured_text(cell, row.is_network) for cell in cells]
        theirs = [_figures(cell.published_value, cell.published_ranks) for cell in cells]
        if not published:
            lines.append((*names, *ours))
        elif not measured:
            lines.append((names[0], row.label + mark, *theirs))
        else:
            lines += [(*names, 'measured', *ours), ('', '', f'published{mark}', *theirs)]
            if any(cell.difference(metric) is not None for cell in cells for metric in METRICS):
                lines.append(('', '', 'difference', *(_figures(cell.difference, {}, signed) for cell in cells)))
    what = ' and '.join(['measured'] * measured + ['published'] * published)
    title = f'{results.pair}: {what} {protocol_words(y_channel)}'
    keys = ('Scale', 'Method', *([''] if measured and published else []))
    return Table(title, (*keys, *results.datasets), tuple(lines), len(keys),
                 tuple(_notes(results, lines, letters, measured, published)))


def protocol_words(y_channel: bool) -> str:
    """How figures were measured, for titles."""
    return f'PSNR (dB) / SSIM on {"Y" if y_channel else "RGB"}, a border of scale pixels left out'


def sources_table(results: PairResults) -> Table:
    """Where the measured figures of a pair come from: a row for each network that was measured."""
    by_network: dict[tuple, list[tuple[str, RunResult]]] = {}
    for row, dataset, run, _ in _network_runs(results):
        checkpoint = (run.record.checkpoint or {}).get('sha256')
        by_network.setdefault((row, run.record.name, checkpoint), []).append((dataset, run))
    lines = []
    for (row, *_), found in by_network.items():
        record = found[0][1].record
        checkpoint, option_file = record.checkpoint or {}, (record.training or {}).get('option_file') or {}
        weights = ' '.join(filter(None, [checkpoint.get('file'), (checkpoint.get('sha256') or '')[:12]]))
        folders = ' '.join(sorted({str(run.file.parent) for _, run in found}))
        codes = [(Styled(text, 'code'), ) if text else UNKNOWN
                 for text in (option_file.get('command'), record.command, weights, folders)]
        lines.append((f'x{row.scale}', row.label, UNKNOWN if record.seed is None else str(record.seed),
                      ', '.join(dataset for dataset, _ in found), *codes, record.finished[:10]))
    head = ('Scale', 'Method', 'Seed', 'Datasets', 'Trained by', 'Tested by', 'Checkpoint, SHA-256', 'Records', 'Date')
    notes = (f'{UNKNOWN}: not known', ) if any(UNKNOWN in line for line in lines) else ()
    return Table(f'{results.pair}: where the measured figures come from', head, tuple(lines), len(head), notes)


def measured_text(cell: Cell, is_network: bool = True) -> Text:
    """The measured figures of a cell with marks of unknown images and unfinished trainings; bicubic has no training."""
    if not cell.measured:
        return UNKNOWN
    marks = '!' * any(run.record.dataset.get('good') is False for run in cell.measured.runs)
    marks += '†' * (is_network and any(run.iteration is not None for run in cell.measured.runs))
    stds = {metric: cell.measured.std(metric) for metric in METRICS}
    figures = _figures(cell.value, cell.ranks, stds=stds)
    return figures + (marks, ) if marks else figures


def signed(value: float | None, metric: str) -> str:
    """A difference with its sign, and none for what prints as zero."""
    text = printed(value, metric)
    if value is None:
        return text
    return text.lstrip('-') if float(text) == 0 else f'{value:+.{METRICS[metric]}f}'


def rank_notes(lines: Sequence[tuple[Text, ...]], among: str) -> Iterator[Text]:
    """The note on the best and the second figure in lines of texts, none where nothing is marked so."""
    styles = {part.style for line in lines for text in line for part in text if isinstance(part, Styled)}
    if 'best' in styles:
        second: list[str | Styled] = [', ', Styled('second', 'second')] if 'second' in styles else []
        yield Styled('best', 'best'), *second, f': {among}'


def measured_notes(results: PairResults) -> Iterator[str]:
    """Notes on what is special about the measured figures."""
    several: dict[str, dict[str, None]] = {}
    unfinished: dict[str, dict[str, None]] = {}
    unknown: dict[str, None] = {}
    for row, dataset, run, count in _network_runs(results):
        if count > 1:
            several.setdefault(f'x{row.scale} {row.label}: {count}', {})[dataset] = None
        if run.record.dataset.get('good') is False:
            unknown[f'x{row.scale} {dataset}: {run.record.dataset["check"]}'] = None
        if run.iteration is not None:
            unfinished.setdefault(f'x{row.scale} {row.label} at iteration {run.iteration}', {})[dataset] = None
    if several:
        yield f'±: mean and sample standard deviation over runs; {_joined(several)}'
    if any(row.settings for row in results.rows):
        yield 'in parentheses: settings that the runs of a method do not share; these are not averaged'
    if any(row.ensemble for row in results.rows):
        yield 'a + behind a method: with self-ensemble, compared only among themselves'
    if unknown:
        yield f'!: not the known images; {"; ".join(unknown)}'
    if unfinished:
        yield f'†: validation in the middle of training, not a finished test; {_joined(unfinished)}'


def _joined(datasets_by_run: Mapping[str, Mapping[str, None]]) -> str:
    return '; '.join(f'{run} ({", ".join(datasets)})' for run, datasets in datasets_by_run.items())


def _figures(value: Callable[[str], float | None], ranks: Mapping[str, int],
             show: Callable[[float | None, str], str] = printed, stds: Mapping[str, float | None] | None = None
             ) -> tuple[str | Styled, ...]:
    """PSNR/SSIM of a cell; one ``?`` where both are unknown."""
    if all(value(metric) is None for metric in METRICS):
        return (UNKNOWN, )
    parts: list[str | Styled] = []
    for metric in METRICS:
        text, style = show(value(metric), metric), STYLES.get(ranks.get(metric, 0))
        parts.append(Styled(text, style) if style else text)
        std = stds.get(metric) if stds else None
        if std is not None:
            parts.append(Styled(f' ± {printed(std, metric)}', 'std'))
        parts.append('/')
    return tuple(parts[:-1])


def _network_runs(results: PairResults) -> Iterator[tuple[RowName, str, RunResult, int]]:
    """Row, dataset, run and the number of runs in its cell."""
    for row, cells in results.rows.items():
        for dataset, cell in cells.items():
            if cell.measured and row.is_network:
                for run in cell.measured.runs:
                    yield row, dataset, run, len(cell.measured.runs)


def _notes(results: PairResults, lines: Sequence[tuple[Text, ...]], letters: Mapping[str, str], measured: bool,
           published: bool) -> Iterator[Text]:
    apart = ', measured and published apart' if measured and published else ''
    yield from rank_notes(lines, f'among the students shown, by scale and dataset, as printed{apart}')
    if any(UNKNOWN in text for line in lines for text in line[2:]):
        yield f'?: {", or ".join(["not measured"] * measured + ["not published"] * published)}'
    if any('difference' in line for line in lines):
        yield 'difference: measured minus published'
    if measured:
        yield from measured_notes(results)
    for key, letter in letters.items():
        yield f'[{letter}] {SOURCES[key]}'
