"""A page to look at: one HTML file in which bicubic, networks and HR lie over one another, with figures and curves."""
import base64
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mipkd_arch.base.errors import UserError, one_of

from ...evaluation.records import Record, find_records, record_files
from ...experiments.methods import TEACHER
from ..tables.measured import BICUBIC, printed
from .crops import marks
from .curves import draw_curves
from .pictures import Pictures, choose_box, labels, read_pictures, shared_metrics
from .style import style
from .training_runs import group_runs, read_runs

TEMPLATE = Path(__file__).with_suffix('.html')
SIDE, IMAGES = 512, 8
"""Longest side that is shown of an image, in pixels of HR, and number of images unless they are named: some 20 MB."""
HR = 'HR'
UNITS = {'psnr': ' dB', 'ssim': ''}


class Page(NamedTuple):
    """The content of a page, and a line on what it has."""
    html: str
    summary: str


def make_page(records: Sequence[Record], images: Sequence[str] | None = None,
              progress: Callable[[Iterable[str]], Iterable[str]] = iter) -> Page:
    """Make the page of records of one dataset, see ``records_of``.

    Args:
        records: of networks, in the order to show.
        images: names of HR images; by default the first ``IMAGES`` ones.
        progress: wraps these names.

    Raises:
        UserError: no such image; as of ``read_pictures``; PSNR or SSIM were measured in different ways.
    """
    first, names = records[0], labels(records)
    metrics = shared_metrics(records)
    chosen = list(dict.fromkeys(images or list(first.images)[:IMAGES]))
    for image in chosen:
        one_of('--images', image, list(first.images))
    shown = [_shown(read_pictures(list(records), image), metrics) for image in progress(chosen)]
    try:
        figure, missing = _section('Training', training_curves(records)), ''
    except UserError as error:
        figure, missing = '', f'; no curves, for {error}'
    title = f'{first.dataset["name"]} ×{first.scale}'
    cut = sum(bool(image['note']) for image in shown)
    summary = f'{len(shown)} of {len(first.images)} images'
    if cut:
        summary += f', {cut} of them cut to {SIDE} pixels a side'
    students = [index for index, record in enumerate(records, 1) if record.method != TEACHER]
    data = {'labels': [BICUBIC, *names, HR], 'right': students[-1] if students else len(names), 'images': shown}
    parts = {'title': escape(title), 'summary': escape(f'{", ".join(names)}: {summary}.'),
             'table': _table(records, names, metrics, chosen), 'curves': figure,
             'origin': _origin(records, names), 'data': json.dumps(data, ensure_ascii=False).replace('<', '\\u003c')}
    return Page(filled(**parts), summary + missing)


def filled(**parts: str) -> str:
    """The template with each ``{{name}}`` replaced by the part of that name."""
    return re.sub(r'{{(\w+)}}', lambda match: parts[match[1]], TEMPLATE.read_text(encoding='utf-8'))


def _shown(pictures: Pictures, metrics: dict[str, list[str]]) -> dict[str, Any]:
    """One image as the page's script reads it: what is shown of it, and its figures as texts."""
    height, width = pictures.gt.shape[:2]
    x, y, wide, high = choose_box(pictures, size=(min(width, SIDE), min(height, SIDE)))
    part = np.s_[y:y + high, x:x + wide]
    sources = [pictures.bicubic[part], *(output[part] for output in pictures.outputs), pictures.gt[part]]
    part_of = pictures._replace(gt=sources[-1], bicubic=sources[0], outputs=sources[1:-1])
    figures = [[printed(value, metric) + UNITS[metric] for value in values]
               for metric, values in _figures(pictures.records, pictures.image, metrics).items()]
    texts = [' / '.join(of_metrics) for of_metrics in zip(*figures, strict=True)] or [''] * len(sources[1:])
    is_whole = (wide, high) == (width, height)
    note = '' if is_whole else f'{wide}×{high} of {width}×{height} pixels, where the networks differ most.'
    return {'name': pictures.image, 'size': [wide, high], 'offset': [x, y], 'box': choose_box(part_of), 'note': note,
            'scores': [*texts, ''], 'sources': [data_uri(source) for source in sources]}


def _figures(records: Sequence[Record], image: str | None, metrics: dict[str, list[str]]
             ) -> dict[str, list[float | None]]:
    """By metric the figures of bicubic and of each record: those of an image, or for None the means."""
    networks = [record.mean if image is None else record.images[image].scores for record in records]
    bicubic = records[0].bicubic if image is None else records[0].images[image].bicubic
    return {metric: [bicubic.get(keys[0]), *(scores.get(key) for scores, key in zip(networks, keys, strict=True))]
            for metric, keys in metrics.items()}


