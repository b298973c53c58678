"""``mipkd options``: the runs that are compared, and their option files."""
import argparse
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from mipkd_arch.base.errors import UserError, one_line, one_of

from ..config.cli_arguments import add_plugins_option
from ..experiments.ablations import ABLATIONS
from ..experiments.custom import is_custom, read_custom_parts
from ..experiments.methods import AGGREGATION, METHODS, TEACHER, blocks_of, needs_teacher
from ..experiments.networks import PAIRS, SCALES, STUDENTS, TEACHER_PARAMETERS, TEACHERS
from ..experiments.option_files import text_of_test, text_of_training, write_option_files
from ..experiments.runs import TRIO, Pair, Run, chosen_runs, parse_pair, parse_run
from .arguments import add_command, add_group, fail, print_or_write

# What reads and checks option files imports torch: only the functions that need it do so.

FOLDER = 'options'
LEGEND = f'''
scales     {", ".join(map(str, SCALES))}
teachers   {", ".join(TEACHERS)}
students   {", ".join(STUDENTS)}
methods    {textwrap.fill(", ".join(METHODS), 108, subsequent_indent=" " * 11, break_on_hyphens=False)}
           + joins several: FAKD+DUKD, MiPKD+Weight-selection, which takes a teacher of the student's family;
           with --test, {TEACHER} tests the teacher itself;
           {AGGREGATION} trains what makes one image of those of several teachers

Any teacher goes with any student: mipkd options write <teacher>-<student>_x<scale> METHOD, for example EDSR_x2 FAKD.
RRDBNet has weights for x4 alone. Above are the chosen pairs.
Several teachers are joined by +: mipkd options write EDSR+DAT_light-EDSR_x4 MTKD, and first EDSR+DAT_light_x4
{AGGREGATION}. MTKD with a student alone, as EDSR_x4, has {", ".join(TRIO)}.
Ablations of MiPKD, for mipkd options ablation NAME <pair>_x<scale>, and their methods:
''' + '\n'.join(f'{name:<13} {", ".join(ablation.variants)}' for name, ablation in ABLATIONS.items())


def list_runs(_: argparse.Namespace) -> None:
    """Print the chosen pairs with their sizes, and what option files can be written of."""
    rows = []
    for teacher, student in PAIRS:
        counts = TEACHER_PARAMETERS.get(teacher, {}).get(4), STUDENTS[student].parameters[4]
        rows.append([Pair(teacher, student, 4).title, *(f'{count / 1e6:.2f}M' if count else '?' for count in counts)])
    print(tabulate(rows, ['pair', 'teacher x4', 'student x4'], disable_numparse=True))
    print(LEGEND)


def write(args: argparse.Namespace) -> None:
    """Write the option file of a pair and a method, or of a name; both files of a run with custom parts."""
    custom, is_test = is_custom(args), args.test
    if bool(args.name) == bool(args.pair):
        raise UserError('mipkd options write: takes PAIR METHOD or --name NAME; for example mipkd options write '
                        'EDSR_x2 FAKD')
    if args.name and (custom or is_test):
        raise UserError('--name: goes with --out alone; it begins with test_ for a test')
    if args.name:
        run, is_test = parse_run(args.name), args.name.startswith('test_')
    else:
        pair = parse_pair(args.pair, several=True)
        if args.method is None:
            raise UserError(f'METHOD: missing after {args.pair}; allowed are {", ".join(METHODS)}')
        run = Run(pair, args.method)
    if custom:
        _write_custom(run, args)
    elif args.out == '-':
        print(_text(run, is_test, _file(run, is_test)), end='')
    else:
        file = Path(args.out or _file(run, is_test))
        write_option_files({file: _text(run, is_test, file)})
        print(file)


def write_all(args: argparse.Namespace) -> None:
    """Write the option files of every chosen pair and method."""
    methods = (*METHODS, TEACHER) if args.test else METHODS
    _write_into(args.out, [(run, args.test) for run in chosen_runs(methods)])


def write_ablation(args: argparse.Namespace) -> None:
    """Write the option files of an ablation's variants, and of the x2 students that they start from."""
    variants = ABLATIONS[one_of('ABLATION', args.ablation, tuple(ABLATIONS))].variants
    pair = parse_pair(args.pair)
    runs = [Run(pair, method) for method in variants]
    starts = [run.start for run in runs if run.start]
    _write_into(args.out, [*((run, False) for run in starts + runs), *((run, True) for run in runs)])


def write_page(args: argparse.Namespace) -> None:
    """Print or write the page that describes all options."""
    from ..config import plugins
    from ..config.options_page import text_of_page
    plugins.use(args.plugins)
    print_or_write(text_of_page(), args.out)


def _file(run: Run, is_test: bool, folder: str = FOLDER) -> Path:
    if folder == '-':
        raise UserError('--out: - has no meaning here; name a folder to write into')
    return Path(folder, f'{run.test_name if is_test else run.name}.yml')


