"""``mipkd options``: the runs that are compared, and their option files."""
import sys
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from mipkd_arch.base.errors import UserError, one_line, one_of

from ..base.files import atomic_write, check_writable
from ..config import plugins
from ..config.checks import find_in_options
from ..config.command_line import complete
from ..config.dry_run import find_in_networks
from ..config.options_page import text_of_page
from ..config.paths import find_in_files
from ..config.reader import parse
from ..experiments.ablations import ABLATIONS
from ..experiments.data_set import note_on_patches
from ..experiments.methods import METHODS, TEACHER, blocks_of
from ..experiments.networks import PAIRS, SCALES, STUDENTS, TEACHERS, student_parameters, teacher_parameters
from ..experiments.option_file import write_option_files
from ..experiments.own import given_names, read_own
from ..experiments.runs import Pair, Run, chosen_runs, parse_pair, parse_run
from ..experiments.testing_file import text_of_test
from ..experiments.training_file import text_of_training

FOLDER = 'options'
EXAMPLE = ('example: mipkd options EDSR_x2 FAKD; mipkd options EDSR_x4 MiPKD --data photos --val more_photos --teacher '
           'weights.pth --iters 50000; mipkd options --list says what there is')
LEGEND = f'''
x   written by: mipkd options <pair>_x<scale> METHOD, for example mipkd options EDSR_x2 FAKD
=   written, too, but without a teacher it trains what Scratch trains in the first row that has this student
-   the sizes of this teacher are in the file of its weights alone

METHOD may join several: FAKD+DUKD. Any teacher ({", ".join(TEACHERS)}) goes with any student
({", ".join(STUDENTS)}).
With --test the file is that of the test of the trained student; METHOD {TEACHER} tests the teacher itself.

Ablations of MiPKD, written by mipkd options --ablation NAME <pair>_x<scale>, and the methods that each compares:
''' + '\n'.join(f'{name:<13} {", ".join(ablation.variants)}' for name, ablation in ABLATIONS.items())


def add(commands):
    """Add the parser of ``mipkd options``.

    Args:
        commands: what ``add_subparsers`` gave.
    """
    parser = commands.add_parser('options', help='write the option file of a pair and a method', epilog=EXAMPLE,
                                 description='Write the complete option file of a teacher, a student, a scale and a '
                                             'method, for training or testing; or list them.')
    parser.add_argument('pair', nargs='?', metavar='PAIR',
                        help='<teacher>-<student>_x<scale>; EDSR_x4 is short for EDSR-EDSR_x4')
    parser.add_argument('method', nargs='?', metavar='METHOD',
                        help=f'one of {", ".join(METHODS)}, several joined by +, a variant of MiPKD that --list names, '
                             f'or, with --test, {TEACHER}')
    parser.add_argument('--test', action='store_true',
                        help='with PAIR METHOD or --all: files for testing instead of training')
    parser.add_argument('--name', help='instead of PAIR METHOD: the name of the training or test, '
                                       'train_<METHOD>_<PAIR> or test_<METHOD>_<PAIR>')
    parser.add_argument('--all', action='store_true', help='write every chosen pair and method into the folder --out')
    parser.add_argument('--ablation', metavar='NAME',
                        help='with PAIR: write all files for training and testing of an ablation of MiPKD, and of the '
                             f'x2 students that it starts from: {", ".join(ABLATIONS)}')
    parser.add_argument('--list', action='store_true', help='print the chosen pairs, the methods and the ablations')
    parser.add_argument('--page', action='store_true', help='print the page that describes all options')
    parser.add_argument('--out', metavar='PATH',
                        help=f'file to write, - for the screen (default: {FOLDER}/<name>.yml, with --page the screen); '
                             f'folder for --all and --ablation (default of --ablation: {FOLDER})')
    own = parser.add_argument_group(
        'images, teacher and length of your own',
        'With PAIR METHOD: any of these writes the files for training and testing (with --test that for testing '
        'alone), of a run that starts from scratch. What is not given stays as published.')
    own.add_argument('--data', metavar='DIR',
                     help='what to train on: a folder that mipkd data pack has filled, or one of HR images')
    own.add_argument('--lq', metavar='DIR', help='the LR images of --data, where they are not beside them')
    own.add_argument('--val', metavar='DIR', help='what to measure on during and after the training, as --data')
    own.add_argument('--val-lq', metavar='DIR', help='the LR images of --val, where they are not beside them')
    own.add_argument('--teacher', metavar='FILE',
                     help='weights of the teacher: of an EDSR, RCAN or SwinIR, whose sizes are read off them, or of '
                          'any network that spandrel opens')
    own.add_argument('--iters', metavar='N',
                     help='steps of the training; schedule, average of weights, validations and log are fitted to it')
    plugins.add_option(parser)
    parser.set_defaults(run=options)


def options(args):
    """Do what the parsed arguments ask for."""
    asked = [name for name, given in (('PAIR METHOD', args.pair and args.ablation is None), ('--name', args.name),
                                      ('--all', args.all), ('--ablation', args.ablation is not None),
                                      ('--list', args.list), ('--page', args.page)) if given]
    if len(asked) != 1:
        raise UserError('mipkd options: takes one of PAIR METHOD, --name, --all, --ablation, --list and --page, found '
                        f'{" and ".join(asked) or "none"}')
    kind, = asked
    if kind != 'PAIR METHOD' and (given := given_names(args, but='plugins' if kind == '--page' else None)):
        raise UserError(f'{given[0]}: has no meaning with {kind}; it goes with PAIR METHOD')
    plugins.use(args.plugins)
    if args.test and kind not in ('PAIR METHOD', '--all'):
        raise UserError(f'--test: has no meaning with {kind}; it goes with PAIR METHOD and --all. A --name begins with '
                        'test_ for a test, and --ablation writes tests, too')
    if args.list:
        if args.out:
            raise UserError(f'--out: {args.out} has no meaning with --list, which prints')
        print(table() + '\n' + LEGEND)
    elif args.page:
        _write_page(args.out)
    elif args.all:
        _write_all(args.out, args.test)
    elif args.ablation is not None:
        _write_ablation(args)
    elif args.name:
        _write(parse_run(args.name), args.name.startswith('test_'), args.out)
    elif given_names(args):
        _write_own(_run(args), args)
    else:
        _write(_run(args), args.test, args.out)


