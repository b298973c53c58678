"""The ``mipkd`` command."""
import argparse
import sys

from mipkd_arch.errors import exit_status

from .teachers import FOLDER, OFFICIAL, get_weights


def _teacher_get(args):
    print(get_weights(args.name, args.out))


def build_parser():
    """The parser of all commands; each sets ``run``, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog='mipkd', description='Tools around distillation with mipkd.',
                                     epilog='example: mipkd teacher get EDSR_Lx4')
    commands = parser.add_subparsers(title='commands', required=True)
    teacher = commands.add_parser('teacher', help='weights of teachers').add_subparsers(title='commands', required=True)
    get = teacher.add_parser('get', help='fetch official weights', epilog='example: mipkd teacher get EDSR_Lx4',
                             description='Fetch official weights from their public address and check their hash.')
    get.add_argument('name', choices=sorted(OFFICIAL), help='which weights')
    get.add_argument('--out', default=FOLDER, metavar='DIR', help=f'folder for the file (default: {FOLDER})')
    get.set_defaults(run=_teacher_get)
    return parser


def main(argv=None):
    """Run one command; a mistake of the user gives one line and exit status 1."""
    args = build_parser().parse_args(argv)
    return exit_status(args.run, args)


if __name__ == '__main__':
    sys.exit(main())
