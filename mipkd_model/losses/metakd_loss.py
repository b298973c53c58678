"""Meta-KD: what is compared of both networks' features is learned from how much it helps the student."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from mipkd_arch.base.arguments import checked
from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.prior_mixer import STUDENT, TEACHER
from mipkd_arch.staged_views import StagedOutput, StagedView, crop_to

from basicsr.utils.registry import LOSS_REGISTRY

from ..distributed.all_reduce import mean_over_ranks
from .base import DistillLoss, DistillStep, LossWeight
from .krnet import EPSILON, KRNet, KRNets

Weights = Mapping[str, torch.Tensor]
"""By their names in a module."""
FIRST, SECOND = slice(0, None, 2), slice(1, None, 2)
"""The halves a and b of a batch; every other sample, so that the batch of several processes has the same halves."""


@LOSS_REGISTRY.register()
@checked('metakd_opt')
class MetaKDLoss(DistillLoss):
    r"""Distance of features by networks that learn what to compare: a reconstruction of Meta-KD (arXiv 2207.08356).

        l_metakd(theta, phi) = loss_weight * sum_k mean w_m^k sqrt( (K_m^k * (x^k - y^k))^2 + 1e-4 )

    with features x = F_S / u_S of the student and y = A F_T / u_T of the teacher, aligned to the student's width by a
    1x1 convolution A; u is the standard deviation of a sample's features, and has a gradient, so that small features
    are no way to a small distance. A small MLP makes of each sample M kernels K of 3x3, zero-mean and of unit norm, and
    weights w in (0, 2) that depend on the correlation (cosine) of x and y at each pixel. Means are over samples,
    kernels, channels and pixels. The weights phi of A and the MLP, the KRNets, get no gradient from this loss, and the
    student none through K and w.

    Every ``every`` iterations the KRNets are trained for the student's reconstruction, on two halves a and b of the
    batch:

        theta' = theta - inner_lr * sqrt(n) * g / ||g||,   g = d/dtheta [ ||S(lq_a) - gt_a||_1 + l_metakd_a ]
        phi <- the optimizer's step along d/dphi ||S_theta'(lq_b) - gt_b||_1

    with n weights theta. docs/metakd.md keeps apart what is published and what is our reading.
    """
    min_batch = 2
    takes_parts = False

    def __init__(self, *, loss_weight: LossWeight = 10.,
                 kernels: Annotated[int, Field(ge=1, le=64, description='Kernels of each sample and position.')] = 4,
                 every: Annotated[int, Field(
                     ge=1, description='Iterations from one step of the KRNets to the next.')] = 10,
                 meta_lr: Annotated[float, Field(
                     ge=0, le=100, description='Learning rate of the KRNets; it falls with the student\'s.')] = 1e-3,
                 inner_lr: Annotated[float, Field(
                     gt=0, le=1, description='Length of the student\'s virtual step: the root mean square of what it '
                                             'changes weights by.')] = 1e-4,
                 second_order: Annotated[bool, Field(
                     description='The exact meta-gradient, by second derivatives; false: by the difference of two '
                                 'first-order gradients, for networks without second derivatives, and for less '
                                 'memory.')] = True) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.kernels = kernels
        self.inner_every = every
        self.lr = meta_lr
        self.inner_lr = inner_lr
        self.second_order = second_order
        self.krnets = KRNets()

    def bind(self, views: Mapping[str, StagedView]) -> None:
        student, teacher = views[STUDENT], views[TEACHER]
        self.krnets.extend(KRNet(student.num_feat, teacher.num_feat, self.kernels)
                           for _ in range(student.num_positions))

    def forward(self, step: DistillStep) -> dict[str, torch.Tensor]:
        fixed = {name: weight.detach() for name, weight in self.krnets.named_parameters()}
        with torch.autocast(step.lq.device.type, enabled=False):
            value = self.distance(fixed, step.student, step.teacher.features)
        return {'l_metakd': self.loss_weight * value}

    def distance(self, phi: Weights, student: StagedOutput, features_t: Sequence[torch.Tensor],
                 references: Sequence[torch.Tensor] | None = None) -> torch.Tensor:
        """The sum over positions by KRNets of weights ``phi``; ``references`` are the student's features otherwise."""
        references = references or [feature.detach() for feature in student.features]
        return functional_call(self.krnets, dict(phi), (student.features, features_t, references))

    def inner_step(self, step: DistillStep, factor: float) -> None:
        """Set the gradients of the KRNets: those of the reconstruction after a virtual step of the student."""
        phi, student = dict(self.krnets.named_parameters()), _VirtualStudent(step)
        theta, features_t = student.weights, [feature[FIRST] for feature in step.teacher.features]
        weight = factor * self.loss_weight

        passed = student.run(theta, FIRST)
        references = [feature.detach() for feature in passed.features]

        def compared(passed: StagedOutput) -> torch.Tensor:
            return weight * self.distance(phi, passed, features_t, references)

        loss = student.reconstruction(passed, FIRST) + compared(passed)
        gradients = torch.autograd.grad(loss, list(theta.values()), create_graph=self.second_order, allow_unused=True,
                                        materialize_grads=True)

        # The virtual step is one function of g, and d(outer)/dphi = d(outer)/dg dg/dphi: of both factors the processes
        # need means alone, and no graph is larger than one pass.
        mean = [gradient.requires_grad_() for gradient in mean_over_ranks(gradients)]
        moved = {name: value.detach() + change for (name, value), change in
                 zip(theta.items(), descent(mean, self.inner_lr), strict=True)}
        outer = student.reconstruction(student.run(moved, SECOND), SECOND)
        vector = mean_over_ranks(torch.autograd.grad(outer, mean))

        found = (exact_product(student, phi, gradients, vector) if self.second_order else
                 difference_product(student, phi, compared, vector))
        for parameter, gradient in zip(phi.values(), found, strict=True):
            parameter.grad = torch.empty_like(parameter).copy_(gradient)  # laid out as fused optimizers read it


