"""``mipkd table``: from the records of evaluations to the paper's tables, with the published figures."""
from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipkd_arch.base.errors import UserError, one_of

from ..base.files import atomic_write, check_writable
from ..evaluation.records import Record, find_records, record_files
from ..experiments.ablations import ABLATIONS
from ..experiments.methods import VARIANTS
from ..experiments.networks import PAIRS as NETWORK_PAIRS
from ..experiments.networks import SCALES, student_block, teacher_block
from ..experiments.runs import Pair, parse_pair
from ..reports.tables import costs
from ..reports.tables.ablation import ablation_results, ablation_rows, ablation_table
from ..reports.tables.layouts import LAYOUTS, Table, csv_text, table_text
from ..reports.tables.measured import DATASETS, ORDER, Cells, measured_cells, method_order
from ..reports.tables.pair_table import pair_table, sources_table
from ..reports.tables.published import PAIRS, published_cells
from ..reports.tables.results import csv_rows, pair_order, pair_results
from .arguments import add_part
from .old_forms import accept_old_forms, new_table

if TYPE_CHECKING:
    from ..reports.profiling.macs import NetworkCost

RESULTS = 'results'
Output = tuple[list[Table], list[dict[str, Any]]]
"""Tables, and the same as rows for CSV."""


def pairs(args: argparse.Namespace) -> Output:
    """The tables of pairs, measured and published."""
    y_channel = args.channel == 'y'
    published = args.published and y_channel  # what is published is on Y
    measured = _measured(args)
    if not args.method:  # next to its variants MiPKD would not be what is compared
        measured = {place: cell for place, cell in measured.items() if place[1].method not in VARIANTS}
    results = pair_results(measured, published=published, **_chosen(args, measured, published))
    if not results:
        asked = ' '.join(f'--{name} {" ".join(map(str, getattr(args, name)))}'
                         for name in ('arch', 'scale', 'dataset', 'method') if getattr(args, name))
        datasets = ', '.join(sorted({dataset for *_, dataset in measured}))
        found = f'{_row_names(measured)} on {datasets}' if measured else 'ablations alone'
        raise UserError(f'{asked or "mipkd table pairs"}: no figure is of that; records are of {found}')
    tables = []
    for of_pair in results:
        tables.append(pair_table(of_pair, published=published, y_channel=y_channel))
        sources = sources_table(of_pair) if args.sources else None
        if sources and sources.lines:
            tables.append(sources)
    return tables, csv_rows(results)


def published(args: argparse.Namespace) -> Output:
    """The tables of what others have printed."""
    results = pair_results({}, **_chosen(args, {}, True))
    if not results:
        raise UserError('mipkd table published: no published figure is of that')
    return [pair_table(of_pair, measured=False) for of_pair in results], csv_rows(results)


def ablation(args: argparse.Namespace) -> Output:
    """The tables of an ablation, for each pair that has records of its variants."""
    chosen = ABLATIONS[one_of('ABLATION', args.ablation, tuple(ABLATIONS))]
    measured = _measured(args)
    found = Counter((pair, scale) for pair, scale, method in
                    {(pair, row.scale, row.method) for pair, row, _ in measured} if method in chosen.variants)
    options = _chosen(args, measured, False)
    archs, scales = options['pairs'] if args.arch else None, options['scales']
    # One variant alone compares nothing, unless it is asked for, to see what is still to be run.
    places = [(pair, scale) for (pair, scale), count in found.items()
              if (pair in archs if archs else count > 1) and (not scales or scale in scales)]
    if not places:
        raise UserError(f'ABLATION: no two records are of variants of {args.ablation} ({", ".join(chosen.variants)}); '
                        f'records are of {_row_names(measured)}. mipkd options ablation {args.ablation} EDSR_x4 writes '
                        'the option files of the variants')
    tables, rows = [], []
    for pair, scale in sorted(places, key=lambda place: (pair_order(place[0]), place[1])):
        results = ablation_results(chosen, measured, pair, scale, options['datasets'])
        tables.append(ablation_table(args.ablation, chosen, results, scale, args.channel == 'y'))
        rows += ablation_rows(args.ablation, chosen, results)
    return tables, rows


