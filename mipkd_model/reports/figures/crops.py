"""The figure of enlarged crops: the HR image with a box at the left, what each method makes of the box at the right."""
import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, HPacker, TextArea, VPacker

from mipkd_arch.base.errors import number_in

from ...evaluation.records import Record
from ...experiments.methods import TEACHER
from ..tables.measured import BICUBIC, printed, row_of
from ..tables.results import ranks
from .pictures import Box, Pictures, labels, shared_metrics
from .style import WIDTH, draw_box, hide_ticks, style, text_width

MARKS = {1: 'best', 2: 'second'}
GAP, PAD, LINE = 0.06, 2 / 72, 0.115  # inches: between pictures, from picture to caption, height of a line of text
DPI = 450  # about, see below
Caption = list[list[tuple[str, str]]]
"""Lines of (text, mark): '', 'best' or 'second'."""


def draw_crops(pictures: Pictures, box: Box, columns: int | None = None) -> Figure:
    """Draw the figure.

    The crops are HR, bicubic and the records in their order. Below each is the PSNR in dB and the SSIM of the whole
    image; among the students of a pair, those with self-ensemble apart, the best value is bold, the second underlined.

    Args:
        pictures: the image and the outputs.
        box: (x, y, w, h) in pixels of gt.
        columns: crops in a row; by default two rows, but one of three or five crops. A shorter last row is centered.

    Raises:
        UserError: more columns than crops; the records measured PSNR or SSIM in different ways.
    """
    x, y, width, height = box
    images = [pictures.gt, pictures.bicubic, *pictures.outputs]
    if columns is None:
        columns = len(images) if len(images) in (3, 5) else math.ceil(len(images) / 2)
    number_in('--columns', columns, 1, len(images), integer=True)
    rows = math.ceil(len(images) / columns)
    captions = _captions(pictures)
    title = f'{pictures.image} ({pictures.dataset} ×{pictures.scale})'
    with style():
        # All heights and widths follow from the width of a crop and from both sides being equally high.
        below = PAD + LINE * max(map(len, captions))
        crop_ratio, image_ratio = height / width, pictures.gt.shape[0] / pictures.gt.shape[1]
        heights = rows * below + (rows - 1) * GAP - PAD - LINE
        crop = (WIDTH - columns * GAP - heights / image_ratio) / (rows * crop_ratio / image_ratio + columns)
        # Nor may a caption be wider than its picture.
        crop = max(crop, (text_width(title) * image_ratio - heights) / (rows * crop_ratio),
                   *(text_width(''.join(text for text, _ in line)) for caption in captions for line in caption))
        whole = rows * crop * crop_ratio + heights  # height of the whole image
        figure_width = whole / image_ratio + columns * (crop + GAP)
        figure_height = whole + PAD + LINE
        # So that a pixel of a crop becomes the same integer number of pixels everywhere.
        figure = Figure((figure_width, figure_height), dpi=max(1, round(DPI * crop / width)) * width / crop)

        def add_axes(left: float, top: float, wide: float, high: float) -> Axes:
            axes = figure.add_axes((left / figure_width, 1 - (top + high) / figure_height, wide / figure_width,
                                    high / figure_height))
            hide_ticks(axes)
            return axes

        axes = add_axes(0, 0, whole / image_ratio, whole)
        axes.imshow(pictures.gt, interpolation='antialiased', aspect='auto')
        draw_box(axes, box, 1, clip=False)  # half of the line is outside a box, and so of the image at its edge
        _draw_caption(axes, [[(title, '')]])
        for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
            row, column = divmod(index, columns)
            indent = (columns - min(columns, len(images) - row * columns)) / 2
            axes = add_axes(whole / image_ratio + GAP + (column + indent) * (crop + GAP),
                            row * (crop * crop_ratio + below + GAP), crop, crop * crop_ratio)
            axes.imshow(image[y:y + height, x:x + width], interpolation='nearest', aspect='auto')
            _draw_caption(axes, caption)
    return figure


def _captions(pictures: Pictures) -> list[Caption]:
    """Captions of HR, bicubic and each record."""
    records = pictures.records
    images = [record.images[pictures.image] for record in records]
    metrics, columns = [], []  # of each metric the texts and marks of bicubic and the records
    for metric, names in shared_metrics(records).items():
        metrics.append(metric)
        values = [image.scores.get(name) for image, name in zip(images, names, strict=True)]
        texts = [printed(value, metric) for value in (images[0].bicubic.get(names[0]), *values)]
        columns.append(list(zip(texts, ['', *marks(values, records, metric)], strict=True)))
    captions: list[Caption] = []
    for number, title in enumerate([BICUBIC, *labels(records)]):
        parts = [part for column in columns for part in (('/', ''), column[number])]
        captions.append([[(title, '')], *([parts[1:]] if metrics else [])])
    return [[[('HR', '')], *([[('/'.join(metrics).upper(), '')]] if metrics else [])], *captions]


def marks(values: Sequence[float | None], records: Sequence[Record], metric: str) -> list[str]:
    """'best' for the greatest value of the students of a pair, 'second' for the next; '' for all others."""
    groups: dict[Any, dict[int, float | None]] = {}
    for index, record in enumerate(records):
        if record.method != TEACHER:
            groups.setdefault((record.pair, row_of(record).ensemble), {})[index] = values[index]
    places = {index: place for group in groups.values() for index, place in ranks(group, metric).items()}
    return [MARKS.get(places.get(index, 0), '') for index in range(len(values))]


def _draw_caption(axes: Axes, caption: Caption) -> None:
    """Put lines of text below axes, in the middle."""
    packed: list[Any] = []
    for line in caption:
        areas: list[Any] = [(Underlined if mark == 'second' else TextArea)(
            text, textprops={'fontweight': 'bold' if mark == 'best' else 'normal'}) for text, mark in line]
        packed.append(HPacker(children=areas, align='baseline', pad=0, sep=0))
    box = VPacker(children=packed, align='center', pad=0, sep=1)
    axes.add_artist(AnnotationBbox(box, (0.5, 0), xybox=(0, -PAD * 72), xycoords='axes fraction',
                                   boxcoords='offset points', box_alignment=(0.5, 1), frameon=False, pad=0,
                                   annotation_clip=False))


class Underlined(TextArea):
    """Text with a line below it, which Matplotlib has for formulas only."""

    def draw(self, renderer: Any) -> None:
        super().draw(renderer)
        box = self.get_window_extent(renderer)
        y = box.y0 + renderer.points_to_pixels(0.8)
        Line2D([box.x0, box.x1], [y, y], linewidth=0.5, color='black', solid_capstyle='butt',
               figure=self.get_figure()).draw(renderer)