class _VirtualStudent(nn.Module):
    """The student of a step, run with other weights than its own."""

    def __init__(self, step: DistillStep) -> None:
        super().__init__()
        self.view, self.step = step.views[STUDENT], step
        self.network = self.view.network
        self.weights: Weights = {name: weight for name, weight in self.named_parameters() if weight.requires_grad}

    def forward(self, lq: torch.Tensor) -> StagedOutput:
        return self.view.forward_features(lq)

    def run(self, weights: Weights, part: slice) -> StagedOutput:
        """A pass of a part of the batch. Each pass drops the same paths, and changes no statistics."""
        lq = self.step.teacher.lq  # padded
        assert lq is not None
        buffers = {name: buffer.clone() for name, buffer in self.named_buffers()}
        with torch.random.fork_rng([lq.device] if lq.device.type == 'cuda' else []):
            return functional_call(self, {**buffers, **weights}, (lq[part], ))

    def reconstruction(self, passed: StagedOutput, part: slice) -> torch.Tensor:
        """L1 between the image of a pass and the ground truth."""
        return F.l1_loss(crop_to(passed.output, self.step.lq, self.view.upscale), self.step.gt[part])


def exact_product(student: _VirtualStudent, phi: Weights, gradients: Sequence[torch.Tensor],
                  vector: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """The product of ``vector`` with the derivatives by phi of the gradients at the student, by second derivatives.

    Raises:
        UserError: the student has none.
    """
    product = sum((gradient * part).sum() for gradient, part in zip(gradients, vector, strict=True))
    assert isinstance(product, torch.Tensor)
    try:
        return torch.autograd.grad(product, list(phi.values()))
    except RuntimeError as error:
        if not any(word in str(error) for word in ('derivative', 'differentiate')):
            raise
        raise UserError(f'train.metakd_opt.second_order: true, but {type(student.network).__name__} cannot be '
                        f'differentiated twice ({reason_of(error)}); set second_order: false') from None


def difference_product(student: _VirtualStudent, phi: Weights, compared: Callable[[StagedOutput], torch.Tensor],
                       vector: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same by a central difference of first derivatives.

    Derivatives by theta and phi may change places, so it is the derivative along ``vector`` of the gradient at phi of
    what is ``compared`` of a pass. The cube root of the number format's precision balances the difference's own error
    and roundings; ``EPSILON`` is the length on which the distance bends.
    """
    theta = [value.detach() for value in student.weights.values()]
    step = EPSILON * torch.finfo(theta[0].dtype).eps**(1 / 3) * norm_of(theta) / norm_of(vector)
    ends = []
    for sign in (1, -1):
        there = {name: value + sign * step * part
                 for name, value, part in zip(student.weights, theta, vector, strict=True)}
        ends.append(torch.autograd.grad(compared(student.run(there, FIRST)), list(phi.values())))
    return [(up - down) / (2 * step) for up, down in zip(*ends, strict=True)]


def descent(gradients: Sequence[torch.Tensor], length: float) -> list[torch.Tensor]:
    """Steps against gradients, all together of the root mean square ``length``.

    Adam's steps are about as long, with ``length`` its learning rate, whatever range a network works in.
    """
    count = sum(gradient.numel() for gradient in gradients)
    return [-length * count**0.5 / norm_of(gradients) * gradient for gradient in gradients]


def norm_of(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """L2 norm of all elements of tensors together: 0-dim, above 0."""
    norms = torch.stack([torch.linalg.vector_norm(tensor) for tensor in tensors])
    return torch.linalg.vector_norm(norms).clamp(min=torch.finfo(norms.dtype).eps)
