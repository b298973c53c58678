"""Where a training goes on: the state, and whether it is one of this run."""
from mipkd_arch.base.checkpoint import read_checkpoint
from mipkd_arch.base.errors import UserError, shown

from basicsr.utils import check_resume, set_random_seed

from ..training.identity import differences, identity
from .schedules import is_of_schedule, same_rates, same_weights
from .states import newest_state, read_state, states_in


def take_up(opt):
    """Find the state that a run goes on from, and set the options for it. Without one nothing is changed.

    Nothing but the state is read on resuming, so ``path.pretrain_network_g`` becomes None. A run that was given no
    ``manual_seed`` has drawn one, which is in its states.

    Args:
        opt (dict): parsed options; ``path.resume_state`` becomes the file, ``start_iter`` the iteration.

    Raises:
        UserError: the state cannot be read, or is of a run with other options.
    """
    path = opt['path']
    if opt['model_type'] != 'MiPKDModel':
        _take_up_basicsrs(opt)
        return
    folder, found = path['training_states'], None
    if opt['auto_resume']:
        found = newest_state(folder, tell=_say(opt))
    if found is None and path.get('resume_state'):
        found = path['resume_state'], read_state(path['resume_state'])
    if found is None:
        if opt['auto_resume']:
            _say(opt)(f'No state in {folder}, starting from the beginning.')
        return
    file, state = found
    if opt.get('seed_drawn') and isinstance(state['identity'].get('manual_seed'), int):
        opt['manual_seed'] = state['identity']['manual_seed']
        set_random_seed(opt['manual_seed'] + opt['rank'])
    check_same_run(opt, state, file)
    path.update(resume_state=str(file), pretrain_network_g=None)
    opt['start_iter'] = state['iter']


def _take_up_basicsrs(opt):
    """As BasicSR's ``load_resume_state`` finds the states of its own models, which are not sealed."""
    path = opt['path']
    if opt['auto_resume']:
        path['resume_state'] = next(map(str, states_in(path['training_states']).values()), None)
    if path.get('resume_state'):
        opt['start_iter'] = read_any_state(opt)['iter']
        check_resume(opt, opt['start_iter'])


def read_any_state(opt):
    """The state that ``take_up`` has found, of MiPKDModel or of one of BasicSR's models.

    Raises:
        UserError: it cannot be read.
    """
    file = opt['path']['resume_state']
    if opt['model_type'] == 'MiPKDModel':
        return read_state(file)
    state = read_checkpoint(file)
    if not isinstance(state, dict) or not state.keys() >= {'iter', 'optimizers', 'schedulers'}:
        raise UserError(f'{file}: is no training state of BasicSR')
    return {**state, 'epoch': 0}  # the only one of our order of samples, whatever loop saved the state


def _say(opt):
    return (lambda text: print(f'--auto_resume: {text}', flush=True)) if opt['rank'] == 0 else (lambda text: None)


def check_same_run(opt, state, file):
    """Check that a state is of the run that the options describe, and not beyond its end.

    Raises:
        UserError: names the first option that differs, and both values.
    """
    now = identity(opt)
    changed = differences(state['identity'], now)
    total = opt['train']['total_iter']
    if any(is_of_schedule(path) for path, *_ in changed) and state['iter'] <= total and same_rates(
            state['identity'], opt['train'], state['iter']):
        changed = [found for found in changed if not is_of_schedule(found[0])]
    if state['iter'] <= total:
        same = same_weights(state['identity'], now, state['iter'])
        changed = [found for found in changed if found[0] not in same]
    for path, before, given in changed:
        raise UserError(f'{path}: {_shown(given)}, but {file} is of a run with {_shown(before)}. Set it back (the '
                        "experiment's folder has the option file), or begin another run, with another name, from the "
                        f'weights models/net_g_{state["iter"]}.pth by path.pretrain_network_g')
    if state['iter'] > total:
        raise UserError(f'train.total_iter: {total}, but {file} is of iteration {state["iter"]}; '
                        'give a larger number to train on')


def check_same_samples(expected, found, where):
    """Check that the training data are those of the state; ``None`` is not compared.

    Raises:
        UserError: they are others, so the samples that are left would not be those that were left.
    """
    if expected is not None and expected != found:
        raise UserError(f'{where}: holds {found["images"]} images, which are not the {expected["images"]} that the run '
                        'was trained on until now; give it the same data, or begin another run')


def _shown(value):
    return 'nothing' if value is None else shown(value)