def table():
    """The chosen pairs as rows, the methods as columns."""
    rows = [('pair', 'scales', 'teacher/student x4', *METHODS)]
    seen = set()
    for teacher, student in PAIRS:
        size = teacher_parameters(teacher, 4)
        sizes = f'{_millions(size) if size else "-"} / {_millions(student_parameters(student, 4))}'
        marks = ['=' if method == 'Scratch' and student in seen else 'x' for method in METHODS]
        rows.append((Pair(teacher, student, 4).title, ' '.join(map(str, SCALES)), sizes, *marks))
        seen.add(student)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return '\n'.join(' '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
                     for row in rows)


def _millions(count):
    return f'{count / 1e6:.2f}M'


def _run(args):
    pair = parse_pair(args.pair)
    if args.method is None:
        raise UserError(f'METHOD: missing after {args.pair}; allowed are {", ".join(METHODS)}')
    return Run(pair, args.method)


def _file(run, is_test, folder):
    return Path(folder, f'{run.test_name if is_test else run.name}.yml')


def _text(run, is_test, file):
    return (text_of_test if is_test else text_of_training)(run, file)


def _write(run, is_test, out):
    file = _file(run, is_test, FOLDER)
    if out == '-':
        print(_text(run, is_test, file), end='')
        return
    file = Path(out or file)
    write_option_files({file: _text(run, is_test, file)})
    print(file)


def _write_own(run, args):
    """Write the files of a run with parts of the user's own; all or, if anything is wrong, none."""
    if args.out == '-':
        raise UserError('--out: - has no meaning here, where files are written into a folder')
    own, errors = read_own(args, run.pair.scale, not args.test, run.is_teacher or
                           blocks_of(run.method).keys() != {'pixel_opt'})
    texts = {}
    if not errors:
        run = replace(run, own=own)
        for is_test in (True, ) if args.test else (False, True):
            file = _file(run, is_test, args.out or FOLDER)
            texts[file] = _text(run, is_test, file)
            errors += _wrong_with(parse(texts[file], str(file)), not is_test, own)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        for line in dict.fromkeys(map(one_line, errors)):
            print(f'error: {line}', file=sys.stderr)
        raise UserError(f'mipkd options: found {len(errors)} mistakes, and wrote nothing')
    write_option_files(texts)
    for file in texts:
        print(file)
    if own.data and (note := note_on_patches(own.data, run.pair.scale)):
        print(note, file=sys.stderr)


def _wrong_with(opt, is_train, own):
    """What ``mipkd check`` would say of options, without what has still to be fetched or trained, and this machine."""
    found = find_in_options(opt, is_train)
    if found.errors:
        return found.errors
    opt.update(dist=False, rank=0, world_size=1, auto_resume=False, is_train=is_train, num_gpu=0)
    complete(opt, '.', is_train)
    given = {'datasets.train': own.data, 'datasets.val': own.val, 'datasets.test': own.val,
             'path.pretrain_network_t': own.teacher, 'network_t': own.teacher}
    missing = find_in_files(opt).errors
    errors = [error for error in missing if any(part and str(error).startswith(where) for where, part in given.items())]
    if is_train and all(str(error).startswith('datasets.') for error in missing):  # all weights are there
        errors += find_in_networks(opt, is_train).errors
    return errors


def _write_page(out):
    if out in (None, '-'):
        print(text_of_page(), end='')
        return
    check_writable(out, '--out')
    with atomic_write(out) as file:
        file.write_text(text_of_page(), encoding='utf-8')
    print(out)


def _write_into(folder, runs):
    """Write files into a folder, from pairs of a run and whether its test is meant."""
    files = [(run, is_test, _file(run, is_test, folder)) for run, is_test in runs]
    write_option_files({file: _text(run, is_test, file)
                        for run, is_test, file in tqdm(files, 'make option files', unit='file')})
    print(f'{folder}: {len(files)} option files')


def _write_all(out, is_test):
    if out is None or out == '-':
        raise UserError('--out: missing; --all writes into the folder that --out names')
    methods = (*METHODS, TEACHER) if is_test else METHODS
    _write_into(out, [(run, is_test) for run in chosen_runs(methods)])


def _write_ablation(args):
    variants = ABLATIONS[one_of('--ablation', args.ablation, tuple(ABLATIONS))].variants
    if args.pair is None:
        raise UserError(f'PAIR: missing; mipkd options --ablation {args.ablation} EDSR_x4 writes that of EDSR_x4')
    if args.method is not None:
        raise UserError(f'METHOD: {args.method} has no meaning with --ablation, which has its methods: '
                        f'{", ".join(variants)}')
    if args.out == '-':
        raise UserError('--out: - has no meaning with --ablation, which writes into a folder')
    runs = [Run(parse_pair(args.pair), method) for method in variants]
    starts = [run.start for run in runs if run.start]
    _write_into(args.out or FOLDER, [*((run, False) for run in starts + runs), *((run, True) for run in runs)])
