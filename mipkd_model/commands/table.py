"""``mipkd table``: from the records of evaluations to the paper's tables, beside the published figures."""
import sys
from collections import Counter
from pathlib import Path

from mipkd_arch.base.errors import UserError, one_of

from ..base.files import atomic_write, check_writable
from ..evaluation.records import find_records, record_files
from ..experiments.ablations import ABLATIONS
from ..experiments.methods import VARIANTS
from ..experiments.networks import PAIRS as NETWORK_PAIRS
from ..experiments.networks import SCALES, student_block, teacher_block
from ..experiments.runs import Pair, parse_pair
from ..reports.costs.macs import network_cost
from ..reports.tables.ablation import ablation_grid, ablation_rows, ablation_table
from ..reports.tables.cells import DATASETS, ORDER, in_order, measured_cells
from ..reports.tables.cost import network_grid, network_rows, recorded_networks, training_grid, training_rows
from ..reports.tables.grids import pair_grid, sources_grid
from ..reports.tables.layouts import LAYOUTS, csv_text, grid_text
from ..reports.tables.pair_tables import pair_order, pair_tables, tidy_rows
from ..reports.tables.published import PAIRS, published_cells

RESULTS = 'results'
EXAMPLE = 'example: mipkd table results --arch EDSR --scale 4 --format markdown --out docs/edsr_x4.md'


def table(args):
    """Print or write what the parsed arguments ask for."""
    _refuse_contradictions(args)
    if args.out:
        check_writable(args.out, '--out')
    if args.cost:
        grids, rows = _cost(args)
    elif args.ablation:
        grids, rows = _ablation(args)
    else:
        grids, rows = _pairs(args)
    if args.format == 'csv':
        text = csv_text(rows)
    else:
        text = grid_text(grids, args.format, colours=not args.out and sys.stdout.isatty())
    if args.out:
        with atomic_write(args.out) as file:
            file.write_text(text, encoding='utf-8')
        print(args.out)
    else:
        print(text, end='')


def _refuse_contradictions(args):
    given = {'--dataset': args.dataset, '--method': args.method, '--channel': args.channel,
             '--published': args.published, '--sources': args.sources}
    if args.cost and args.ablation:
        raise UserError('--cost: says nothing of --ablation; ask for one of them')
    for option, refused in (('--cost', given), ('--ablation', ('--method', '--published', '--sources'))):
        for other in refused:
            if getattr(args, option[2:]) and given[other]:
                raise UserError(f'{other}: has no meaning with {option}; leave one of them out')
    if args.published in ('only', 'beside') and args.channel == 'rgb':
        raise UserError(f'--published: {args.published} cannot be had with --channel rgb, for what is published is on '
                        'Y; take --published none')
    if args.published == 'only' and args.sources:
        raise UserError('--sources: has no meaning with --published only, which shows no records')
    if args.published == 'only' and args.records:
        raise UserError(f'--published: only shows no records, but {args.records[0]} is given; leave one of them out')
    if args.sources and args.format not in ('terminal', 'markdown'):
        raise UserError(f'--sources: goes with --format terminal and markdown, not {args.format}; CSV names the '
                        'records in each line')


def _pairs(args):
    y_channel = args.channel != 'rgb'
    shown = args.published or ('beside' if y_channel else 'none')
    measured = {} if shown == 'only' else measured_cells(_records(args), y_channel, _tell)
    if not args.method:  # beside its variants MiPKD would not be what is compared
        measured = {place: cell for place, cell in measured.items() if place[1].method not in VARIANTS}
    facts = published_cells() if shown != 'none' else {}
    # What is allowed: what is known by name, and what the records have.
    pairs = _allowed('--arch', args.arch, PAIRS, {pair for pair, *_ in measured}, pair_order)
    scales = _allowed('--scale', args.scale, SCALES, {row.scale for _, row, _ in measured})
    datasets = _allowed('--dataset', args.dataset, DATASETS, {dataset for *_, dataset in measured})
    methods = _allowed('--method', args.method, ORDER,
                       {row for _, _, row, _ in facts} | {row.name for _, row, _ in measured}, in_order)
    if not pairs and shown != 'only':
        pairs = sorted({pair for pair, *_ in measured}, key=pair_order)
    tables = pair_tables(measured, published=shown != 'none', pairs=pairs, scales=scales, datasets=datasets,
                         methods=methods)
    if not tables:
        asked = ' '.join(f'--{name} {" ".join(map(str, value))}' for name in ('arch', 'scale', 'dataset', 'method')
                         if (value := getattr(args, name)))
        found = _rows_of(measured)
        sets = ', '.join(sorted({dataset for *_, dataset in measured}))
        raise UserError(f'{asked or "mipkd table"}: no figure is of that; records are of '
                        f'{f"{found} on {sets}" if found else "ablations alone"}')
    grids = []
    for of_pair in tables:
        grids.append(pair_grid(of_pair, shown, y_channel))
        if args.sources and (sources := sources_grid(of_pair)).lines:
            grids.append(sources)
    return grids, tidy_rows(tables)


