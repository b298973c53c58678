"""Typed blocks of options (pydantic models), and their mistakes as lines: path, value, what is allowed, remedy.

The type of a field is the only statement of what it may be: it checks, ``describe`` puts it into words, and messages
and the page of all options are made of these words.
"""
from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from typing_extensions import Self

from .errors import UserError, near_miss, number_remedy, shown

MAX_TEXT = 4096  # characters; as long as a path may be on Linux
MAX_ITERATIONS = 10**9
MAX_NAME = 200  # bytes; file systems take 255, and log files put a date behind the name


@dataclass(frozen=True)
class Doc:
    """Words in place of those that follow from a type; metadata of a field."""
    value: str = ''
    """What it may be."""
    default: str = ''
    """What holds without it."""


class Block(BaseModel):
    """A block of options. Unknown names are mistakes; fields that are left out have their defaults."""
    # Strict: no text becomes a number, nor true 1.
    model_config = ConfigDict(extra='forbid', frozen=True, strict=True, allow_inf_nan=False,
                              arbitrary_types_allowed=True)
    refused: ClassVar[Mapping[str, str]] = {}
    """Names that a file may have for another program or version, and why nothing can read them here."""

    @classmethod
    def read(cls, block: Mapping[str, Any], path: str = '') -> Self:
        """As ``model_validate``; the first mistake is a ``UserError`` that begins with ``path``."""
        try:
            return cls.model_validate(block)
        except ValidationError:
            raise find_errors(cls, block, path)[0] from None


def _text(value: str) -> str:
    if not value.strip() or not value.isprintable() or len(value) > MAX_TEXT:
        raise ValueError(f'{shown(value)} is not a string of 1 to {MAX_TEXT} characters that can be printed')
    return value


def _file_name(value: str) -> str:
    if {'/', '\\'} & set(value) or value in ('.', '..') or value != value.strip() or len(value.encode()) > MAX_NAME:
        raise ValueError(f'{shown(value)} is no name of a file; give a string of at most {MAX_NAME} bytes, without / '
                         'and \\, and without a space at either end')
    return value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


