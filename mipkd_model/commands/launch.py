"""``mipkd train`` and ``mipkd test``: what ``basicsr/train.py`` and ``basicsr/test.py`` do, in any folder."""
from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mipkd_arch.registration import register

from ..config.cli_arguments import add_arguments


def train(args: argparse.Namespace) -> None:
    """Train; results go to ``experiments`` of the current folder."""
    register()
    from .. import launch  # BasicSR's training is slow to import
    sys.exit(launch.train(Path.cwd(), args))


def test(args: argparse.Namespace) -> None:
    """Test; results go to ``results`` of the current folder."""
    register()
    from .. import launch
    sys.exit(launch.test(Path.cwd(), args))


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parsers of ``mipkd train`` and ``mipkd test``."""
    parser = commands.add_parser(
        'train', help='train from an option file', allow_abbrev=False,
        description='Train from an option file. Weights, training states and the log go to experiments/<name> of the '
                    'current folder. torchrun starts several processes by: torchrun --nproc_per_node 2 -m '
                    'mipkd_model.cli train -opt FILE',
        epilog='example: mipkd train -opt options/train_MiPKD_x4.yml --auto_resume')
    add_arguments(parser)
    parser.set_defaults(run=train)
    parser = commands.add_parser(
        'test', help='test from an option file', allow_abbrev=False,
        description='Test from an option file. Figures and images go to results/<name> of the current folder.',
        epilog='example: mipkd test -opt options/test_MiPKD_x4.yml')
    add_arguments(parser)
    parser.set_defaults(run=test)
