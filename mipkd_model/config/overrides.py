"""Options that a command line changes: ``--force_yml train:optim_g:lr=1e-4 val:save_img=true``."""
import re

from mipkd_arch.base.errors import UserError, printable, shown

from . import schema
from .reader import MAX_DEPTH, MAX_KEY, parse

FLAG = '--force_yml'
FORM = 'give block:option=value, as in train:ema_decay=0.999'
INNER = {**schema.BLOCKS, 'train.optim_g': schema.OPTIMIZER, 'datasets.train': schema.TRAIN_DATA}
"""Blocks whose options are looked for where an entry gives no block."""


def override(opt, entries):
    """Set options; what they may be is left to the checks of the whole file.

    Args:
        opt (dict): options, which are changed. Blocks of a path that are not there are made.
        entries (list[str]): ``block:option=value`` each, the value written as in an option file. Dots may stand for
            the colons where they lead through blocks.

    Raises:
        UserError: an entry is none, its value is no YAML, its path leads through something that is no block, or leaves
            the block out.
    """
    for entry in entries:
        path, equals, text = entry.partition('=')
        names = _names(opt, path)
        if not equals or not all(names) or not path.isprintable():
            raise UserError(f'{FLAG}: {shown(entry)} sets no option; {FORM}')
        if len(names) > MAX_DEPTH or max(map(len, names)) > MAX_KEY:
            raise UserError(f'{FLAG}: {shown(path)} is no path of an option; {FORM}')
        where = f'{FLAG} {path.strip()}'
        _check_block_given(where, opt, names, text)
        value, block = parse(text, where), opt
        for depth, name in enumerate(names[:-1]):
            if block.get(name) is None:
                block[name] = {}
            block = block[name]
            if not isinstance(block, dict):
                raise UserError(f'{where}: {".".join(names[:depth + 1])} is {shown(block)}, not a block of options')
        block[names[-1]] = value


def _names(opt, path):
    """The names of a path: those between colons, and between dots as well where these lead through blocks."""
    names, dotted = ([name.strip() for name in re.split(signs, path)] for signs in (':', '[:.]'))
    block = _at(opt, names[:-1])
    if isinstance(block, dict) and names[-1] in block:  # a name of one's own, as of a metric, may have dots
        return names
    through = '.'.join(dotted[:-1]) in INNER or isinstance(_at(opt, dotted[:-1]), dict)
    return dotted if through else names


def _at(opt, names):
    """What stands at a path, None where nothing does."""
    for name in names:
        opt = opt.get(name) if isinstance(opt, dict) else None
    return opt


def _check_block_given(where, opt, names, text):
    name = names[0]
    if len(names) > 1 or name in schema.TOP or name in opt:
        return
    places = [path for path, table in INNER.items() if name in table]
    if places:
        meant = ' or '.join(f'{path.replace(".", ":")}:{name}={text}' for path in places)
        raise UserError(f'{where}: is an option of a block; give {printable(meant)}')
