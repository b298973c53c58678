"""Checkpoints and training states of a run, and how it resumes from them."""
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.base.network_record import network_record

from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only

from ..base.weights import plain_state_dict, save_checkpoint
from ..distributed.process_group import any_rank
from ..evaluation.validation import Validator
from ..training.nonfinite import NonFiniteGuard
from ..training.optimizer import adopt_layout
from . import board
from .signals import Stopped, asked_to_stop
from .states import newest_before, write_state

KEEP_STATES = 3
"""Default of ``logger.keep_states``."""
CHECKPOINT_KEYS = {'net_g': 'params', 'net_g_ema': 'params_ema'}
VALUES = {'params', 'lr', 'initial_lr', 'last_epoch', '_step_count', '_last_lr', 'base_lrs'}
"""What a group of an optimizer, and a schedule, have that is not an option."""


class Saver:
    """Saves a training, resumes it, and stops it when a signal asks for that.

    Checkpoints (``net_g``) are for whoever uses the student. A state has all that a resumed run needs. Where an
    iteration is saved and then validated, its state is written before, since validations take long and may fail, and
    again after, with the best values; a run that ended in between starts with that validation.

    Args:
        networks: what is saved, by name: 'net_g', 'net_g_ema' where there is an average, and ``Distiller.parts``.
        guard: its count of consecutive skipped steps is saved.
        validator: its best values and the teacher's scores are saved.
        identity: of the run, see ``training.identity``.
    """

    def __init__(self, opt: dict[str, Any], networks: dict[str, nn.Module], optimizers: Sequence[Optimizer],
                 schedulers: Sequence[LRScheduler], guard: NonFiniteGuard, validator: Validator,
                 identity: dict[str, Any]) -> None:
        self.opt, self.networks, self.optimizers, self.schedulers = opt, networks, optimizers, schedulers
        self.guard, self.validator, self.identity = guard, validator, identity
        self.iteration = 0  # the last one that was trained
        self.validation_pending = False  # the newest state was written before the validation of its iteration
        self.saved: int | None = None  # iteration of the newest state
        self.resumed_at: int | None = None  # iteration of the state that this process has loaded

    def begin_iteration(self) -> None:
        """Finish the iteration before: write its state again after its validation, and stop where a signal came."""
        self._finish_validation()
        if any_rank(asked_to_stop() is not None):
            self._stop()

    def save(self, iteration: int) -> None:
        """Save state and checkpoint; ``iteration`` -1 is the end of the run.

        Raises a UserError where weights are not finite, or a file cannot be written.
        """
        self.guard.check_weights(iteration)
        if iteration == -1:
            self._finish_validation()
        else:
            frequency = (self.opt.get('val') or {}).get('val_freq') or float('inf')
            self.iteration, self.validation_pending = iteration, iteration % frequency == 0
        if self.saved != self.iteration or iteration != -1:
            self._write_state()
        self.save_checkpoint(iteration)
        if iteration == -1 and any_rank(asked_to_stop() is not None):
            self._stop()

    @master_only
    def save_checkpoint(self, iteration: int) -> None:
        """Write the student, and its average, as ``net_g_<iteration>.pth``, or 'latest' for -1."""
        content = {key: plain_state_dict(self.networks[name]) for name, key in CHECKPOINT_KEYS.items()
                   if name in self.networks}
        content.update(network_record(self.opt['network_g'], self.opt['scale']))
        label = 'latest' if iteration == -1 else iteration
        with self._naming_newest_state():
            save_checkpoint(content, Path(self.opt['path']['models'], f'net_g_{label}.pth'))

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs: plain data, and tensors."""
        return {'epoch': 0, 'iter': self.iteration,  # all iterations are one epoch to the loop
                'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
                'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
                'weights': {name: plain_state_dict(network) for name, network in self.networks.items()},
                'best': self.validator.best, 'validated': not self.validation_pending,
                'consecutive_skips': self.guard.consecutive, 'teacher_scores': self.validator.teacher_scores,
                'samples': self.opt.get('samples'), 'formats': self.opt.get('formats'),
                'identity': self.identity,
                **network_record(self.opt['network_g'], self.opt['scale'])}

    def resume(self, state: dict[str, Any]) -> None:
        """Load what ``state`` gave; a UserError where it does not fit this run."""
        try:
            self._load(state)
        except Exception as error:  # of any part of a state
            raise UserError(f'{self.opt["path"]["resume_state"]}: does not fit this run ({reason_of(error)}); take an '
                            'older state, or start another run from its weights: path.pretrain_network_g') from None

    def _load(self, state: dict[str, Any]) -> None:
        for saved, optimizer in zip(state['optimizers'], self.optimizers, strict=True):
            for group, own in zip(saved['param_groups'], optimizer.param_groups, strict=True):
                _keep_options(group, own)
            optimizer.load_state_dict(saved)
            adopt_layout(optimizer)
        for saved, scheduler in zip(state['schedulers'], self.schedulers, strict=True):
            _keep_options(saved, scheduler.state_dict())
            scheduler.load_state_dict(saved)
        if self.networks.keys() != state['weights'].keys():
            raise KeyError(f'it has {", ".join(state["weights"])}; the run has {", ".join(self.networks)}')
        for name, network in self.networks.items():
            network.load_state_dict(state['weights'][name])
        self.validator.best, self.validator.teacher_scores = state['best'], state['teacher_scores']
        self.guard.consecutive = state['consecutive_skips']
        self.iteration = self.saved = self.resumed_at = state['iter']
        self.validation_pending = not state['validated']

    def _finish_validation(self) -> None:
        if not self.validation_pending:
            return
        if self.resumed_at == self.iteration:  # the process before this one ended in, or before, this validation
            self.validator.validate_all(self.iteration, board.writer())
        self.validation_pending = False
        self._write_state()

    def _write_state(self) -> None:
        if self.opt['rank'] == 0:
            board.flush()
            with self._naming_newest_state():
                write_state(self.state(), self.opt['path']['training_states'],
                            self.opt['logger'].get('keep_states', KEEP_STATES))
        self.saved = self.iteration

    @contextmanager
    def _naming_newest_state(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            newest = newest_before(self.opt['path'].get('training_states')) or 'none'
            raise UserError(f'{error} The run stops at iteration {self.iteration}; the newest state is '
                            f'{newest}') from None

    def _stop(self) -> NoReturn:
        number = asked_to_stop() or signal.SIGTERM  # it may have been another process that was asked
        if self.iteration and self.saved != self.iteration:
            self.save(self.iteration)
            self._finish_validation()
        get_root_logger().warning(f'Stopped after iteration {self.iteration}, which is saved; the same command with '
                                  '--auto_resume resumes from there.')
        raise Stopped(number)


def _keep_options(saved: dict[str, Any], own: dict[str, Any]) -> None:
    """Replace options by those of the option file, which the identity has found to be the same."""
    saved.update({name: value for name, value in own.items() if name not in VALUES})
