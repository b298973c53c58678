"""How the weights of losses change over a training."""
import math
from copy import deepcopy

import pytest
import runs
import torch
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.config.advice import advice
from mipkd_model.config.checks import check_options
from mipkd_model.losses.schedule import WeightSchedule
from mipkd_model.run.resuming import check_same_run
from mipkd_model.run.states import read_state
from mipkd_model.training.identity import identity


def schedule(total_iter=100, **block):
    return WeightSchedule.of(block, 'train.kd_opt.schedule', total_iter)


@pytest.mark.parametrize('kind, expected', [
    ('linear', [1, 1, 0.5, 0, 0]), ('cosine', [1, 1, 0.5, 0, 0]), ('constant', [1, 1, 1, 0, 0])])
def test_a_weight_goes_from_its_first_factor_to_its_last_between_two_iterations(kind, expected):
    found = schedule(type=kind, start=20, end=60)
    assert [found.factor(1 + done) for done in (0, 20, 40, 60, 99)] == pytest.approx(expected, abs=1e-12)


def test_a_cosine_is_half_a_wave():
    found = schedule(type='cosine', start=0, end=80, start_factor=0.2, end_factor=3)
    for done in range(81):
        assert found.factor(1 + done) == pytest.approx(3 - 2.8 * (1 + math.cos(math.pi * done / 80)) / 2)


@pytest.mark.parametrize('total_iter', [50, 400])
def test_up_to_1_start_and_end_are_shares_of_the_training(total_iter):
    shares = schedule(total_iter, type='linear', start=0.25, end=1)
    steps = schedule(type='linear', start=total_iter / 4, end=total_iter)
    assert [shares.factor(i) for i in range(1, total_iter)] == [steps.factor(i) for i in range(1, total_iter)]


@pytest.mark.parametrize('block, message', [
    ({'type': 'cosin'}, "type: 'cosin' is not known (did you mean 'cosine'?)"),
    ({'end': -1}, 'end: -1 is not a number'),
    ({'ends': 3}, "ends: nothing reads this option (did you mean 'end'?)"), ({'end_factor': '1'}, "end_factor: '1' is"),
    ({'start': 50, 'end': 0.5}, 'end: 0.5 is not after start: 50')])
def test_a_wrong_schedule_is_refused_by_the_checks_in_one_line(tmp_path, block, message):
    opt = runs.options(tmp_path, total_iter=100)
    opt['train']['kd_opt']['schedule'] = block
    found = refusal(check_options, opt, is_train=True, kind=UserError)
    assert found.startswith(f'train.kd_opt.schedule.{message}')


def started(opt):
    torch.manual_seed(0)
    return runs.model(deepcopy(opt))


def losses_of(model, *iterations):
    found = []
    for iteration in iterations:
        torch.manual_seed(100)
        model.feed_data(runs.batch())
        model.optimize_parameters(iteration)
        found.append({name: loss.item() for name, loss in model.loss_dict.items()})
    return found


def test_a_loss_is_multiplied_by_its_factor_and_left_out_where_that_is_0(tmp_path):
    opt = runs.options(tmp_path, total_iter=8)
    plain, = losses_of(started(opt), 1)
    opt['train']['feature_prior_opt']['schedule'] = {'type': 'linear', 'end': 4, 'start_factor': 0.5}
    first, *_, last = losses_of(started(opt), 1, 2, 3, 4, 5)
    assert first == {name: pytest.approx(value * (0.5 if name in ('l_feat', 'l_ae') else 1), rel=1e-6)
                     for name, value in plain.items()}
    assert list(last) == [name for name in plain if name not in ('l_feat', 'l_ae')]


def test_where_no_loss_takes_part_that_needs_the_teacher_it_is_not_asked(tmp_path):
    opt = runs.options(tmp_path, losses=['pixel_opt', 'kd_opt'], total_iter=8)
    opt['train']['kd_opt']['schedule'] = {'type': 'constant', 'end': 2}
    model, asked = runs.model(opt), []
    model.net_t.conv_first.register_forward_pre_hook(lambda *_: asked.append(1))
    losses_of(model, 1, 2)
    assert len(asked) == 2
    assert [list(found) for found in losses_of(model, 3, 4)] == [['l_pix']] * 2 and len(asked) == 2


def test_a_loss_that_begins_later_trains_its_mixers_from_then_on(tmp_path):
    opt = runs.options(tmp_path, total_iter=8)
    for name in ('feature_prior_opt', 'block_prior_opt'):
        opt['train'][name]['schedule'] = {'type': 'constant', 'end': 2, 'start_factor': 0, 'end_factor': 1}
    model = runs.model(opt)
    before = deepcopy(model.distiller.mixers.state_dict())
    losses_of(model, 1, 2)
    weights = [key for key in before if '.std_' not in key]
    assert all(torch.equal(model.distiller.mixers.state_dict()[key], before[key]) for key in weights)
    losses_of(model, 3)
    assert any(not torch.equal(model.distiller.mixers.state_dict()[key], before[key]) for key in weights)


def test_a_resumed_run_goes_on_with_the_weight_of_its_iteration(tmp_path):
    opt = runs.options(tmp_path, total_iter=6)
    opt['train']['kd_opt']['schedule'] = {'type': 'cosine', 'end': 1.0}
    opt['path'].update(models=str(tmp_path), training_states=str(tmp_path))
    whole = losses_of(started(opt), 1, 2, 3, 4, 5)
    first = started(opt)
    losses_of(first, 1, 2, 3)
    first.iteration = 3
    first.save(0, 3)
    opt['path'].update(resume_state=str(tmp_path / '3.state'), pretrain_network_g=None)
    resumed = started(opt)
    resumed.resume_training(read_state(tmp_path / '3.state'))
    assert losses_of(resumed, 4, 5) == whole[3:]


@pytest.mark.parametrize('end', [0.2, 2, 0.5])
def test_a_resumed_run_may_be_longer_where_its_weights_would_have_been_the_same(tmp_path, end):
    opt = runs.options(tmp_path, total_iter=5)
    opt.update(rank=0, world_size=1)
    opt['train']['kd_opt']['schedule'] = {'type': 'linear', 'end': 0.2}  # over after the first of 5
    state = {'identity': identity(opt), 'iter': 3}
    opt['train']['total_iter'] = 10
    opt['train']['kd_opt']['schedule'] = {'type': 'linear', 'end': end if end >= 1 else end / 2}
    if end == 0.2:
        check_same_run(opt, state, 'x.state')
    else:
        message = refusal(check_same_run, opt, state, 'x.state', kind=UserError)
        assert message.startswith('train.kd_opt.schedule.end: ')


@pytest.mark.parametrize('block, note', [
    ({'start': 20, 'end': 30}, 'schedule.end: 30, but train.total_iter is 20: the weight does not come'),
    ({'type': 'linear', 'end': 38}, 'schedule.end: 38, but train.total_iter is 20: the weight does not come')])
def test_a_schedule_that_does_not_fit_the_length_is_advised_of(tmp_path, block, note):
    opt = runs.options(tmp_path, total_iter=20)
    opt['train']['kd_opt']['schedule'] = block
    assert any(line.startswith(f'train.kd_opt.{note}') for line in advice(opt))
