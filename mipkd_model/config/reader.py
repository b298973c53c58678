"""Option files as plain data: names, strings, numbers, booleans, lists and mappings, and nothing else.

BasicSR's reader builds any Python object that a tag names, keeps the last of two options of one name, and reads
``1e-4`` as a string. YAML's rules here are PyYAML's (``yes`` and ``on`` are true, ``~`` is null), but for numbers:
``1e-4``, ``5e3`` and ``.5`` are numbers, and what merely looks like one (``010``, ``12:30``, ``2024-01-01``) is a
string. ``None``, which is null in Python and a string in YAML, is refused.
"""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from mipkd_arch.base.errors import UserError, printable, reason_of, shown

TAG = 'tag:yaml.org,2002:'
INTEGER = re.compile(r'[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$')
FLOAT = re.compile(r'[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?'
                   r'|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$')


class _Loader(yaml.SafeLoader):
    """Builds plain values; numbers as above."""
    yaml_implicit_resolvers = {
        sign: [(tag, pattern) for tag, pattern in pairs if tag in (f'{TAG}bool', f'{TAG}null')]
        for sign, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()}
    yaml_constructors = {f'{TAG}{kind}': yaml.SafeLoader.yaml_constructors[f'{TAG}{kind}']
                         for kind in ('bool', 'null', 'int', 'float', 'seq', 'str')}

    def mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for name, value in node.value:
            if name.tag != f'{TAG}str' or not (name.value.strip() and name.value.isprintable()):
                text = shown(name.value) if isinstance(name, yaml.ScalarNode) else 'a list or mapping'
                self.refuse(name, f'{text} is no name of an option, which is a string; put it in quotes if it is meant')
            if name.value == '<<' and name.style is None:
                self.refuse(name, 'mappings cannot be merged by <<; write the options out')
            if name.value in options:
                self.refuse(name, f'{shown(name.value)} is given twice in one mapping; remove one')
            options[name.value] = self.construct_object(value, deep=True)
        return options

    def string(self, node: yaml.ScalarNode) -> str:
        if node.value == 'None' and node.style is None:
            self.refuse(node, 'None is a string in YAML; write ~ for null, or "None" if the string is meant')
        return node.value

    def number(self, node: yaml.ScalarNode) -> float:
        text, is_integer = node.value.replace('_', '').lower(), bool(INTEGER.match(node.value))
        if node.tag == f'{TAG}int' and is_integer:
            return int(text, 16 if 'x' in text else 10)
        if node.tag == f'{TAG}float' and (is_integer or FLOAT.match(node.value)):
            return float(re.sub(r'\.(?=inf|nan)', '', text))
        return self.refuse(node, f'{shown(node.value)} is not a number')

    def unknown(self, node: yaml.Node) -> Any:
        self.refuse(node, f'the tag {shown(node.tag)} is refused; values are strings, numbers, true, false, ~, lists '
                          'and mappings')

    def refuse(self, node: yaml.Node, what: str) -> Any:
        raise yaml.MarkedYAMLError(problem=what, problem_mark=node.start_mark)


for _kind, _function in (('map', _Loader.mapping), ('str', _Loader.string), ('int', _Loader.number),
                         ('float', _Loader.number), (None, _Loader.unknown)):
    _Loader.add_constructor(_kind and f'{TAG}{_kind}', _function)
for _kind, _pattern in (('int', INTEGER), ('float', FLOAT)):
    _Loader.add_implicit_resolver(f'{TAG}{_kind}', _pattern, list('-+0123456789.'))


def _apart(value: Any) -> Any:
    """A copy in which what an alias (``*name``) stands for is a value of its own at each place."""
    if isinstance(value, dict):
        return {name: _apart(item) for name, item in value.items()}
    return [_apart(item) for item in value] if isinstance(value, list) else value


def read_options(path: str | Path) -> dict[str, Any]:
    """Read an option file as plain data, in the order of the file.

    Raises:
        UserError: there is no such file, or it is no YAML of plain values; with its line where one is to blame.
    """
    where = printable(str(path))
    try:
        text = Path(path).read_bytes().decode('utf-8-sig')
    except FileNotFoundError:
        raise UserError(f'-opt: {where}: no such option file') from None
    except UnicodeDecodeError:
        raise UserError(f'{where}: not a YAML text, which is UTF-8; save it as UTF-8') from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise UserError(f'-opt: {where}: cannot be read ({getattr(error, "strerror", None) or error})') from None
    opt = parse(text, where)
    if not isinstance(opt, dict):
        raise UserError(f'{where}: is not an option file, which is a mapping of names to values')
    return opt


def parse(text: str, where: str) -> Any:
    """Read YAML as plain data.

    Args:
        text: the YAML.
        where: the file or option it comes from, for messages.

    Raises:
        UserError: it is no YAML, or not of plain values.
    """
    try:
        return _apart(yaml.load(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        line = f' line {error.problem_mark.line + 1}:' if error.problem_mark else ''
        begun = f', begun in line {error.context_mark.line + 1}' if error.context_mark else ''
        context = f' ({printable(error.context)}{begun})' if error.context else ''
        raise UserError(f'{where}:{line} {printable(error.problem or "not a YAML text")}{context}') from None
    except RecursionError:
        raise UserError(f'{where}: mappings and lists are nested too deep') from None
    except Exception as error:  # PyYAML lets through what Python says of odd escapes, booleans and integers
        raise UserError(f'{where}: not a YAML text ({reason_of(error)})') from None
