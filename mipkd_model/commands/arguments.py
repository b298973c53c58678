"""What the parsers of several commands share."""
import argparse
from collections.abc import Callable


def add_part(parts: argparse._SubParsersAction, name: str, run: Callable[[argparse.Namespace], None], about: str,
             example: str, description: str = '') -> argparse.ArgumentParser:
    """Add the parser of a sub-command; ``about`` is its line in the list, ``example`` a command line."""
    part = parts.add_parser(name, help=about, description=description or f'{about[0].upper()}{about[1:]}.',
                            epilog=f'example: {example}')
    part.set_defaults(run=run)
    return part
