"""Options as the text of an option file: plain data, with comments by the path of an option."""
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mipkd_arch.base.errors import UserError, printable

COLUMN = 25
"""Where comments behind options begin."""
PLAIN = re.compile(r'[\w/][\w./+-]*( [\w./~+-]+)*')
NUMBER = re.compile(r'[\d._]+(e[-+]?\d+)?', re.I)


def option_text(options: Mapping[str, Any], header: Sequence[str], comments: Mapping[str, str],
                lines_above: Mapping[str, Sequence[str]]) -> str:
    """Options as YAML with comments.

    Args:
        options: plain data. A blank line stands above each mapping of the top level.
        header: lines of the comment at the beginning.
        comments: what stands behind an option, by its path.
        lines_above: lines of comment above an option, by its path; an empty line stays empty.
    """
    lines = [f'# {printable(line)}'.rstrip() for line in header]
    return '\n'.join([*lines, *_lines(options, '', comments, lines_above), ''])


def _lines(options: Mapping[str, Any], parent: str, comments: Mapping[str, str],
           lines_above: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name, value in options.items():
        path = f'{parent}.{name}' if parent else name
        indent = '  ' * path.count('.')
        is_mapping = isinstance(value, Mapping)
        if is_mapping and not parent:
            yield ''
        for line in lines_above.get(path, ()):
            yield f'{indent}# {line}' if line else ''
        line = f'{indent}{name}:' if is_mapping else f'{indent}{name}: {yaml_value(value)}'
        yield f'{line:<{COLUMN - 2}}  # {comments[path]}' if path in comments else line
        if is_mapping:
            yield from _lines(value, path, comments, lines_above)


def yaml_value(value: Any) -> str:
    """A value as YAML in one line, which BasicSR's reader and this package's understand alike."""
    if isinstance(value, str):
        is_plain = PLAIN.fullmatch(value) and not NUMBER.fullmatch(value) and value != 'None'
        is_plain = is_plain and yaml.safe_load(value) == value
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f'[{", ".join(map(yaml_value, value))}]'
    if isinstance(value, float) and value and not 1e-3 <= abs(value) < 1e3:
        mantissa, exponent = f'{value:e}'.split('e')
        return f'!!float {float(mantissa):g}e{int(exponent)}'  # without the tag 1e-4 is a string to PyYAML
    if value is None:
        return '~'
    return str(value).lower()


def write_option_files(texts: Mapping[Path, str]) -> None:
    """Write option files, those that are there already with the same content included; all or, if one differs, none.

    Raises:
        UserError: another file is there, or nothing can be written there.
    """
    try:
        for file, text in texts.items():
            if file.exists() and file.read_bytes() != text.encode():
                raise UserError(f'{file}: exists already with other content and is left alone; remove it first, or '
                                'write elsewhere with --out')
        for file, text in texts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode())
    except OSError as error:
        raise UserError(f'{file}: cannot be written ({error.strerror}); write elsewhere with --out') from None
