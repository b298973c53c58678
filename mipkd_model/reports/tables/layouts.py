"""Tables as text: for the terminal, Markdown, LaTeX and CSV."""
import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tabulate import SEPARATING_LINE, tabulate

LAYOUTS = ('terminal', 'markdown', 'latex', 'csv')


class Styled(NamedTuple):
    """A piece of text with a style: ``best``, ``second``, ``std``, ``code``."""
    text: str
    style: str


Text = str | tuple[str | Styled, ...]


class Table(NamedTuple):
    """A table that any layout can show."""
    title: str
    head: tuple[Text, ...]
    lines: tuple[tuple[Text, ...], ...]
    """Cells by line. An empty cell in one of the ``keys`` columns belongs to the line above."""
    keys: int  # how many columns name the line; the others are centered in LaTeX
    notes: tuple[Text, ...] = ()  # texts below the table


def table_text(tables: Sequence[Table], layout: str, bold: bool = False) -> str:
    """Tables in one of ``LAYOUTS`` except csv, ending with a line feed.

    ``bold``: the terminal shows bold and underlined text; else marks stand for them.
    """
    if layout == 'terminal':
        return '\n\n'.join(_terminal(table, _ANSI if bold else _MARKS) for table in tables) + '\n'
    if layout == 'latex':
        return '% needs \\usepackage{adjustbox}\\usepackage{booktabs}\n' + '\n\n'.join(map(_latex, tables)) + '\n'
    return '\n\n'.join(map(_markdown, tables)) + '\n'


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Dicts as CSV, whose columns are the keys of all; None is an empty field."""
    text = io.StringIO()
    columns = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(text, columns, restval='', lineterminator='\n')
    writer.writeheader()
    writer.writerows({key: f'{value:.10g}' if isinstance(value, float) else value for key, value in row.items()}
                     for row in rows)
    return text.getvalue()


_ANSI = {'best': '\033[1m{}\033[0m', 'second': '\033[4m{}\033[0m'}
_MARKS = {'best': '*{}*', 'second': '_{}_'}
_MARKDOWN = {'best': '**{}**', 'second': '<u>{}</u>', 'code': '`{}`'}
_LATEX = {'best': r'\textbf{{{}}}', 'second': r'\underline{{{}}}', 'std': r'{{\scriptsize{}}}',
          'code': r'\texttt{{{}}}'}
_LATEX_CHARACTERS = {
    '\\': r'\textbackslash{}', '{': r'\{', '}': r'\}', '%': r'\%', '_': r'\_', '&': r'\&', '#': r'\#', '$': r'\$',
    '^': r'\textasciicircum{}', '~': r'\textasciitilde{}', '<': r'\textless{}', '>': r'\textgreater{}',
    '|': r'\textbar{}', '[': '{[}', '±': r'$\pm$', '†': r'$^\dagger$',
}


def _text(text: Text, styles: Mapping[str, str], escape: Callable[[str, str | None], str]) -> str:
    pieces = (text, ) if isinstance(text, str) else text
    return ''.join(escape(piece, None) if isinstance(piece, str)
                   else styles.get(piece.style, '{}').format(escape(piece.text, piece.style)) for piece in pieces)


def _terminal(table: Table, styles: Mapping[str, str]) -> str:
    def text(cell: Text) -> str:
        return _text(cell, styles, lambda piece, _: piece)
    lines: list[Any] = []
    for line in table.lines:
        if lines and _starts_group(table, line):
            lines.append(SEPARATING_LINE)
        lines.append(list(map(text, line)))
    body = tabulate(lines, list(map(text, table.head)), 'simple', disable_numparse=True)
    return '\n'.join([table.title, '', body, *map(text, table.notes)])


def _starts_group(table: Table, line: tuple[Text, ...]) -> bool:
    """Whether a rule stands above a line: one that names what the lines below it share."""
    return bool(line[0]) and not all(other[0] for other in table.lines)


def _markdown(table: Table) -> str:
    lines = [[_text(cell, _MARKDOWN, _markdown_escape) for cell in line] for line in (table.head, *table.lines)]
    body = tabulate(lines[1:], lines[0], 'pipe', disable_numparse=True)
    notes = [f'- {_text(note, _MARKDOWN, _markdown_escape)}' for note in table.notes]
    return '\n'.join([f'**{_markdown_escape(table.title, None)}**', '', body, *(['', *notes] if notes else [])])


def _markdown_escape(text: str, style: str | None) -> str:
    if style == 'code':
        return text.replace('|', r'\|').replace('`', "'")
    # Between letters _ is no mark.
    return re.sub(r'[\\|*<>`\[\]]|(?<![^\W_])_|_(?![^\W_])', r'\\\g<0>', text)


def _latex(table: Table) -> str:
    lines: list[str] = []
    for line in (table.head, *table.lines):
        if lines and (len(lines) == 1 or _starts_group(table, line)):
            lines.append(r'\midrule')
        lines.append(' & '.join(_text(cell, _LATEX, _latex_escape) for cell in line) + r' \\')
    columns = 'l' * table.keys + 'c' * (len(table.head) - table.keys)
    notes = [rf'\par {_text(note, _LATEX, _latex_escape)}' for note in table.notes]
    # Scaled down where it is wider than the text.
    return '\n'.join([
        '% ' + table.title, r'\begin{adjustbox}{max width=\linewidth}', rf'\begin{{tabular}}{{{columns}}}', r'\toprule',
        *lines, r'\bottomrule', r'\end{tabular}', r'\end{adjustbox}',
        *([r'{\footnotesize', *notes, r'\par}'] if notes else [])])


def _latex_escape(text: str, _: str | None) -> str:
    text = ''.join(_LATEX_CHARACTERS.get(character, character) for character in text)
    return re.sub(r'(?<![\w-])-(?=\d)', '$-$', text)
