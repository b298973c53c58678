"""Runs that go on: from the same point, by the same options, on the same data."""
import json
from copy import deepcopy

import pytest
import runs
import torch
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.run.resuming import check_same_samples, read_any_state, resume_from_state
from mipkd_model.run.sampler import samples_of
from mipkd_model.run.states import read_state, write_state
from mipkd_model.training.identity import identity

from basicsr.data import build_dataset


def start(folder, opt, state=None):
    """The model of a run, which may go on from a state."""
    opt = deepcopy(opt)
    opt['path'].update(models=str(folder), training_states=str(folder))
    if state:
        opt['path'].update(resume_state=str(state), pretrain_network_g=None)
    torch.manual_seed(opt['manual_seed'])
    model = runs.model(opt)
    if state:
        model.resume_training(read_state(state))
    return model


def train(model, *iterations):
    for iteration in iterations:
        torch.manual_seed(100 + iteration)
        batch = runs.batch()
        torch.seed()  # whatever drew in between
        model.update_learning_rate(iteration, model.opt['train']['warmup_iter'])
        model.feed_data(batch)
        model.optimize_parameters(iteration)


@pytest.mark.parametrize('family, changes', [
    ('SwinIR', {}), ('RCAN', {'optim_g': {'type': 'SGD', 'lr': 1e-3, 'momentum': 0.9}}),
    ('EDSR', {'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [5], 'eta_min': 1e-6}, 'warmup_iter': 3})])
def test_a_resumed_run_comes_to_the_same_bits(tmp_path, family, changes):
    opt = runs.options(tmp_path, family, **changes)  # SwinIR drops paths at random
    whole, first = start(tmp_path, opt), start(tmp_path, opt)
    train(whole, 1, 2, 3, 4, 5)
    train(first, 1, 2, 3)
    first.save(0, 3)
    resumed = start(tmp_path, opt, tmp_path / '3.state')
    assert resumed.get_current_learning_rate() == first.get_current_learning_rate()
    train(resumed, 4, 5)
    for label in ('net_g', 'net_g_ema', 'distiller'):
        ours, theirs = (getattr(model, label).state_dict() for model in (whole, resumed))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), label


def test_paths_are_dropped_alike_whatever_was_drawn_before(tmp_path):
    opt = runs.options(tmp_path, 'SwinIR')
    opt['network_g']['drop_path_rate'] = 0.5
    weights = []
    for _ in range(2):
        model = start(tmp_path, opt)
        train(model, 1, 2)
        weights.append(torch.cat([p.detach().flatten() for p in model.net_g.parameters()]))
    assert torch.equal(*weights)


BEST = {'made': {'psnr': {'better': 'higher', 'val': 20., 'iter': 4}}}


@pytest.fixture
def validated(tmp_path):
    """Options, and a run that was saved in iteration 4, whose validation is about to begin."""
    opt = runs.options(tmp_path)  # saved every 2 iterations, validated every 4
    opt['datasets']['val'].update(phase='val', scale=2)
    model = start(tmp_path, opt)
    train(model, 1, 2, 3, 4)
    model.save(0, 4)
    return opt, model


def test_a_state_is_there_before_its_validation_and_has_the_best_figures_after_it(tmp_path, validated):
    opt, model = validated
    assert read_state(tmp_path / '4.state')['best'] == {} and (tmp_path / 'net_g_4.pth').exists()
    model.validator.best = BEST  # as the validation leaves them
    model.update_learning_rate(5)
    state = read_state(tmp_path / '4.state')
    assert state['best'] == BEST and state['validated']
    assert start(tmp_path, opt, tmp_path / '4.state').validator.best == BEST


def test_a_run_that_was_killed_in_a_validation_begins_with_it(tmp_path, validated):
    opt, _ = validated
    resumed = start(tmp_path, opt, tmp_path / '4.state')
    assert resumed.saver.validation_pending
    resumed.update_learning_rate(5)
    assert resumed.validator.best['made']['psnr']['iter'] == 4
    assert read_state(tmp_path / '4.state')['best'] == resumed.validator.best


def test_the_end_of_a_run_leaves_a_state_to_train_on_from(tmp_path):
    model = start(tmp_path, runs.options(tmp_path))
    train(model, 1, 2, 3)
    model.save(-1, -1)
    assert read_state(tmp_path / '3.state')['iter'] == 3 and (tmp_path / 'net_g_latest.pth').exists()


def asked(folder, opt, state):
    """The options of a run that is to go on from a state, as the command line gives them."""
    return {**deepcopy(opt), 'auto_resume': False, 'rank': 0, 'world_size': 1,
            'path': {**opt['path'], 'training_states': str(folder), 'resume_state': str(state)}}


@pytest.fixture
def saved(tmp_path):
    """Options, and the state of their run."""
    opt = runs.options(tmp_path)
    model = start(tmp_path, opt)
    train(model, 1, 2)
    model.save(0, 2)
    return opt, tmp_path / '2.state'


def test_a_run_resumes_where_it_was_saved_and_reads_no_other_weights(tmp_path, saved):
    opt, state = saved
    opt = asked(tmp_path, opt, state)
    opt['path']['pretrain_network_g'] = 'gone.pth'
    resume_from_state(opt)
    assert opt['start_iter'] == 2 and opt['path']['resume_state'] == str(state)
    assert opt['path']['pretrain_network_g'] is None


@pytest.mark.parametrize('block, key, value', [
    ('train.optim_g', 'lr', 2e-3), ('train.mixer_opt', 'latent', 5), ('network_g', 'num_feat', 6),
    ('datasets.train', 'gt_size', 24), ('datasets.train', 'batch_size_per_gpu', 4), ('', 'manual_seed', 4),
    ('train', 'ema_decay', 0.99), ('train.kd_opt', 'loss_weight', 2.)])
def test_other_options_than_those_of_the_state_are_refused_by_name(tmp_path, saved, block, key, value):
    opt = asked(tmp_path, *saved)
    inner = opt
    for name in filter(None, block.split('.')):
        inner = inner[name]
    before, inner[key] = inner[key], value
    message = refusal(resume_from_state, opt, kind=UserError)
    assert message.startswith(f'{block}.{key}'.lstrip('.')), message
    assert f': {value!r}, but {saved[1]} is of a run with {before!r}' in message


def test_another_teacher_is_refused_and_one_that_was_moved_is_taken(tmp_path, saved):
    opt = asked(tmp_path, *saved)
    file = tmp_path / 'moved.pth'
    (tmp_path / 'teacher.pth').rename(file)
    opt['path']['pretrain_network_t'] = str(file)
    resume_from_state(deepcopy(opt))
    content = torch.load(file, weights_only=True)
    content['params']['conv_first.bias'][0] += 1e-3
    torch.save(content, file)
    assert refusal(resume_from_state, opt, kind=UserError).startswith('teacher (SHA-256')


def test_a_run_may_be_longer_and_computed_in_another_way(tmp_path, saved):
    opt = asked(tmp_path, *saved)
    opt['train'].update(total_iter=9, precision='bf16', channels_last=False, accumulate=2, nonfinite='stop')
    opt['train']['optim_g']['fused'] = False
    opt['datasets']['train'].update(num_worker_per_gpu=3, name='elsewhere')
    opt['logger']['print_freq'] = 1
    resume_from_state(opt)
    assert opt['start_iter'] == 2


def test_a_run_that_would_end_before_its_state_is_refused(tmp_path, saved):
    opt = asked(tmp_path, *saved)
    opt['train']['total_iter'] = 1
    assert refusal(resume_from_state, opt, kind=UserError).startswith('train.total_iter: 1, but ')


def test_other_images_are_refused(tmp_path):
    opt = runs.options(tmp_path)
    data = {**opt['datasets']['train'], 'phase': 'train', 'scale': 2}
    samples = samples_of(build_dataset(data))
    check_same_samples(samples, samples_of(build_dataset(data)), 'datasets.train')
    check_same_samples(None, samples, 'datasets.train')
    message = refusal(check_same_samples, {**samples, 'images': 7}, samples, 'datasets.train', kind=UserError)
    assert message.startswith('datasets.train: holds 6 images')


def test_images_of_other_names_are_others_for_every_data_set(tmp_path):
    for folder, first in (('one', 0), ('other', 1)):
        files = runs.photographs(tmp_path / folder, 3)
        for number, file in enumerate(files[::-1], first):
            file.rename(file.with_name(f'{folder if first else "image"}{number}.png'))
    data = {'name': 'made', 'type': 'PairedImageDataset', 'phase': 'train', 'scale': 1, 'io_backend': {'type': 'disk'}}
    found = [samples_of(build_dataset({**data, 'dataroot_gt': folder, 'dataroot_lq': folder}))
             for folder in (str(tmp_path / name) for name in ('one', 'one', 'other'))]
    assert found[0] == found[1]
    assert 'which are not the 3' in refusal(check_same_samples, found[0], found[2], 'datasets.train', kind=UserError)


def test_a_run_without_a_seed_goes_on_with_the_one_it_drew(tmp_path, saved):
    opt = asked(tmp_path, *saved)
    opt.update(manual_seed=7777, seed_drawn=True)
    resume_from_state(opt)
    assert opt['manual_seed'] == 3


def test_a_named_state_is_taken_where_the_run_has_none_of_its_own(tmp_path, saved):
    opt = {**asked(tmp_path / 'nowhere', *saved), 'auto_resume': True}
    resume_from_state(opt)
    assert opt['start_iter'] == 2


def test_steps_left_out_in_a_row_are_counted_on(tmp_path, saved):
    opt, file = saved
    state = read_state(file)
    state['consecutive_skips'] = 9
    write_state(state, tmp_path, keep=3)
    model = start(tmp_path, opt, file)
    assert model.guard.consecutive == 9 and model.saver.state()['consecutive_skips'] == 9


def test_a_run_json_that_is_damaged_or_cannot_be_written_is_not_the_states_fault(tmp_path, saved):
    opt, file = saved
    opt['path']['log'] = str(tmp_path / 'log')
    (tmp_path / 'log').mkdir()
    (tmp_path / 'log/run.json').write_text('{')
    start(tmp_path, opt, file)
    assert json.loads((tmp_path / 'log/run.json').read_text())['seed'] == 3
    opt['path']['log'] = str(tmp_path / 'teacher.pth')
    assert 'run.json: cannot be written' in refusal(start, tmp_path, opt, file, kind=UserError)


def test_the_batch_of_all_processes_together_is_what_must_stay(tmp_path):
    opt = {**runs.options(tmp_path), 'world_size': 1}
    two = deepcopy(opt)
    two['world_size'], two['datasets']['train']['batch_size_per_gpu'] = 2, 1
    assert identity(opt) == identity(two)


@pytest.mark.parametrize('damage', [
    lambda state: state['weights'].pop('net_g_ema'),
    lambda state: state['weights']['net_g'].pop('conv_first.bias'),
    lambda state: state['weights']['net_mixer'].update(more=torch.ones(1)),
    lambda state: state['optimizers'].clear(),
    lambda state: state['optimizers'][0].pop('param_groups'),
    lambda state: state['schedulers'].clear(), lambda state: state.update(schedulers=[3])])
def test_a_state_that_does_not_fit_is_one_line(tmp_path, saved, damage):
    opt, file = saved
    state = read_state(file)
    damage(state)
    write_state(state, tmp_path, keep=3)
    message = refusal(start, tmp_path, opt, file, kind=UserError)
    assert message.startswith(f'{file}: does not fit this run (')


def test_options_that_a_state_repeats_are_those_of_the_option_file(tmp_path, saved):
    opt, file = saved
    state = read_state(file)
    state['optimizers'][0]['param_groups'][0].update(betas=None, eps='x', more=1)
    state['schedulers'][0].update(gamma=None, milestones=[])
    write_state(state, tmp_path, keep=3)
    model = start(tmp_path, opt, file)
    group = model.optimizer_g.param_groups[0]
    assert tuple(group['betas']) == (0.9, 0.99) and group['eps'] == 1e-8
    assert model.schedulers[0].gamma == 0.1 and dict(model.schedulers[0].milestones) == {100: 1}
    train(model, 3)


def test_states_of_basicsrs_own_models_are_resumed_from_as_basicsr_does(tmp_path):
    opt = {**runs.options(tmp_path), 'model_type': 'SRModel', 'auto_resume': True, 'rank': 0, 'world_size': 1}
    opt['path'].update(training_states=str(tmp_path), models='models', pretrain_network_g=None)
    for iteration in (5, 20):
        torch.save({'epoch': 3, 'iter': iteration, 'optimizers': [], 'schedulers': []},
                   tmp_path / f'{iteration}.state')
    resume_from_state(opt)
    assert opt['start_iter'] == 20 and opt['path']['pretrain_network_g'] == 'models/net_g_20.pth'
    assert read_any_state(opt) == {'epoch': 0, 'iter': 20, 'optimizers': [], 'schedulers': []}
    torch.save([1], tmp_path / '20.state')
    assert 'is not a training state of BasicSR' in refusal(read_any_state, opt, kind=UserError)