def _text(run: Run, is_test: bool, file: Path) -> str:
    return (text_of_test if is_test else text_of_training)(run, file)


def _write_into(folder: str, runs: Sequence[tuple[Run, bool]]) -> None:
    """Write files into a folder, from pairs of a run and whether its test is meant."""
    files = {_file(run, is_test, folder): (run, is_test) for run, is_test in runs}
    write_option_files({file: _text(*meant, file) for file, meant in files.items()})
    print(f'{folder}: {len(files)} option files')


def _write_custom(run: Run, args: argparse.Namespace) -> None:
    """Write the files of a run with custom parts; all or, if anything is wrong, none."""
    from ..config import plugins
    plugins.use(args.plugins)
    has_teacher = run.is_teacher or run.is_aggregation or needs_teacher(blocks_of(run.method))
    custom, errors = read_custom_parts(args, run.pair.scale, has_teacher)
    if errors:
        lines = list(dict.fromkeys(map(one_line, errors)))
        fail(lines, f'mipkd options: found {len(lines)} mistakes, and wrote nothing')
    run = replace(run, custom=custom)
    runs = [(run, True)] if args.test else [(run, False), (run, True)]
    if run.aggregation and not args.test:
        runs = [(run.aggregation, False), *runs]
    files = {_file(*meant, args.out or FOLDER): meant for meant in runs}
    write_option_files({file: _text(*meant, file) for file, meant in files.items()})
    print(*files, sep='\n')


def add(commands: Any) -> None:
    """Add the parsers of ``mipkd options``."""
    parts = add_group(commands, 'options', 'option files of the compared runs; the page that describes all options',
                      'mipkd options write EDSR_x2 FAKD')
    add_command(parts, 'list', list_runs, 'print the chosen pairs, the methods and the ablations', 'mipkd options list')

    part = add_command(
        parts, 'write', write, 'write the option file of a teacher, a student, a scale and a method',
        'mipkd options write EDSR_x4 MiPKD --data photos --val more_photos --teacher weights.pth --iters 50000')
    part.add_argument('pair', nargs='?', metavar='PAIR', help='<teacher>-<student>_x<scale>, or EDSR_x4 for both')
    part.add_argument('method', nargs='?', metavar='METHOD', help='one of those of mipkd options list, or several by +')
    part.add_argument('--test', action='store_true', help='write the file for testing instead of training')
    part.add_argument('--name', help='instead of PAIR METHOD: train_<METHOD>_<PAIR> or test_<METHOD>_<PAIR>')
    part.add_argument('--out', metavar='PATH', help=f'file to write, - for the screen (default: {FOLDER}/<name>.yml); '
                      'with any of the options below a folder')
    own = part.add_argument_group(
        'images, teacher and length of your own', 'Any of these writes the files for training and testing (with --test '
        'that for testing alone), of a run that starts from scratch. What is not given stays as published.')
    own.add_argument('--data', metavar='DIR', help='what to train on: what mipkd data pack has written, or HR images')
    own.add_argument('--lq', metavar='DIR', help='the LR images of --data, where they are not next to them')
    own.add_argument('--val', metavar='DIR', help='what to measure on during and after the training, as --data')
    own.add_argument('--val-lq', metavar='DIR', help='the LR images of --val, where they are not next to them')
    own.add_argument('--teacher', nargs='+', action='extend', default=[], metavar='FILE', help='weights of the '
                     'teacher, or of several: of an EDSR, RCAN or SwinIR, whose sizes are read from them, or of any '
                     'network that spandrel opens')
    own.add_argument('--iters', metavar='N', help='iterations of the training; the schedule and the log are fitted')
    add_plugins_option(own)

    part = add_command(parts, 'all', write_all, 'write the option files of every chosen pair, scale and method',
                       'mipkd options all --out my_options')
    part.add_argument('--test', action='store_true', help='for testing instead of training')
    part.add_argument('--out', required=True, metavar='DIR', help='folder to write into')

    part = add_command(parts, 'ablation', write_ablation, 'write the option files of an ablation of MiPKD',
                       'mipkd options ablation encoders EDSR_x4', 'Write all files for training and testing of an '
                       'ablation of MiPKD, and of the x2 students that it starts from.')
    part.add_argument('ablation', metavar='ABLATION', help=f'one of {", ".join(ABLATIONS)}')
    part.add_argument('pair', metavar='PAIR', help='as for mipkd options write')
    part.add_argument('--out', default=FOLDER, metavar='DIR', help='folder to write into (default: %(default)s)')

    part = add_command(parts, 'page', write_page, 'print the page that describes all options, in Markdown',
                       'mipkd options page --out docs/options.md')
    part.add_argument('--out', metavar='FILE', help='file to write (default: the screen)')
    add_plugins_option(part)
