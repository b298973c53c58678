"""Arguments that several commands have."""
import argparse


def add_plugins(parser: argparse._ActionsContainer) -> None:
    """Add ``--plugins``."""
    parser.add_argument('--plugins', nargs='+', action='extend', default=[], metavar='DIR',
                        help='folders of networks, losses, datasets, models and metrics of your own')
