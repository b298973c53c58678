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

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    TypeAdapter,
    ValidationError,
    model_validator,
)
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
    missing: str = ''
    """What to do where it is missing."""


class Block(BaseModel):
    """A block of options. Unknown names are mistakes; fields that are left out have their defaults."""
    model_config = ConfigDict(extra='forbid', frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    added: ClassVar[frozenset[str]] = frozenset()
    """Names that BasicSR's pipeline or a launcher adds while a run starts; refused in an option file."""

    @model_validator(mode='before')
    @classmethod
    def _drop_added(cls, block: Any) -> Any:
        if not isinstance(block, Mapping) or cls.added.isdisjoint(block):
            return block
        return {name: value for name, value in block.items() if name not in cls.added}

    @classmethod
    def read(cls, block: Mapping[str, Any], path: str = '') -> Self:
        """As ``model_validate``; the first mistake is a ``UserError`` that begins with ``path``."""
        for error in find_errors(cls, {name: value for name, value in block.items() if name not in cls.added}, path):
            raise error
        return cls.model_validate(block)


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _text(value: str) -> str:
    if not value.isprintable():
        raise ValueError(f'{shown(value)} has characters that cannot be printed')
    if len(value) > MAX_TEXT:
        raise ValueError(f'has {len(value)} characters; at most {MAX_TEXT} are allowed')
    if not value.strip():
        raise ValueError(f'{shown(value)} is not a string with anything in it')
    return value


def _file_name(value: str) -> str:
    if {'/', '\\'} & set(value) or value in ('.', '..'):
        raise ValueError(f'{shown(value)} is no name of a file; give a string without / and \\')
    if len(value.encode(errors='replace')) > MAX_NAME:
        raise ValueError(f'{shown(value)} is too long; a name has at most {MAX_NAME} bytes')
    if value != value.strip():
        raise ValueError(f'{shown(value)} begins or ends with a space; remove it')
    return value


def _template(value: str) -> str:
    try:
        sound = len({value.format(name) for name in ('a', 'b')}) == 2
    except (ValueError, LookupError, AttributeError):
        sound = False
    if not sound:
        raise ValueError(f'{shown(value)} is not a string with one {{}}, the name of the gt image, such as "{{}}x4"')
    return value


def _ascending(values: list) -> list:
    if values != sorted(values):
        raise ValueError(f'{shown(values)} is not in ascending order')
    return values


Switch = Annotated[bool, Strict()]
Number = Annotated[float, Strict()]
NonNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
Decay = Annotated[Number, Field(ge=0, lt=1)]
Integer = Annotated[int, Strict(), BeforeValidator(_whole)]
"""May be written ``5e3``, which YAML reads as a number with a fraction."""
Count = Annotated[Integer, Field(ge=1)]
Iterations = Annotated[Integer, Field(ge=1, le=MAX_ITERATIONS)]
Text = Annotated[str, Strict(), AfterValidator(_text)]
FilePath = Annotated[Text, Doc('a path')]
FileName = Annotated[Text, AfterValidator(_file_name), Doc('a name of a file: a string without / and \\')]
Template = Annotated[Text, AfterValidator(_template), Doc('a string with one {}, the name of the gt image')]
Ascending = AfterValidator(_ascending)
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
    if origin in (Union, UnionType):
        return ' or '.join(map(describe, arguments))
    if origin is Literal:
        choices = [str(value) for value in arguments]
        return ', '.join(choices[:-1]) + f' or {choices[-1]}' if len(choices) > 1 else choices[0]
    if origin in (list, tuple, Sequence):
        items = dict.fromkeys(describe(item) for item in arguments if item is not ...)
        return f'a list of {" and ".join(map(_plural, items))}'
    if origin in (dict, Mapping) or inner is dict or isinstance(inner, type) and issubclass(inner, BaseModel):
        return 'a mapping'
    return ARTICLES.get(inner, getattr(inner, '__name__', str(inner))) + _range(metadata)


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

    Args:
        model: what the block is to be.
        block: the options.
        path: of the block, '' for a whole file.
        whose: name of the class that takes the arguments, for messages; '' for a block of this project.
        ignored: 'missing' or 'extra_forbidden', pydantic's names of mistakes that are none here.
    """
    found: dict[str, str] = {}
    for name in sorted(getattr(model, 'added', set()) & set(block if isinstance(block, Mapping) else ())):
        found[f'{path}.{name}'] = f'{path}.{name}: {_unknown(name, list(_fields(model)), whose)}'
    try:
        model.model_validate(block)
    except ValidationError as error:
        for item in error.errors(include_url=False):
            if item['type'] not in ignored:
                where, line = _line(model, item, path, whose)
                found.setdefault(where, line)
    return [UserError(line) for line in found.values()]


def checked_value(path: str, value: Any, hint: Any) -> Any:
    """A value as its type reads it; a mistake is a ``UserError`` that begins with ``path``."""
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        item = error.errors(include_url=False)[0]
        said = item['ctx']['error'] if item['type'] == 'value_error' else _wrong(split(hint)[0], hint, value)
        raise UserError(f'{path}: {said}') from None


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _line(model: type[BaseModel], error: Any, path: str, whose: str) -> tuple[str, str]:
    hint, where = _locate(model, error['loc'], path)
    kind, value = error['type'], error['input']
    inner, _ = split(hint)
    if kind == 'extra_forbidden':
        name = error['loc'][-1]
        where = f'{where}.{name}'.lstrip('.')
        return where, f'{where}: {_unknown(name, list(_fields(inner)), whose)}'
    if kind == 'missing':
        near = near_miss(str(error['loc'][-1]), set(value) - set(_fields(_owner(model, error['loc']))))
        if whose:
            return where, f'{where}: missing, {whose} needs it{near}'
        needs = doc_of(hint).missing or f'; it needs {describe(hint)}'
        return where, f'{where}: missing{"" if "." in where else " in the option file"}{near}{needs}'
    if kind == 'value_error':
        return where, f'{where}: {error["ctx"]["error"]}'
    return where, f'{where}: {_wrong(inner, hint, value)}'


def _unknown(name: str, known: list[str], whose: str) -> str:
    says = f'{whose} has no such option' if whose else 'nothing reads this option'
    return f'{says}{near_miss(name, known)}; {"it has" if whose else "known are"} {", ".join(known) or "none"}'


def _wrong(inner: Any, hint: Any, value: Any) -> str:
    choices = [item for part in _members(inner) if get_origin(part) is Literal for item in get_args(part)]
    if choices and len(_members(inner)) == 1:
        return f'{shown(value)} is not known{near_miss(value, choices)}; allowed are {", ".join(map(repr, choices))}'
    members = {split(part)[0] for part in _members(inner)}
    if members == {bool}:
        return f'{shown(value)} is neither true nor false'
    near = near_miss(value, choices) if choices and isinstance(value, str) else ''
    remedy = '; put it in quotes if it is meant' if members == {str} and isinstance(value, (bool, int, float)) else ''
    return f'{shown(value)} is not {describe(hint)}{near}{remedy or number_remedy(value)}'


def _members(hint: Any) -> list[Any]:
    """The types of a union but for None, or the one type."""
    inner, _ = split(hint)
    if get_origin(inner) in (Union, UnionType):
        return [part for part in get_args(inner) if part is not NoneType]
    return [inner]


def _locate(model: Any, loc: Sequence[Any], path: str) -> tuple[Any, str]:
    """The type at a place of an error and its path; a place inside one type of a union is that of the union."""
    hint: Any = model
    for part in loc:
        members = _members(hint)
        inner, _ = split(members[0])
        if len(members) != 1:
            break
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            if part not in _fields(inner):
                return inner, path
            hint, path = _fields(inner)[part], f'{path}.{part}'.lstrip('.')
        elif get_origin(inner) in (list, tuple, Sequence) and isinstance(part, int):
            hint, path = get_args(inner)[0], f'{path}[{part}]'
        else:
            break
    return hint, path


def _owner(model: Any, loc: Sequence[Any]) -> type[BaseModel]:
    hint = split(_members(_locate(model, loc[:-1], '')[0])[0])[0]
    return hint


def whole_numbers(model: type[BaseModel], block: dict[str, Any]) -> None:
    """Write integers into a block where ``5e3`` stands for them; the block must be without mistakes."""
    found = model.model_validate(block)
    for name, field in type(found).model_fields.items():
        value, key = getattr(found, name), field.alias or name
        if isinstance(value, BaseModel) and isinstance(block.get(key), dict):
            whole_numbers(type(value), block[key])
        elif key in block and _is_whole(value, block[key]):
            block[key] = value


def _is_whole(value: Any, given: Any) -> bool:
    if isinstance(value, list):
        return any(map(_is_whole, value, given))
    return isinstance(value, int) and isinstance(given, float)
