"""``mipkd check``: what is wrong with option files, without running them."""
from tqdm import tqdm

from mipkd_arch.errors import UserError, one_line, printable

from .. import plugins
from ..config.checks import find_everything, find_in_options, is_training, read_options
from ..config.command_line import complete
from ..config.overrides import override

MANY = 5  # files, from which on a bar shows how far the check is
EXAMPLE = 'example: mipkd check options/train_MiPKD_x4.yml --force_yml train:ema_decay=0.99'


def add(commands):
    """Add the parser of ``mipkd check``.

    Args:
        commands: what ``add_subparsers`` gave.
    """
    parser = commands.add_parser(
        'check', help='say all that is wrong with option files', epilog=EXAMPLE,
        description='Check option files of trainings and tests as basicsr/train.py and basicsr/test.py do before they '
                    'start, and list all that is wrong. docs/options.md has all options.')
    parser.add_argument('files', nargs='+', metavar='FILE', help='option file, of a training or a test')
    parser.add_argument('--force_yml', nargs='+', action='extend', default=[], metavar='PATH=VALUE',
                        help='change options of each file before, as the launchers do')
    parser.add_argument('--options-only', action='store_true',
                        help='leave out data, weights, networks and this machine: what the options say alone')
    plugins.add_option(parser)
    parser.set_defaults(run=check)


def check(args):
    """Print the findings of each file, or that it is sound.

    Raises:
        UserError: a file is not sound.
    """
    bad = 0
    for file in tqdm(args.files, 'check', unit='file', leave=False, disable=None if len(args.files) >= MANY else True):
        lines = findings(file, args.force_yml, args.options_only, args.plugins)
        bad += bool(lines)
        for line in lines or ['ok']:
            tqdm.write(f'{printable(file)}: {line}')
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
        list[str]: a line for each mistake, which begins with the option's path.
    """
    try:
        opt = read_options(file)
        override(opt, entries)
        override(opt, plugins.entries(opt, folders))
    except UserError as error:
        return [one_line(error).removeprefix('-opt: ').removeprefix(f'{printable(str(file))}: ')]
    is_train = is_training(opt)
    found = find_in_options(opt, is_train)
    if not found.errors and not options_only:
        opt.update(dist=False, rank=0, world_size=1, auto_resume=False, is_train=is_train)
        complete(opt, '.', is_train)
        found = find_everything(opt, is_train)
    return found.lines
