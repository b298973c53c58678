"""What a training leaves on disk while it runs, and how it goes on from there."""
import signal
from contextlib import contextmanager
from os import path as osp
from types import SimpleNamespace

from mipkd_arch.base.errors import UserError, reason_of, shown
from mipkd_arch.base.network_record import network_record

from basicsr.data import build_dataset
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only

from ..base.weights import plain_state_dict, save_atomically
from ..distributed.process_group import agree
from ..evaluation.provenance import write_run
from ..training.optimizer import adopt_layout, check_entries
from .signals import Stopped, asked_to_stop
from .states import states_in, write_state

KEEP_STATES = 3
"""Where ``logger.keep_states`` does not say how many."""
MISFITS = (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError)
MOVING_RATES = {'params': list, 'lr': float, 'initial_lr': float}
MOVING_COUNTS = {'last_epoch': int, '_step_count': int, '_last_lr': list, 'base_lrs': list}
"""What a group of an optimizer, and a schedule, have that is not an option."""


def keep_options(saved, own, moving):
    """Replace all that are options in what was saved by those of this run.

    Args:
        saved, own (list[dict]): the same of a state and of this run.
        moving (dict[str, type]): what is taken from the state, by name.

    Raises:
        ValueError: there are more or fewer, or what is taken is not a number at least 0, or not a list of such.
    """
    for theirs, ours in zip(saved, own, strict=True):
        theirs.update({name: value for name, value in ours.items() if name not in moving})
        for name in moving.keys() & ours.keys():
            values = theirs[name] if moving[name] is list else [theirs[name]]
            if not all(type(value) in (int, float) and 0 <= value < float('inf') for value in values):
                raise ValueError(f'{name} is {shown(theirs[name])}')


