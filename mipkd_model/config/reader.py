"""Option files as plain data: names, strings, numbers, booleans, lists and mappings, and nothing else.

BasicSR's reader builds any Python object that a tag names, keeps the last of two options of one name, and reads
``1e-4`` as a string. The rules here are PyYAML's (``yes`` and ``on`` are true, ``~`` is null), but for numbers:
``1e-4`` and ``.5`` are numbers, ``5e3`` is an integer, and what merely looks like one (``010``, ``12:30``,
``2024-01-01``) is a string. ``None``, which is null in Python and a string in YAML, is refused.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from mipkd_arch.base.errors import UserError, printable, reason_of, shown

TAG = 'tag:yaml.org,2002:'
INTEGER = re.compile(r'[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F]+)$')
FLOAT = re.compile(r'[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?'
                   r'|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$')
FLAG = '--force_yml'


class _Loader(yaml.SafeLoader):
    """Builds plain values; numbers as above."""
    yaml_implicit_resolvers = {
        sign: [(tag, pattern) for tag, pattern in pairs if tag in (f'{TAG}bool', f'{TAG}null')]
        for sign, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()}
    yaml_constructors = {tag: yaml.SafeLoader.yaml_constructors[tag]
                         for tag in (f'{TAG}bool', f'{TAG}null', f'{TAG}int', f'{TAG}seq', None)}

    def mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for name, value in node.value:
            if name.tag != f'{TAG}str' or name.value == '<<' or not (name.value.strip() and name.value.isprintable()):
                text = shown(name.value) if isinstance(name, yaml.ScalarNode) else 'a list or mapping'
                self.refuse(name, f'{text} is no name of an option, which is a string; put it in quotes if it is meant')
            if name.value in options:
                self.refuse(name, f'{shown(name.value)} is given twice in one mapping; remove one')
            options[name.value] = self.construct_object(value, deep=True)
        return options

    def string(self, node: yaml.ScalarNode) -> str:
        if node.value == 'None' and node.style is None:
            self.refuse(node, 'None is a string in YAML; write ~ for null, or "None" if the string is meant')
        return node.value

    def number(self, node: yaml.ScalarNode) -> float:
        value = self.construct_yaml_float(node)
        return int(value) if 'e' in node.value.lower() and value.is_integer() else value

    def refuse(self, node: yaml.Node, what: str) -> Any:
        raise yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark)


for _kind, _function in (('map', _Loader.mapping), ('str', _Loader.string), ('float', _Loader.number)):
    _Loader.add_constructor(f'{TAG}{_kind}', _function)
for _kind, _pattern in (('int', INTEGER), ('float', FLOAT)):
    _Loader.add_implicit_resolver(f'{TAG}{_kind}', _pattern, list('-+0123456789.'))


def _apart(value: Any) -> Any:
    """A copy in which what an alias (``*name``) stands for is a value of its own at each place."""
    if isinstance(value, dict):
        return {name: _apart(item) for name, item in value.items()}
    return [_apart(item) for item in value] if isinstance(value, list) else value


def read_options(path: str | Path) -> dict[str, Any]:
    """Read an option file as plain data; raises a ``UserError``, with the line where one is to blame."""
    where = printable(str(path))
    try:
        text = Path(path).read_bytes().decode('utf-8-sig')
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL, or another encoding
        reason = getattr(error, 'strerror', None) or reason_of(error)
        raise UserError(f'-opt: {where}: cannot be read ({reason})') from None
    opt = parse(text, where)
    if not isinstance(opt, dict):
        raise UserError(f'{where}: is not an option file, which is a mapping of names to values')
    return opt


def parse(text: str, where: str) -> Any:
    """Read YAML as plain data; ``where`` is the file or option that it comes from, for ``UserError``."""
    try:
        return _apart(yaml.load(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        line = f' line {error.problem_mark.line + 1}:' if error.problem_mark else ''
        begun = f' ({error.context}, begun in line {error.context_mark.line + 1})' if error.context_mark else ''
        raise UserError(f'{where}:{line} {printable(f"{error.problem}{begun}")}') from None
    except Exception as error:  # PyYAML lets through what Python says of odd escapes, numbers and deep nesting
        raise UserError(f'{where}: not a YAML text ({reason_of(error)})') from None


def override(opt: dict[str, Any], entries: Sequence[str]) -> None:
    """Set options in place; what they may be is left to the checks of the whole file.

    ``entries`` are those of --force_yml: ``block:option=value``, the value written as in an option file. Dots may stand
    for the colons. Raises a ``UserError`` for one that is malformed or whose path leads through a value.
    """
    for entry in entries:
        path, equals, text = entry.partition('=')
        names = [name.strip() for name in re.split('[:.]', path)]
        if not equals or not all(names) or not path.isprintable():
            raise UserError(f'{FLAG}: {shown(entry)} sets no option; give block:option=value, as in '
                            'train:ema_decay=0.999')
        where = f'{FLAG} {shown(path.strip())[1:-1]}'
        value, block = parse(text, where), opt
        while len(names) > 1 and '.'.join(names) not in block:  # a metric's name may have dots
            name = names.pop(0)
            if block.get(name) is None:
                block[name] = {}
            block = block[name]
            if not isinstance(block, dict):
                raise UserError(f'{where}: {name} is {shown(block)}, not a block of options')
        block['.'.join(names)] = value
