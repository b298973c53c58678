"""``mipkd check``: what is wrong with option files, without running them."""
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mipkd_arch.base.errors import UserError, one_line, printable

from ..config.cli_arguments import add_plugins_option


def add(commands: Any) -> None:
    """Add the parser of ``mipkd check`` to what argparse's ``add_subparsers`` gave."""
    parser = commands.add_parser(
        'check', help='list all mistakes in option files',
        epilog='example: mipkd check options/train_MiPKD_x4.yml --force_yml train:ema_decay=0.99',
        description='Check option files of trainings and tests as mipkd train and mipkd test do before they start, '
                    'and list all mistakes. docs/options.md describes all options.')
    parser.add_argument('files', nargs='+', metavar='FILE', help='option file of a training or a test')
    parser.add_argument('--force_yml', nargs='+', action='extend', default=[], metavar='PATH=VALUE',
                        help='change options of each file first, as for mipkd train')
    parser.add_argument('--options-only', action='store_true',
                        help='check the options alone, without data, weights, networks and this machine')
    add_plugins_option(parser)
    parser.set_defaults(run=check)


def check(args: argparse.Namespace) -> None:
    """Print the mistakes of each file or 'ok', and warnings to standard error.

    Raises:
        UserError: a file has mistakes.
    """
    bad = 0
    for file in args.files:
        mistakes, warnings = findings(file, args.force_yml, args.options_only, args.plugins)
        bad += bool(mistakes)
        for line in mistakes or ['ok']:
            print(f'{printable(file)}: {line}', flush=True)
        for line in warnings:
            print(f'{printable(file)}: warning: {printable(line)}', file=sys.stderr)
    if bad:
        raise UserError(f'mipkd check: {bad} of {len(args.files)} option files have mistakes')


def findings(file: str | Path, entries: Sequence[str] = (), options_only: bool = False,
             folders: list[str] | None = None) -> tuple[list[str], list[str]]:
    """Mistakes in an option file, and warnings if it has none; each is a line that begins with the option's path.

    ``entries`` are those of --force_yml, ``folders`` those of --plugins.
    """
    from ..config import checks, plugins  # here, since they import torch
    from ..config.command_line import complete
    from ..config.overrides import override
    from ..run.folders import note_of_move
    try:
        opt = checks.read_options(file)
        override(opt, entries)
        override(opt, plugins.entries(opt, folders or []))
    except UserError as error:
        return [one_line(error).removeprefix('-opt: ').removeprefix(f'{printable(str(file))}: ')], []
    is_train = checks.is_training(opt)
    found = checks.find_in_options(opt, is_train)
    if found.errors:
        return found.lines, []
    warnings = [*found.notes, *_warnings(opt, is_train)]
    if not options_only:
        with found.catching():
            checks.check_machine(opt, is_train)  # before num_gpu: auto becomes a number
    if not found.errors and not options_only:
        opt.update(dist=False, rank=0, world_size=1, auto_resume=False, is_train=is_train)
        complete(opt, '.', is_train)
        found = checks.find_everything(opt, is_train)
        warnings += [*found.notes, *filter(None, [note_of_move(opt)])]
    return found.lines, warnings


def _warnings(opt: dict[str, Any], is_train: bool) -> list[str]:
    """What is suspicious in correct options."""
    from ..config.advice import advice
    from ..evaluation.metrics import needs_gt
    from ..run.debug import debug_note
    metrics = (opt.get('val') or {}).get('metrics') or {}
    without_gt = [f'datasets.{phase}: has no gt, so {name} is not measured on it'
                  for phase, block in opt['datasets'].items() if phase != 'train' and block.get('dataroot_gt') is None
                  for name, metric in metrics.items() if needs_gt(metric)]
    debug = debug_note(opt['name']) if is_train else ''
    return [*([debug] if debug else []), *(advice(opt) if is_train else []), *without_gt]
