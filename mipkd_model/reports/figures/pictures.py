"""Which records figures show, the images of these records, and the box in them that is enlarged."""
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mipkd_arch.base.errors import UserError, near_miss, one_of

from ...data.bicubic import imresize
from ...data.images import read_image
from ...data.stores import open_store
from ...evaluation.records import Record, find_records
from ..tables.measured import METRIC_TYPES, RowName, row_of

Box = tuple[int, int, int, int]
"""x, y, width and height in pixels of gt."""


def records_of(paths: Iterable[str | Path], dataset: str | None = None) -> list[Record]:
    """The records of one dataset in files and folders, of which validation during training is left out.

    Raises:
        UserError: a path has no such record, or the records are not of the same scale and images.
    """
    records: dict[Path, Record] = {}
    for path in paths:
        records |= of_dataset(path, {file: record for file, record in find_records([path]).items()
                                     if record.iteration is None or file == Path(path)}, dataset)
    check_same(records)
    return list(records.values())


def of_dataset(path: str | Path, records: Mapping[Path, Record], dataset: str | None) -> dict[Path, Record]:
    """Those of the records that a path holds which are of a dataset, or of the only one.

    Raises:
        UserError: there are none, or of several datasets and none is named.
    """
    names = list(dict.fromkeys(record.dataset['name'] for record in records.values()))
    if dataset is None and len(names) == 1:
        dataset = names[0]
    if dataset not in names:
        asked = 'missing' if dataset is None else f'{dataset!r} is not there{near_miss(dataset, names)}'
        raise UserError(f'--dataset: {asked}; {path} has records of {", ".join(names) or "unfinished trainings alone"}')
    return {file: record for file, record in records.items() if record.dataset['name'] == dataset}


def check_same(records: Mapping[Path, Record]) -> None:
    """Check that records, by file, are of one scale and the same images; a UserError names two that are not."""
    texts = {file: f'{record.dataset["name"]} x{record.scale} (images {record.dataset["sha256"][:8]})'
             for file, record in records.items()}
    first = next(iter(texts))
    for file, text in texts.items():
        if text != texts[first]:
            raise UserError(f'{file}: is of {text}, but {first} of {texts[first]}; a figure shows one dataset at one '
                            'scale')


def metric_name(record: Record, kind: str) -> str | None:
    """Name of the record's metric of BasicSR's type ``kind``, if there are several, of one on Y; None without any."""
    blocks = {name: block for name, block in record.protocol['metrics'].items() if block['type'] == kind}
    return min(blocks, key=lambda name: not blocks[name].get('test_y_channel', False), default=None)


def shared_metrics(records: Sequence[Record]) -> dict[str, list[str]]:
    """The name of 'psnr' and 'ssim' in each record, without those that were not measured.

    Raises:
        UserError: two records measured one in different ways.
    """
    found = {}
    for kind, metric in METRIC_TYPES.items():
        names = [metric_name(record, kind) for record in records]
        blocks = [name and record.protocol['metrics'][name] for name, record in zip(names, records, strict=True)]
        for record, block in zip(records, blocks, strict=True):
            if block != blocks[0]:
                raise UserError(f'{record.name}: measured {metric.upper()} as {block}, but {records[0].name} as '
                                f'{blocks[0]}; evaluate both with the same val.metrics')
        if names[0]:
            found[metric] = [name for name in names if name]
    return found


def labels(records: Sequence[Record], rows: Sequence[RowName] | None = None) -> list[str]:
    """What to call each record; ``rows`` are their names in tables, by default those of ``row_of``.

    Its method; where pairs differ, ``MiPKD (RCAN)``; the name of the run where that is still the same.
    """
    names = [row.label for row in rows or map(row_of, records)]
    if len({record.pair for record in records}) > 1:
        names = [f'{name} ({record.pair})' for name, record in zip(names, records, strict=True)]
    count = Counter(names)
    return [name if count[name] == 1 else record.name for name, record in zip(names, records, strict=True)]


class Pictures(NamedTuple):
    """One image as the records have it; all arrays are uint8 RGB (H, W, 3) of the same size."""
    image: str
    dataset: str
    scale: int
    gt: np.ndarray  # cropped from its top-left corner to a multiple of the scale
    bicubic: np.ndarray  # lq upsampled as MATLAB does it
    records: list[Record]
    outputs: list[np.ndarray]  # the network's output for each record


