"""The figure of training curves: a metric of validation, losses, and their gradients, over the iterations of runs."""
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator

from .pictures import metric_name
from .style import WIDTH, style
from .training_runs import Curve, Gradients, Series, common, read_metric, references

TITLES = {'calculate_psnr': 'PSNR (dB)', 'calculate_ssim': 'SSIM'}
DASHES = ('-', '--', ':', '-.', (0, (3, 1, 1, 1, 1, 1)))
SMOOTH = 20  # the running mean of a loss is over 1/20 of its points
FEW = 15  # points that are marked


def draw_curves(curves: Sequence[Curve], metric: str | None = None,
                losses: Mapping[tuple[str, str], Sequence[Series]] | None = None,
                gradients: Mapping[str, Gradients] | None = None) -> Figure:
    """Draw the figure.

    Several seeds are shown as their mean, within their minimum and maximum; bicubic and the teacher are level lines.
    What is not finite leaves a gap. A loss is shown faintly as logged, and as its running mean over 1/20 of the points.

    Args:
        curves: a line each.
        metric: name of the metric in the records; None takes PSNR.
        losses: what ``read_losses`` gave, for a panel of losses.
        gradients: by the label of the curve what ``read_gradients`` gave of one of its runs, for panels of their norms
            and of their cosines.

    Raises:
        UserError: a run has no metric of that name, or no iteration is common to all seeds.
    """
    first = curves[0].runs[0].records[0]
    name = metric or metric_name(first, 'calculate_psnr') or next(iter(first.mean))
    kind = first.protocol['metrics'].get(name, {}).get('type')
    colors = {curve.label: f'C{index % 10}' for index, curve in enumerate(curves)}
    with style():
        count = 1 + bool(losses) + 2 * bool(gradients)
        rows, columns = (2, 2) if count == 4 else (1, count)
        figure = Figure((WIDTH if count > 1 else WIDTH / 2, 2.5 * rows), dpi=300, layout='constrained')
        panels = [figure.add_subplot(rows, columns, place) for place in range(1, count + 1)]
        panels[0].set_ylabel(f'{first.dataset["name"]} ×{first.scale}, {TITLES.get(kind, name)}')
        _draw_metric(panels[0], curves, name, colors)
        if losses:
            _draw_losses(panels[1], curves, losses, colors)
        if gradients:
            _draw_gradients(panels[-2], panels[-1], gradients, colors)
        for axes in panels:
            axes.set_xlabel('iteration')
            axes.xaxis.set_major_formatter(EngFormatter(sep=''))
            axes.grid(linewidth=0.3, alpha=0.5)
            axes.spines[['top', 'right']].set_visible(False)
    return figure


def smooth(values: np.ndarray) -> np.ndarray:
    """Running mean over 1/20 of the points, at both ends over those that there are; NaN counts nowhere."""
    half = len(values) // SMOOTH // 2
    window = np.ones(2 * half + 1)
    known = np.isfinite(values)
    total = np.convolve(np.where(known, values, 0), window)[half:half + len(values)]
    count = np.convolve(known, window)[half:half + len(values)]
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _draw_metric(axes: Axes, curves: Sequence[Curve], name: str, colors: Mapping[str, str]) -> None:
    for curve in curves:
        iterations, values = read_metric(curve, name)
        _draw_line(axes, iterations, values, colors[curve.label], label=curve.label,
                   marker='o' if len(iterations) < FEW else None)
    for label, value in references(curves, name).items():
        is_bicubic = label == 'bicubic'
        axes.axhline(value, color='0.45', linewidth=0.8, linestyle=':' if is_bicubic else '--', zorder=1)
        # Named at the line: bicubic below it and teachers above, for both may lie close together.
        axes.text(1, value, f'{label} ', transform=axes.get_yaxis_transform(), color='0.35', fontsize='x-small',
                  ha='right', va='top' if is_bicubic else 'bottom')
    axes.legend(frameon=False)


def _draw_losses(axes: Axes, curves: Sequence[Curve], losses: Mapping[tuple[str, str], Sequence[Series]],
                 colors: Mapping[str, str]) -> None:
    dashes = _dashes(loss for loss, _ in losses)
    runs = {curve.label: curve.runs for curve in curves}
    for (loss, label), series in losses.items():
        iterations, values = common(runs[label], series)
        axes.plot(iterations, values.mean(0), color=colors[label], alpha=0.2, linewidth=0.4)
        _draw_line(axes, iterations, np.array([smooth(of_run) for of_run in values]), colors[label],
                   linestyle=dashes[loss])
    _log_scale(axes)
    axes.set_ylabel('loss' if len(dashes) > 1 else f'loss {next(iter(dashes))}')
    if len(dashes) > 1:
        _explain(axes, dashes)


def _draw_gradients(norm_axes: Axes, cosine_axes: Axes, gradients: Mapping[str, Gradients], colors: Mapping[str, str]
                    ) -> None:
    from ...training.gradient_log import REFERENCE  # imports torch
    # A loss that does not reach the student has no gradient there.
    dashes = _dashes(loss for series in gradients.values() for loss, (_, norms, _) in series.items() if norms.any())
    for label, series in gradients.items():
        for loss, (iterations, norms, cosines) in series.items():
            if loss in dashes:
                line: dict[str, Any] = {'color': colors[label], 'linewidth': 1, 'linestyle': dashes[loss]}
                norm_axes.plot(iterations, np.where(norms > 0, norms, np.nan), **line)
                if loss != REFERENCE:
                    cosine_axes.plot(iterations, cosines, **line)
    _log_scale(norm_axes)
    norm_axes.set_ylabel('norm of the gradient at the student')
    cosine_axes.axhline(0, color='0.45', linewidth=0.8, zorder=1)
    cosine_axes.set_ylim(-1, 1)
    cosine_axes.set_ylabel(f'its cosine with that of {REFERENCE}')
    _explain(norm_axes, dashes)


def _draw_line(axes: Axes, iterations: np.ndarray, values: np.ndarray, color: str, **options: Any) -> None:
    axes.plot(iterations, values.mean(0), color=color, linewidth=1, markersize=2, **options)
    if len(values) > 1:
        axes.fill_between(iterations, values.min(0), values.max(0), color=color, alpha=0.2, linewidth=0)


def _dashes(losses: Iterable[str]) -> dict[str, Any]:
    return {loss: DASHES[index % len(DASHES)] for index, loss in enumerate(dict.fromkeys(losses))}


def _explain(axes: Axes, dashes: Mapping[str, Any]) -> None:
    handles = [Line2D([], [], color='0.3', linewidth=1, linestyle=dash) for dash in dashes.values()]
    axes.legend(handles, list(dashes), frameon=False)


def _log_scale(axes: Axes) -> None:
    """Logarithmic y with plain numbers; over less than two decades 2 and 5 are marked, too."""
    axes.set_yscale('log')
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter('{x:g}')
    axes.yaxis.set_minor_formatter('')
