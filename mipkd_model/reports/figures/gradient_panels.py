"""Panels of the training curves that show what each loss asked of the student: norms and cosines of its gradients."""
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from mipkd_arch.base.errors import UserError

from ...training.gradient_log import NAME, REFERENCE, read_gradients
from .pictures import dashes_of, explain_dashes, log_scale

Series = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]
"""By the name of a loss: iterations, norms and cosines, each (N,)."""


def read_series(folder: str | Path) -> Series:
    """What ``gradients.csv`` of a run says.

    Raises:
        UserError: it has none.
    """
    rows = read_gradients(folder)
    if not rows:
        raise UserError(f'--gradients: {folder} has no {NAME}; train with --force_yml logger:gradients=500, or '
                        'another number of iterations, which has it written')
    names = dict.fromkeys(name for _, name, *_ in rows)
    return {name: tuple(np.array(column) for column in zip(
        *((iteration, norm, cosine) for iteration, loss, norm, cosine in rows if loss == name), strict=True))
        for name in names}


def draw_gradients(panels: Sequence[Axes], curves: Mapping[str, tuple[str, Series]]) -> None:
    """Draw both panels.

    Args:
        panels: two axes: for norms, which are drawn logarithmically, and for cosines.
        curves: by the label of the line its colour and what was measured in one of its runs.
    """
    dashes = dashes_of(name for _, series in curves.values() for name, (_, norms, _) in series.items() if norms.any())
    for colour, series in curves.values():
        for name in filter(series.__contains__, dashes):  # others do not reach the student
            iterations, norms, cosines = series[name]
            look = {'color': colour, 'linewidth': 1, 'linestyle': dashes[name]}
            panels[0].plot(iterations, np.where(norms > 0, norms, np.nan), **look)
            if name != REFERENCE:
                panels[1].plot(iterations, cosines, **look)
    log_scale(panels[0])
    panels[0].set_ylabel('norm of the gradient at the student')
    panels[1].axhline(0, color='0.45', linewidth=0.8, zorder=1)
    panels[1].set_ylim(-1, 1)
    panels[1].set_ylabel(f'its cosine with that of {REFERENCE}')
    explain_dashes(panels[0], dashes)
