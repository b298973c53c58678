"""The gradient of each loss at the student, compared with that of the pixel loss, and the log of it."""
import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from basicsr.utils import get_root_logger

from ..base.files import atomic_write
from .compiling import eagerly
from .precision import autocast
from .step import TrainingStep

NAME = 'gradients.csv'
COLUMNS = ('iteration', 'loss', 'norm', 'cosine')
REFERENCE = 'l_pix'


class LossGradient(NamedTuple):
    """The gradient of one loss at all of the student's weights together."""
    norm: float
    """L2 norm."""
    cosine: float
    """With the gradient of the pixel loss, -1 to 1; NaN without one, or where either is 0."""


def loss_gradients(step: TrainingStep, lq: torch.Tensor, gt: torch.Tensor, iteration: int) -> dict[str, LossGradient]:
    """The gradient of each loss of an iteration at the student, by its name, from a forward pass of its own.

    Weights, ``.grad`` and statistics of batch norms stay as they are. Losses are weighted as in the step; arguments
    are as for ``TrainingStep``.
    """
    distiller = step.distiller
    distiller.set_iteration(iteration)
    weights = [weight for weight in distiller.student.parameters() if weight.requires_grad]
    buffers = [(buffer, buffer.clone()) for buffer in distiller.buffers()]
    total: dict[str, torch.Tensor] = {}
    with eagerly():
        for part in step.parts(lq, gt, iteration):
            with autocast(step.precision, step.device):
                losses = distiller(*part)
            for name in list(losses):
                gradient = _gradient(losses[name] / step.accumulate, weights)
                total[name] = total[name] + gradient if name in total else gradient
    with torch.no_grad():
        for buffer, value in buffers:
            buffer.copy_(value)
    reference = total.get(REFERENCE)
    return {name: LossGradient(vector.norm().item(), _cosine(vector, reference)) for name, vector in total.items()}


def _gradient(loss: torch.Tensor, weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Gradient of a loss at all weights, flat, float64; the graph stays for the other losses."""
    if not loss.requires_grad:
        return torch.zeros(sum(weight.numel() for weight in weights), dtype=torch.float64, device=loss.device)
    found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
    return torch.cat([part.double().flatten() for part in found])


def _cosine(a: torch.Tensor, b: torch.Tensor | None) -> float:
    if b is None or not (length := a.norm() * b.norm()) > 0:
        return math.nan
    return (a @ b / length).item()


def write_gradients(folder: str | Path, iteration: int, found: Mapping[str, LossGradient]) -> None:
    """Add an iteration to ``gradients.csv`` of a run's folder and to its log; a resumed run replaces later ones."""
    rows = [row for row in read_gradients(folder) if row[0] < iteration]
    rows += [(iteration, name, gradient.norm, gradient.cosine) for name, gradient in found.items()]
    with atomic_write(Path(folder, NAME)) as temporary, temporary.open('w', newline='', encoding='utf-8') as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows((number, name, f'{norm:.6g}', f'{cosine:.4f}') for number, name, norm, cosine in rows)
    parts = [f'{name} {gradient.norm:.2e}, cosine {gradient.cosine:+.2f}' for name, gradient in found.items()]
    get_root_logger().info(f'Gradients at the student, iter {iteration:,}: {"; ".join(parts)}')


def read_gradients(folder: str | Path) -> list[tuple[int, str, float, float]]:
    """Rows of a run's ``gradients.csv``: iteration, name of the loss, norm, cosine; none where there is no file."""
    file = Path(folder, NAME)
    if not file.is_file():
        return []
    with file.open(newline='', encoding='utf-8') as stream:
        return [(int(row['iteration']), row['loss'], float(row['norm']), float(row['cosine']))
                for row in csv.DictReader(stream)]
