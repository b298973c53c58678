"""Options that a command line changes: ``--force_yml train:optim_g:lr=1e-4 val:save_img=true``."""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mipkd_arch.base.errors import UserError, shown

from ..schema.options import TrainingFile
from .reader import parse

FLAG = '--force_yml'
FORM = 'give block:option=value, as in train:ema_decay=0.999'


def override(opt: dict[str, Any], entries: Sequence[str]) -> None:
    """Set options; what they may be is left to the checks of the whole file.

    Args:
        opt: options, which are changed. Blocks of a path that are not there are made.
        entries: ``block:option=value`` each, the value written as in an option file. Dots may stand for the colons
            where they lead through blocks.

    Raises:
        UserError: an entry is malformed, its value is no YAML, or its path leads through a value.
    """
    for entry in entries:
        path, equals, text = entry.partition('=')
        names = _names(opt, path)
        if not equals or not all(names) or not path.isprintable():
            raise UserError(f'{FLAG}: {shown(entry)} sets no option; {FORM}')
        where = f'{FLAG} {shown(path.strip())[1:-1]}'
        value, block = parse(text, where), opt
        for depth, name in enumerate(names[:-1]):
            if block.get(name) is None:
                block[name] = {}
            block = block[name]
            if not isinstance(block, dict):
                raise UserError(f'{where}: {".".join(names[:depth + 1])} is {shown(block)}, not a block of options')
        block[names[-1]] = value


def _names(opt: dict[str, Any], path: str) -> list[str]:
    """The names of a path: those between colons, and between dots as well where these lead through blocks."""
    names, dotted = ([name.strip() for name in re.split(signs, path)] for signs in (':', '[:.]'))
    block = _at(opt, names[:-1])
    if isinstance(block, dict) and names[-1] in block:  # a name of one's own, as of a metric, may have dots
        return names
    known = dotted[0] in TrainingFile.model_fields or isinstance(_at(opt, dotted[:-1]), dict)
    return dotted if known else names


def _at(opt: Any, names: Sequence[str]) -> Any:
    """The value at a path, None where there is none."""
    for name in names:
        opt = opt.get(name) if isinstance(opt, dict) else None
    return opt
