"""What each loss of a step asks of the student: its gradient, beside that of the pixel loss."""
from typing import NamedTuple

import torch

from .compiling import eagerly
from .gradients import Gradients

REFERENCE = 'l_pix'


class LossGradient(NamedTuple):
    """The gradient of one loss at the student's weights, all of them together."""
    norm: float
    """L2 norm."""
    cosine: float
    """With the gradient of the pixel loss, -1 to 1; NaN without one, or where either is 0."""


def loss_gradients(gradients: Gradients, lq: torch.Tensor, gt: torch.Tensor, iteration: int) -> dict[str, LossGradient]:
    """The gradient of each loss at the student, from a pass of its own; weights and ``.grad`` stay as they are.

    Losses are weighted as in the step, so that the norms say which of them decides where the student goes.

    Args:
        gradients: of the training.
        lq: (N, 3, H, W) in [0, 1], on the device: this process's part of the batch.
        gt: (N, 3, upscale * H, upscale * W) in [0, 1], on the device.
        iteration: of the training; masks and routes are those of its step.

    Returns:
        By the name of the loss; those that take no part in this iteration are left out.
    """
    distiller = gradients.distiller
    weights = [weight for weight in distiller.student.parameters() if weight.requires_grad]
    statistics = [(buffer, buffer.clone()) for buffer in distiller.buffers()]
    total: dict[str, torch.Tensor] = {}
    with eagerly():
        for part in gradients.passes(lq, gt, iteration):
            for name, loss in gradients.losses_of(*part).items():
                total[name] = total.get(name, 0) + _gradient(loss, weights)
    with torch.no_grad():
        for buffer, value in statistics:
            buffer.copy_(value)
    reference = total.get(REFERENCE)
    return {name: LossGradient(vector.norm().item(), _cosine(vector, reference)) for name, vector in total.items()}


def _gradient(loss: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """Gradient of a loss at all weights, flat, float64; the graph stays for the other losses."""
    found = [torch.zeros_like(weight) for weight in weights]
    if loss.requires_grad:
        found = torch.autograd.grad(loss, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
    return torch.cat([part.double().flatten() for part in found])


def _cosine(a: torch.Tensor, b: torch.Tensor | None) -> float:
    if b is None or not (length := a.norm() * b.norm()) > 0:
        return float('nan')
    return (a @ b / length).item()
