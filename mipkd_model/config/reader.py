"""Option files as plain data: names, texts, numbers, switches, lists and blocks, and nothing else.

BasicSR's reader builds any Python object that a tag names, keeps the last of two options of one name, and reads
``1e-4`` as a text. YAML's rules here are PyYAML's (``yes`` and ``on`` are true, ``~`` is nothing), but for numbers:
``1e-4``, ``5e3`` and ``.5`` are numbers, and what merely looks like one (``010``, ``12:30``, ``2024-01-01``) is a text.
``None``, which means nothing in Python and a text in YAML, is refused.
"""
import os
import re
import stat

import yaml

from mipkd_arch.base.errors import UserError, printable, reason_of, shown

MAX_BYTES = 256 * 1024
MAX_VALUES = 10_000
MAX_DEPTH = 20
MAX_NUMBER = 40  # characters
MAX_KEY = 200
TAG = 'tag:yaml.org,2002:'
NUMBERS = {
    'int': re.compile(r'[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$'),
    'float': re.compile(r'[-+]?(?:(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?'
                        r'|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF))$|\.(?:nan|NaN|NAN)$'),
}
CONFLICT = re.compile(r'([<>|=])\1{6}( |$)')  # a line that git leaves where two versions of a file differ
TRUE, FALSE = ('yes', 'true', 'on'), ('no', 'false', 'off')


class _Loader(yaml.SafeLoader):
    """Resolves plain scalars as above; only its nodes are used, so nothing but ``_plain`` makes values of them."""
    yaml_implicit_resolvers = {}


for _kind, _first in (('bool', 'yYnNtTfFoO'), ('null', ['~', 'n', 'N', ''])):
    for _tag, _pattern in {pair for pairs in yaml.SafeLoader.yaml_implicit_resolvers.values() for pair in pairs}:
        if _tag == TAG + _kind:
            _Loader.add_implicit_resolver(_tag, _pattern, list(_first))
for _kind, _pattern in NUMBERS.items():
    _Loader.add_implicit_resolver(TAG + _kind, _pattern, list('-+0123456789.'))


def read_options(path):
    """Read an option file as plain data.

    Args:
        path: of the file.

    Returns:
        dict: options by name, in the order of the file.

    Raises:
        UserError: there is no such file, or it is no YAML of plain values; with its line where one is to blame.
    """
    where = printable(str(path))
    opt = parse(_text(path, where), where)
    if not isinstance(opt, dict):
        raise UserError(f'{where}: is not an option file, which is a mapping of names to values')
    return opt


def _text(path, where):
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            found = 'is a folder' if stat.S_ISDIR(status.st_mode) else 'is no regular file'
            raise UserError(f'-opt: {where}: {found}; give an option file')
        if status.st_size > MAX_BYTES:
            raise UserError(f'{where}: has {status.st_size} bytes, and an option file at most {MAX_BYTES}')
        with open(path, 'rb') as file:
            content = file.read(MAX_BYTES + 1)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f'-opt: {where}: no such option file') from None
    except (OSError, ValueError) as error:  # ValueError: a path with a NUL
        raise UserError(f'-opt: {where}: cannot be read ({getattr(error, "strerror", None) or error})') from None
    try:
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        raise UserError(f'{where}: line {line}: not a YAML text, which is UTF-8; save it as UTF-8') from None