class SavedTraining:
    """The part of ``MiPKDModel`` that saves and resumes, and stops when a signal asks for it.

    Checkpoints (``net_g``) are for whoever uses the student. A state has all that a resumed run needs. Where an
    iteration is saved and then validated, its state is written before, since validations take long and may fail, and
    again after, with the best figures; a run that was killed in between begins with that validation.

    Attributes:
        iteration (int): the last one that was made.
        validated (bool): what validation that iteration is to have, it has had.
        saved (tuple[int, bool] | None): both, of the last state that was written or taken up.
        identity (dict): of the run, as ``run.identity`` gives it; set by the model before it is built.
    """
    iteration, validated, saved = 0, True, None

    def update_learning_rate(self, current_iter, warmup_iter=-1):
        """Begin an iteration: what is left to do for the one before it, then its learning rate."""
        self._finish_iteration()
        if agree(asked_to_stop() is not None):
            self._stop()
        super().update_learning_rate(current_iter, warmup_iter)

    def _finish_iteration(self):
        """Write a state again that was written before the validation, which a resumed run makes up for."""
        if self.validated or self.saved is None:
            return
        if self.resumed_at == self.iteration:
            for phase, block in self.opt['datasets'].items():
                if phase.split('_')[0] == 'val' and self._is_validated(self.iteration):
                    loader = SimpleNamespace(dataset=build_dataset(block))
                    self.validation(loader, self.iteration, None, self.opt['val']['save_img'])
        self.validated = True
        self._write_state()

    def _is_validated(self, iteration):
        freq = (self.opt.get('val') or {}).get('val_freq')
        return bool(freq) and iteration % freq == 0

    # ---------------------------------------------------------------- save

    def save(self, epoch, current_iter):
        """Save state and student; ``current_iter`` -1 is the end of the run.

        Raises:
            UserError: weights are not finite, which would push good states out; or a file cannot be written.
        """
        self.health.check_saving(current_iter)
        self.save_training_state(epoch, current_iter)
        average = [self.net_g_ema] if self.ema_decay > 0 else []
        self.save_network([self.net_g, *average], 'net_g', current_iter, ['params', 'params_ema'][:1 + len(average)])
        if current_iter == -1 and agree(asked_to_stop() is not None):
            self._stop()

    @master_only
    def save_network(self, net, net_label, current_iter, param_key='params'):
        """As BasicSR's, but complete or not at all: a failed save raises, and leaves an older file as it was."""
        nets, keys = ([x] if not isinstance(x, list) else x for x in (net, param_key))
        content = {key: plain_state_dict(self.get_bare_model(net_)) for net_, key in zip(nets, keys, strict=True)}
        content.update(network_record(self.opt['network_g'], self.opt['scale']))
        label = 'latest' if current_iter == -1 else current_iter
        with self._last_state_named():
            save_atomically(content, osp.join(self.opt['path']['models'], f'{net_label}_{label}.pth'))

    def save_training_state(self, epoch, current_iter):
        """Save what ``resume_training`` needs; ``current_iter`` -1 is the end of the run."""
        if current_iter == -1:
            self._finish_iteration()
        else:
            self.validated = not self._is_validated(current_iter)
        self._write_state()

    def _write_state(self):
        if self.saved == (self.iteration, self.validated):
            return
        if self.opt['rank'] == 0:
            with self._last_state_named():
                write_state(self.training_state(), self.opt['path']['training_states'],
                            self.opt['logger'].get('keep_states', KEEP_STATES))
        self.saved = self.iteration, self.validated

    @contextmanager
    def _last_state_named(self):
        try:
            yield
        except UserError as error:
            last = next(iter(states_in(self.opt['path'].get('training_states', '')).values()), None)
            kept = f'the newest state is {last}' if last else 'there is no state'
            raise UserError(f'{error} The run stops at iteration {self.iteration}; {kept}') from None

    @property
    def _saved_parts(self):
        average = {'net_g_ema': self.net_g_ema} if self.ema_decay > 0 else {}
        return {'net_g': self.net_g, **average, **self.get_bare_model(self.distiller).parts}

    def training_state(self):
        """All that decides how the run goes on: plain data, and tensors."""
        return {'epoch': 0, 'iter': self.iteration,  # all iterations are one epoch to the loop
                'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
                'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
                'weights': {label: plain_state_dict(part) for label, part in self._saved_parts.items()},
                'best': getattr(self, 'best_metric_results', {}), 'validated': self.validated,
                'row': self.health.row, 'teacher_scores': self.validator.teacher_scores,
                'samples': self.opt.get('samples'),
                'identity': self.identity, **network_record(self.opt['network_g'], self.opt['scale'])}

    def describe_run(self):
        """Write ``run.json``, for the evaluations of the weights."""
        if self.opt['rank'] == 0 and 'log' in self.opt['path']:
            write_run(self.opt, self.device, self.net_t is not None, self.identity, self.validator.teacher_scores)

    # ---------------------------------------------------------------- resume, stop

    resumed_at = None

    def resume_training(self, resume_state):
        """Take up what ``training_state`` gave.

        Raises:
            UserError: it does not fit this run.
        """
        try:
            self._take_up(resume_state)
        except MISFITS as error:
            raise UserError(f'{self.opt["path"]["resume_state"]}: does not fit this run ({reason_of(error)}); take an '
                            'older state, or begin another run from its weights: path.pretrain_network_g') from None
        self.describe_run()

    def _take_up(self, state):
        # What the option file says stays as it says, which the identity has found to be the same.
        for saved, optimizer in zip(state['optimizers'], self.optimizers, strict=True):
            keep_options(saved['param_groups'], optimizer.param_groups, MOVING_RATES)
        keep_options(state['schedulers'], [scheduler.state_dict() for scheduler in self.schedulers], MOVING_COUNTS)
        super().resume_training(state)
        check_entries(self.optimizer_g, self.opt['train']['optim_g'])
        adopt_layout(self.optimizer_g)
        parts, weights = self._saved_parts, state['weights']
        if parts.keys() != weights.keys():
            raise KeyError(f'it has {", ".join(weights)}; the run has {", ".join(parts)}')
        for label, part in parts.items():
            part.load_state_dict(weights[label])
        self.best_metric_results, self.validator.teacher_scores = state['best'], state['teacher_scores']
        self.health.row = state['row']
        self.iteration = self.resumed_at = state['iter']
        self.validated, self.saved = state['validated'], (state['iter'], state['validated'])
        self.calibrated = True  # the spreads are saved with the mixers

    def _stop(self):
        number = asked_to_stop() or signal.SIGTERM  # it may have been another process that was asked
        if self.iteration and (self.saved is None or self.saved[0] != self.iteration):
            self.save(0, self.iteration)
            self._finish_iteration()
        get_root_logger().warning(f'Stopped after iteration {self.iteration}, which is saved; the same command with '
                                  '--auto_resume goes on from there.' if self.iteration else
                                  'Stopped before the first iteration.')
        raise Stopped(number)
