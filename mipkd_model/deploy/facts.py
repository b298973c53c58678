"""What is known of a student from its run and from the records of evaluations; nothing is guessed."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mipkd_arch.base.errors import UserError

from ..base.files import file_sha256
from ..config.reader import read_options
from ..evaluation.provenance import device_name
from ..evaluation.records import Record, find_records
from ..experiments.methods import TEACHER
from ..experiments.runs import SETS
from ..reports.figures.pictures import shared_metrics
from ..reports.profiling import LR_SIZE
from ..reports.profiling.macs import network_cost
from ..reports.profiling.profile import Target, Timing, measure_passes
from .student import Student

TIMED = 64
"""LR side of timed passes, in pixels."""
Scores = dict[str, float]


@dataclass(frozen=True)
class Row:
    """PSNR and SSIM on one dataset, and where they come from."""
    dataset: str
    images: int
    bicubic: Scores
    student: Scores
    teacher: Scores | None
    protocol: str
    record: Record


@dataclass(frozen=True)
class Cost:
    """What a network costs."""
    name: str
    parameters: int
    macs: int
    ms: float | None


def results_of(student: Student, paths: Sequence[Path]) -> list[Row]:
    """The newest record of the student's weights on each dataset, with the teacher's where that is known.

    The usual benchmark sets come first, in their usual order.

    Args:
        paths: files and folders of records, of whatever networks.
    """
    found = [record for record in find_records(paths).values() if not record.protocol['self_ensemble']]
    digest, teacher = file_sha256(student.file), (student.training or {}).get('teacher') or {}
    own = {record.dataset['name']: record for record in sorted(found, key=lambda record: record.finished)
           if (record.checkpoint or {}).get('sha256') == digest and record.dataset['gt']}
    rows = []
    for name, record in sorted(own.items(), key=lambda item: SETS.index(item[0]) if item[0] in SETS else len(SETS)):
        named = {kind: metric for kind, (metric, ) in shared_metrics([record]).items()}
        theirs = [other.mean for other in found
                  if other.method == TEACHER and (other.checkpoint or {}).get('sha256') == teacher.get('sha256')
                  and other.dataset['sha256'] == record.dataset['sha256'] and other.scale == record.scale
                  and other.protocol['metrics'] == record.protocol['metrics']]
        scores = theirs[-1] if theirs else (teacher.get('scores') or {}).get(name)
        bicubic, own_scores = (_picked(values, named) for values in (record.bicubic, record.mean))
        rows.append(Row(name, len(record.images), bicubic, own_scores, _picked(scores, named) if scores else None,
                        _protocol(record, named), record))
    return rows


def _picked(values: Scores, named: dict[str, str]) -> Scores:
    return {kind: float(values[metric]) for kind, metric in named.items() if metric in values}


def _protocol(record: Record, named: dict[str, str]) -> str:
    blocks = [record.protocol['metrics'][metric] for metric in named.values()]
    channel = 'Y of YCbCr' if all(block.get('test_y_channel') for block in blocks) else 'RGB'
    borders = {block.get('crop_border', 0) for block in blocks}
    return f'{channel}, {" or ".join(map(str, sorted(borders)))} pixels of border left out'


def teacher_block(student: Student) -> dict[str, Any] | None:
    """The option block of the teacher, from what ``run.json`` has of the options; None without one."""
    training = student.training or {}
    teacher = training.get('teacher')
    prefix = 'network_t.'
    block = {path.removeprefix(prefix): value for path, value in (training.get('options') or {}).items()
             if path.startswith(prefix)}
    if not teacher or 'type' not in block:
        return None
    return {**block, 'file': teacher['file']} if block['type'] == 'SpandrelNetwork' else block


def costs_of(student: Student, timed: bool) -> tuple[list[Cost], str]:
    """Costs of the student and, if it is there, its teacher; and how they were measured."""
    targets = [Target('student', 'student', student.block, 'network_g')]
    block = teacher_block(student)
    counted = {'student': network_cost(student.block, LR_SIZE)}
    if block is not None:
        try:
            counted['teacher'] = network_cost(block, LR_SIZE)
            targets.append(Target('teacher', 'teacher', block, 'network_t'))
        except UserError:
            pass  # its class or file is not here
    device = torch.device('cpu')
    times = measure_passes(targets, Timing(device, (TIMED, TIMED))) if timed else []
    ms = {target.name: found['ms'] for target, found in zip(targets, times, strict=False)}
    how = f'MACs for one LR image of {LR_SIZE}x{LR_SIZE} pixels'
    if timed:
        how += f'; ms: median of 10 passes for {TIMED}x{TIMED}, PyTorch {torch.__version__}, {device_name(device)}'
    return [Cost(name, cost.parameters, cost.macs, ms.get(name)) for name, cost in counted.items()], how


def option_file(student: Student) -> Path | None:
    """The option file of the training, if it is there and has not changed since."""
    origin = (student.training or {}).get('option_file') or {}
    file = origin.get('file') and Path(origin['file'])
    return file if file and file.is_file() and file_sha256(file) == origin.get('sha256') else None


def training_data(student: Student) -> dict[str, Any]:
    """The block ``datasets.train`` of the option file; empty where that is not there."""
    file = option_file(student)
    return (read_options(file).get('datasets') or {}).get('train') or {} if file else {}
