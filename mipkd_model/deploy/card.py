"""The folder of a student's card: README.md, OpenModelDB's fields, the files of a Hugging Face Space, sums."""
from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path, PurePath
from typing import Any

import yaml

from ..base.files import file_sha256, write_json
from .facts import Cost, Row, option_file, training_data
from .student import Student

LIBRARIES = {'.pth': 'pytorch', '.safetensors': 'pytorch', '.onnx': 'onnx', '.param': 'ncnn', '.bin': 'ncnn'}
"""Platforms of OpenModelDB by ending."""
IDS = {'SRVGGNetCompact': 'compact'}
"""OpenModelDB's names of architectures, where they are not the type in lower case."""
SIZES = {'num_feat': 'nf', 'feature_channels': 'nf', 'embed_dim': 'dim', 'dim': 'dim', 'num_block': 'nb',
         'n_blocks': 'nb', 'num_conv': 'nc'}
"""What OpenModelDB puts behind a size, by argument."""
OPTION_FILE = 'train.yml'
"""Name of the option file in the folder."""
REQUIREMENTS = 'gradio>=5.27\nnumpy\nonnxruntime\npillow\n'
"""Of the Space; gradio has its image slider since that version."""


@dataclass(frozen=True)
class Card:
    """All that a card says.

    Args:
        files: exported, all in one folder.
        missing: why a format is not there, a line each.
        license_name, author: None where nobody has said it.
    """
    student: Student
    files: Sequence[Path]
    rows: Sequence[Row]
    costs: Sequence[Cost]
    how: str
    license_name: str | None = None
    author: str | None = None
    data: Sequence[str] = ()
    tags: Sequence[str] = ()
    missing: Sequence[str] = ()
    has_picture: bool = False
    opens_in_spandrel: bool = False

    @property
    def name(self) -> str:
        """Of the student."""
        return self.student.name

    @property
    def training(self) -> dict[str, Any]:
        """What ``run.json`` says; empty without one."""
        return self.student.training or {}

    @property
    def about(self) -> str:
        """What it is, in a sentence."""
        parameters = {one.name: f' with {one.parameters / 1e6:.2f}M parameters' for one in self.costs}
        text = f'A super-resolution network for x{self.student.scale}: {self.student.block["type"]}' \
               f'{parameters["student"]}'
        teacher = (self.training.get('options') or {}).get('network_t.type')
        if teacher and self.training.get('teacher'):
            method = (self.training.get('table') or {}).get('method')
            text += f', distilled from {teacher}{parameters.get("teacher", "")}' + (f' by {method}' if method else '')
        return text + '.'


def write_card(card: Card, folder: Path, text: str) -> None:
    """Write README.md, openmodeldb.json, the option file and, where there is an ONNX file, the folder ``space``.

    ``SHA256SUMS`` is last and has every file, as ``sha256sum -c`` reads it.

    Args:
        text: the card in Markdown, without its head.
    """
    (folder / 'README.md').write_text(yaml_head(metadata(card)) + '\n' + text, encoding='utf-8')
    write_json(openmodeldb(card), folder / 'openmodeldb.json')
    if file := option_file(card.student):
        (folder / OPTION_FILE).write_text(for_others(file.read_text(encoding='utf-8')), encoding='utf-8')
    whole = folder / f'{card.name}.onnx'
    if whole in card.files:
        space = folder / 'space'
        space.mkdir()
        shutil.copyfile(whole, space / whole.name)
        shutil.copyfile(Path(__file__).with_name('space_app.py'), space / 'app.py')
        (space / 'requirements.txt').write_text(REQUIREMENTS, encoding='utf-8')
        head = {'title': card.name, 'sdk': 'gradio', 'app_file': 'app.py',
                **({'license': card.license_name.lower()} if card.license_name else {})}
        (space / 'README.md').write_text(yaml_head(head) + f'\n{card.about}\n', encoding='utf-8')
    lines = [f'{file_sha256(file)}  {file.relative_to(folder).as_posix()}\n'
             for file in sorted(folder.glob('**/*')) if file.is_file()]
    (folder / 'SHA256SUMS').write_text(''.join(lines), encoding='utf-8')


def for_others(text: str) -> str:
    """An option file's text with absolute paths cut to their last two parts, for nobody else has these folders."""
    for path in set(_absolute_paths(yaml.safe_load(text))):
        shown = '/'.join(PurePath(path).parts[1:][-2:])
        text = re.sub(rf'(?<![\w/.~-]){re.escape(path)}(?![\w/.-])', shown.replace('\\', r'\\'), text)
    return text


def _absolute_paths(value: Any) -> Iterator[str]:
    if isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _absolute_paths(part)
    elif isinstance(value, str) and (PurePath(value).is_absolute() or value.startswith('~')):
        yield value


def metadata(card: Card) -> dict[str, Any]:
    """The YAML head of the hub."""
    block = card.student.block['type']
    distilled = ['knowledge-distillation'] if card.training.get('teacher') else []
    head: dict[str, Any] = {'license': card.license_name.lower()} if card.license_name else {}
    head |= {'library_name': 'mipkd', 'pipeline_tag': 'image-to-image',
             'tags': list(dict.fromkeys(['super-resolution', 'image-upscaling', *distilled, block,
                                         *sorted({LIBRARIES[file.suffix] for file in card.files}), *card.tags]))}
    if card.data:
        head['datasets'] = list(card.data)
    if card.rows:
        head['metrics'] = sorted({kind for row in card.rows for kind in row.student})
        head['model-index'] = [{'name': card.name, 'results': [{
            'task': {'type': 'image-to-image', 'name': f'Super-resolution x{card.student.scale}'},
            'dataset': {'type': row.dataset, 'name': row.dataset},
            'metrics': [{'type': kind, 'name': f'{kind.upper()} ({row.protocol})', 'value': round(value, 4)}
                        for kind, value in row.student.items()]} for row in card.rows]}]
    return head


def openmodeldb(card: Card) -> dict[str, Any]:
    """The fields of an entry of OpenModelDB; addresses of files and of images are for the author to fill in."""
    student, training = card.student, card.training
    kind = student.block['type'].removesuffix('Student')
    data = training_data(student)
    sizes = [f'{student.block[argument]}{unit}' for argument, unit in SIZES.items() if argument in student.block]
    known = {'trainingIterations': training.get('total_iter'), 'trainingBatchSize': training.get('batch_size'),
             'trainingHRSize': data.get('gt_size'), 'dataset': ', '.join(card.data) or None}
    return {'name': card.name, 'author': card.author, 'license': card.license_name, 'tags': list(card.tags),
            'description': card.about, 'date': datetime.now(timezone.utc).date().isoformat(),
            'architecture': IDS.get(kind, kind.lower()), 'size': sizes or None, 'scale': student.scale,
            'inputChannels': 3, 'outputChannels': 3,
            'resources': [{'platform': LIBRARIES[file.suffix], 'type': file.suffix[1:], 'size': file.stat().st_size,
                           'sha256': file_sha256(file), 'urls': []} for file in card.files],
            'images': [], **{name: value for name, value in known.items() if value is not None}}


def yaml_head(content: dict[str, Any]) -> str:
    """The head of a README.md, as the hub reads it."""
    return f'---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---\n'
