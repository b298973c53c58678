"""Which state a training resumes from, and whether it is one of this run."""
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mipkd_arch.base.checkpoint import read_checkpoint
from mipkd_arch.base.errors import UserError, shown

from basicsr.utils import check_resume, set_random_seed

from ..training.identity import differences, identity
from .schedules import unseen_changes
from .states import newest_before, newest_state, read_state


def resume_from_state(opt: dict[str, Any]) -> None:
    """Find the state that a run resumes from, and set ``path.resume_state`` and ``start_iter``; without one, nothing.

    Only the state is read on resuming, so ``path.pretrain_network_g`` becomes null. A run that was given no
    ``manual_seed`` has drawn one, which is in its states. BasicSR's own models resume as BasicSR does it.

    Raises:
        UserError: the state cannot be read, or is of a run with other options.
    """
    path, found = opt['path'], None
    if opt['model_type'] != 'MiPKDModel':
        if opt['auto_resume']:
            newest = newest_before(path['training_states'])
            path['resume_state'] = newest and str(newest)
        if path.get('resume_state'):
            opt['start_iter'] = read_any_state(opt)['iter']
            check_resume(opt, opt['start_iter'])
        return
    if opt['auto_resume']:
        found = newest_state(path['training_states'], lambda text: _print(opt, text))
    if found is None and path.get('resume_state'):
        found = path['resume_state'], read_state(path['resume_state'])
    if found is None:
        if opt['auto_resume']:
            _print(opt, f'No state in {path["training_states"]}, starting from the beginning.')
        return
    file, state = found
    if opt.get('seed_drawn') and isinstance(state['identity'].get('manual_seed'), int):
        opt['manual_seed'] = state['identity']['manual_seed']
        set_random_seed(opt['manual_seed'] + opt['rank'])
    check_same_run(opt, state, file)
    path.update(resume_state=str(file), pretrain_network_g=None)
    opt['start_iter'] = state['iter']


def read_any_state(opt: Mapping[str, Any]) -> dict[str, Any]:
    """The state that ``resume_from_state`` has found, of MiPKDModel or of one of BasicSR's models.

    Raises:
        UserError: it cannot be read.
    """
    file = opt['path']['resume_state']
    if opt['model_type'] == 'MiPKDModel':
        return read_state(file)
    state = read_checkpoint(file)
    if not isinstance(state, dict) or not state.keys() >= {'iter', 'optimizers', 'schedulers'}:
        raise UserError(f'{file}: is not a training state of BasicSR')
    return {**state, 'epoch': 0}  # the only one of our order of samples, whatever loop saved the state


def check_same_run(opt: Mapping[str, Any], state: Mapping[str, Any], file: str | Path) -> None:
    """Check that a state is of the run that the options describe, and not beyond its end.

    Raises:
        UserError: names the first option that differs, and both values.
    """
    now, total = identity(opt), opt['train']['total_iter']
    unseen = unseen_changes(state['identity'], now, state['iter']) if state['iter'] <= total else set()
    for path, *values in differences(state['identity'], now):
        if path not in unseen:
            before, given = ('null' if value is None else shown(value) for value in values)
            raise UserError(f'{path}: {given}, but {file} is of a run with {before}. Set it back (the option file is '
                            "in the experiment's folder), or start another run, with another name, from the weights "
                            f'models/net_g_{state["iter"]}.pth by path.pretrain_network_g')
    if state['iter'] > total:
        raise UserError(f'train.total_iter: {total}, but {file} is of iteration {state["iter"]}; '
                        'give a larger number to continue training')


def check_same_samples(expected: Mapping[str, Any] | None, found: Mapping[str, Any], where: str) -> None:
    """Raise a UserError where the training data are not those of the state; ``None`` is not compared."""
    if expected is not None and expected != found:
        raise UserError(f'{where}: holds {found["images"]} images, which are not the {expected["images"]} that the run '
                        'was trained on until now; give it the same data, or start another run')


def _print(opt: Mapping[str, Any], text: str) -> None:
    if opt['rank'] == 0:
        print(f'--auto_resume: {text}', flush=True)
