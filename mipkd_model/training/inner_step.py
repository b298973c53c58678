"""Inner steps: what losses do in an iteration to train weights of their own otherwise than by their value."""
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from mipkd_arch.prior_mixer import TEACHER

from ..base.randomness import StepRandom
from ..losses import DistillStep
from .compiling import eagerly
from .distiller import Distiller
from .precision import autocast, float32_products


def run_inner_steps(distiller: Distiller, lq: torch.Tensor, gt: torch.Tensor, rng: StepRandom, iteration: int,
                    precision: str) -> None:
    """Run the inner steps that are due, each of which sets the gradients of its loss's own weights.

    They run uncompiled and in float32, whatever ``precision`` the training has, with attention that can be
    differentiated twice; the teacher's features are those of its precision. Arguments are as for
    ``Distiller.forward``; iteration 0 has all inner steps.
    """
    losses = distiller.inner_losses(iteration)
    if not losses:
        return
    with autocast(precision, lq.device):
        passes = {TEACHER: distiller.teacher_forward(distiller.pad(lq))}
    step = DistillStep(lq, gt, distiller.views, passes, [], rng)
    with eagerly(), sdpa_kernel(SDPBackend.MATH), float32_products('fp32', lq.device):
        for name, loss in losses.items():
            loss.inner_step(step, distiller.factors[name])
