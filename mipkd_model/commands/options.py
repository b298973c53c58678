"""``mipkd options``: the runs that are compared, and their option files."""
import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mipkd_arch.base.errors import UserError, one_line, one_of

from ..base.files import atomic_write, check_writable
from ..config.cli_arguments import add_plugins_option
from ..experiments.ablations import ABLATIONS
from ..experiments.custom import CustomParts, is_custom, read_custom_parts
from ..experiments.methods import METHODS, TEACHER, blocks_of, needs_teacher
from ..experiments.networks import PAIRS, SCALES, STUDENTS, TEACHER_PARAMETERS, TEACHERS
from ..experiments.option_files import text_of_test, text_of_training
from ..experiments.option_text import write_option_files
from ..experiments.runs import Pair, Run, chosen_runs, parse_pair, parse_run
from .arguments import add_part
from .old_forms import accept_old_forms, new_options

# What reads and checks option files imports torch: only the functions that need it do so.

FOLDER = 'options'
LEGEND = f'''
x   written by: mipkd options write <pair>_x<scale> METHOD, for example mipkd options write EDSR_x2 FAKD
=   written, too, but without a teacher it trains what Scratch trains in the first row that has this student
-   the sizes of this teacher are in the file of its weights alone

METHOD may join several: FAKD+DUKD. Any teacher ({", ".join(TEACHERS)}) goes with any student
({", ".join(STUDENTS)}).
With --test the file is that of the test of the trained student; METHOD {TEACHER} tests the teacher itself.

Ablations of MiPKD, written by mipkd options ablation NAME <pair>_x<scale>, and the methods that each compares:
''' + '\n'.join(f'{name:<13} {", ".join(ablation.variants)}' for name, ablation in ABLATIONS.items())


