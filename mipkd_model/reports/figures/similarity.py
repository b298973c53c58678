"""Heat maps of how alike the features of a student and a teacher are."""
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..probing.probe import Probe
from .style import BOX_COLOR, WIDTH, style

MAX_NAMES = 24
"""Names along an axis; of longer lists every second, third ... is shown."""


def draw_similarity(result: Probe) -> Figure:
    """Two heat maps, of CKA and of explained variance, with a ring at each recommended pair of cuts."""
    with style():
        figure = Figure(figsize=(WIDTH, WIDTH / 2), layout='constrained', dpi=200)
        for axes, values, title in zip(figure.subplots(1, 2), (result.cka, result.explained), (
                'linear CKA', 'variance of the teacher explained by a 1x1 convolution'), strict=True):
            image = axes.imshow(values.clamp(0, 1).numpy(), vmin=0, vmax=1, aspect='auto', origin='lower')
            axes.set_title(title)
            _name(axes, result)
            axes.plot([result.names_t.index(name) for name in result.cuts_t],
                      [result.names_g.index(name) for name in result.cuts_g], 'o', markersize=7, markerfacecolor='none',
                      markeredgecolor=BOX_COLOR)
            figure.colorbar(image, ax=axes, fraction=0.05)
    return figure


def _name(axes: Axes, result: Probe) -> None:
    for set_ticks, names in ((axes.set_xticks, result.names_t), (axes.set_yticks, result.names_g)):
        step = -(-len(names) // MAX_NAMES)
        set_ticks(range(0, len(names), step), names[::step])
    axes.tick_params(axis='x', rotation=90)
    axes.set_xlabel("after the teacher's")
    axes.set_ylabel("after the student's")
