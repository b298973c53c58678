"""Options that are the arguments of a class, whose signature is the schema: networks, losses, metrics and mixers.

Arguments with type hints may be what these say, ``Annotated[float, Field(ge=0, description='...')]`` included; those
without, as of BasicSR's networks, what fits their defaults.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, wraps
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field, Strict, create_model

from .errors import UserError
from .option_types import Block, find_errors, is_union, split

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
    """The options that are arguments of a class or function; one of BasicSR's with ``**kwargs`` takes no others.

    ``given`` are arguments that are no options; ``sizes``: integers are sizes, above 0 where the default is.
    """
    hints, parameters = _hints(target), parameters_of(target)
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name in given or parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            continue
        default = parameter.default
        hint = _with_lists(hints[name]) if name in hints else _fitting(default, sizes)
        if sizes and name in hints and split(hint)[0] is int and isinstance(default, int) and default > 0:
            hint = Annotated[hint, Field(gt=0, le=MAX_SIZE)]
        # An alias, for pydantic has names of its own (`copy`, `model_...`).
        fields[f'option_{name}'] = hint, Field(... if default is parameter.empty else default, alias=name)
    own = not str(getattr(target, '__module__', '')).startswith('basicsr.')
    swallows = own and (not parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()))
    base = type('Arguments', (Block, ), {'model_config': {'extra': 'allow' if swallows else 'forbid'}})
    return create_model(getattr(target, '__name__', 'Arguments'), __base__=base, **fields)


def find_argument_errors(target: Any, block: Mapping[str, Any], path: str, given: tuple[str, ...] = (),
                         sizes: bool = False) -> list[UserError]:
    """All that is wrong with the arguments of a class or function, see ``arguments_model``; ``path`` is the block's."""
    whose = getattr(target, '__name__', type(target).__name__)
    block = {new: value for _, new, value in renamed(whose, block)}
    return find_errors(arguments_model(target, given, sizes), block, path, whose)


def renamed(name: str, block: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Old and new name, and value by its new name, of each argument of the class of that name."""
    for old, value in block.items():
        new, values = RENAMED.get((name, old), (old, {}))
        yield old, new, values.get(value, value) if isinstance(value, str) else value


def checked(path: str, given: tuple[str, ...] = ()) -> Callable[[type[T]], type[T]]:
    """Decorator of a class: its constructor refuses what its signature does not allow, and accepts old names.

    The first mistake is a ``UserError`` that begins with ``path``, the block of the option file, such as ``at_opt``;
    ``given`` are arguments that are no options.
    """
    def decorate(cls: type[T]) -> type[T]:
        target: Any = cls
        original = target.__init__

        @wraps(original)
        def __init__(self: Any, *args: Any, **options: Any) -> None:
            options = {new: value for _, new, value in renamed(cls.__name__, options)}
            block = {name: value for name, value in options.items() if name not in given}
            for error in find_argument_errors(target, block, path, given):
                raise error
            original(self, *args, **options)

        target.__init__ = __init__
        return cls

    return decorate


def _hints(target: Any) -> dict[str, Any]:
    call: Any = getattr(target, '__init__') if isinstance(target, type) else target  # noqa: B009
    try:
        return get_type_hints(call, include_extras=True)
    except Exception:  # a hint may name what is not there
        return {}


def _with_lists(hint: Any) -> Any:
    """A hint that accepts lists, which are all that YAML has, for tuples."""
    if is_union(hint):
        return Union[tuple(map(_with_lists, get_args(hint)))]  # noqa: UP007
    return Annotated[hint, Strict(False)] if get_origin(hint) is tuple else hint


def _fitting(default: Any, sizes: bool) -> Any:
    """The type of an argument without a hint, as its default has it."""
    if isinstance(default, (bool, str)):
        return type(default)
    if isinstance(default, (int, float)):
        is_size = sizes and isinstance(default, int) and default > 0
        return Annotated[float, Field(gt=0, le=MAX_SIZE)] if is_size else float
    if isinstance(default, (list, tuple)):
        item: Any = _fitting(default[0], sizes) if default else Any
        return Annotated[Sequence[item], Field(min_length=1)]
    return Any