def cost(args: argparse.Namespace) -> Output:
    """The tables of what networks cost to run and methods to train."""
    # Networks cost the same without any record; it is the times of training that need some.
    records = _records(args) if args.records or record_files(Path(RESULTS)) else {}
    titles = {Pair(*names, SCALES[0]).title for names in NETWORK_PAIRS}
    in_records = {record.pair for record in records.values()}
    archs = _allowed('--arch', args.arch, PAIRS, titles | in_records)
    scales = _allowed('--scale', args.scale, SCALES, {record.scale for record in records.values()})
    blocks = costs.recorded_networks(records)
    networks: list[tuple[str, int, Any, Any]] = []
    for pair in archs or sorted(in_records or PAIRS, key=pair_order):
        for scale in sorted({*SCALES, *(of for name, of, _ in blocks if name == pair)}):
            if scales and scale not in scales:
                continue
            teacher, student = (blocks.get((pair, scale, role)) for role in ('teacher', 'student'))
            if pair in titles and scale in SCALES:
                known = parse_pair(f'{pair}_x{scale}')
                networks.append((pair, scale, known.teacher, known.student))
            elif teacher or student:
                networks.append((pair, scale, teacher, student))
    network_rows = costs.network_rows(networks, _network_cost)
    training_rows = costs.training_rows({
        file: record for file, record in records.items()
        if (not archs or record.pair in archs) and (not scales or record.scale in scales)})
    tables = [costs.network_table(network_rows)] if network_rows else []
    return [*tables, costs.training_table(training_rows)], network_rows + training_rows


def _network_cost(role: str, network: str | dict[str, Any] | None, scale: int) -> NetworkCost | None:
    """Cost of a network, by its name or option block; None where there is none, or its file is not there."""
    from ..reports.profiling.macs import network_cost  # imports torch
    if isinstance(network, str):
        network = teacher_block(network, scale)[0] if role == 'teacher' else student_block(network, scale)
    if network is None or 'file' in network and not Path(network['file']).is_file():
        return None
    return network_cost(network)


def _show(make: Callable[[argparse.Namespace], Output]) -> Callable[[argparse.Namespace], None]:
    """The command that prints or writes what ``make`` gives."""
    def run(args: argparse.Namespace) -> None:
        if args.out:
            check_writable(args.out, '--out')
        tables, rows = make(args)
        if args.format == 'csv':
            text = csv_text(rows)
        else:
            text = table_text(tables, args.format, bold=not args.out and sys.stdout.isatty())
        if args.out:
            with atomic_write(args.out) as file:
                file.write_text(text, encoding='utf-8')
            print(args.out)
        else:
            print(text, end='')
    return run


def _records(args: argparse.Namespace) -> dict[Path, Record]:
    try:
        return find_records(args.records or [RESULTS])
    except UserError as error:
        hint = '' if args.records else '; published figures need no record: mipkd table published'
        raise UserError(f'{error}{hint}') from None


def _measured(args: argparse.Namespace) -> Cells:
    return measured_cells(_records(args), args.channel == 'y', lambda text: print(f'note: {text}', file=sys.stderr))


def _row_names(measured: Cells) -> str:
    return ', '.join(sorted({f'{pair} x{row.scale} {row.label}' for pair, row, _ in measured}))


def _chosen(args: argparse.Namespace, measured: Cells, published: bool) -> dict[str, Any]:
    """The chosen pairs, scales, datasets and methods; allowed is what is known by name, and what the records have."""
    in_records = sorted({pair for pair, *_ in measured}, key=pair_order)
    methods = {method for _, _, method, _ in published_cells()} if published else set()
    return {'pairs': _allowed('--arch', args.arch, PAIRS, in_records) or in_records or None,
            'scales': _allowed('--scale', args.scale, SCALES, {row.scale for _, row, _ in measured}),
            'datasets': _allowed('--dataset', args.dataset, DATASETS, {dataset for *_, dataset in measured}),
            'methods': _allowed('--method', getattr(args, 'method', None), ORDER,
                                methods | {row.name for _, row, _ in measured}, method_order)}


