"""``mipkd train`` and ``mipkd test``: what ``basicsr/train.py`` and ``basicsr/test.py`` do, in any folder."""
import sys
from pathlib import Path

from ..config.command_line import add_arguments


def train(args):
    """Train; results go to ``experiments`` of the current folder."""
    from .. import launch  # with it comes BasicSR's training, which no other command needs
    sys.exit(launch.train(Path.cwd(), args))


def test(args):
    """Test; results go to ``results`` of the current folder."""
    from .. import launch
    sys.exit(launch.test(Path.cwd(), args))


def add(commands):
    """Add the parsers of ``mipkd train`` and ``mipkd test``.

    Args:
        commands: what ``add_subparsers`` gave.
    """
    parser = commands.add_parser(
        'train', help='train as an option file says', allow_abbrev=False,
        description='Train as an option file says. Weights, states and the log go to experiments/<name> of the '
                    'current folder. torchrun starts several processes by: torchrun --nproc_per_node 2 -m '
                    'mipkd_model.cli train -opt FILE',
        epilog='example: mipkd train -opt options/train_MiPKD_x4.yml --auto_resume')
    add_arguments(parser)
    parser.set_defaults(run=train)
    parser = commands.add_parser(
        'test', help='test as an option file says', allow_abbrev=False,
        description='Test as an option file says. Figures and images go to results/<name> of the current folder.',
        epilog='example: mipkd test -opt options/test_MiPKD_x4.yml')
    add_arguments(parser)
    parser.set_defaults(run=test)
