"""The figure of training curves: a metric on the validation images, and losses, over the iterations of several runs."""
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from mipkd_arch.base.errors import UserError, near_miss, one_of

from ...evaluation.records import Record, find_records, record_files
from ...evaluation.training_log import PATTERN, read_log
from ..tables.cells import row_of, row_variants
from .gradient_panels import draw_gradients
from .pictures import WIDTH, check_same, dashes_of, explain_dashes, labels, log_scale, metric_name, style

TITLES = {'calculate_psnr': 'PSNR (dB)', 'calculate_ssim': 'SSIM'}
SMOOTH = 20  # the running mean of a loss is over 1/20 of its points
FEW = 15  # points that are marked


@dataclass(frozen=True)
class Run:
    """One training."""
    folder: Path
    """As ``experiments/<name>``."""
    records: list[Record]
    """Of validation on one data set, by ascending iteration."""


@dataclass(frozen=True)
class Curve:
    """What one line shows."""
    label: str
    runs: list[Run]
    """The same training with several seeds, or a single one."""


def read_runs(paths, dataset=None):
    """Read what validation during training has recorded.

    Args:
        paths (iterable): folders such as ``experiments/<name>``, or one that holds several of them.
        dataset (str | None): name of the data set; None takes the only one.

    Returns:
        list[Run]: in the order of ``paths``.

    Raises:
        UserError: a path has no records of validation, or none of the data set; data sets or scales differ.
    """
    runs = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise UserError(f'{path}: no such folder of a training; experiments/<name> is one')
        found = find_records([path]) if record_files(path) else {}
        found = {file: record for file, record in found.items() if record.iteration is not None}
        if not found:
            raise UserError(f'{path}: holds no records of validation during training; train with --force_yml '
                            'val:val_freq=5000 or another number of iterations, which has them written')
        names = list(dict.fromkeys(record.dataset['name'] for record in found.values()))
        if dataset is None and len(names) > 1:
            raise UserError(f'--dataset: missing; {path} has {", ".join(names)}')
        chosen = dataset or names[0]
        if chosen not in names:
            raise UserError(f'--dataset: {path} has no validation on {chosen!r}{near_miss(chosen, names)}; it has '
                            f'{", ".join(names)}')
        for file, record in found.items():
            if record.dataset['name'] == chosen:
                runs.setdefault(file.parent.parent, {})[file] = record
    check_same({file: record for records in runs.values() for file, record in records.items()})
    return [Run(folder, sorted(records.values(), key=lambda record: record.iteration))
            for folder, records in runs.items()]


def group_runs(runs):
    """Join the runs of one pair and method that differ in their seeds alone, and name every line.

    Validation with self-ensemble is a line of its own. Lines are called as ``labels`` says, with the number of seeds;
    runs of the same name by their folders.

    Args:
        runs (list[Run]): each with at least one record.

    Returns:
        list[Curve]: in the order of the runs.
    """
    groups = {}
    variants = row_variants({run.folder: run.records[-1] for run in runs})
    for run in runs:
        row = row_of(run.records[-1])._replace(variant=variants[run.folder])
        groups.setdefault((row, run.records[-1].pair), []).append(run)
    parts, rows = [], []
    for (row, _), group in groups.items():
        seeds = [run.records[-1].seed for run in group]
        together = None not in seeds and len(set(seeds)) == len(seeds)
        parts.extend([group] if together else [[run] for run in group])
        rows += [row] * (len(parts) - len(rows))
    names = labels([part[0].records[-1] for part in parts], rows)
    count = Counter(names)
    curves = []
    for name, part in zip(names, parts, strict=True):
        label = name if count[name] == 1 else str(part[0].folder)
        if len(part) > 1:
            label = f'{label} ({len(part)} seeds)'.replace(') (', ', ')
        curves.append(Curve(label, part))
    return curves


