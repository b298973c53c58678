"""The figure of a study: PSNR against the time of training, a row for each kind and a column for each length."""
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from study_file import Study
from study_records import Results
from study_report import by_method, curve
from study_time import seconds_at

from mipkd_arch.base.errors import UserError
from mipkd_model.reports.figures.style import WIDTH, save_figure, style

Lines = dict[str, tuple[np.ndarray, np.ndarray]]
"""By method minutes and PSNR in dB, both (n,)."""
MOST = 12
"""Lines in one panel: the methods that end highest, beside those of all lengths."""
COLORS = ('#0072b2', '#e69f00', '#009e73', '#cc79a7', '#56b4e9', '#d55e00')
"""Of Okabe and Ito, who chose them so that color-blind people tell them apart; black is for MiPKD."""
DASHES = ('-', '--', ':')
OURS = 'MiPKD'


def draw_study(study: Study, results: Results, out: Path) -> Path:
    """Draw and save the figure; returns its path.

    A line goes through the means over seeds on what is held out, a method has the same color and dash in all panels,
    and the legend beside each has the methods in the order in which they end. The early part, far below, is cut off.

    Raises:
        UserError: there is no kind with records and measured steps.
    """
    panels = {(kind, length): lines for length in study.lengths for kind in study.kinds
              if (lines := lines_of(study, kind, length, results))}
    if not panels:
        raise UserError('--figure: no kind has both records and measured steps; --time measures them')
    kinds = [kind for kind in study.kinds if any(kind == place for place, _ in panels)]
    looks = {}
    for place, name in enumerate(name for name in study.methods if name != OURS):
        looks[name] = {'color': COLORS[place % len(COLORS)], 'linestyle': DASHES[place // len(COLORS)], 'linewidth': 1}
    looks[OURS] = {'color': 'black', 'linewidth': 1.8}
    with style():
        columns = len(study.lengths)
        figure = Figure((WIDTH, 2.4 * len(kinds)), dpi=200, layout='constrained')
        for row, kind in enumerate(kinds):
            for column, length in enumerate(study.lengths):
                if (kind, length) not in panels:
                    continue
                axes = figure.add_subplot(len(kinds), columns, row * columns + column + 1)
                _draw(axes, panels[kind, length], study.longer, looks)
                axes.set_title(f'{kind}, {length:,} iterations')
                axes.set_xlabel('minutes of training')
                axes.set_ylabel(f'{study.chosen_by}, PSNR (dB)' if not column else '')
    return save_figure(figure, out)


def lines_of(study: Study, kind: str, length: int, results: Results) -> Lines:
    """Of all methods of a kind that have records of a length, and a measured step."""
    lines = {}
    for name, (_, records) in by_method(study, kind, length, results).items():
        iterations, psnr = curve(records, study.chosen_by)
        if len(psnr) and (kind, name) in results.steps:
            step = results.steps[kind, name]
            lines[name] = np.array([seconds_at(step, length, float(at)) / 60 for at in iterations]), psnr
    return lines


def _draw(axes: Axes, lines: Lines, longer: Sequence[str], looks: dict) -> None:
    ranked = sorted(lines, key=lambda name: lines[name][1][-1], reverse=True)
    always = [name for name in ranked if name in longer]
    shown = {*always, *[name for name in ranked if name not in always][:MOST - len(always)]}
    for name in filter(shown.__contains__, ranked):
        axes.plot(*lines[name], label=name, zorder=3 if name == OURS else 2, **looks[name])
    ends = [lines[name][1][-1] for name in shown]
    # From where the typical line is after a third of its way: a steep start would flatten all ends into one line.
    low = min(min(ends), statistics.median(psnr[len(psnr) // 3] for psnr in (lines[name][1] for name in shown)))
    margin = max(0.02, 0.06 * (max(ends) - low))
    axes.set_ylim(low - margin, max(ends) + margin)
    # Beside the panel, where it hides no line.
    axes.legend(frameon=False, loc='center left', bbox_to_anchor=(1, 0.5), handlelength=2, labelspacing=0.25)
    axes.yaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.grid(linewidth=0.3, alpha=0.5)
    axes.spines[['top', 'right']].set_visible(False)