def read_pair(record: Record, image: str) -> tuple[np.ndarray, np.ndarray]:
    """An image of a record's dataset, by its name: gt, cropped to what lq covers, and lq; uint8 RGB (H, W, 3).

    Raises:
        DataError: the images of the dataset are missing.
    """
    lq = open_store(record.dataset['lq']).read(record.images[image].lq)
    height, width = (side * record.scale for side in lq.shape[:2])
    return open_store(record.dataset['gt']).read(image)[:height, :width], lq


def read_pictures(records: list[Record], image: str) -> Pictures:
    """Read one image of a dataset, by the name of the gt image, and the outputs of the networks.

    Raises:
        UserError: no such image, an output that was not saved, is missing or has another size than gt.
        DataError: the images of the dataset are missing.
    """
    first = records[0]
    if first.dataset['gt'] is None:
        raise UserError(f'--dataset: {first.dataset["name"]} was measured without gt, which a figure compares with')
    files = [_output_file(record, image) for record in records]
    gt, lq = read_pair(first, image)
    outputs = [read_image(file) for file in files]
    for file, output in zip(files, outputs, strict=True):
        if output.shape != gt.shape:
            raise UserError(f'{file}: is {output.shape[1]}x{output.shape[0]}, but gt {gt.shape[1]}x{gt.shape[0]}; was '
                            'it made from other images? Evaluate again')
    return Pictures(image, first.dataset['name'], first.scale, gt, imresize(lq, size=gt.shape[:2]), records, outputs)


def _output_file(record: Record, image: str) -> Path:
    output = record.images[one_of('--image', image, list(record.images))].output
    if output is None:
        option = '' if '--force_yml' in record.command else ' --force_yml'
        raise UserError(f'{record.name}: its images were not saved; evaluate again with: {record.command}{option} '
                        'val:save_img=true')
    if not Path(output).is_file():
        raise UserError(f'{output}: is not there; records name files as seen from the folder that the evaluation was '
                        f'started in. Go there, or evaluate again: {record.command}')
    return Path(output)


def parse_numbers(text: str, where: str, form: str) -> tuple[int, ...]:
    """Parse integers with commas between them, as many as ``form``, such as ``W,H``, has; else a UserError."""
    try:
        numbers = tuple(int(part) for part in text.split(','))
    except ValueError:
        numbers = ()
    if len(numbers) != len(form.split(',')):
        raise UserError(f'{where}: {text!r} is not of the form {form}, integers in pixels of the HR image')
    return numbers


def most_different_box(gt: np.ndarray, outputs: Sequence[np.ndarray], size: Sequence[int], border: int = 0) -> Box:
    """Where the methods differ most from one another in their error; of equal boxes the topmost, then leftmost.

    For each pixel, the variance over the methods of their squared error, which is the mean over R, G and B; of all
    boxes inside the border, the one with the greatest sum.

    Args:
        gt: uint8 (H, W, 3); ``outputs`` are the same of each method.
        size: (w, h) of the box in pixels; it keeps ``border`` pixels from the edges, or fewer if it is too large.

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


def choose_box(pictures: Pictures, box: Sequence[int] | None = None, size: Sequence[int] | None = None) -> Box:
    """The box (x, y, w, h) that is asked for, or the one of that size (w, h) where the records differ most.

    A single record is compared with bicubic. The box that is chosen is by default a square, a fifth of the shorter
    side down to a multiple of 8; it keeps ``scale`` pixels from the edges, as the metrics leave them out.

    Raises:
        UserError: it does not lie in the image, or is empty.
    """
    image_height, image_width = pictures.gt.shape[:2]
    if not box:
        compared = pictures.outputs if len(pictures.outputs) > 1 else [pictures.bicubic, *pictures.outputs]
        shorter = min(image_height, image_width)
        side = min(shorter, max(8, shorter // 5 // 8 * 8))
        return most_different_box(pictures.gt, compared, size or (side, side), pictures.scale)
    x, y, width, height = box
    if min(width, height) < 1 or min(x, y) < 0 or x + width > image_width or y + height > image_height:
        raise UserError(f'--box: {width}x{height} at ({x}, {y}) does not lie in the image, which is '
                        f'{image_width}x{image_height}')
    return x, y, width, height
