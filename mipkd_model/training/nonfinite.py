"""Steps whose losses or gradients are not finite: skipped, counted, and named in the log."""
import math
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import torch
from torch import nn

from mipkd_arch.base.errors import UserError

from basicsr.utils import get_root_logger

from .optimizer import skips_on_device

MAX_CONSECUTIVE = 10
"""Skipped steps one after the other that stop a run: it does not recover."""
SKIPPED, CONSECUTIVE, LONGEST, LAST = range(4)  # places among the counts


class NonFiniteGuard:
    """Skips steps that are not finite, so that weights, optimizer and average stay as they were before.

    A step is skipped where a loss, or the norm of all gradients together, is not finite. On a CPU each check is read
    at once. On a GPU nothing waits for it: the optimizer gets a flag on the device, and the counts are read when the
    loop logs and before it saves, so that is when a run stops, too.

    Args:
        trained: modules by their names in a training state.
        saved: the same, and the student's moving average where there is one.
        stop: whether the first skipped step ends the run, not only ``MAX_CONSECUTIVE`` one after the other.
        device: of the training.
        newest_state: gives the newest training state before an iteration, or None, for messages.
    """

    def __init__(self, trained: dict[str, nn.Module], saved: dict[str, nn.Module], stop: bool, device: torch.device,
                 newest_state: Callable[[float], Path | None] = lambda before: None) -> None:
        self.weights = {f'{label}.{name}': weight for label, part in trained.items()
                        for name, weight in part.named_parameters() if weight.requires_grad}
        self.modules, self.stop, self.newest_state = saved, stop, newest_state
        self.synchronous = device.type == 'cpu'
        self.skipped = 0
        self.zero = torch.zeros((), device=device)
        self.counts = torch.zeros(LAST + 1, dtype=torch.long, device=device)
        self.names: list[str] = []
        self.values = self.zero  # losses and norms of gradients of the last skipped step

    @property
    def consecutive(self) -> int:
        """Steps skipped one after the other until now; a resumed run continues the count."""
        return int(self.counts[CONSECUTIVE])

    @consecutive.setter
    def consecutive(self, number: int) -> None:
        self.counts[CONSECUTIVE] = number

    @torch.no_grad()
    def check(self, losses: dict[str, torch.Tensor], iteration: int) -> torch.Tensor:
        """Check the scalar losses of a step, by name, and all gradients; returns the 0-dim L2 norm of the latter."""
        gradients = [weight.grad for weight in self.weights.values()]
        found = iter(torch._foreach_norm([gradient for gradient in gradients if gradient is not None]))
        norms = torch.stack([self.zero if gradient is None else next(found) for gradient in gradients])
        norm = torch.linalg.vector_norm(norms)
        values = torch.cat([torch.stack(list(losses.values())), norms])
        self.flag = ~(values[:len(losses)].isfinite().all() & norm.isfinite())
        if self.names != list(losses):
            self.report()  # under the names that it was skipped with
            self.names, self.values = list(losses), values
        self.values = torch.where(self.flag, values, self.values)
        self.counts[SKIPPED] += self.flag
        self.counts[CONSECUTIVE].add_(1).mul_(self.flag)
        self.counts[LONGEST].copy_(self.counts[CONSECUTIVE:LONGEST + 1].max())
        self.counts[LAST].mul_(~self.flag).add_(self.flag * iteration)
        return norm

    def step(self, optimizer: torch.optim.Optimizer) -> bool | torch.Tensor:
        """Let the optimizer step, unless the step is skipped; a UserError where the run stops.

        Returns whether it was skipped; a 0-dim bool tensor on the device where that is not read.
        """
        if not self.synchronous and skips_on_device(optimizer):
            optimizer.found_inf = self.flag.float()  # type: ignore[attr-defined]
            optimizer.step()
            del optimizer.found_inf  # type: ignore[attr-defined]
            return self.flag
        skipped = bool(self.flag)
        if not skipped:
            optimizer.step()
        elif self.synchronous:
            self.report()
        return skipped

    def report(self) -> int:
        """Log the steps skipped since the last report; returns how many were skipped since the process started.

        Raises a UserError where there were too many, or one and ``train.nonfinite`` is 'stop'.
        """
        number, _, longest, last = self.counts.tolist()
        if not number:
            return self.skipped
        self.counts[SKIPPED] = 0
        self.skipped += number
        what = self._causes()
        if self.stop:
            self._stop(f'train.nonfinite: stop: in iteration {last:,} not finite: {what}', last)
        if longest >= MAX_CONSECUTIVE:
            self._stop(f'iteration {last:,}: {longest} steps in a row not finite: {what}', last - longest + 1)
        get_root_logger().warning(f'Skipped steps: {number}, the last in iteration {last:,}: not finite: {what}. '
                                  'Weights and optimizer are as before.')
        return self.skipped

    def _causes(self) -> str:
        """What was not finite in the last skipped step: losses, or else a gradient."""
        values = [math.inf if math.isnan(value) else value for value in self.values.tolist()]
        losses = [name for name, value in zip(self.names, values, strict=False) if not math.isfinite(value)]
        if losses:
            return ', '.join(losses)
        norms = values[len(self.names):]
        # The first that is not finite; where only the squares overflow, the largest.
        return f'the gradient of {list(self.weights)[norms.index(max(norms))]}'

    def check_weights(self, iteration: int) -> None:
        """Raise a UserError before a save where weights are not finite; ``iteration`` -1 is the end of the run."""
        self.report()
        at = 'at the end' if iteration == -1 else f'iteration {iteration:,}'
        for label, module in self.modules.items():
            for name, value in module.state_dict().items():
                if not value.isfinite().all():
                    self._stop(f'{at}: {label}.{name} is not finite, and nothing is saved')

    def _stop(self, reason: str, first: float = float('inf')) -> NoReturn:
        """End the run, naming the newest state before ``first``, the first iteration that was not finite."""
        raise UserError(f'{reason}; the newest state before it is {self.newest_state(first) or "none"}; in another run '
                        'lower train.optim_g.lr, set train.grad_clip or train.precision: fp32, or check the data and '
                        'the teacher')
