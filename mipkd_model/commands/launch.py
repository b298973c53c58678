"""``mipkd train`` and ``mipkd test``: what ``basicsr/train.py`` and ``basicsr/test.py`` do, in any folder."""
import argparse
import sys
from pathlib import Path
from typing import Any

from mipkd_arch.registration import register

from ..config.cli_arguments import add_arguments
from .arguments import add_command


def start(args: argparse.Namespace) -> None:
    """Train or test; results go to ``experiments`` or ``results`` of the current folder."""
    register()
    from .. import launch  # BasicSR's training is slow to import
    sys.exit((launch.train if args.is_train else launch.test)(Path.cwd(), args))


def add(commands: Any) -> None:
    """Add the parsers of ``mipkd train`` and ``mipkd test``."""
    for name, is_train, resume, results in (
            ('train', True, ' --auto_resume', 'Weights, training states and the log go to experiments/<name> of the '
             'current folder. Several processes: torchrun --nproc_per_node 2 -m mipkd_model.cli train -opt FILE'),
            ('test', False, '', 'Results and images go to results/<name> of the current folder.')):
        parser = add_command(commands, name, start, f'{name} from an option file',
                             f'mipkd {name} -opt options/{name}_MiPKD_x4.yml{resume}',
                             f'{name.title()} from an option file. {results}', allow_abbrev=False)
        add_arguments(parser)
        parser.set_defaults(is_train=is_train)
