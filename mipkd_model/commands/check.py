"""``mipkd check``: what is wrong with option files, without running them."""
import sys

from tqdm import tqdm

from mipkd_arch.base.errors import UserError, one_line, printable

from ..config import plugins
from ..config.advice import advice
from ..config.checks import check_machine, find_everything, find_in_options, is_training, read_options
from ..config.command_line import complete
from ..config.overrides import override
from ..evaluation.metrics import needs_gt
from ..run.debug import told
from ..run.folders import told_of_move

MANY = 5  # files, from which on a bar shows how far the check is
EXAMPLE = 'example: mipkd check options/train_MiPKD_x4.yml --force_yml train:ema_decay=0.99'


def add(commands):
    """Add the parser of ``mipkd check``.

    Args:
        commands: what ``add_subparsers`` gave.
    """
    parser = commands.add_parser(
        'check', help='say all that is wrong with option files', epilog=EXAMPLE,
        description='Check option files of trainings and tests as mipkd train and mipkd test do before they '
                    'start, and list all that is wrong. docs/options.md has all options.')
    parser.add_argument('files', nargs='+', metavar='FILE', help='option file, of a training or a test')
    parser.add_argument('--force_yml', nargs='+', action='extend', default=[], metavar='PATH=VALUE',
                        help='change options of each file before, as the launchers do')
    parser.add_argument('--options-only', action='store_true',
                        help='leave out data, weights, networks and this machine: what the options say alone')
    plugins.add_option(parser)
    parser.set_defaults(run=check)


def check(args):
    """Print the findings of each file, or that it is sound; what is allowed and hardly meant goes to standard error.

    Raises:
        UserError: a file is not sound.
    """
    bad = 0
    for file in tqdm(args.files, 'check', unit='file', leave=False, disable=None if len(args.files) >= MANY else True):
        lines, warnings = findings(file, args.force_yml, args.options_only, args.plugins)
        bad += bool(lines)
        for line in lines or ['ok']:
            tqdm.write(f'{printable(file)}: {line}')
        for line in warnings:
            tqdm.write(f'{printable(file)}: warning: {printable(line)}', file=sys.stderr)
    if bad:
        raise UserError(f'mipkd check: {bad} of {len(args.files)} option files cannot be run as they are')


def findings(file, entries=(), options_only=False, folders=()):
    """What is wrong with an option file.

    Args:
        file: the option file.
        entries (list[str]): of --force_yml.
        options_only (bool): leave out data, weights, networks and this machine.
        folders (list[str]): of --plugins.

    Returns:
        tuple[list[str], list[str]]: a line for each mistake, and for each thing to look at where there is no mistake,
        which begin with the option's path.
    """
    try:
        opt = read_options(file)
        override(opt, entries)
        override(opt, plugins.entries(opt, folders))
    except UserError as error:
        return [one_line(error).removeprefix('-opt: ').removeprefix(f'{printable(str(file))}: ')], []
    is_train = is_training(opt)
    found = find_in_options(opt, is_train)
    if found.errors:
        return found.lines, []
    warnings = [*found.notes, *warnings_of(opt, is_train)]
    if not options_only:
        with found.catching():
            check_machine(opt, is_train)  # before 'auto', and GPUs that are not there, become a number
    if not found.errors and not options_only:
        opt.update(dist=False, rank=0, world_size=1, auto_resume=False, is_train=is_train)
        complete(opt, '.', is_train)
        found = find_everything(opt, is_train)
        warnings += [*found.notes, *filter(None, [told_of_move(opt)])]
    return found.lines, warnings


def warnings_of(opt, is_train):
    """What to look at in sound options; arguments as for ``find_in_options``."""
    without_gt = [f'datasets.{phase}: has no gt, so {metric} is not measured on it' for phase, block in
                  opt['datasets'].items() if phase != 'train' and block.get('dataroot_gt') is None
                  for metric, metric_block in ((opt.get('val') or {}).get('metrics') or {}).items()
                  if needs_gt(metric_block)]
    return [*filter(None, [is_train and told(opt['name'])]), *(advice(opt) if is_train else []), *without_gt]