def _ablation(args):
    ablation = ABLATIONS[one_of('--ablation', args.ablation, tuple(ABLATIONS))]
    y_channel = args.channel != 'rgb'
    measured = measured_cells(_records(args), y_channel, _tell)
    found = Counter((pair, scale) for pair, scale, method in
                    {(pair, row.scale, row.method) for pair, row, _ in measured} if method in ablation.variants)
    pairs = _allowed('--arch', args.arch, PAIRS, {pair for pair, *_ in measured})
    scales = _allowed('--scale', args.scale, SCALES, {row.scale for _, row, _ in measured})
    # One variant alone compares nothing, unless it is asked for, to see what is still to be run.
    places = sorted((place for place, count in found.items() if (place[0] in pairs if pairs else count > 1)
                     and (not scales or place[1] in scales)), key=lambda place: (pair_order(place[0]), place[1]))
    if not places:
        raise UserError(f'--ablation: no two records are of variants of {args.ablation} '
                        f'({", ".join(ablation.variants)}); records are of {_rows_of(measured)}. mipkd options '
                        f'--ablation {args.ablation} EDSR_x4 writes the option files of the variants')
    datasets = _allowed('--dataset', args.dataset, DATASETS, {dataset for *_, dataset in measured})
    grids, rows = [], []
    for pair, scale in places:
        of_pair = ablation_table(ablation, measured, pair, scale, datasets)
        grids.append(ablation_grid(args.ablation, ablation, of_pair, scale, y_channel))
        rows += ablation_rows(args.ablation, ablation, of_pair)
    return grids, rows


def _rows_of(measured):
    return ', '.join(sorted({f'{pair} x{row.scale} {row.label}' for pair, row, _ in measured}))


def _cost(args):
    # Networks cost the same without any record; it is the times of training that need some.
    records = _records(args) if args.records or record_files(Path(RESULTS)) else {}
    titles = {Pair(*names, SCALES[0]).title for names in NETWORK_PAIRS}
    in_records = {record.pair for record in records.values()}
    pairs = _allowed('--arch', args.arch, PAIRS, titles | in_records)
    scales = _allowed('--scale', args.scale, SCALES, {record.scale for record in records.values()})
    blocks = recorded_networks(records)
    networks = []
    for pair in pairs or sorted(in_records or PAIRS, key=pair_order):
        for scale in sorted({*SCALES, *(of for name, of, _ in blocks if name == pair)}):
            if scales and scale not in scales:
                continue
            if pair in titles and scale in SCALES:
                known = parse_pair(f'{pair}_x{scale}')
                networks.append((pair, scale, known.teacher, known.student))
            elif any(of_pair := [blocks.get((pair, scale, role)) for role in ('teacher', 'student')]):
                networks.append((pair, scale, *of_pair))
    networks = network_rows(networks, _network_cost)
    training = training_rows({file: record for file, record in records.items()
                              if (not pairs or record.pair in pairs) and (not scales or record.scale in scales)})
    grids = [*([network_grid(networks)] if networks else []), training_grid(training)]
    return grids, networks + training


def _network_cost(role, network, scale):
    """Cost of a network, by its name or option block; None where there is none, or its file is not there."""
    block = network
    if isinstance(network, str):
        block = teacher_block(network, scale)[0] if role == 'teacher' else student_block(network, scale)
    if block is None or 'file' in block and not Path(block['file']).is_file():
        return None
    return network_cost(block)


def _tell(text):
    print(f'note: {text}', file=sys.stderr)


def _records(args):
    try:
        return find_records(args.records or [RESULTS])
    except UserError as error:
        hint = '' if args.records else '; published figures need no record: mipkd table --published only'
        raise UserError(f'{error}{hint}') from None


def _allowed(option, values, known, found, order=None):
    """The values of an option, each of which must be known or found in the records; None stays None."""
    allowed = [*known, *sorted(found - set(known), key=order)]
    for value in values or ():
        if isinstance(value, str) and value not in allowed and Path(value).exists():
            raise UserError(f'{option}: {value} is a file or folder; name RECORDS before the options')
        one_of(option, value, allowed)
    return list(dict.fromkeys(values)) if values else None


def add(commands):
    """Add the parser of ``mipkd table``."""
    parser = commands.add_parser(
        'table', help='tables of what was measured, beside the published figures', epilog=EXAMPLE,
        usage='mipkd table [RECORDS ...] [options]',
        description="Make the paper's tables, ablations and costs from the records that mipkd test writes.")
    parser.add_argument('records', nargs='*', metavar='RECORDS',
                        help=f'records, or folders with records, before the options (default: {RESULTS})')
    parser.add_argument('--arch', nargs='+', metavar='PAIR',
                        help=f'{", ".join(PAIRS)}, or other pairs of the records (default: those of the records, all '
                             'with --published only)')
    parser.add_argument('--scale', nargs='+', type=int, metavar='N', help='scales (default: all)')
    parser.add_argument('--dataset', nargs='+', metavar='NAME',
                        help=f'columns (default: {", ".join(DATASETS)} and what else the records have)')
    parser.add_argument('--method', nargs='+', metavar='METHOD',
                        help='rows, in this order (default: all but the variants of --ablation)')
    parser.add_argument('--channel', choices=('y', 'rgb'), help='figures on Y of YCbCr or on RGB (default: y)')
    parser.add_argument('--published', choices=('beside', 'only', 'none'),
                        help='published figures beside the measured ones, without them, or not at all (default: '
                             'beside; none for --channel rgb)')
    parser.add_argument('--format', choices=LAYOUTS, default='terminal', help='how to write it (default: terminal)')
    parser.add_argument('--out', metavar='FILE', help='file to write (default: the screen)')
    parser.add_argument('--sources', action='store_true',
                        help='add the command, option file, checkpoint and record of each measured figure')
    parser.add_argument('--ablation', metavar='NAME',
                        help=f'variants of MiPKD instead of methods: {", ".join(ABLATIONS)}')
    parser.add_argument('--cost', action='store_true', help='what networks cost to run and methods to train instead')
    parser.set_defaults(run=table)
