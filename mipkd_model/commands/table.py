"""``mipkd table``: from the records of evaluations to the paper's tables, with the published figures."""
from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mipkd_arch.base.errors import UserError, one_of

from ..evaluation.records import find_records, record_files
from ..experiments.ablations import ABLATIONS
from ..experiments.methods import VARIANTS
from ..experiments.networks import PAIRS as NETWORK_PAIRS
from ..experiments.networks import SCALES, student_block, teacher_block
from ..experiments.runs import SETS, Pair, parse_pair
from ..reports.tables import costs
from ..reports.tables.ablation import ablation_results, ablation_rows, ablation_table
from ..reports.tables.layouts import LAYOUTS, Table, csv_text, table_text
from ..reports.tables.measured import ORDER, Cells, measured_cells
from ..reports.tables.pair_table import pair_table, sources_table
from ..reports.tables.published import PAIRS, published_cells
from ..reports.tables.results import csv_rows, pair_order, pair_results
from .arguments import add_command, add_group, print_or_write

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
        found = _row_names(measured) or 'ablations'
        raise UserError(f'mipkd table pairs: no figure is of that; records are of {found}')
    tables = []
    for of_pair in results:
        tables.append(pair_table(of_pair, published=published, y_channel=y_channel))
        if args.sources and (sources := sources_table(of_pair)).lines:
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
    records = find_records(args.records or [RESULTS]) if args.records or record_files(Path(RESULTS)) else {}
    titles = {Pair(*names, SCALES[0]).title for names in NETWORK_PAIRS}
    in_records = {record.pair for record in records.values()}
    archs = _allowed('--arch', args.arch, PAIRS, titles | in_records)
    scales = _allowed('--scale', args.scale, SCALES, {record.scale for record in records.values()})
    blocks = costs.recorded_networks(records)
    networks: list[tuple[str, int, Any, Any]] = []
    for pair in archs or sorted(in_records or PAIRS, key=pair_order):
        for scale in sorted(scales or {*SCALES, *(of for name, of, _ in blocks if name == pair)}):
            known = parse_pair(f'{pair}_x{scale}') if pair in titles and scale in SCALES else None
            both: list[Any] = [known.teacher, known.student] if known else [
                blocks.get((pair, scale, role)) for role in ('teacher', 'student')]
            if any(both):
                networks.append((pair, scale, *both))
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
        tables, rows = make(args)
        bold = not args.out and sys.stdout.isatty()
        text = csv_text(rows) if args.format == 'csv' else table_text(tables, args.format, bold=bold)
        print_or_write(text, args.out)
    return run


def _measured(args: argparse.Namespace) -> Cells:
    records = find_records(args.records or [RESULTS])
    return measured_cells(records, args.channel == 'y', lambda text: print(f'note: {text}', file=sys.stderr))


def _row_names(measured: Cells) -> str:
    return ', '.join(sorted({f'{pair} x{row.scale} {row.label}' for pair, row, _ in measured}))


def _chosen(args: argparse.Namespace, measured: Cells, published: bool) -> dict[str, Any]:
    """The chosen pairs, scales, datasets and methods; allowed is what is known by name, and what the records have."""
    in_records = sorted({pair for pair, *_ in measured}, key=pair_order)
    methods = {method for _, _, method, _ in published_cells()} if published else set()
    return {'pairs': _allowed('--arch', args.arch, PAIRS, in_records) or in_records or None,
            'scales': _allowed('--scale', args.scale, SCALES, {row.scale for _, row, _ in measured}),
            'datasets': _allowed('--dataset', args.dataset, SETS, {dataset for *_, dataset in measured}),
            'methods': _allowed('--method', getattr(args, 'method', None), ORDER,
                                methods | {row.name for _, row, _ in measured})}


def _allowed(option: str, values: Sequence[Any] | None, known: Sequence[Any], found: Collection[Any]
             ) -> list[Any] | None:
    """The values of an option, each of which must be known or found in the records; None stays None."""
    allowed = [*known, *sorted(set(found) - set(known))]
    return list(dict.fromkeys(one_of(option, value, allowed) for value in values)) if values else None


ARGUMENTS: dict[str, dict[str, Any]] = {
    'ablation': {'metavar': 'ABLATION', 'help': f'one of {", ".join(ABLATIONS)}'},
    'records': {'nargs': '*', 'metavar': 'RECORDS',
                'help': f'records, or folders with records, before the options (default: {RESULTS})'},
    '--arch': {'nargs': '+', 'metavar': 'PAIR', 'help': f'{", ".join(PAIRS)}, or other pairs of the records'},
    '--scale': {'nargs': '+', 'type': int, 'metavar': 'N', 'help': 'scales (default: all)'},
    '--dataset': {'nargs': '+', 'metavar': 'NAME', 'help': f'columns (default: {", ".join(SETS)} and others)'},
    '--method': {'nargs': '+', 'metavar': 'METHOD', 'help': 'rows, in this order (default: no variants of ablations)'},
    '--channel': {'choices': ('y', 'rgb'), 'default': 'y', 'help': 'figures on Y of YCbCr, the default, or on RGB'},
    '--no-published': {'dest': 'published', 'action': 'store_false', 'help': 'leave out the published figures (on Y)'},
    '--sources': {'action': 'store_true', 'help': 'add command, option file, checkpoint and record of each figure'},
    '--format': {'choices': LAYOUTS, 'default': 'terminal', 'help': 'how to write it (default: terminal)'},
    '--out': {'metavar': 'FILE', 'help': 'file to write (default: the screen)'}}
COMMANDS = (
    (pairs, 'PSNR and SSIM of each method, measured and published', 'results --arch EDSR --scale 4 --format latex',
     'records --arch --scale --dataset --method --channel --no-published --sources --format --out'),
    (published, 'PSNR and SSIM that others have printed', '--arch RCAN --format markdown',
     '--arch --scale --dataset --method --format --out'),
    (ablation, 'variants of MiPKD, and whether they have the published order',
     'encoders results --arch EDSR --scale 4', 'ablation records --arch --scale --dataset --channel --format --out'),
    (cost, 'what networks cost to run and methods to train', '--arch RCAN --format csv',
     'records --arch --scale --format --out'))


def add(commands: Any) -> None:
    """Add the parsers of ``mipkd table``."""
    parts = add_group(commands, 'table', 'tables of measured and published figures, ablations and costs',
                      'mipkd table pairs results --arch EDSR --scale 4 --format markdown --out docs/edsr_x4.md')
    for make, about, example, names in COMMANDS:
        part = add_command(parts, make.__name__, _show(make), about, f'mipkd table {make.__name__} {example}')
        for name in names.split():
            part.add_argument(name, **ARGUMENTS[name])
