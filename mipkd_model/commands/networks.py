"""``mipkd networks``: every architecture at hand, and what it can be."""
from __future__ import annotations

import argparse
from typing import Any

from tabulate import tabulate

from .arguments import add_command


def add(commands: Any) -> None:
    """Add the parser of ``mipkd networks``."""
    parser = add_command(
        commands, 'networks', run, 'architectures, and what each can be', 'mipkd networks --format markdown',
        'List the architectures of BasicSR and spandrel: under which type each can be a student, whether it can teach '
        'by its images (kd_opt and other losses of images) and by its features (MiPKD, FAKD, FitNet ...), and the '
        'license of its code.')
    parser.add_argument('--format', choices=('terminal', 'markdown'), default='terminal',
                        help='how to write it (default: %(default)s)')


def run(args: argparse.Namespace) -> None:
    """Print the table."""
    from ..networks.architectures import architectures  # imports torch
    print(table(architectures(), args.format == 'markdown'))


def table(rows: Any, markdown: bool) -> str:
    """The table of ``networks.architectures.architectures`` as text."""
    headers = ['architecture', 'of', 'student', 'teacher by images', 'by features', 'license of the code']
    cells = [[row.name, row.library, row.student, 'yes' if row.by_images else '', 'yes' if row.by_features else '',
              row.license] for row in rows]
    return tabulate(cells, headers, 'github' if markdown else 'simple')
