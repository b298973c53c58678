"""Steps whose losses or gradients are not finite: left out, counted, and named in the log.

A step is looked at where it was computed. On a GPU nothing waits for that: the optimizer is told by a flag on the
device, and the counts are read when the loop logs and before it saves, so that is when a run stops, too.
"""
import torch

from mipkd_arch.base.errors import UserError

from basicsr.utils import get_root_logger

from ..run.states import states_in

IN_A_ROW = 10  # steps left out one after the other that stop a run: it does not find back
TOLD = 3  # of the first steps left out each has a line of its own; later ones share the line of their interval
LISTED = 4
SKIPPED, ROW, LONGEST, LAST, NAMED = range(5)  # places among the counts; from NAMED on are losses, then weights


class Health:
    """Watches the steps of a training, and what is saved of it.

    A step is left out where a loss is not finite, or the norm of all gradients together, which a gradient that is not
    finite makes so. Weights, optimizer and average are then what they were before it.

    Args:
        distiller (Distiller): what is trained, bare.
        average (nn.Module | None): the student's moving average.
        options (StepOptions): ``nonfinite`` is 'skip', which goes on until ``IN_A_ROW`` steps were left out one after
            the other, or 'stop', which stops at the first; messages depend on ``precision`` and ``grad_clip``.
        device (torch.device): of the training.
        folder (str | None): where training states are saved, for messages.

    Attributes:
        at_once (bool): each step's finding is read before the next, as on a CPU, where it costs nothing.
        skipped (int): steps left out, as far as they have been read.
    """

    def __init__(self, distiller, average, options, device, folder=None):
        self.parts = {'net_g': distiller.student, **distiller.parts}
        self.average, self.options, self.folder = average, options, folder
        self.weights = {f'{label}.{name}': weight for label, part in self.parts.items()
                        for name, weight in part.named_parameters() if weight.requires_grad}
        self.at_once = device.type == 'cpu'
        self.nothing = torch.zeros((), device=device)
        self.losses, self.skipped, self._told = [], 0, 0
        self._read, self._counts = [0] * NAMED, torch.zeros(NAMED, dtype=torch.long, device=device)

    def _name(self, losses):
        """Begin to count by these names of losses."""
        named = self._counts.new_zeros(len(losses) + len(self.weights))
        self.losses, self._counts = losses, torch.cat([self._counts[:NAMED], named])
        self._read = [*self._read[:NAMED], *[0] * len(named)]

    @property
    def row(self):
        """Steps left out one after the other until now, int; a resumed run goes on to count them."""
        return int(self._counts[ROW])

    @row.setter
    def row(self, number):
        self._counts[ROW] = number

    # ---------------------------------------------------------------- in a step

    @torch.no_grad()
    def look(self, losses, iteration):
        """Look at what a step's forward and backward gave.

        Args:
            losses (dict[str, Tensor]): scalars by name.
            iteration (int): of the training.

        Returns:
            Tensor: 0-dim, the L2 norm of all gradients together.
        """
        if list(losses) != self.losses:
            self.report()
            self._name(list(losses))
        gradients = [weight.grad for weight in self.weights.values()]
        found = iter(torch._foreach_norm([gradient for gradient in gradients if gradient is not None]))
        norms = torch.stack([self.nothing if gradient is None else next(found) for gradient in gradients])
        self.norm = torch.linalg.vector_norm(norms)
        wrong = ~torch.stack(list(losses.values())).isfinite()
        by_loss = wrong.any()
        by_gradient = ~by_loss & ~self.norm.isfinite()
        self.flag = by_loss | by_gradient
        # The first that is not finite; where only the squares overflow, the largest.
        first = norms.nan_to_num(nan=float('inf'), posinf=float('inf')).argmax()
        self._counts[SKIPPED] += self.flag
        self._counts[ROW].add_(1).mul_(self.flag)
        self._counts[LONGEST].copy_(self._counts[ROW:LONGEST + 1].max())
        self._counts[LAST].mul_(~self.flag).add_(self.flag * iteration)
        self._counts[NAMED:NAMED + len(losses)] += wrong
        self._counts[NAMED + len(losses):].index_add_(0, first[None], by_gradient[None].long())
        return self.norm

    @torch.no_grad()
    def clip(self, limit):
        """Scale all gradients down where their norm, which ``look`` has measured, is above a limit."""
        gradients = [weight.grad for weight in self.weights.values() if weight.grad is not None]
        torch._foreach_mul_(gradients, (limit / (self.norm + 1e-6)).clamp(max=1))

    def step(self, optimizer):
        """Let the optimizer step, unless the step is left out.

        PyTorch's fused optimizers leave it out by a flag on the device. For all others it has to be read first, which
        makes the host wait for the GPU in each step.

        Returns:
            bool | Tensor: whether it was left out; a 0-dim bool on the device where it is not read.

        Raises:
            UserError: the run stops here.
        """
        if self.at_once or not leaves_out_on_device(optimizer):
            skipped = bool(self.flag)
            if not skipped:
                optimizer.step()
            elif self.at_once and (self._told < TOLD or self.options.nonfinite == 'stop'
                                   or self._counts[ROW] >= IN_A_ROW):
                self.report()
            return skipped
        optimizer.found_inf = self.flag.float()
        try:
            optimizer.step()
        finally:
            del optimizer.found_inf
        return self.flag

    # ---------------------------------------------------------------- now and then

    def report(self):
        """Read the counts; log the steps that were left out since they were last read.

        Returns:
            int: steps left out since this process started.

        Raises:
            UserError: there were too many, or one and ``train.nonfinite`` is 'stop'. Weights are as before them.
        """
        counts = self._counts.tolist()
        before, self._read = self._read, counts
        number = counts[SKIPPED] - before[SKIPPED]
        if number:
            names = [*self.losses, *(f'the gradient of {name}' for name in self.weights)]
            new = [(name, now - then) for name, now, then in zip(names, counts[NAMED:], before[NAMED:], strict=True)
                   if now > then]
            what = ', '.join(name if count == number else f'{name} ({count}x)' for name, count in new[:LISTED])
            what += ', ...' if len(new) > LISTED else ''
            self.skipped, self._told = self.skipped + number, self._told + 1
            if self.options.nonfinite == 'stop':
                self._stop(f'train.nonfinite: stop: in iteration {counts[LAST]:,} not finite: {what}', counts[LAST])
            if counts[LONGEST] >= IN_A_ROW:
                self._stop(f'iteration {counts[LAST]:,}: {counts[LONGEST]} steps in a row not finite: {what}',
                           counts[LAST] - counts[LONGEST] + 1)
            steps = 'a step was' if number == 1 else f'{number} steps were'
            get_root_logger().warning(f'{steps} left out, the last in iteration {counts[LAST]:,}: not finite: {what}. '
                                      'Weights and optimizer are as before.')
        return self.skipped

    def check_saving(self, iteration):
        """Check, before it is saved, that nothing is broken; a save would push good states out.

        Args:
            iteration (int): of the training, for messages; -1 stands for its end.

        Raises:
            UserError: weights or buffers are not finite, or the run stops as in ``report``.
        """
        self.report()
        if name := self._broken():
            at = 'at the end' if iteration == -1 else f'iteration {iteration:,}'
            self._stop(f'{at}: {name} is not finite, and nothing is saved')

    def _broken(self):
        """Name of the first weight or buffer that is not finite, or None."""
        modules = {**self.parts, **({} if self.average is None else {'net_g_ema': self.average})}
        values = {f'{label}.{name}': value for label, module in modules.items()
                  for name, value in module.state_dict().items() if value.is_floating_point() and value.numel()}
        finite = torch.stack([norm.float() for norm in torch._foreach_norm(list(values.values()), float('inf'))])
        return next((name for name, good in zip(values, finite.isfinite().tolist(), strict=True) if not good), None)

    def _stop(self, reason, first=float('inf')):
        """Raise, with the newest state from before the iteration that was the first with trouble."""
        broken = self._broken()
        if broken and broken not in reason:
            reason += f'; {broken} is not finite any more'
        states = states_in(self.folder) if self.folder else {}
        state = next((file for iteration, file in states.items() if iteration < first), None)
        remedies = []
        if self.options.precision != 'fp32':
            remedies.append('go on from it with train.precision: fp32' if state else 'take train.precision: fp32')
        remedies.append('lower train.optim_g.lr' + (' or set train.grad_clip' if self.options.grad_clip is None else '')
                        + ' in another run' + (", which may begin from that iteration's net_g" if state else ''))
        state = f'the newest state from before is {state}' if state else 'there is no state from before'
        raise UserError(f'{reason}; {state}; {", ".join(remedies)}, or look at data and teacher')


def leaves_out_on_device(optimizer):
    """Whether an optimizer can leave its next step out by ``found_inf``, without the host knowing.

    Fused ones can. SGD's first step with momentum leaves memory behind that nothing was written to.
    """
    if not getattr(optimizer, '_step_supports_amp_scaling', False):
        return False
    return not isinstance(optimizer, torch.optim.SGD) or all(
        optimizer.state.get(weight, {}).get('momentum_buffer') is not None
        for group in optimizer.param_groups if group['momentum'] for weight in group['params']
        if weight.grad is not None)
