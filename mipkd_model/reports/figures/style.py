"""What figures share: their style, parts of axes, and how they are saved."""
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath
from matplotlib.ticker import LogLocator

from mipkd_arch.base.errors import UserError, near_miss

from ...base.files import atomic_write, check_writable

# Without a creation date the same records give the same bytes.
SUFFIXES: dict[str, dict | None] = {'.pdf': {'CreationDate': None}, '.png': {}, '.svg': {'Date': None}, '.jpg': None}
"""Kinds of file by suffix, with what goes into their metadata."""
COMPRESSION = {'.png': {'compress_level': 9}, '.jpg': {'quality': 88, 'subsampling': 0, 'optimize': True}}
"""Arguments of Pillow: PNG loses nothing, JPEG nothing that is seen, colors included."""
STYLE: Any = {
    'font.size': 7, 'axes.titlesize': 7, 'axes.labelsize': 7, 'legend.fontsize': 6.5, 'xtick.labelsize': 6.5,
    'ytick.labelsize': 6.5, 'axes.linewidth': 0.5, 'xtick.major.width': 0.5, 'ytick.major.width': 0.5,
    'pdf.fonttype': 42,  # text stays text, in TrueType, which publishers ask for
    'svg.hashsalt': 'mipkd', 'text.parse_math': False}  # a $ in a name is a $
WIDTH = 7.0
"""Inches, the width of the text in a paper of two columns."""
DASHES = ('-', '--', ':', '-.', (0, (3, 1, 1, 1, 1, 1)))
BOX_COLOR = '#e8000b'


@contextmanager
def style() -> Iterator[None]:
    """The style of all figures, while they are drawn and while they are saved."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever a matplotlibrc has, the figure is the same
        matplotlib.rcParams.update(STYLE)
        yield


def checked_out(out: str) -> Path:
    """The path of the figure to write.

    Raises:
        UserError: its suffix is not that of a kind that is written, or it cannot be written there.
    """
    suffix = Path(out).suffix
    if suffix not in SUFFIXES:
        raise UserError(f'--out: {out} ends in {suffix!r}{near_miss(suffix, SUFFIXES)}; allowed are '
                        f'{", ".join(SUFFIXES)}')
    check_writable(out, '--out')
    return Path(out)


def save_figure(figure: Figure, out: Path, png_dpi: int | None = None) -> Path:
    """Write a figure with tight margins; the file is complete or, if that fails, as it was before. Returns its path.

    ``png_dpi`` replaces the figure's dots per inch in PNG, for figures that noise makes large.
    """
    if out.suffix == '.png' and png_dpi:
        figure.dpi = png_dpi
    with atomic_write(out) as temporary, style():
        pixels: dict[str, Any] = {'pil_kwargs': COMPRESSION[out.suffix]} if out.suffix in COMPRESSION else {}
        figure.savefig(temporary, format=out.suffix[1:], metadata=SUFFIXES[out.suffix], bbox_inches='tight',
                       pad_inches=0.02, **pixels)
    return out


def dashes_of(losses: Iterable[str]) -> dict[str, Any]:
    """The dashes of the lines of losses, by their names, which may repeat."""
    return {loss: DASHES[index % len(DASHES)] for index, loss in enumerate(dict.fromkeys(losses))}


def explain_dashes(axes: Axes, dashes: Mapping[str, Any]) -> None:
    """Add the legend of what ``dashes_of`` gave."""
    handles = [Line2D([], [], color='0.3', linewidth=1, linestyle=dash) for dash in dashes.values()]
    axes.legend(handles, list(dashes), frameon=False)


def log_scale(axes: Axes) -> None:
    """Logarithmic y with plain numbers; over less than two decades 2 and 5 are marked, too."""
    axes.set_yscale('log')
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_formatter('')


def text_width(text: str) -> float:
    """Inches that a line of text takes in bold, which is wider than normal; to be called within ``style``."""
    path = TextPath((0, 0), text, size=STYLE['font.size'], prop=FontProperties(weight='bold'))
    return path.get_extents().width / 72


def hide_ticks(axes: Axes) -> None:
    """Leave of axes that show an image only the image and its label."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def draw_box(axes: Axes, box: tuple[int, int, int, int], linewidth: float, clip: bool = True) -> None:
    """Draw a box (x, y, w, h) around whole pixels of the image that axes show."""
    x, y, width, height = box
    axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=BOX_COLOR, linewidth=linewidth,
                             clip_on=clip))
