"""Options that a command line changes: ``--force_yml train:optim_g:lr=1e-4 val:save_img=true``."""
from mipkd_arch.errors import UserError, shown

from .reader import parse

FLAG = '--force_yml'
FORM = 'give block:option=value, as in train:ema_decay=0.999'


def override(opt, entries):
    """Set options; what they may be is left to the checks of the whole file.

    Args:
        opt (dict): options, which are changed. Blocks of a path that are not there are made.
        entries (list[str]): ``block:option=value`` each, the value written as in an option file.

    Raises:
        UserError: an entry is none, its value is no YAML, or its path leads through something that is no block.
    """
    for entry in entries:
        path, equals, text = entry.partition('=')
        names = [name.strip() for name in path.split(':')]
        if not equals or not all(names) or not path.isprintable():
            raise UserError(f'{FLAG}: {shown(entry)} sets no option; {FORM}')
        value, block = parse(text, f'{FLAG} {path.strip()}'), opt
        for depth, name in enumerate(names[:-1]):
            if block.get(name) is None:
                block[name] = {}
            block = block[name]
            if not isinstance(block, dict):
                raise UserError(f'{FLAG} {path.strip()}: {".".join(names[:depth + 1])} is {shown(block)}, not a block '
                                'of options')
        block[names[-1]] = value
