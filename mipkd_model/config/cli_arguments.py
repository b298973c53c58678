"""Arguments that several commands have; importing this module imports neither torch nor BasicSR."""
import argparse

from ..run.debug import FREQ

ENDINGS = ('_arch.py', '_loss.py', '_dataset.py', '_model.py', '_metric.py')
"""What the names of a user's own files end in, as in BasicSR."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what trainings and tests can be given, as BasicSR has it."""
    parser.add_argument('-opt', required=True, metavar='FILE', help='option file (YAML)')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'),
                        help='how several processes were started; found by itself for torchrun, which is pytorch')
    parser.add_argument('--auto_resume', action='store_true', help='go on from the newest state of the run, if any')
    parser.add_argument('--debug', action='store_true',
                        help=f'name the run debug_<name>, print each step, and save and validate each {FREQ}')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0,
                        help='of older launchers; not needed')
    parser.add_argument('--force_yml', nargs='+', action='extend', default=[], metavar='PATH=VALUE',
                        help='change options, as in train:ema_decay=0.999; values are written as in the file')
    add_plugins_option(parser)


def add_plugins_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--plugins`` to a parser or group of arguments."""
    parser.add_argument('--plugins', nargs='+', action='extend', default=[], metavar='DIR',
                        help='folders of networks, losses, datasets, models and metrics of your own, in files '
                             f'{", ".join(f"*{ending}" for ending in ENDINGS)}; added to those of the option plugins')