def common(runs, series):
    """Values at the iterations that all runs have.

    Args:
        runs (list[Run]): whose they are.
        series (list): of (iterations, values) of each run, both of N numbers.

    Returns:
        tuple[ndarray, ndarray]: iterations (M,) and values (runs, M).

    Raises:
        UserError: they have none in common.
    """
    points = [dict(zip(map(int, iterations), values, strict=True)) for iterations, values in series]
    shared = sorted(set.intersection(*map(set, points)))
    if not shared:
        raise UserError(f'{", ".join(str(run.folder) for run in runs)}: have no iteration in common, so no mean; draw '
                        'one of them alone')
    return np.array(shared), np.array([[values[iteration] for iteration in shared] for values in points])


def notes(curves, losses=None):
    """What the figure does not show, for a mean is of the iterations that all runs of a line have.

    Args:
        curves (list[Curve]): the lines.
        losses (dict | None): as for ``draw_curves``.

    Returns:
        list[str]: a text for each line that does not show all of its runs.
    """
    runs = {curve.label: curve.runs for curve in curves}
    lines = {curve.label: (curve.runs, [[record.iteration for record in run.records] for run in curve.runs])
             for curve in curves}
    for (loss, label), series in (losses or {}).items():
        lines[f'{label}, {loss}'] = runs[label], [iterations for iterations, _ in series]
    texts = []
    for label, (of, iterations) in lines.items():
        shared = len(set.intersection(*map(set, iterations)))
        if any(len(entry) > shared for entry in iterations):
            parts = [f'{run.folder} has {len(entry) - shared} more' if len(entry) > shared
                     else f'{run.folder} ends at {entry[-1]}' for run, entry in zip(of, iterations, strict=True)]
            count = f'{shared} iteration{"s" * (shared > 1)}'
            texts.append(f'{label}: shown at the {count} that all its runs have; {", ".join(parts)}')
    return texts


def smooth(values):
    """Running mean over 1/20 of the points, at both ends over those that there are; NaN counts nowhere."""
    half = len(values) // SMOOTH // 2
    window = np.ones(2 * half + 1)
    known = np.isfinite(values)
    total = np.convolve(np.where(known, values, 0), window)[half:half + len(values)]
    count = np.convolve(known, window)[half:half + len(values)]
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def read_losses(curves, names):
    """Losses from the log files of the runs.

    Args:
        curves (list[Curve]): the lines.
        names (list[str]): losses, such as ``l_pix``.

    Returns:
        dict: by (loss, label of the curve) a list with iterations and values, both (N,), of each run; a curve whose
            runs lack a loss is left out.

    Raises:
        UserError: a run has logged nothing, or no run has a loss of that name.
    """
    logs = {}
    for curve in curves:
        for run in curve.runs:
            logs[run.folder] = log = read_log(run.folder)
            if not log.losses:
                raise UserError(f'{run.folder}: has no losses in a {PATTERN}; logger.print_freq says how often they '
                                'are logged')
    known = list(dict.fromkeys(name for log in logs.values() for name in log.losses))
    losses = {}
    for name in names:
        one_of('--loss', name, known)
        for curve in curves:
            found = [logs[run.folder] for run in curve.runs]
            if all(name in log.losses for log in found):
                losses[name, curve.label] = [(log.iterations, log.losses[name]) for log in found]
    return losses


