"""Records: what an evaluation gave and where it comes from, as a JSON file for each data set.

``basicsr/test.py`` writes ``results/<name>/records/<data set>.json``, validation during training
``experiments/<name>/records/<data set>_<iteration>.json``. Paths in a record are as in the option file, relative to
the folder that the command was started in.
"""
import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import get_type_hints

from mipkd_arch.base.errors import UserError, reason_of, shown

from ..base.files import write_json

FORMAT = 'mipkd evaluation 1'
FOLDER = 'records'
NESTED = {'option_file': ('file', 'sha256', 'changed'), 'checkpoint': ('file', 'sha256', 'key'), 'network': ('type', ),
          'dataset': ('name', 'gt', 'lq', 'sha256', 'check', 'good'), 'protocol': ('metrics', 'self_ensemble')}
"""What blocks of a record have, at least."""


class RecordError(UserError):
    """A file is not a record, or not a whole one."""


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """What one image gave."""
    scores: dict
    """Values by the names of the protocol's metrics, such as ``{'psnr': 32.1, 'ssim': 0.9}``; one that cannot be
    measured on the image is not there."""
    bicubic: dict
    """The same of lq enlarged by MATLAB's bicubic, for PSNR and SSIM."""
    lq: str
    """Name of the lq image in its store; the image's own name is that of gt, where there is one."""
    output: str | None = None
    """File of the network's output, None where images are not saved."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one network gave on one data set, and where it comes from."""
    name: str
    """Of the run: the option file's ``name``."""
    pair: str
    """Whose block of the table it belongs to, such as ``EDSR`` or ``SwinIR-EDSR``; ``table.pair`` of the options."""
    method: str
    """Its row there, such as ``MiPKD`` or ``Teacher``; ``table.method`` of the options."""
    scale: int
    seed: int | None
    """``manual_seed`` of the training that made the weights; None where it is not known."""
    iteration: int | None
    """Of the training that is going on; None for a finished network in basicsr/test.py."""
    command: str
    """What to type to have the evaluation again."""
    option_file: dict
    """``file``, ``sha256`` (both None where the file is not known), ``changed``: list of --force_yml's entries."""
    checkpoint: dict | None
    """``file``, ``sha256``, ``key``: where the weights come from; None where no file was loaded or saved."""
    training: dict | None
    """The run that made the checkpoint, as its run.json says; None where there is none."""
    network: dict
    """The option block of the network: ``type`` and its arguments."""
    parameters: int
    """How many the network has."""
    dataset: dict
    """``name``, ``gt``, ``lq`` (paths, ``gt`` None where there is none), ``sha256`` (of all names and pixels),
    ``check``: what the check of the images says, ``good``: False where they are not the known images of that name, None
    where none are known."""
    protocol: dict
    """How it was measured: ``metrics`` (the option block ``val.metrics``), ``self_ensemble`` (bool), ``tile`` and
    ``tile_pad`` (lq pixels, or None), ``precision``."""
    mean: dict
    """Means by metric over the images that have a value, the infinite ones left out; see ``mean_scores``."""
    bicubic: dict
    """The same of bicubic."""
    images: dict = field(repr=False)
    """``ImageRecord`` by name of the gt image, in the order of the data set."""
    versions: dict
    """By package; ``python`` among them."""
    device: str
    finished: str
    """Time in ISO 8601, UTC."""
    seconds: float
    """How long the evaluation took."""


def write_record(record, file):
    """Write a record; the file is complete or, if that fails, as it was before. Returns its path."""
    return write_json({'format': FORMAT, **writable(asdict(record))}, file)


def read_record(file):
    """Read a record.

    Raises:
        RecordError: no such file, not a record, or a field of it is missing or of another type.
    """
    file = Path(file)
    found = read_json(file, FORMAT, 'record of an evaluation', 'mipkd test writes them')
    hints = get_type_hints(Record)
    for entry in fields(Record):
        if entry.name not in found or not _is_a(found[entry.name], hints[entry.name]):
            raise RecordError(f'{file}: is no whole record: {entry.name} is '
                              f'{shown(found.get(entry.name, "missing"))}; evaluate anew')
    for name, keys in NESTED.items():
        missing = [key for key in keys if found[name] is not None and key not in found[name]]
        if missing:
            raise RecordError(f'{file}: is no whole record: {name} has no {missing[0]}; evaluate anew')
    metrics, training = found['protocol']['metrics'], found['training'] or {}
    blocks = [*(metrics.values() if isinstance(metrics, dict) else [None]), training.get('option_file') or {}]
    if not all(isinstance(block, dict) for block in blocks):
        raise RecordError(f'{file}: is no whole record: protocol.metrics or training.option_file is no block; '
                          'evaluate anew')
    try:
        images = {name: ImageRecord(**{**image, 'scores': _numbers(image['scores']),
                                       'bicubic': _numbers(image['bicubic'])})
                  for name, image in found.pop('images').items()}
        means = {key: _numbers(found.pop(key)) for key in ('mean', 'bicubic')}
        return Record(images=images, **means, **found)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise RecordError(f'{file}: is no whole record ({reason_of(error)}); evaluate anew') from None


def record_files(folder):
    """Files of all records in a folder at any depth, sorted, without those of runs that BasicSR has archived."""
    inside = {*folder.glob(f'**/{FOLDER}/*.json'), *(folder.glob('*.json') if folder.name == FOLDER else ())}
    return [file for file in sorted(inside) if '_archived_' not in str(file.relative_to(folder))]


def find_records(paths):
    """Read the records that paths name.

    Args:
        paths (iterable): files, and folders in which all ``records/*.json`` at any depth are meant; BasicSR's
            archived runs are left out.

    Returns:
        dict[Path, Record]: by file, sorted.

    Raises:
        RecordError: a path is not there, a folder has no record, or a file is not a record.
    """
    files = []
    for path in map(Path, paths):
        found = [path]
        if path.is_dir():
            found = record_files(path)
            if not found:
                raise RecordError(f'{path}: holds no records ({FOLDER}/*.json); evaluate first, for example: mipkd '
                                  'test -opt options/test_MiPKD_x4.yml')
        files.extend(found)
    return {file: read_record(file) for file in dict.fromkeys(files)}


def read_json(file, format_, what, origin):
    """Read a JSON file of one of this package's formats as a dict, without its ``format``.

    Args:
        file (Path): the file.
        format_ (str): what its ``format`` must be.
        what, origin (str): what it is and who writes it, for errors.

    Raises:
        RecordError: it is not there or not of the format.
    """
    if not file.is_file():
        raise RecordError(f'{file}: no such {what}; {origin}')
    try:
        found = json.loads(file.read_text(encoding='utf-8'))
    except (ValueError, OSError, RecursionError) as error:
        raise RecordError(f'{file}: cannot be read as JSON ({reason_of(error)}); {origin}') from None
    name = found.pop('format', None) if isinstance(found, dict) else None
    if name != format_:
        raise RecordError(f'{file}: is not a {what} ({origin}): its format is {shown(name)}, not {format_!r}')
    return found


def _is_a(value, kind):
    if kind is float:
        kind = float | int
    return isinstance(value, kind) and not isinstance(value, bool)


def _numbers(values):
    return {name: float(value) for name, value in values.items()}


def writable(value):
    """JSON has no number for inf, which a perfect image has as PSNR, nor for nan: they are written as text."""
    if isinstance(value, dict):
        return {key: writable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [writable(entry) for entry in value]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)