def list_runs(_: argparse.Namespace) -> None:
    """Print the chosen pairs as rows, the methods as columns."""
    rows = [('pair', 'scales', 'teacher/student x4', *METHODS)]
    seen = set()
    for teacher, student in PAIRS:
        size = TEACHER_PARAMETERS.get(teacher, {}).get(4)
        sizes = f'{_millions(size) if size else "-"} / {_millions(STUDENTS[student].parameters[4])}'
        marks = ['=' if method == 'Scratch' and student in seen else 'x' for method in METHODS]
        rows.append((Pair(teacher, student, 4).title, ' '.join(map(str, SCALES)), sizes, *marks))
        seen.add(student)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(' '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(LEGEND)


def write(args: argparse.Namespace) -> None:
    """Write the option file of a pair and a method, or of a name; both files of a run with custom parts."""
    custom = is_custom(args)
    if bool(args.name) == bool(args.pair):
        raise UserError('mipkd options write: takes PAIR METHOD or --name NAME; for example mipkd options write '
                        'EDSR_x2 FAKD')
    if args.name and (custom or args.test):
        raise UserError('--name: goes with --out alone; it begins with test_ for a test')
    if args.name:
        _write(parse_run(args.name), args.name.startswith('test_'), args.out)
        return
    pair = parse_pair(args.pair)
    if args.method is None:
        raise UserError(f'METHOD: missing after {args.pair}; allowed are {", ".join(METHODS)}')
    run = Run(pair, args.method)
    if custom:
        _write_custom(run, args)
    else:
        _write(run, args.test, args.out)


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
    if args.out in (None, '-'):
        print(text_of_page(), end='')
        return
    check_writable(args.out, '--out')
    with atomic_write(args.out) as file:
        file.write_text(text_of_page(), encoding='utf-8')
    print(args.out)


def _millions(count: int) -> str:
    return f'{count / 1e6:.2f}M'


def _file(run: Run, is_test: bool, folder: str) -> Path:
    return Path(folder, f'{run.test_name if is_test else run.name}.yml')


def _text(run: Run, is_test: bool, file: Path) -> str:
    return (text_of_test if is_test else text_of_training)(run, file)


def _write(run: Run, is_test: bool, out: str | None) -> None:
    file = _file(run, is_test, FOLDER)
    if out == '-':
        print(_text(run, is_test, file), end='')
        return
    file = Path(out or file)
    write_option_files({file: _text(run, is_test, file)})
    print(file)


def _write_into(folder: str, runs: Sequence[tuple[Run, bool]]) -> None:
    """Write files into a folder, from pairs of a run and whether its test is meant."""
    if folder == '-':
        raise UserError('--out: - has no meaning here; name a folder to write into')
    files = {_file(run, is_test, folder): (run, is_test) for run, is_test in runs}
    write_option_files({file: _text(*meant, file) for file, meant in files.items()})
    print(f'{folder}: {len(files)} option files')


def _write_custom(run: Run, args: argparse.Namespace) -> None:
    """Write the files of a run with custom parts; all or, if anything is wrong, none."""
    from ..config import plugins
    if args.out == '-':
        raise UserError('--out: - has no meaning here; name a folder to write into')
    plugins.use(args.plugins)
    custom, errors = read_custom_parts(args, run.pair.scale, run.is_teacher or needs_teacher(blocks_of(run.method)))
    texts = {}
    if not errors:
        run = replace(run, custom=custom)
        for is_test in (True, ) if args.test else (False, True):
            file = _file(run, is_test, args.out or FOLDER)
            texts[file] = _text(run, is_test, file)
            errors += _mistakes(texts[file], file, not is_test, custom)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        for line in dict.fromkeys(map(one_line, errors)):
            print(f'error: {line}', file=sys.stderr)
        raise UserError(f'mipkd options: found {len(errors)} mistakes, and wrote nothing')
    write_option_files(texts)
    for file in texts:
        print(file)


def _mistakes(text: str, file: Path, is_train: bool, custom: CustomParts) -> list[UserError]:
    """What ``mipkd check`` would say of the options, apart from what has still to be fetched or trained."""
    from ..config.checks import find_in_options
    from ..config.command_line import complete
    from ..config.dry_run import find_in_networks
    from ..config.paths import find_in_files
    from ..config.reader import parse
    opt = parse(text, str(file))
    found = find_in_options(opt, is_train)
    if found.errors:
        return found.errors
    opt.update(dist=False, rank=0, world_size=1, auto_resume=False, is_train=is_train, num_gpu=0)
    complete(opt, '.', is_train)
    given = {'datasets.train': custom.data, 'datasets.val': custom.val, 'datasets.test': custom.val,
             'path.pretrain_network_t': custom.teacher, 'network_t': custom.teacher}
    given_paths = tuple(path for path, part in given.items() if part)
    missing = find_in_files(opt).errors
    errors = [error for error in missing if str(error).startswith(given_paths)]
    if is_train and all(str(error).startswith('datasets.') for error in missing):  # all weights are there
        errors += find_in_networks(opt, is_train).errors
    return errors


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``mipkd options``."""
    parser = commands.add_parser('options', help='write the option file of a pair and a method',
                                 description='Option files of the compared runs: a teacher, a student, a scale and a '
                                             'method; and the page that describes all options.',
                                 epilog='example: mipkd options write EDSR_x2 FAKD')
    accept_old_forms(parser, new_options)
    parts = parser.add_subparsers(title='commands', required=True)
    add_part(parts, 'list', list_runs, 'print the chosen pairs, the methods and the ablations', 'mipkd options list')
    _add_write(parts)

    part = add_part(parts, 'all', write_all, 'write the option files of every chosen pair, scale and method',
                    'mipkd options all --out my_options')
    part.add_argument('--test', action='store_true', help='for testing instead of training')
    part.add_argument('--out', required=True, metavar='DIR', help='folder to write into')

    part = add_part(parts, 'ablation', write_ablation, 'write the option files of an ablation of MiPKD',
                    'mipkd options ablation encoders EDSR_x4',
                    'Write all files for training and testing of an ablation of MiPKD, and of the x2 students that it '
                    'starts from.')
    part.add_argument('ablation', metavar='ABLATION', help=f'one of {", ".join(ABLATIONS)}')
    part.add_argument('pair', metavar='PAIR', help='as for mipkd options write')
    part.add_argument('--out', default=FOLDER, metavar='DIR', help='folder to write into (default: %(default)s)')

    part = add_part(parts, 'page', write_page, 'print the page that describes all options, in Markdown',
                    'mipkd options page --out docs/options.md')
    part.add_argument('--out', metavar='FILE', help='file to write (default: the screen)')
    add_plugins_option(part)


def _add_write(parts: argparse._SubParsersAction) -> None:
    part = add_part(parts, 'write', write, 'write the option file of a teacher, a student, a scale and a method',
                    'mipkd options write EDSR_x4 MiPKD --data photos --val more_photos --teacher weights.pth --iters '
                    '50000')
    part.add_argument('pair', nargs='?', metavar='PAIR',
                      help='<teacher>-<student>_x<scale>; EDSR_x4 is short for EDSR-EDSR_x4')
    part.add_argument('method', nargs='?', metavar='METHOD',
                      help=f'one of {", ".join(METHODS)}, several joined by +, a variant of MiPKD that mipkd options '
                           f'list names, or, with --test, {TEACHER}')
    part.add_argument('--test', action='store_true', help='write the file for testing instead of training')
    part.add_argument('--name', help='instead of PAIR METHOD: the name of the training or test, '
                                     'train_<METHOD>_<PAIR> or test_<METHOD>_<PAIR>')
    part.add_argument('--out', metavar='PATH',
                      help=f'file to write, - for the screen (default: {FOLDER}/<name>.yml); with any of the options '
                           'below a folder')
    own = part.add_argument_group(
        'images, teacher and length of your own',
        'Any of these writes the files for training and testing (with --test that for testing alone), of a run that '
        'starts from scratch. What is not given stays as published.')
    own.add_argument('--data', metavar='DIR',
                     help='what to train on: a folder that mipkd data pack has filled, or one of HR images')
    own.add_argument('--lq', metavar='DIR', help='the LR images of --data, where they are not next to them')
    own.add_argument('--val', metavar='DIR', help='what to measure on during and after the training, as --data')
    own.add_argument('--val-lq', metavar='DIR', help='the LR images of --val, where they are not next to them')
    own.add_argument('--teacher', metavar='FILE',
                     help='weights of the teacher: of an EDSR, RCAN or SwinIR, whose sizes are read from them, or of '
                          'any network that spandrel opens')
    own.add_argument('--iters', metavar='N',
                     help='iterations of the training; learning rate, average of weights, validations and log are '
                          'fitted to it')
    add_plugins_option(own)
