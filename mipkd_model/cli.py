"""The ``mipkd`` command."""
import argparse
import sys

from mipkd_arch.base.cli import command_status

from .commands import check, data, environment, figure, launch, options, profile, table, teacher


def build_parser():
    """The parser of all commands; each sets ``run``, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog='mipkd', description='Tools around distillation with mipkd.',
                                     epilog='example: mipkd train -opt options/train_MiPKD_x4.yml')
    commands = parser.add_subparsers(title='commands', required=True)
    for command in (data, options, check, launch, teacher, table, figure, profile, environment):
        command.add(commands)
    return parser


def main(argv=None):
    """Run one command; a mistake of the user gives one line and exit status 1."""
    return command_status(build_parser(), argv)


if __name__ == '__main__':
    sys.exit(main())
