"""What figures of training curves show: validations, losses and gradients of runs, joined to lines."""
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mipkd_arch.base.errors import UserError, one_of

from ...evaluation.records import Record, find_records, record_files
from ...evaluation.training_log import PATTERN, read_log
from ..tables.measured import RowName, row_of, row_settings
from .pictures import check_same, labels, of_dataset

Series = tuple[np.ndarray, np.ndarray]
"""Iterations and values, both (N,)."""
Gradients = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
"""By the name of a loss: iterations, norms and cosines, each (N,)."""


class TrainedRun(NamedTuple):
    """One training: its folder, and its records of validation on one dataset, by ascending iteration."""
    folder: Path
    records: list[Record]


class Curve(NamedTuple):
    """What one line shows: the same training with several random seeds, or a single one."""
    label: str
    runs: list[TrainedRun]


def read_runs(paths: Iterable[str | Path], dataset: str | None = None) -> list[TrainedRun]:
    """Read the records of validation in folders ``experiments/<name>``; without ``dataset`` there must be only one.

    Raises:
        UserError: a path has no records of validation, or none of the dataset; datasets or scales differ.
    """
    runs: dict[Path, dict[Path, Record]] = {}
    for path in map(Path, paths):
        found = find_records([path]) if path.is_dir() and record_files(path) else {}
        found = {file: record for file, record in found.items() if record.iteration is not None}
        if not found:
            raise UserError(f'{path}: holds no records of validation during training; name experiments/<name>, and '
                            'train with --force_yml val:val_freq=5000 or another number of iterations')
        for file, record in of_dataset(path, found, dataset).items():
            runs.setdefault(file.parent.parent, {})[file] = record
    check_same({file: record for records in runs.values() for file, record in records.items()})
    return [TrainedRun(folder, sorted(records.values(), key=lambda record: record.iteration or 0))
            for folder, records in runs.items()]


def group_runs(runs: Sequence[TrainedRun]) -> list[Curve]:
    """Join the runs of one pair and method that differ in their random seeds alone, and name every line.

    Lines are called as ``labels`` has it, with the number of seeds; runs of the same name by their folders.
    """
    groups: dict[tuple[RowName, str], list[TrainedRun]] = {}
    settings = row_settings({run.folder: run.records[-1] for run in runs})
    for run in runs:
        row = row_of(run.records[-1])._replace(settings=settings[run.folder])
        groups.setdefault((row, run.records[-1].pair), []).append(run)
    parts: list[tuple[RowName, list[TrainedRun]]] = []
    for (row, _), group in groups.items():
        seeds = {run.records[-1].seed for run in group}
        is_one_line = None not in seeds and len(seeds) == len(group)
        parts += [(row, group)] if is_one_line else [(row, [run]) for run in group]
    names = labels([part[0].records[-1] for _, part in parts], [row for row, _ in parts])
    count = Counter(names)
    curves = []
    for name, (_, part) in zip(names, parts, strict=True):
        label = name if count[name] == 1 else str(part[0].folder)
        if len(part) > 1:
            label = f'{label} ({len(part)} seeds)'.replace(') (', ', ')
        curves.append(Curve(label, part))
    return curves


def common(runs: Sequence[TrainedRun], series: Sequence[Series]) -> Series:
    """Iterations (M,) that all runs have, and the values (runs, M) there of the ``series`` of each run.

    Raises:
        UserError: they have none in common.
    """
    points = [dict(zip(map(int, iterations), values, strict=True)) for iterations, values in series]
    shared = sorted(set.intersection(*map(set, points)))
    if not shared:
        raise UserError(f'{", ".join(str(run.folder) for run in runs)}: have no iteration in common, so no mean; draw '
                        'one of them alone')
    return np.array(shared), np.array([[values[iteration] for iteration in shared] for values in points])


def read_metric(curve: Curve, name: str) -> Series:
    """A metric of the validations: iterations (M,) and values (runs, M), NaN where they are not finite.

    Raises:
        UserError: a run has no metric of that name, or no iteration is common to all runs.
    """
    series = []
    for run in curve.runs:
        for record in run.records:
            one_of(f'--metric: {run.folder}', name, list(record.mean))
        values = np.array([record.mean[name] for record in run.records])
        series.append((np.array([record.iteration for record in run.records]),
                       np.where(np.isfinite(values), values, np.nan)))
    return common(curve.runs, series)


def read_losses(curves: Sequence[Curve], names: Sequence[str]) -> dict[tuple[str, str], list[Series]]:
    """Losses from the log files: by (loss, label of the curve) of each run; a curve that lacks a loss is left out.

    Raises:
        UserError: no run has logged a loss of that name.
    """
    logs = {run.folder: read_log(run.folder) for curve in curves for run in curve.runs}
    known = list(dict.fromkeys(name for log in logs.values() for name in log.losses))
    losses = {}
    for name in names:
        one_of(f'--loss: {PATTERN} of the runs', name, known)
        for curve in curves:
            of_curve = [logs[run.folder] for run in curve.runs]
            if all(name in log.losses for log in of_curve):
                losses[name, curve.label] = [(log.iterations, log.losses[name]) for log in of_curve]
    return losses


def read_gradients(folder: Path) -> Gradients:
    """What ``gradients.csv`` of a run has.

    Raises:
        UserError: there is none.
    """
    from ...training import gradient_log  # with torch
    rows = gradient_log.read_gradients(folder)
    if not rows:
        raise UserError(f'--gradients: {folder} has no {gradient_log.NAME}; train with --force_yml '
                        'logger:gradients=500, or another number of iterations, which has it written')
    found = {}
    for name in dict.fromkeys(loss for _, loss, *_ in rows):
        iterations, norms, cosines = np.array([(iteration, norm, cosine) for iteration, loss, norm, cosine in rows
                                               if loss == name]).T
        found[name] = iterations, norms, cosines
    return found


def references(curves: Sequence[Curve], name: str) -> dict[str, float]:
    """Values of level lines by their labels: bicubic, and the teachers where the trainings have measured them."""
    records = [run.records[-1] for curve in curves for run in curve.runs]
    bicubic = [record.bicubic[name] for record in records if name in record.bicubic]
    found = {'bicubic': bicubic[0]} if bicubic else {}
    teachers = {}
    for record in records:
        teacher = (record.training or {}).get('teacher') or {}
        value = ((teacher.get('scores') or {}).get(record.dataset['name']) or {}).get(name)
        if value is not None:
            teachers[teacher.get('sha256')] = float(value), Path(str(teacher.get('file'))).stem
    for value, file in teachers.values():
        found['teacher' if len(teachers) == 1 else f'teacher {file}'] = value
    return {label: value for label, value in found.items() if math.isfinite(value)}
