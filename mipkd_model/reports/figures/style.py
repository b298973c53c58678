"""What figures share: their style, parts of axes, and how they are saved."""
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import TextPath

from mipkd_arch.base.errors import one_of

from ...base.files import atomic_write, check_writable

KINDS: dict[str, dict[str, Any]] = {
    # Without a creation date the same records give the same bytes.
    '.pdf': {'metadata': {'CreationDate': None}}, '.svg': {'metadata': {'Date': None}},
    '.png': {'pil_kwargs': {'compress_level': 9}},
    '.jpg': {'pil_kwargs': {'quality': 88, 'subsampling': 0, 'optimize': True}}}
"""Kinds of file by suffix, with what ``Figure.savefig`` gets for them."""
STYLE: Any = {
    'font.size': 7, 'axes.titlesize': 7, 'axes.labelsize': 7, 'legend.fontsize': 6.5, 'xtick.labelsize': 6.5,
    'ytick.labelsize': 6.5, 'axes.linewidth': 0.5, 'xtick.major.width': 0.5, 'ytick.major.width': 0.5,
    'pdf.fonttype': 42,  # text stays text, in TrueType, which publishers ask for
    'svg.hashsalt': 'mipkd', 'text.parse_math': False}  # a $ in a name is a $
WIDTH = 7.0
"""Inches, the width of the text in a paper of two columns."""
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
    one_of('--out: the end of the name', Path(out).suffix, KINDS)
    check_writable(out, '--out')
    return Path(out)


def save_figure(figure: Figure, out: Path, png_dpi: int | None = None) -> Path:
    """Write a figure with tight margins; the file is complete or, if that fails, as it was before. Returns its path.

    ``png_dpi`` replaces the figure's dots per inch in PNG, for figures that noise makes large.
    """
    if out.suffix == '.png' and png_dpi:
        figure.dpi = png_dpi
    with atomic_write(out) as temporary, style():
        figure.savefig(temporary, format=out.suffix[1:], bbox_inches='tight', pad_inches=0.02, **KINDS[out.suffix])
    return out


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
