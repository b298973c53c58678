"""The figure of enlarged crops: the HR image with a box at the left, what each method makes of the box at the right."""
import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, HPacker, TextArea, VPacker
from matplotlib.patches import Rectangle

from mipkd_arch.base.errors import UserError, number_in

from ...experiments.methods import TEACHER
from ..tables.cells import BICUBIC, TYPES, printed, row_of
from ..tables.pair_tables import ranks
from .pictures import WIDTH, hide_ticks, labels, metric_name, style, text_width

MARKS = {1: 'best', 2: 'second'}
GAP, PAD, LINE = 0.06, 2 / 72, 0.115  # inches: between pictures, from picture to caption, height of a line of text
COLOUR = '#e8000b'
DPI = 450  # about, see below


def parse_box(text, where, count):
    """Parse ``count`` whole numbers with commas between them.

    Raises:
        UserError: it is something else.
    """
    try:
        numbers = tuple(int(part) for part in text.split(','))
    except ValueError:
        numbers = ()
    if len(numbers) != count:
        form = 'X,Y,W,H' if count == 4 else 'W,H'
        raise UserError(f'{where}: {text!r} is not of the form {form}, whole numbers of pixels of the HR image')
    return numbers


def check_box(box, shape):
    """Return the box (x, y, w, h) if it lies in an image of shape (H, W, 3).

    Raises:
        UserError: it does not, or is empty.
    """
    (x, y, width, height), (image_height, image_width) = box, shape[:2]
    if min(width, height) < 1 or min(x, y) < 0 or x + width > image_width or y + height > image_height:
        raise UserError(f'--box: {width}x{height} at ({x}, {y}) does not lie in the image, which is '
                        f'{image_width}x{image_height}')
    return box


