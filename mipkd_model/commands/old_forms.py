"""The forms of ``mipkd options`` and ``mipkd table`` of version 0.1, in which flags excluded one another."""
import argparse
import sys
from collections.abc import Callable, Sequence

OPTIONS = ('list', 'write', 'all', 'ablation', 'page')
TABLE = ('pairs', 'published', 'ablation', 'cost')


def accept_old_forms(parser: argparse.ArgumentParser, translate: Callable[[list[str]], list[str] | None]) -> None:
    """Let a parser understand old arguments, too, with a warning that has the new ones.

    Args:
        parser: of a command with sub-commands.
        translate: from old arguments to new ones; None for what is no old form.
    """
    parse = parser.parse_known_args

    def parse_known_args(args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
                         ) -> tuple[argparse.Namespace, list[str]]:
        new = translate(list(args or ()))
        if new is not None:
            print(f'warning: this form is of version 0.1; now it is: {parser.prog} {" ".join(new)}', file=sys.stderr)
        return parse(args if new is None else new, namespace)

    parser.parse_known_args = parse_known_args  # type: ignore[method-assign, assignment]


def new_options(args: list[str]) -> list[str] | None:
    """``mipkd options EDSR_x2 FAKD`` and ``--list``, ``--page``, ``--all``, ``--ablation NAME``, ``--name NAME``."""
    if not args or args[0] in (*OPTIONS, '-h', '--help'):
        return None
    for command in ('list', 'page', 'all'):
        if f'--{command}' in args:
            return [command, *(word for word in args if word != f'--{command}')]
    name, rest = _taken(args, '--ablation')
    return ['write', *args] if name is None else ['ablation', name, *rest]


def new_table(args: list[str]) -> list[str] | None:
    """``mipkd table [RECORDS]`` with ``--cost``, ``--ablation NAME`` or ``--published only|beside|none``."""
    if args and args[0] in (*TABLE, '-h', '--help'):
        return None
    if '--cost' in args:
        return ['cost', *(word for word in args if word != '--cost')]
    name, rest = _taken(args, '--ablation')
    if name is not None:
        return ['ablation', name, *rest]
    shown, rest = _taken(args, '--published')
    if shown == 'only':
        return ['published', *rest]
    return ['pairs', *rest, *(['--no-published'] if shown == 'none' else [])]


def _taken(args: list[str], option: str) -> tuple[str | None, list[str]]:
    """Value of an option, None where it is not given, and the arguments without both."""
    for index, word in enumerate(args):
        if word == option and index + 1 < len(args):
            return args[index + 1], args[:index] + args[index + 2:]
        if word.startswith(f'{option}='):
            return word.partition('=')[2], args[:index] + args[index + 1:]
    return None, args
