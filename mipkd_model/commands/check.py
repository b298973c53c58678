"""``mipkd check``, what is wrong with option files, and ``mipkd environment``, what a report of a bug begins with."""
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mipkd_arch.base.errors import UserError, one_line, printable

from ..config.cli_arguments import add_plugins_option
from .arguments import add_command


def add(commands: Any) -> None:
    """Add the parsers of ``mipkd check`` and ``mipkd environment``."""
    parser = add_command(
        commands, 'check', check, 'list all mistakes in option files',
        'mipkd check options/train_MiPKD_x4.yml --force_yml train:ema_decay=0.99',
        'Check option files of trainings and tests as mipkd train and mipkd test do before they start, and list all '
        'mistakes. docs/options.md describes all options.')
    parser.add_argument('files', nargs='+', metavar='FILE', help='option file of a training or a test')
    parser.add_argument('--force_yml', nargs='+', action='extend', default=[], metavar='PATH=VALUE',
                        help='change options of each file first, as for mipkd train')
    parser.add_argument('--options-only', action='store_true',
                        help='check the options alone, without data, weights, networks and this machine')
    add_plugins_option(parser)
    add_command(commands, 'environment', environment, 'print versions, devices and the state of the code',
                'mipkd environment > report.txt', 'Print versions, devices and the state of the code, for a report of '
                'a bug. Home folders are shown as ~.')


def environment(_: argparse.Namespace) -> None:
    """Print the head of a run's log, and what PyTorch reports of the system."""
    from torch.utils.collect_env import get_pretty_env_info  # torch is slow to import

    from ..run.environment import anonymous, report
    print(report(), anonymous(get_pretty_env_info()), sep='\n')


def check(args: argparse.Namespace) -> None:
    """Print the mistakes of each file or 'ok', and warnings to standard error; a UserError where there are mistakes."""
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
             folders: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Mistakes in an option file, and warnings if it has none; each is a line that begins with the option's path.

    ``entries`` are those of --force_yml, ``folders`` those of --plugins.
    """
    from ..config import checks, plugins  # here, since they import torch
    from ..config.command_line import complete
    from ..config.reader import override
    from ..run.folders import note_of_move
    try:
        opt = checks.read_options(file)
        override(opt, entries)
        override(opt, plugins.entries(opt, list(folders)))
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
        if not found.errors:
            opt.update(dist=False, rank=0, world_size=1, auto_resume=False, is_train=is_train)
            complete(opt, '.', is_train)
            found = checks.find_everything(opt, is_train)
            warnings += filter(None, [*found.notes, note_of_move(opt)])
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
    return [*filter(None, [debug_note(opt['name']), *advice(opt)] if is_train else []), *without_gt]
