"""Whether a block of options has the arguments of what it names, of the right kind and of a sane size."""
import inspect
import re

from mipkd_arch.base.errors import UserError, near_miss, shown

from .kinds import Number, Switch

MAX_SIZE = 65_536
"""Largest whole number of a network's block; a size beyond it would take hours and all memory to build."""


def parameters_of(target):
    """Parameters of a call by name; None where Python does not know them, as of what is written in C."""
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return None


def check_arguments(where, block, target, given=()):
    """Check that a block has what the call of ``target`` takes, beside the arguments that are ``given`` otherwise.

    Raises:
        UserError: on the first name that it does not take, or needs and has not.
    """
    parameters = parameters_of(target)
    if parameters is None:
        return  # the call itself will tell
    named = [name for name, p in parameters.items()
             if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name not in given]
    own = not str(target.__module__).startswith('basicsr.')
    swallows = own and any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in block:
        if name not in named and not swallows:
            raise UserError(f'{where}.{name}: {target.__name__} has no such option{near_miss(name, named)}; it has '
                            f'{", ".join(named) or "none"}')
    for name in named:
        if parameters[name].default is inspect.Parameter.empty and name not in block:
            raise UserError(f'{where}.{name}: missing, {target.__name__} needs it')


def check_values(where, block, target, sizes=False):
    """Check that arguments are of the kind that their defaults are of.

    Args:
        where (str): path of the block.
        block (dict): arguments that ``check_arguments`` has passed.
        target: what takes them.
        sizes (bool): they are a network's, whose whole numbers are sizes: above 0 where the default is.

    Raises:
        UserError: on the first that is of another kind.
    """
    parameters = parameters_of(target) or {}
    for name, value in block.items():
        if name in parameters:
            _check_kind(f'{where}.{name}', value, parameters[name].default, sizes)
        if sizes:
            _check_size(f'{where}.{name}', value)


def _check_kind(where, value, default, sizes):
    if isinstance(default, bool):
        Switch()(where, value)
    elif isinstance(default, (int, float)) and re.search(r'drop\w*_rate$', where):
        Number(0, 1, below=True)(where, value)
    elif isinstance(default, (int, float)):
        is_size = sizes and isinstance(default, int) and default > 0
        Number(0 if is_size else None, above=is_size)(where, value)
    elif isinstance(default, str) and (isinstance(value, (bool, list, dict)) or value is None):
        raise UserError(f'{where}: {shown(value)} is not a text such as {default!r}')
    elif isinstance(default, (list, tuple)):
        if not isinstance(value, (list, tuple)) or not value:
            raise UserError(f'{where}: {shown(value)} is not a list such as {shown(list(default))}')
        for place, item in enumerate(value):
            _check_kind(f'{where}[{place}]', item, default[0] if default else None, sizes)


def _check_size(where, value):
    numbers = [x for x in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(x, (int, float))]
    if sum(map(abs, numbers)) > MAX_SIZE:
        raise UserError(f'{where}: {shown(value)} is no size of a network; at most {MAX_SIZE} is allowed')
