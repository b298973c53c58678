"""The ``mipkd`` command."""
import argparse
import sys
from typing import Any

from mipkd_arch.base.cli import command_status

from .commands import check, data, environment, figure, launch, options, profile, table, teacher
from .version import __version__

GROUPS = {'data and teachers': (data, teacher), 'experiments': (options, check, launch),
          'results': (table, figure, profile), 'other': (environment, )}
EXAMPLE = 'example: mipkd train -opt options/train_MiPKD_x4.yml'


class Group:
    """Takes the parsers of a group of commands, and lists them by itself: argparse has one list for all."""

    def __init__(self, commands: Any, title: str) -> None:
        self.commands, self.lines = commands, [f'{title}:']

    def add_parser(self, name: str, *, help: str, **more: Any) -> argparse.ArgumentParser:
        """As of argparse's ``add_subparsers``."""
        self.lines.append(f'  {name:<14}{help}')
        return self.commands.add_parser(name, **more)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``run``, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog='mipkd', description='Knowledge distillation for super-resolution.',
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--version', action='version', version=f'mipkd {__version__}')
    commands = parser.add_subparsers(metavar='COMMAND', required=True, help='one of those below, with its own --help')
    texts = []
    for title, modules in GROUPS.items():
        group = Group(commands, title)
        for module in modules:
            module.add(group)
        texts.append('\n'.join(group.lines))
    parser.epilog = '\n\n'.join([*texts, EXAMPLE])
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status: 1 after a mistake of the user, which is one line."""
    return command_status(build_parser(), argv)


if __name__ == '__main__':
    sys.exit(main())