def default_box_size(shape):
    """(w, h) of the box that is chosen: a square, a fifth of the shorter side down to a multiple of 8, at least 8."""
    side = min(min(shape[:2]), max(8, min(shape[:2]) // 5 // 8 * 8))
    return side, side


def most_different_box(gt, outputs, size, border=0):
    """Where the methods differ most from one another in their error.

    For each pixel, the variance over the methods of their squared error, which is the mean over R, G and B; of all
    boxes inside the border, the one with the greatest sum.

    Args:
        gt (ndarray): uint8 (H, W, 3).
        outputs (list[ndarray]): the same of each method.
        size (tuple[int, int]): (w, h) of the box in pixels.
        border (int): pixels from each edge to the box; fewer where it is too large for that.

    Returns:
        tuple[int, int, int, int]: (x, y, w, h); of equal boxes the topmost, then leftmost.

    Raises:
        UserError: the box is larger than the image.
    """
    width, height = size
    if not (1 <= width <= gt.shape[1] and 1 <= height <= gt.shape[0]):
        raise UserError(f'--box-size: {width},{height} does not fit into the image, which is '
                        f'{gt.shape[1]}x{gt.shape[0]}')
    errors = [np.square(output.astype(np.float64) - gt).mean(2) for output in outputs]
    sums = np.pad(np.var(errors, axis=0).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = (min(border, (places - 1) // 2) for places in total.shape)
    inside = total[top:len(total) - top, left:total.shape[1] - left]
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    return int(x) + left, int(y) + top, width, height


def choose_box(pictures, box=None, size=None):
    """The box that is asked for, or the one of that size where the records differ most.

    A single record is compared with bicubic. The box that is chosen keeps ``scale`` pixels from the edges, for the
    metrics leave them out.

    Args:
        pictures (Pictures): the image and what was made of it.
        box (tuple | None): (x, y, w, h) in pixels of gt.
        size (tuple | None): (w, h), by default a fifth of the shorter side.

    Raises:
        UserError: it does not lie in the image.
    """
    if box:
        return check_box(box, pictures.gt.shape)
    compared = pictures.outputs if len(pictures.outputs) > 1 else [pictures.bicubic, *pictures.outputs]
    return most_different_box(pictures.gt, compared, size or default_box_size(pictures.gt.shape), pictures.scale)


def draw_crops(pictures, box, columns=None):
    """Draw the figure.

    The crops are HR, bicubic and the records in their order. Below each is the PSNR in dB and the SSIM of the whole
    image as its record has them; among the students of one pair, those with self-ensemble apart, the best value is
    bold, the second underlined. Teacher and bicubic are left out of that.

    Args:
        pictures (Pictures): the image and what was made of it.
        box (tuple): (x, y, w, h) in pixels of gt.
        columns (int | None): crops in a row; by default two rows, but one of three or five crops. A shorter last row is
            in the middle.

    Returns:
        Figure: the axes are the whole image, then the crops.

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
        # So that a pixel of a crop becomes the same whole number of pixels everywhere.
        figure = Figure((figure_width, figure_height), dpi=max(1, round(DPI * crop / width)) * width / crop)

        def place(left, top, wide, high):
            axes = figure.add_axes((left / figure_width, 1 - (top + high) / figure_height, wide / figure_width,
                                    high / figure_height))
            hide_ticks(axes)
            return axes

        axes = place(0, 0, whole / image_ratio, whole)
        axes.imshow(pictures.gt, interpolation='antialiased', aspect='auto')
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor=COLOUR, linewidth=1,
                                 clip_on=False))  # half of the line is outside a box, and so of the image at its edge
        _caption(axes, [[(title, '')]])
        for index, (image, caption) in enumerate(zip(images, captions, strict=True)):
            row, column = divmod(index, columns)
            column += (columns - min(columns, len(images) - row * columns)) / 2
            axes = place(whole / image_ratio + GAP + column * (crop + GAP),
                         row * (crop * crop_ratio + below + GAP), crop, crop * crop_ratio)
            axes.imshow(image[y:y + height, x:x + width], interpolation='nearest', aspect='auto')
            _caption(axes, caption)
    return figure


def _captions(pictures):
    """For HR, bicubic and each record its lines, each a list of (text, mark): '', 'best' or 'second'."""
    records = pictures.records
    chosen = {}  # by metric its name in each record
    for kind, metric in TYPES.items():
        names = [metric_name(record, kind) for record in records]
        blocks = [name and record.protocol['metrics'][name] for name, record in zip(names, records, strict=True)]
        for record, block in zip(records, blocks, strict=True):
            if block != blocks[0]:
                raise UserError(f'{record.name}: measured {metric.upper()} as {block}, but {records[0].name} as '
                                f'{blocks[0]}; evaluate both with the same val.metrics')
        if names[0]:
            chosen[metric] = names
    images = [record.images[pictures.image] for record in records]
    groups = [None if record.method == TEACHER else (record.pair, row_of(record).ensemble) for record in records]
    columns = []  # texts and marks of bicubic and the records, for each metric
    for metric, names in chosen.items():
        values = [image.scores.get(name) for image, name in zip(images, names, strict=True)]
        texts = [printed(value, metric) for value in (images[0].bicubic.get(names[0]), *values)]
        columns.append(list(zip(texts, ['', *_marks(values, groups, metric)], strict=True)))
    titles = '/'.join(map(str.upper, chosen))
    captions = [[[('HR', '')], [(titles, '')]]]
    for number, label in enumerate([BICUBIC, *labels(records)]):
        values = [column[number] for column in columns]
        line = [part for value in values for part in (('/', ''), value)][1:]
        captions.append([[(label, '')], line])
    return captions if chosen else [caption[:1] for caption in captions]


def _marks(values, groups, metric):
    """'best' for the greatest value of each group, 'second' for the next; '' for others and for the group None."""
    places = {}
    for group in set(groups) - {None}:
        places |= ranks({index: value for index, value in enumerate(values) if groups[index] == group}, metric)
    return [MARKS.get(places.get(index), '') for index in range(len(values))]


def _caption(axes, lines):
    """Put lines of text below axes, in the middle."""
    packed = [HPacker(children=[_text(*part) for part in line], align='baseline', pad=0, sep=0) for line in lines]
    box = VPacker(children=packed, align='center', pad=0, sep=1)
    axes.add_artist(AnnotationBbox(box, (0.5, 0), xybox=(0, -PAD * 72), xycoords='axes fraction',
                                   boxcoords='offset points', box_alignment=(0.5, 1), frameon=False, pad=0,
                                   annotation_clip=False))


def _text(text, mark):
    kind = Underlined if mark == 'second' else TextArea
    return kind(text, textprops={'fontweight': 'bold' if mark == 'best' else 'normal'})


class Underlined(TextArea):
    """Text with a line below it, which Matplotlib has for formulas only."""

    def draw(self, renderer):
        super().draw(renderer)
        box = self.get_window_extent(renderer)
        y = box.y0 + renderer.points_to_pixels(0.8)
        Line2D([box.x0, box.x1], [y, y], linewidth=0.5, color='black', solid_capstyle='butt',
               figure=self.get_figure()).draw(renderer)
