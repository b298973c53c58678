"""What commands share: parsers, and the end of one that has found mistakes."""
import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from mipkd_arch.base.errors import UserError

from ..base.files import atomic_write


def add_command(commands: Any, name: str, run: Callable[[argparse.Namespace], None], about: str, example: str,
                description: str = '', **more: Any) -> argparse.ArgumentParser:
    """Add a parser; ``about`` is its line in the list, ``example`` a command line, ``more`` of argparse."""
    parser = commands.add_parser(name, help=about, description=description or f'{about[0].upper()}{about[1:]}.',
                                 **{'epilog': f'example: {example}', **more})
    parser.set_defaults(run=run)
    return parser


def add_group(commands: Any, name: str, about: str, example: str) -> Any:
    """Add a parser that has sub-commands, and return what takes their parsers."""
    parser = commands.add_parser(name, help=about, description=f'{about[0].upper()}{about[1:]}.',
                                 epilog=f'example: {example}')
    return parser.add_subparsers(title='commands', required=True)


def print_or_write(text: str, out: str | None) -> None:
    """Print a text; or write it to the file ``out`` and print that path; - is the screen."""
    if out in (None, '-'):
        print(text, end='')
        return
    with atomic_write(out) as file:
        file.write_text(text, encoding='utf-8')
    print(out)


def fail(mistakes: Sequence[object], summary: str) -> NoReturn:
    """Raise the only mistake; of several, print a line each and raise the summary."""
    if len(mistakes) > 1:
        for mistake in mistakes:
            print(mistake, file=sys.stderr)
    raise UserError(summary if len(mistakes) > 1 else str(mistakes[0]))