def data_uri(image: np.ndarray) -> str:
    """An image uint8 (H, W, 3) as the address of itself, in lossless WebP."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, 'WEBP', lossless=True)
    return f'data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}'


def _table(records: Sequence[Record], names: Sequence[str], metrics: dict[str, list[str]],
           chosen: Sequence[str]) -> str:
    """PSNR and SSIM of each image and their means; of images that are shown the name is a button."""
    if not metrics:
        return ''

    def row(image: str | None, head: str) -> str:
        columns = [[f'<td class="{mark}">{printed(value, metric)}</td>'
                    for value, mark in zip(values, ['', *marks(values[1:], records, metric)], strict=True)]
                   for metric, values in _figures(records, image, metrics).items()]
        return f'<tr><th scope="row">{head}</th>{"".join("".join(cells) for cells in zip(*columns, strict=True))}</tr>'

    heads = [escape(image) for image in records[0].images]
    heads = [f'<button data-image="{chosen.index(image)}">{head}</button>' if image in chosen else head
             for image, head in zip(records[0].images, heads, strict=True)]
    top = ''.join(f'<th scope="colgroup" colspan="{len(metrics)}">{escape(name)}</th>' for name in (BICUBIC, *names))
    second = ''.join(f'<th scope="col">{metric.upper()}</th>' for metric in metrics) * (len(names) + 1)
    rows = ''.join(row(image, head) for image, head in zip(records[0].images, heads, strict=True))
    return _section('Figures', f'<p class="soft">{_legend(records[0], metrics)}</p><div class="scroll" tabindex="0" '
                    'role="region" aria-label="Table of figures"><table>'
                    f'<thead><tr><th rowspan="2" scope="col">Image</th>{top}</tr><tr>{second}</tr></thead>'
                    f'<tbody>{rows}</tbody><tfoot>{row(None, "Mean")}</tfoot></table></div>')


def _legend(record: Record, metrics: dict[str, list[str]]) -> str:
    blocks = [record.protocol['metrics'][keys[0]] for keys in metrics.values()]
    ways = {f' on {"Y" if block.get("test_y_channel") else "RGB"}, {block.get("crop_border", 0)} pixels of border left '
            'out' for block in blocks}
    names = ' and '.join(metric.upper() for metric in metrics) + (ways.pop() if len(ways) == 1 else '')
    return f'{names}. Of the students the best is bold and the second underlined.'


def training_curves(records: Sequence[Record]) -> str:
    """The figure of the trainings that the records' weights are from, as SVG.

    Raises:
        UserError: these are not in ``experiments``, or have no metric in common.
    """
    folders = dict.fromkeys(Path(record.checkpoint['file']).parent.parent for record in records if record.checkpoint)
    sets = {folder: names for folder in folders if (names := _validated(folder))}
    common = set.intersection(*sets.values()) if sets else set()
    if not common:
        raise UserError('no training of these weights that has validated is in experiments')
    name = records[0].dataset['name']
    curves = group_runs(read_runs(sets, name if name in common else min(common)))
    figure, file = draw_curves(curves), io.StringIO()
    with style():
        figure.savefig(file, format='svg', bbox_inches='tight', pad_inches=0.02, transparent=True,
                       metadata=dict.fromkeys(('Creator', 'Date', 'Format', 'Type')))
    svg = file.getvalue()
    return ('<figure class="curves" role="img" aria-label="Curves of the validations during training">'
            f'{svg[svg.index("<svg"):]}</figure>')


def _validated(folder: Path) -> set[str]:
    """Datasets that the training in a folder has validated on; none where the folder is not one of a training."""
    if not (folder / 'run.json').is_file() or not record_files(folder):
        return set()
    return {record.dataset['name'] for record in find_records([folder]).values() if record.iteration is not None}


def _section(title: str, content: str) -> str:
    return f'<section><h2>{title}</h2>{content}</section>'


def _origin(records: Sequence[Record], names: Sequence[str]) -> str:
    lines = []
    for record, name in zip(records, names, strict=True):
        weights = record.checkpoint or {'file': 'weights that are in no file', 'sha256': ''}
        sha256 = f', SHA-256 {weights["sha256"][:16]}…' if weights['sha256'] else ''
        lines.append(f'<li>{escape(name)}: <code>{escape(record.command)}</code><br>'
                     f'<span class="soft">{escape(str(weights["file"]) + sha256)}</span></li>')
    return f'<ul>{"".join(lines)}</ul>'
