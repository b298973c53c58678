"""Options that are the arguments of a class, whose signature is the schema: networks, losses, metrics and mixers.

Arguments with type hints may be what these say, ``Annotated[float, Field(ge=0, description='...')]`` included; those
without, as of BasicSR's networks, what fits their defaults.
"""
from __future__ import annotations

import inspect
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, wraps
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field, Strict, create_model

from .errors import UserError, shown
from .option_types import Block, Decay, Integer, Number, Switch, find_errors, split, whole_numbers

MAX_SIZE = 65_536
"""Largest integer of a network's block; a size beyond it would take hours and all memory to build."""
RENAMED: dict[tuple[str, str], tuple[str, dict[str, str]]] = {
    ('FeaturePriorLoss', 'unit'): ('normalize', {'spread': 'std', 'raw': 'none'}),
}
"""Arguments whose old names are accepted in this version: class and old name, new name, new names of values."""
T = TypeVar('T')


def parameters_of(target: Any) -> Mapping[str, inspect.Parameter]:
    """Parameters of a call by name; none where Python does not know them, as of what is written in C."""
    try:
        return inspect.signature(target).parameters
    except (TypeError, ValueError):
        return {}


@lru_cache(maxsize=256)
def arguments_model(target: Any, given: tuple[str, ...] = (), sizes: bool = False) -> type[BaseModel]:
    """The options that are arguments of a class or function.

    Args:
        target: the class or function. One of BasicSR's with ``**kwargs`` takes no others; one of a user's does.
        given: arguments that are no options.
        sizes: the arguments are a network's, whose integers are sizes: above 0 where the default is.
    """
    hints = _hints(target)
    parameters = parameters_of(target)
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in given or parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        hint = _strict(hints[name]) if name in hints else _fitting(name, parameter.default, sizes)
        is_size = sizes and isinstance(parameter.default, int) and parameter.default > 0
        if is_size and split(hints.get(name))[0] is int:
            hint = Annotated[hint, Field(gt=0)]
        # An alias, for pydantic has names of its own (`copy`, `model_...`).
        fields[f'option_{name}'] = (hint, Field(... if parameter.default is parameter.empty else parameter.default,
                                                alias=name))
    own = not str(getattr(target, '__module__', '')).startswith('basicsr.')
    swallows = own and (not parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()))
    base = type('Arguments', (Block, ), {'model_config': {'extra': 'allow' if swallows else 'forbid'}})
    return create_model(getattr(target, '__name__', 'Arguments'), __base__=base, **fields)


def find_argument_errors(target: Any, block: Mapping[str, Any], path: str, given: tuple[str, ...] = (),
                         sizes: bool = False) -> list[UserError]:
    """All that is wrong with the arguments of a class or function, see ``arguments_model``; ``path`` is the block's."""
    whose = getattr(target, '__name__', type(target).__name__)
    block = {new: value for _, new, value in renamed(whose, block)}
    found = find_errors(arguments_model(target, given, sizes), block, path, whose)
    for name, value in block.items() if sizes else ():
        numbers = [x for x in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(x, (int, float))]
        if sum(map(abs, numbers)) > MAX_SIZE:
            found.append(UserError(f'{path}.{name}: {shown(value)} is no size of a network; at most {MAX_SIZE} is '
                                   'allowed'))
    return found


def renamed(name: str, block: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Old and new name, and value by its new name, of each argument of the class of that name."""
    for old, value in block.items():
        new, values = RENAMED.get((name, old), (old, {}))
        yield old, new, values.get(value, value) if isinstance(value, str) else value


def checked(path: str, given: tuple[str, ...] = ()) -> Callable[[type[T]], type[T]]:
    """Decorator of a class: its constructor refuses what its signature does not allow.

    Args:
        path: how messages begin: the block of the option file, such as ``at_opt``.
        given: arguments that are no options.

    Raises:
        UserError: when the class is called: the first mistake, in one line.
    """
    def decorate(cls: type[T]) -> type[T]:
        target: Any = cls
        original = target.__init__

        @wraps(original)
        def __init__(self: Any, *args: Any, **options: Any) -> None:
            changed = list(renamed(cls.__name__, options))
            for old, new, value in changed:
                if old != new:
                    warnings.warn(f'{path}.{old} is called {new} now; write {new}: {value}', FutureWarning, 2)
            apart = {new: value for _, new, value in changed if new in given}
            block = {new: value for _, new, value in changed if new not in given}
            for error in find_argument_errors(target, block, path, given):
                raise error
            whole_numbers(arguments_model(target, given), block)
            original(self, *args, **apart, **block)

        target.__init__ = __init__
        return cls

    return decorate


# ---------------------------------------------------------------- types of arguments

def _hints(target: Any) -> dict[str, Any]:
    call: Any = getattr(target, '__init__') if isinstance(target, type) else target  # noqa: B009
    try:
        return get_type_hints(call, include_extras=True)
    except Exception:  # a hint may name what is not there
        return {}


def _strict(hint: Any) -> Any:
    """A hint whose numbers, strings and booleans are taken as they are: no text becomes a number, nor true 1."""
    if hint in (bool, int, float, str):
        return Integer if hint is int else Annotated[hint, Strict()]
    if get_origin(hint) is Annotated:
        parts = _strict(get_args(hint)[0]), *hint.__metadata__
        return Annotated[parts]
    if get_origin(hint) in (Union, UnionType):
        return Union[tuple(map(_strict, get_args(hint)))]  # noqa: UP007
    if get_origin(hint) in (list, tuple, Sequence):
        return get_origin(hint)[tuple(map(_strict, get_args(hint)))]
    return hint


def _fitting(name: str, default: Any, sizes: bool) -> Any:
    """The type of an argument without a hint, as its default has it."""
    if isinstance(default, bool):
        return Switch
    if isinstance(default, (int, float)):
        if re.search(r'drop\w*_rate$', name):
            return Decay
        is_size = sizes and isinstance(default, int) and default > 0
        return Annotated[_AnyNumber, Field(gt=0)] if is_size else _AnyNumber
    if isinstance(default, str):
        return Annotated[str, Strict()]
    if isinstance(default, (list, tuple)):
        item: Any = _fitting(name, default[0], sizes) if default else Any
        return Annotated[list[item], Field(min_length=1)]
    return Any


_AnyNumber = Annotated[Number, Field(allow_inf_nan=False)]