def draw_curves(curves, metric=None, losses=None, gradients=None):
    """Draw the figure.

    Several seeds are shown as their mean, within their minimum and maximum; bicubic and the teacher are level lines. A
    figure that is not finite, as that of a broken network, leaves a gap. A loss is shown as logged, faintly, and as
    its running mean over 1/20 of the points.

    Args:
        curves (list[Curve]): a line each.
        metric (str | None): name of the metric in the records; None takes PSNR.
        losses (dict | None): what ``read_losses`` gave, for a panel of losses.
        gradients (dict | None): by the label of the curve what ``gradient_panels.read_series`` gave of one of its
            runs, for two panels.

    Returns:
        Figure: the axes are that of the metric and, where they are asked for, of losses, norms and cosines.

    Raises:
        UserError: a run has no metric of that name, or no iteration is common to all seeds.
    """
    first = curves[0].runs[0].records[0]
    name = metric or metric_name(first, 'calculate_psnr') or next(iter(first.mean))
    losses = losses or {}
    values = {curve.label: _metric_values(curve, name) for curve in curves}
    kind = first.protocol['metrics'].get(name, {}).get('type')
    with style():
        count = 1 + bool(losses) + 2 * bool(gradients)
        rows, columns = (2, 2) if count == 4 else (1, count)
        figure = Figure((WIDTH if count > 1 else WIDTH / 2, 2.5 * rows), dpi=300, layout='constrained')
        panels = [figure.add_subplot(rows, columns, place) for place in range(1, count + 1)]
        panels[0].set_ylabel(f'{first.dataset["name"]} ×{first.scale}, {TITLES.get(kind, name)}')
        colours = {curve.label: f'C{index % 10}' for index, curve in enumerate(curves)}
        for label, (iterations, rows) in values.items():
            _line(panels[0], iterations, rows, colours[label], label=label,
                  marker='o' if len(iterations) < FEW else None)
        for label, (value, look) in references(curves, name).items():
            panels[0].axhline(value, color='0.45', linewidth=0.8, linestyle=look, zorder=1)
            # Named at the line: bicubic below it and teachers above, for both may lie close together.
            panels[0].text(1, value, f'{label} ', transform=panels[0].get_yaxis_transform(), color='0.35',
                           fontsize='x-small', ha='right', va='top' if label == 'bicubic' else 'bottom')
        panels[0].legend(frameon=False)
        if losses:
            dashes = dashes_of(loss for loss, _ in losses)
            runs = {curve.label: curve.runs for curve in curves}
            for (loss, label), series in losses.items():
                iterations, rows = common(runs[label], series)
                panels[1].plot(iterations, rows.mean(0), color=colours[label], alpha=0.2, linewidth=0.4)
                _line(panels[1], iterations, np.array([smooth(row) for row in rows]), colours[label],
                      linestyle=dashes[loss])
            log_scale(panels[1])
            panels[1].set_ylabel('loss' if len(dashes) > 1 else f'loss {next(iter(dashes))}')
            if len(dashes) > 1:
                explain_dashes(panels[1], dashes)
        if gradients:
            draw_gradients(panels[-2:], {label: (colours[label], series) for label, series in gradients.items()})
        for axes in panels:
            axes.set_xlabel('iteration')
            axes.xaxis.set_major_formatter(EngFormatter(sep=''))
            axes.grid(linewidth=0.3, alpha=0.5)
            axes.spines[['top', 'right']].set_visible(False)
    return figure


def references(curves, name):
    """What the lines are seen against: bicubic, and the teachers where the trainings have measured them.

    Args:
        curves (list[Curve]): the lines, of one data set.
        name (str): of the metric.

    Returns:
        dict[str, tuple[float, str]]: value and look of a level line by its label.
    """
    records = [run.records[-1] for curve in curves for run in curve.runs]
    found = {}
    bicubic = [record.bicubic[name] for record in records if name in record.bicubic]
    if bicubic and math.isfinite(bicubic[0]):
        found['bicubic'] = bicubic[0], ':'
    teachers = {}
    for record in records:
        teacher = (record.training or {}).get('teacher') or {}
        value = ((teacher.get('scores') or {}).get(record.dataset['name']) or {}).get(name)
        if value is not None and math.isfinite(float(value)):
            teachers[teacher.get('sha256')] = float(value), Path(str(teacher.get('file'))).stem
    for value, file in teachers.values():
        found['teacher' if len(teachers) == 1 else f'teacher {file}'] = value, '--'
    return found


def _metric_values(curve, name):
    for run in curve.runs:
        for record in run.records:
            one_of(f'--metric: {run.folder}', name, list(record.mean))
    return common(curve.runs, [([record.iteration for record in run.records],
                                [record.mean[name] if math.isfinite(record.mean[name]) else math.nan
                                 for record in run.records]) for run in curve.runs])


def _line(axes, iterations, rows, colour, **options):
    axes.plot(iterations, rows.mean(0), color=colour, linewidth=1, markersize=2, **options)
    if len(rows) > 1:
        axes.fill_between(iterations, rows.min(0), rows.max(0), color=colour, alpha=0.2, linewidth=0)
