"""Records of evaluations, a JSON file per dataset: the results, and where they come from. Imports no torch.

A test writes ``results/<name>/records/<dataset>.json``, validation during training
``experiments/<name>/records/<dataset>_<iteration>.json``.
"""
import json
import math
import shlex
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mipkd_arch.base.errors import UserError, reason_of

from ..base.files import file_sha256, write_json

FORMAT = 'mipkd evaluation 1'
FOLDER = 'records'


class RecordError(UserError):
    """A file is not a complete record."""


@dataclass(frozen=True, kw_only=True)
class ImageRecord:
    """What one image gave."""
    scores: dict[str, float]  # by metric; without a metric that failed on the image
    bicubic: dict[str, float]  # the same of lq upsampled by MATLAB's bicubic, for PSNR and SSIM
    lq: str  # name of the lq image
    output: str | None = None  # file of the network's output; None if images are not saved


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one network gave on one dataset, and where it comes from."""
    name: str
    pair: str  # block of the table that it belongs to, such as EDSR or SwinIR-EDSR: table.pair
    method: str  # row there, such as MiPKD or Teacher: table.method
    scale: int
    seed: int | None  # manual_seed of the training of the weights; None if unknown
    iteration: int | None  # of the current training; None in a test
    command: str  # repeats the evaluation
    option_file: dict[str, Any]  # file, sha256 (both None if unknown), changed: entries of --force_yml
    checkpoint: dict[str, Any] | None  # file, sha256, key of the weights; None if they are not in a file
    training: dict[str, Any] | None  # run.json of the training of the checkpoint; None if there is none
    network: dict[str, Any]  # type and arguments
    parameters: int
    dataset: dict[str, Any]  # name, gt (None if there is none), lq; sha256, check, good of check_dataset
    protocol: dict[str, Any]  # metrics (the block val.metrics), self_ensemble, tile, tile_pad (lq pixels), precision
    mean: dict[str, float]  # by metric, over the images that have a value; see mean_scores
    bicubic: dict[str, float]  # the same of bicubic
    images: dict[str, ImageRecord] = field(repr=False)  # by name of the gt image, in the order of the dataset
    versions: dict[str, Any]  # by package, with python
    device: str
    finished: str  # ISO 8601, UTC
    seconds: float


_ADAPTER = TypeAdapter(Record)


def write_record(record: Record, file: Path) -> Path:
    """Write a record atomically and return its path."""
    return write_json({'format': FORMAT, **writable(asdict(record))}, file)


def read_record(file: Path) -> Record:
    """Read a record; a RecordError names the field that is missing or has another type."""
    content = read_json(file, FORMAT, 'record of an evaluation', 'mipkd test writes them')
    try:
        return _ADAPTER.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise RecordError(f'{file}: incomplete record: {".".join(map(str, first["loc"]))}: {first["msg"]}; '
                          'evaluate again') from None


def record_files(folder: Path) -> list[Path]:
    """Files of all records in a folder at any depth, sorted, without those of archived runs."""
    inside = {*folder.glob(f'**/{FOLDER}/*.json'), *(folder.glob('*.json') if folder.name == FOLDER else ())}
    return [file for file in sorted(inside) if '_archived_' not in str(file.relative_to(folder))]


def find_records(paths: Iterable[str | Path]) -> dict[Path, Record]:
    """Read records by file; a folder stands for its ``record_files``. RecordError where a path has none."""
    files: dict[Path, None] = {}
    for path in map(Path, paths):
        found = record_files(path) if path.is_dir() else [path]
        if not found:
            raise RecordError(f'{path}: has no records ({FOLDER}/*.json); evaluate first, for example: mipkd test -opt '
                              'options/test_MiPKD_x4.yml')
        files.update(dict.fromkeys(found))
    return {file: read_record(file) for file in files}


def read_json(file: Path, format_: str, what: str, source: str) -> dict[str, Any]:
    """Read a JSON file that has this ``format`` as a dict; ``what`` and ``source``, which writes it, are for errors."""
    try:
        content = json.loads(file.read_text(encoding='utf-8'))
    except (ValueError, OSError, RecursionError) as error:
        raise RecordError(f'{file}: is not a {what} ({reason_of(error)}); {source}') from None
    if not isinstance(content, dict) or content.pop('format', None) != format_:
        raise RecordError(f'{file}: is not a {what} of format {format_!r}; {source}')
    return content


def option_file_origin(start: str, file: str | Path, changed: list[str] | None) -> dict[str, Any]:
    """``Record.option_file`` and ``command``, of ``start`` such as 'basicsr/test.py' or 'mipkd test'."""
    changed = list(changed or ())
    python = ['python'] if start.endswith('.py') else []
    command = [*python, *start.split(), '-opt', str(file), *(['--force_yml', *changed] if changed else [])]
    return {'file': str(file), 'sha256': file_sha256(file), 'changed': changed, 'command': shlex.join(command)}


def writable(value: Any) -> Any:
    """A value for JSON, which has no inf (PSNR of an exact image) and no nan: they become strings."""
    if isinstance(value, dict):
        return {key: writable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [writable(entry) for entry in value]
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)
