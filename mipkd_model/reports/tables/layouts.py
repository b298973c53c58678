"""Tables as text: for the terminal, Markdown, LaTeX and CSV."""
import csv
import io
import re
from dataclasses import dataclass
from itertools import takewhile

from tabulate import SEPARATING_LINE, tabulate

LATEX_PACKAGES = ('adjustbox', 'booktabs', 'multirow')


@dataclass(frozen=True)
class Span:
    """A piece of text with a look: ``best``, ``second``, ``spread``, ``code``."""
    text: str
    look: str


@dataclass(frozen=True)
class Grid:
    """A table that any layout can show. A text is a str or a tuple of str and ``Span``."""
    title: str
    head: tuple
    """Texts of the columns' heads."""
    lines: tuple
    """Tuples of texts. One that is empty in one of the ``keys`` columns belongs to the line above."""
    keys: int
    """How many columns name the line; the others are centred in LaTeX."""
    notes: tuple = ()
    """Texts below the table."""


def grid_text(grids, layout, colours=False):
    """Grids in one of ``LAYOUTS``, ending with a line feed.

    Args:
        grids (list[Grid]): at least one.
        layout (str): a key of ``LAYOUTS``.
        colours (bool): the terminal shows bold and underlined text; else marks stand for them.
    """
    if layout == 'terminal':
        return '\n\n'.join(_terminal(grid, _ANSI if colours else _MARKS) for grid in grids) + '\n'
    if layout == 'latex':
        packages = ''.join(f'\\usepackage{{{name}}}' for name in LATEX_PACKAGES)
        return f'% needs {packages}\n' + '\n\n'.join(map(_latex, grids)) + '\n'
    return '\n\n'.join(map(_markdown, grids)) + '\n'


def csv_text(rows):
    """Dicts as CSV, whose columns are the keys of all; None is an empty field."""
    text = io.StringIO()
    columns = dict.fromkeys(key for row in rows for key in row)
    writer = csv.DictWriter(text, columns, restval='', lineterminator='\n')
    writer.writeheader()
    writer.writerows({key: f'{value:.10g}' if isinstance(value, float) else value for key, value in row.items()}
                     for row in rows)
    return text.getvalue()


LAYOUTS = ('terminal', 'markdown', 'latex', 'csv')

_ANSI = {'best': '\033[1m{}\033[0m', 'second': '\033[4m{}\033[0m', 'spread': '{}', 'code': '{}'}
_MARKS = {'best': '*{}*', 'second': '_{}_', 'spread': '{}', 'code': '{}'}
_MARKDOWN = {'best': '**{}**', 'second': '<u>{}</u>', 'spread': '{}', 'code': '`{}`'}
_LATEX = {'best': r'\textbf{{{}}}', 'second': r'\underline{{{}}}', 'spread': r'{{\scriptsize{}}}',
          'code': r'\texttt{{{}}}'}
_LATEX_CHARACTERS = {
    '\\': r'\textbackslash{}', '{': r'\{', '}': r'\}', '%': r'\%', '_': r'\_', '&': r'\&', '#': r'\#', '$': r'\$',
    '^': r'\textasciicircum{}', '~': r'\textasciitilde{}', '<': r'\textless{}', '>': r'\textgreater{}',
    '|': r'\textbar{}', '[': '{[}', '±': r'$\pm$', '†': r'$^\dagger$',
}


def _text(text, looks, escape):
    """A text in one layout."""
    pieces = (text, ) if isinstance(text, str) else text
    return ''.join(escape(piece, None) if isinstance(piece, str)
                   else looks[piece.look].format(escape(piece.text, piece.look)) for piece in pieces)


def _terminal(grid, looks):
    lines = []
    for line in grid.lines:
        if lines and line[0] and not all(line[0] for line in grid.lines):
            lines.append(SEPARATING_LINE)
        lines.append([_text(cell, looks, _plain) for cell in line])
    head = [_text(cell, looks, _plain) for cell in grid.head]
    table = tabulate(lines, head, 'simple', disable_numparse=True)
    return '\n'.join([grid.title, '', table, *(_text(note, looks, _plain) for note in grid.notes)])


def _plain(text, _):
    return text


def _markdown(grid):
    lines = [[_text(cell, _MARKDOWN, _markdown_escape) for cell in line] for line in (grid.head, *grid.lines)]
    table = tabulate(lines[1:], lines[0], 'pipe', disable_numparse=True)
    notes = [f'- {_text(note, _MARKDOWN, _markdown_escape)}' for note in grid.notes]
    return '\n'.join([f'**{_markdown_escape(grid.title, None)}**', '', table, *(['', *notes] if notes else [])])


def _markdown_escape(text, look):
    if look == 'code':
        return text.replace('|', r'\|').replace('`', "'")
    # Between letters _ is no mark.
    return re.sub(r'[\\|*<>`\[\]]|(?<![^\W_])_|_(?![^\W_])', r'\\\g<0>', text)


def _latex(grid):
    lines = [' & '.join(_text(cell, _LATEX, _latex_escape) for cell in grid.head) + r' \\', r'\midrule']
    for index, line in enumerate(grid.lines):
        if index and line[0] and not all(line[0] for line in grid.lines):
            lines.append(r'\midrule')
        cells = [_text(cell, _LATEX, _latex_escape) for cell in line]
        for column in range(grid.keys):
            # A cell of the first column reaches over the lines that have none, one of the next within these lines.
            below = list(takewhile(lambda other, column=column: not any(other[:column + 1]), grid.lines[index + 1:]))
            if cells[column] and below:
                cells[column] = rf'\multirow{{{len(below) + 1}}}{{*}}{{{cells[column]}}}'
        lines.append(' & '.join(cells) + r' \\')
    columns = 'l' * grid.keys + 'c' * (len(grid.head) - grid.keys)
    notes = [rf'\par {_text(note, _LATEX, _latex_escape)}' for note in grid.notes]
    # Shrunk where it is wider than the text.
    return '\n'.join([
        '% ' + grid.title, r'\begin{adjustbox}{max width=\linewidth}', rf'\begin{{tabular}}{{{columns}}}', r'\toprule',
        *lines, r'\bottomrule', r'\end{tabular}', r'\end{adjustbox}',
        *([r'{\footnotesize', *notes, r'\par}'] if notes else [])])


def _latex_escape(text, _):
    text = ''.join(_LATEX_CHARACTERS.get(character, character) for character in text)
    return re.sub(r'(?<![\w-])-(?=\d)', '$-$', text)