def parse(text, where):
    """Read YAML as plain data.

    Args:
        text (str): the YAML.
        where (str): the file or option it comes from, for messages.

    Returns:
        dict | list | str | int | float | bool | None: what it says.

    Raises:
        UserError: it is no YAML, or not of plain values.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        raise _wrong(where, *_mistake(error, text)) from None
    except yaml.reader.ReaderError as error:
        line = text.count('\n', 0, error.position) + 1
        raise UserError(f'{where}: line {line}: not a YAML text (character U+{error.character:04X})'
                        f'{"; save it as UTF-8" if error.character == 0 else ""}') from None
    except RecursionError:
        raise UserError(f'{where}: blocks and lists are nested more than {MAX_DEPTH} deep') from None
    except Exception as error:  # PyYAML's scanner lets through what Python says of odd escapes
        raise UserError(f'{where}: not a YAML text ({reason_of(error)})') from None
    return None if node is None else _Values(where).of(node)


def _wrong(where, line, what):
    return UserError(f'{where}:{f" line {line}:" if line else ""} {what}')


def _mistake(error, text):
    """Line, from 1, and mistake that PyYAML stumbled over; often some lines before the place where it did."""
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        if CONFLICT.match(line):
            return number, f'{shown(line)} is a mark of git; take one of the two versions, and the marks out'
    context, problem, mark = error.context or '', error.problem or '', error.problem_mark
    begun = error.context_mark.line + 1 if error.context_mark else None
    if mark is None:
        return begun, printable(problem or 'not a YAML text')
    line, number = (lines[mark.line:mark.line + 1] or [''])[0], mark.line + 1
    if 'scanning a simple key' in context:
        return begun, (f'{shown(lines[begun - 1].strip())} has no value; write `name: value`, with a space behind the '
                       'colon')
    if 'quoted scalar' in context and 'unexpected' in problem:
        return begun, 'a quotation mark is opened and not closed'
    if 'parsing a flow' in context:
        return begun, 'a list or block in brackets is not closed, or lacks a comma'
    if problem.startswith('mapping values'):
        if re.search(r':\s', line[:mark.column]):
            return number, 'a value with a colon and a space in it; put it in quotes'
        return number, ('stands too far to the right, or the line above is no `name: value` with a space behind the '
                        'colon')
    if 'cannot start any token' in problem:
        sign = line[mark.column:mark.column + 1]
        return number, ('a tab; use spaces' if sign == '\t' else
                        f'a value cannot begin with {shown(sign)}; put it in quotes')
    if 'escape' in problem:
        return number, 'a backslash in double quotes stands for a special sign; put the text in single quotes'
    if 'expected <block end>' in problem:
        return number, ('does not go on with the block that it stands in; mend how far to the right it stands, or a '
                        'quotation mark in it or in the line above')
    return number, printable(problem)


class _Values:
    """Makes values of nodes. What an alias (``*name``) stands for is made anew at each place, and counted."""

    def __init__(self, where):
        self.where, self.count = where, 0

    def refuse(self, node, what):
        raise _wrong(self.where, node.start_mark.line + 1, what)

    def of(self, node, depth=0):
        self.count += 1
        if self.count > MAX_VALUES:
            self.refuse(node, f'the file comes to more than {MAX_VALUES} values; aliases (*name) count as what they '
                              'stand for')
        if depth > MAX_DEPTH:
            self.refuse(node, f'nested more than {MAX_DEPTH} deep')
        kind = node.tag.removeprefix(TAG)
        if isinstance(node, yaml.MappingNode) and kind == 'map':
            return self.block(node, depth)
        if isinstance(node, yaml.SequenceNode) and kind == 'seq':
            return [self.of(item, depth + 1) for item in node.value]
        if isinstance(node, yaml.ScalarNode) and kind in ('str', 'null', 'bool', 'int', 'float'):
            return self.scalar(node, kind)
        self.refuse(node, f'the tag {shown(node.tag)} is refused; values are texts, numbers, true, false, ~, lists and '
                          'blocks')

    def block(self, node, depth):
        options = {}
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode) or name.tag != TAG + 'str':
                plain = f'{shown(name.value)} is' if isinstance(name, yaml.ScalarNode) else 'a list or block is'
                self.refuse(name, f'{plain} no name of an option, which is a text; put it in quotes if it is meant')
            if name.value == '<<' and name.style is None:
                self.refuse(name, 'blocks cannot be merged by <<; write the options out')
            if not name.value.isprintable() or not 0 < len(name.value) <= MAX_KEY:
                self.refuse(name, f'{shown(name.value)} is no name of an option')
            if name.value in options:
                self.refuse(name, f'{shown(name.value)} is given twice in one block; remove one')
            options[name.value] = self.of(value, depth + 1)
        return options

    def scalar(self, node, kind):
        text = node.value
        if kind == 'null':
            if text.lower() not in ('', '~', 'null'):
                self.refuse(node, f'{shown(text)} is not ~, which its tag says')
            return None
        if kind == 'bool':
            if text.lower() not in TRUE + FALSE:
                self.refuse(node, f'{shown(text)} is neither true nor false')
            return text.lower() in TRUE
        if kind == 'str':
            if text == 'None' and node.style is None:
                self.refuse(node, 'None is a text in YAML; write ~ for nothing, or "None" if the text is meant')
            return text
        number = text.strip()
        if len(number) > MAX_NUMBER:
            self.refuse(node, f'a number of {len(number)} characters; at most {MAX_NUMBER} are read')
        digits = number.replace('_', '')
        if NUMBERS['int'].match(number):
            value = int(digits, 16 if 'x' in digits else 10)
            return float(value) if kind == 'float' else value
        if kind == 'float' and NUMBERS['float'].match(number):
            return float(re.sub(r'\.(?=inf|nan)', '', digits.lower()))
        self.refuse(node, f'{shown(text)} is not a number, which its tag says')
