"""Which records figures show, and the images of these records."""
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mipkd_arch.base.errors import UserError, near_miss, one_of

from ...data.bicubic import imresize
from ...data.images import read_image
from ...data.stores import open_store
from ...evaluation.records import Record, find_records
from ..tables.measured import RowName, row_of


def records_of(paths: Iterable[str | Path], dataset: str) -> list[Record]:
    """The records of one dataset in files and folders, of which validation during training is left out.

    Raises:
        UserError: a path has no such record, or the records are not of the same scale and images.
    """
    records: dict[Path, Record] = {}
    for path in paths:
        found = find_records([path])
        finished = {file: record for file, record in found.items()
                    if record.iteration is None or file == Path(path)}
        if not finished:
            raise UserError(f'{path}: holds records of validation during training only; name one of their files, such '
                            f'as {next(iter(found))}')
        names = list(dict.fromkeys(record.dataset['name'] for record in finished.values()))
        if dataset not in names:
            raise UserError(f'--dataset: {path} has no record of {dataset!r}{near_miss(dataset, names)}; it has '
                            f'{", ".join(names)}')
        records.update((file, record) for file, record in finished.items() if record.dataset['name'] == dataset)
    check_same(records)
    return list(records.values())


def check_same(records: Mapping[Path, Record]) -> None:
    """Check that records, by file, are of one scale and the same images.

    Raises:
        UserError: names two that are not.
    """
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


def labels(records: Sequence[Record], rows: Sequence[RowName] | None = None) -> list[str]:
    """What to call each record; ``rows`` are their names in tables, by default those of ``row_of``.

    Its method, as ``MiPKD+`` with self-ensemble; where the records' pairs differ, ``MiPKD (RCAN)``. Those that would
    still have the same label are called by the names of their runs.
    """
    names = [row.label for row in rows or map(row_of, records)]
    if len({record.pair for record in records}) > 1:
        names = [f'{name} ({record.pair})' for name, record in zip(names, records, strict=True)]
    count = Counter(names)
    return [name if count[name] == 1 else record.name for name, record in zip(names, records, strict=True)]


@dataclass(frozen=True)
class Pictures:
    """One image as the records have it; all arrays are uint8 RGB (H, W, 3) of the same size."""
    image: str
    dataset: str
    scale: int
    gt: np.ndarray
    """Cropped from its top-left corner to a multiple of the scale."""
    bicubic: np.ndarray
    """lq upsampled as MATLAB does it."""
    records: list[Record]
    outputs: list[np.ndarray]
    """The network's output for each record."""


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
    lq = open_store(first.dataset['lq']).read(first.images[image].lq)
    height, width = (side * first.scale for side in lq.shape[:2])
    gt = open_store(first.dataset['gt']).read(image)[:height, :width]
    outputs = [read_image(file) for file in files]
    for file, output in zip(files, outputs, strict=True):
        if output.shape != gt.shape:
            raise UserError(f'{file}: is {output.shape[1]}x{output.shape[0]}, but gt {gt.shape[1]}x{gt.shape[0]}; was '
                            'it made from other images? Evaluate again')
    return Pictures(image, first.dataset['name'], first.scale, gt, imresize(lq, size=(height, width)), records, outputs)


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
