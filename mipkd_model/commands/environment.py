"""``mipkd environment``: what a report of a bug should begin with."""
from __future__ import annotations

import argparse


def environment(args: argparse.Namespace) -> None:
    """Print the head of a run's log, and what PyTorch reports of the system."""
    from torch.utils.collect_env import get_pretty_env_info  # torch is slow to import

    from ..run.environment import anonymous, report
    print(report())
    print(anonymous(get_pretty_env_info()))


def add(commands: argparse._SubParsersAction) -> None:
    """Add the parser of ``mipkd environment``."""
    parser = commands.add_parser(
        'environment', help='print versions, devices and the state of the code',
        description='Print versions, devices and the state of the code, for a report of a bug. Home folders are '
                    'shown as ~.', epilog='example: mipkd environment > report.txt')
    parser.set_defaults(run=environment)
