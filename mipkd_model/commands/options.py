"""``mipkd options``: the runs that are compared, and their option files."""
from pathlib import Path

from tqdm import tqdm

from mipkd_arch.errors import UserError

from ..matrix.methods import METHODS
from ..matrix.networks import PAIRS, SCALES, STUDENTS, TEACHERS, student_parameters, teacher_parameters
from ..matrix.option_file import option_text, write_option_file
from ..matrix.runs import Pair, Run, chosen_runs, parse_pair, parse_run

EXAMPLE = 'example: mipkd options EDSR_x2 FAKD; mipkd options --list says what there is'
LEGEND = f'''
x   written by: mipkd options <pair>_x<scale> METHOD, for example mipkd options EDSR_x2 FAKD
=   written, too, but without a teacher it trains what Scratch trains in the first row that has this student
-   the sizes of this teacher are in the file of its weights alone

METHOD may join several: FAKD+DUKD. Any teacher ({", ".join(TEACHERS)}) goes with any student
({", ".join(STUDENTS)}).'''


def add(commands):
    """Add the parser of ``mipkd options``.

    Args:
        commands: what ``add_subparsers`` gave.
    """
    parser = commands.add_parser('options', help='write the option file of a pair and a method', epilog=EXAMPLE,
                                 description='Write the complete option file of a teacher, a student, a scale and a '
                                             'method; or list them.')
    parser.add_argument('pair', nargs='?', metavar='PAIR',
                        help='<teacher>-<student>_x<scale>; EDSR_x4 is short for EDSR-EDSR_x4')
    parser.add_argument('method', nargs='?', metavar='METHOD',
                        help=f'one of {", ".join(METHODS)}, or several joined by +')
    parser.add_argument('--name', help='instead of PAIR METHOD: the name of the run, train_<METHOD>_<PAIR>')
    parser.add_argument('--all', action='store_true', help='write every chosen pair and method into the folder --out')
    parser.add_argument('--list', action='store_true', help='print the chosen pairs and the methods')
    parser.add_argument('--out', metavar='FILE', help='file to write, - for the screen (default: options/<name>.yml)')
    parser.set_defaults(run=options)


def options(args):
    """Do what the parsed arguments ask for."""
    asked = [name for name, given in (('PAIR METHOD', args.pair), ('--name', args.name), ('--all', args.all),
                                      ('--list', args.list)) if given]
    if len(asked) != 1:
        raise UserError('mipkd options: takes one of PAIR METHOD, --name, --all and --list, found '
                        f'{" and ".join(asked) or "none"}')
    if args.list and args.out:
        raise UserError(f'--out: {args.out} has no meaning with --list, which prints')
    if args.list:
        print(table() + '\n' + LEGEND)
    elif args.all:
        _write_all(args.out)
    else:
        _write(parse_run(args.name) if args.name else _run(args), args.out)


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


def _write(run, out):
    if out == '-':
        print(option_text(run, f'options/{run.name}.yml'), end='')
        return
    file = Path(out or f'options/{run.name}.yml')
    write_option_file(run, file)
    print(file)


def _write_all(out):
    if out is None or out == '-':
        raise UserError('--out: missing; --all writes into the folder that --out names')
    runs = chosen_runs()
    for run in tqdm(runs, 'write option files', unit='file'):
        write_option_file(run, Path(out) / f'{run.name}.yml')
    print(f'{out}: {len(runs)} option files')
