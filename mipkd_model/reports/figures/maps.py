"""The figure of difference maps: where students differ from their teacher, and whether that is for the better."""
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from .pictures import Box, Pictures, labels
from .style import WIDTH, draw_box, hide_ticks, style, text_width

TO_GT, TO_TEACHER = 'viridis', 'inferno'
# An odd number of colors has one in the middle, which is white.
SIGNED = LinearSegmentedColormap.from_list('advantage', ['#b2182b', '#f4a582', 'white', '#92c5de', '#2166ac'], N=257)
SHOWN = 99.5  # percent of the pixels lie within the colors; the few beyond would leave all others dark
HIGHEST, BARS, CAPTION = 9.2, 0.5, 0.28  # inches: the figure, its color bars, a caption; of two lines both
NARROWEST = 0.3  # inches, of an image; so many students that it would be narrower make the figure higher
UNIT = '(gray levels)'
DPI, PNG_DPI = 300, 200


def draw_maps(pictures: Pictures, box: Box | None = None) -> Figure:
    """Draw the figure.

    The first row shows HR, the teacher, which is the first record, and |teacher - HR|. Each student has a row: its
    output, |student - teacher|, and |teacher - HR| - |student - HR|, which is blue where the student is nearer to HR.
    Differences are of Y, in gray levels of 255, with their mean over the image below. Color scales are shared, and end
    at the 99.5th percentile. A box (x, y, w, h) in pixels of gt is drawn into all images.
    """
    from ...evaluation.metrics import to_y  # with the metrics of BasicSR, and so torch
    teacher, *students = pictures.outputs
    teacher_name, *names = labels(pictures.records)
    y_gt, y_teacher, *y_students = map(to_y, (pictures.gt, teacher, *students))
    to_gt = np.abs(y_teacher - y_gt)
    to_teacher = [np.abs(y - y_teacher) for y in y_students]
    signed = [to_gt - np.abs(y - y_gt) for y in y_students]
    limit = _limit(np.abs(signed))
    gt_colors: dict[str, Any] = {'cmap': TO_GT, 'vmin': 0, 'vmax': _limit(to_gt)}
    teacher_colors: dict[str, Any] = {'cmap': TO_TEACHER, 'vmin': 0, 'vmax': _limit(np.array(to_teacher))}
    signed_colors: dict[str, Any] = {'cmap': SIGNED, 'vmin': -limit, 'vmax': limit}

    height, width = pictures.gt.shape[:2]
    count = 1 + len(students)
    highest = max(NARROWEST * height / width, (HIGHEST - BARS) / count - CAPTION)  # of an image
    narrow = min(WIDTH / 3, highest * width / height)
    with style():
        cells: list[tuple[np.ndarray, str, dict[str, Any]]] = [
            (pictures.gt, f'HR, {pictures.image} ({pictures.dataset} ×{pictures.scale})', {}),
            (teacher, teacher_name, {}),
            (to_gt, _caption(f'|{teacher_name} − HR|', to_gt, '.2f', narrow), gt_colors)]
        for name, student, distance, gain in zip(names, students, to_teacher, signed, strict=True):
            what = f'|{teacher_name} − HR| − |{name} − HR|'
            cells += [(student, name, {}),
                      (distance, _caption(f'|{name} − {teacher_name}|', distance, '.2f', narrow), teacher_colors),
                      (gain, _caption(what, gain, '+.2f', narrow), signed_colors)]
        bars = [_fit(what, ' ', UNIT, narrow) for what in (
            f'|{teacher_name} − HR|', f'|student − {teacher_name}|', 'student nearer to HR by')]
        # Texts may be wider than their images, not than their columns.
        texts = [*bars, *(caption for _, caption, _ in cells)]
        wide = max(narrow, *(text_width(line) for text in texts for line in text.split('\n')))
        image_height = min(wide * height / width, highest)
        gap = 1 - image_height * width / height / wide  # as a part of the column
        high = count * (image_height + CAPTION) + BARS
        figure = Figure((3 * wide, high), dpi=DPI, layout='compressed')
        engine: Any = figure.get_layout_engine()
        engine.set(w_pad=0.02, h_pad=0.01, wspace=0.01 + gap * 2 / 3, hspace=0)
        grid = figure.subplots(count, 3)
        for axes, (image, caption, colors) in zip(grid.flat, cells, strict=True):
            hide_ticks(axes)
            axes.imshow(image, interpolation='antialiased', **colors)
            axes.set_xlabel(caption, labelpad=2)
            if box:
                draw_box(axes, box, 0.8)
        for column, (axes, what, extend) in enumerate(zip(
                (grid[0, 2], grid[1, 1], grid[1, 2]), bars, ('max', 'max', 'both'), strict=True)):
            bar = figure.colorbar(axes.images[0], ax=grid[:, column], location='bottom', fraction=0.2 / high,
                                  pad=0.06 / high, aspect=30, extend=extend)
            bar.set_label(what, labelpad=2)
            bar.outline.set_linewidth(0.5)
    return figure


def _limit(maps: np.ndarray) -> float:
    """The end of a color scale; 1 for maps that are zero everywhere."""
    return float(np.percentile(maps, SHOWN)) or 1.0


def _caption(what: str, values: np.ndarray, form: str, width: float) -> str:
    return _fit(what, ', ', f'mean {values.mean():{form}}'.replace('-', '−'), width)


def _fit(text: str, joint: str, more: str, width: float) -> str:
    """Both texts in one line with the joint between them, or in two where that would be wider than ``width`` inches."""
    line = text + joint + more
    return line if text_width(line) < width else f'{text}\n{more}'