NonNegative = Annotated[float, Field(ge=0)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Iterations = Annotated[int, BeforeValidator(_whole), Field(ge=1, le=MAX_ITERATIONS)]
"""PyYAML reads ``!!float 5e3``, as option files of BasicSR have it, as 5000.0."""
Text = Annotated[str, AfterValidator(_text)]
SelectedBlocks = Literal['first', 'uniform']
"""Which of the teacher's blocks a shallower student takes: its first ones, or evenly spaced ones."""
FilePath = Annotated[Text, Doc('a path')]
FileName = Annotated[Text, AfterValidator(_file_name), Doc('a name of a file: a string without / and \\')]
Mapped = dict[str, Any]
"""A block that is checked by what it is for."""


# ---------------------------------------------------------------- words

ARTICLES = {bool: 'true or false', int: 'an integer', float: 'a number', str: 'a string', NoneType: 'null',
            Any: 'any value'}


def split(hint: Any) -> tuple[Any, list[Any]]:
    """A type and its metadata, those of ``Field`` and of nested ``Annotated`` included, the outermost last."""
    if isinstance(hint, FieldInfo):
        inner, metadata = split(hint.annotation)
        return inner, [*metadata, *hint.metadata]
    if get_origin(hint) is not Annotated:
        return hint, []
    inner, metadata = split(get_args(hint)[0])
    for item in hint.__metadata__:
        metadata += item.metadata if isinstance(item, FieldInfo) else [item]
    return inner, metadata


def doc_of(hint: Any) -> Doc:
    """The words that a type or field brings."""
    return next((item for item in reversed(split(hint)[1]) if isinstance(item, Doc)), Doc())


def describe(hint: Any) -> str:
    """What values of a type, or of a field, are allowed, such as ``an integer of at least 1``."""
    if words := doc_of(hint).value:
        return words
    inner, metadata = split(hint)
    origin, arguments = get_origin(inner), get_args(inner)
    if is_union(inner):
        return ' or '.join(map(describe, arguments))
    if origin is Literal:
        *most, last = map(str, arguments)
        return f'{", ".join(most)} or {last}' if most else last
    if origin in (list, tuple, Sequence):
        items = dict.fromkeys(describe(item) for item in arguments if item is not ...)
        return f'a list of {" and ".join(map(_plural, items))}'
    if origin in (dict, Mapping) or inner is dict or isinstance(inner, type) and issubclass(inner, BaseModel):
        return 'a mapping'
    return ARTICLES.get(inner, getattr(inner, '__name__', str(inner))) + _range(metadata)


def is_union(hint: Any) -> bool:
    """Whether a type is one of several, as ``int | None``."""
    return get_origin(hint) in (Union, UnionType)


def _plural(words: str) -> str:
    return re.sub(r'^an? (\w+)', r'\1s', words)


def _range(metadata: Iterable[Any]) -> str:
    bounds = {name: getattr(item, name) for item in metadata for name in ('ge', 'gt', 'le', 'lt')
              if getattr(item, name, None) not in (None, MAX_ITERATIONS)}
    if bounds.keys() == {'ge', 'le'}:
        return f' from {bounds["ge"]} to {bounds["le"]}'
    words = {'ge': 'of at least', 'gt': 'above', 'le': 'of at most', 'lt': 'below'}
    return ''.join(f'{" and" if number else ""} {words[name]} {value}'
                   for number, (name, value) in enumerate(sorted(bounds.items())))


# ---------------------------------------------------------------- mistakes

def find_errors(model: type[BaseModel], block: Any, path: str = '', whose: str = '',
                ignored: Collection[str] = ()) -> list[UserError]:
    """All that is wrong with a block, one line for each option.

    ``path`` is that of the block, '' for a whole file; ``whose`` the class that takes the block as arguments;
    ``ignored`` are pydantic's names of mistakes that are none here: 'missing', 'extra_forbidden'.
    """
    try:
        model.model_validate(block)
        return []
    except ValidationError as error:
        items = [item for item in error.errors(include_url=False) if item['type'] not in ignored]
    # All mistakes inside of an option are one of that option.
    first = {item['loc'][:1]: item for item in reversed(items)}
    return [UserError(_line(model, item, block, path, whose)) for item in items if first[item['loc'][:1]] is item]


def _line(model: type[BaseModel], error: Any, block: Any, path: str, whose: str) -> str:
    if not error['loc']:
        return f'{path}: {shown(block)} is not a mapping'
    name, kind, fields = error['loc'][0], error['type'], {f.alias or n: f for n, f in model.model_fields.items()}
    where = f'{path}.{name}'.lstrip('.')
    if name not in fields:
        if why := getattr(model, 'refused', {}).get(name):
            return f'{where}: nothing reads this option, for {why}; remove it'
        says, known = (f'{whose} has no such option', 'it has') if whose else ('nothing reads this option', 'known are')
        return f'{where}: {says}{near_miss(name, fields)}; {known} {", ".join(fields) or "none"}'
    if kind == 'missing':
        needs = f', {whose} needs it' if whose else f'; it needs {describe(fields[name])}'
        return f'{where}: missing{near_miss(name, block.keys() - fields.keys())}{needs}'
    return f'{where}: {error["ctx"]["error"] if kind == "value_error" else _wrong(fields[name], block[name])}'


def _wrong(hint: FieldInfo, value: Any) -> str:
    inner = split(hint)[0]
    members = [part for part in get_args(inner) if part is not NoneType] if is_union(inner) else [inner]
    choices = [item for part in members if get_origin(part) is Literal for item in get_args(part)]
    near = near_miss(value, choices) if choices and isinstance(value, str) else ''
    if choices and len(members) == 1:
        return f'{shown(value)} is not known{near}; allowed are {", ".join(map(repr, choices))}'
    if members == [bool]:
        return f'{shown(value)} is neither true nor false'
    return f'{shown(value)} is not {describe(hint)}{near}{number_remedy(value)}'
