"""The ``mipkd`` command."""
import argparse
import sys

from mipkd_arch.base.cli import exit_status, parse_and_run

from .version import __version__


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each sets ``run``, a function of the parsed arguments."""
    from .commands import (  # in here, so that a missing package is one line as any failure is
        card,
        check,
        data,
        export,
        figure,
        launch,
        networks,
        options,
        probe,
        profile,
        table,
        teacher,
        upscale,
    )

    parser = argparse.ArgumentParser(prog='mipkd', description='Knowledge distillation for super-resolution.',
                                     epilog='example: mipkd train -opt options/train_MiPKD_x4.yml')
    parser.add_argument('--version', action='version', version=f'mipkd {__version__}')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    for module in (data, teacher, networks, options, launch, check, table, figure, profile, probe, export, upscale,
                   card):
        module.add(commands)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status: 1 after a mistake of the user, which is one line."""
    return exit_status(lambda: parse_and_run(build_parser(), argv))


if __name__ == '__main__':
    sys.exit(main())