def _allowed(option: str, values: Sequence[Any] | None, known: Sequence[Any], found: Collection[Any],
             order: Callable[[Any], Any] | None = None) -> list[Any] | None:
    """The values of an option, each of which must be known or found in the records; None stays None."""
    allowed = [*known, *sorted(set(found) - set(known), key=order)]
    for value in values or ():
        if isinstance(value, str) and value not in allowed and Path(value).exists():
            raise UserError(f'{option}: {value} is a file or folder; name RECORDS before the options')
        one_of(option, value, allowed)
    return list(dict.fromkeys(values)) if values else None


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``mipkd table``."""
    parser = commands.add_parser(
        'table', help='tables of measured and published figures',
        description="Make the paper's tables, ablations and costs from the records that mipkd test writes.",
        epilog='example: mipkd table pairs results --arch EDSR --scale 4 --format markdown --out docs/edsr_x4.md')
    accept_old_forms(parser, new_table)
    parts = parser.add_subparsers(title='commands', required=True)

    part = _add_part(parts, 'pairs', pairs, 'PSNR and SSIM of each method, measured and published',
                     'mipkd table pairs results --arch EDSR --scale 4 --format latex')
    _add_figures(part)
    part.add_argument('--no-published', dest='published', action='store_false',
                      help='leave out the published figures, which are on Y')
    part.add_argument('--method', nargs='+', metavar='METHOD',
                      help='rows, in this order (default: all but the variants of ablations)')
    part.add_argument('--sources', action='store_true',
                      help='add the command, option file, checkpoint and record of each measured figure')

    part = _add_part(parts, 'published', published, 'PSNR and SSIM that others have printed',
                     'mipkd table published --arch RCAN --format markdown', with_records=False)
    part.add_argument('--dataset', nargs='+', metavar='NAME', help=f'columns (default: {", ".join(DATASETS)})')
    part.add_argument('--method', nargs='+', metavar='METHOD', help='rows, in this order (default: all)')

    part = _add_part(parts, 'ablation', ablation, 'variants of MiPKD, and whether they have the published order',
                     'mipkd table ablation encoders results --arch EDSR --scale 4', 'ablation')
    _add_figures(part)

    _add_part(parts, 'cost', cost, 'what networks cost to run and methods to train',
              'mipkd table cost --arch RCAN --format csv')


def _add_part(parts: argparse._SubParsersAction, name: str, make: Callable[[argparse.Namespace], Output], about: str,
              example: str, first: str | None = None, with_records: bool = True) -> argparse.ArgumentParser:
    part = add_part(parts, name, _show(make), about, example)
    if first:
        part.add_argument(first, metavar='ABLATION', help=f'one of {", ".join(ABLATIONS)}')
    if with_records:
        part.add_argument('records', nargs='*', metavar='RECORDS',
                          help=f'records, or folders with records, before the options (default: {RESULTS})')
    part.add_argument('--arch', nargs='+', metavar='PAIR', help=f'{", ".join(PAIRS)}, or other pairs of the records')
    part.add_argument('--scale', nargs='+', type=int, metavar='N', help='scales (default: all)')
    part.add_argument('--format', choices=LAYOUTS, default='terminal', help='how to write it (default: terminal)')
    part.add_argument('--out', metavar='FILE', help='file to write (default: the screen)')
    return part


def _add_figures(part: argparse.ArgumentParser) -> None:
    part.add_argument('--dataset', nargs='+', metavar='NAME',
                      help=f'columns (default: {", ".join(DATASETS)} and what else the records have)')
    part.add_argument('--channel', choices=('y', 'rgb'), default='y',
                      help='figures on Y of YCbCr or on RGB (default: %(default)s)')
