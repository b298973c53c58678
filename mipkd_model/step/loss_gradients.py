"""What each loss of a step asks of the student: its gradient, beside that of the pixel loss."""
from typing import NamedTuple

import torch

from .compiling import eagerly
from .gradients import Gradients
from .precision import autocast

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
    total: dict[str, list[torch.Tensor]] = {}
    distiller.set_iteration(iteration)
    devices = [gradients.device] if gradients.device.type == 'cuda' else []
    with torch.random.fork_rng(devices=devices), eagerly():
        for index, part in enumerate(zip(lq.chunk(gradients.parts), gt.chunk(gradients.parts), strict=True)):
            with autocast(gradients.precision, gradients.device):
                losses = distiller(*part, gradients.draws(iteration, index))
            for name, loss in losses.items():
                found = [torch.zeros_like(weight) for weight in weights]
                if loss.requires_grad:
                    found = torch.autograd.grad(loss / gradients.parts, weights, retain_graph=True,
                                                allow_unused=True, materialize_grads=True)
                before = total.get(name)
                total[name] = list(found) if before is None else [a + b for a, b in zip(before, found, strict=True)]
    with torch.no_grad():
        for buffer, value in statistics:
            buffer.copy_(value)
    flat = {name: torch.cat([part.double().flatten() for part in parts]) for name, parts in total.items()}
    reference = flat.get(REFERENCE)
    return {name: LossGradient(vector.norm().item(), _cosine(vector, reference)) for name, vector in flat.items()}


def _cosine(a: torch.Tensor, b: torch.Tensor | None) -> float:
    if b is None or not (length := a.norm() * b.norm()) > 0:
        return float('nan')
    return (a @ b / length).item()
