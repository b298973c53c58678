"""The optimizer of an option file."""
from copy import deepcopy
from typing import get_args

import pytest
import refusals
import runs
import torch

from mipkd_arch.base.errors import UserError
from mipkd_model.config.checks import check_options
from mipkd_model.schema.training import OptimizerOptions
from mipkd_model.training.optimizer import make_optimizer


def weight():
    return torch.nn.Parameter(torch.linspace(-1, 1, 5))


@pytest.mark.parametrize('name', get_args(OptimizerOptions.model_fields['type'].annotation))
def test_a_step_is_that_of_pytorchs_optimizer(name):
    ours, theirs = weight(), weight()
    block = {'type': name, 'lr': 0.01, 'weight_decay': 0.1}
    OptimizerOptions.read(block)
    steps = [(make_optimizer(block, [{'params': [ours]}]), ours),
             (getattr(torch.optim, name)([theirs], lr=0.01, weight_decay=0.1), theirs)]
    for optimizer, w in steps:
        for _ in range(3):
            optimizer.zero_grad()
            w.pow(3).sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours, theirs)
    assert not torch.equal(ours, weight())


@pytest.mark.parametrize('block, fused, foreach', [
    ({'type': 'Adam'}, True, None), ({'type': 'AdamW', 'weight_decay': 1}, True, None), ({'type': 'SGD'}, True, None),
    ({'type': 'Adam', 'fused': False}, False, None), ({'type': 'Adam', 'foreach': True}, None, True)])
def test_it_is_fused_where_it_can_be_and_nobody_says_otherwise(block, fused, foreach):
    given = {**block, 'lr': 0.1}
    group, = make_optimizer(given, [{'params': [weight()]}]).param_groups
    assert (group['fused'], group['foreach']) == (fused, foreach)
    assert given == {**block, 'lr': 0.1}, 'the option file stays as it is'


@pytest.mark.parametrize('block, hint', [
    (None, 'None is not a mapping'), ('Adam', 'not a mapping'), ({'lr': 1}, 'type: missing; it needs Adam, AdamW'),
    ({'type': 'Adams', 'lr': 1}, "type: 'Adams' is not known (did you mean 'Adam"),
    ({'type': 'LBFGS', 'lr': 1}, "allowed are 'Adam', 'AdamW'"),
    ({'type': 'Adam'}, 'lr: missing; it needs a number'), ({'type': 'Adam', 'lr': '1e-4'}, 'it is a string: write it'),
    ({'type': 'Adam', 'lr': 1, 'fusd': True}, "fusd: Adam has no such option (did you mean 'fused'?)"),
    ({'type': 'Adam', 'lr': 1, 'momentum': 0.9}, 'momentum: Adam has no such option'),
    ({'type': 'Adam', 'lr': 1, 'params': []}, 'params: Adam has no such option'),
    ({'type': 'Adam', 'lr': 1, 'fused': 'yes'}, "fused: 'yes' is neither true nor false"),
    ({'type': 'Adam', 'lr': 1, 'foreach': 1}, 'foreach: 1 is neither true nor false'),
    ({'type': 'Adam', 'lr': 1, 'fused': True, 'foreach': True}, 'refuses these options'),
    ({'type': 'Adam', 'lr': 1, 'betas': [2, 0.9]}, 'betas: [2, 0.9] is not two numbers of at least 0'),
    ({'type': 'Adam', 'lr': 1, 'differentiable': True}, 'Adam refuses these options'),
    ({'type': 'Adam', 'lr': 1, 'betas': 0.9}, 'betas: 0.9 is not two numbers')])
def test_a_wrong_block_is_one_line(tmp_path, block, hint):
    opt = runs.options(tmp_path, optim_g=block)
    message = refusals.refusal(check_options, opt, True, kind=UserError)
    assert message.startswith('train.optim_g') and hint in message


@pytest.mark.parametrize('first, then', [(True, False), (False, True)])
def test_a_state_that_was_saved_in_another_memory_format_is_read_right(tmp_path, first, then):
    """Fused optimizers read weights and state side by side as they lie in memory."""
    weights = {}
    for resumed in (False, True):
        torch.manual_seed(0)
        opt = runs.smooth(runs.options(tmp_path, channels_last=first))
        opt['path'].update(models=str(tmp_path), training_states=str(tmp_path))
        model = runs.model(deepcopy(opt))
        for iteration in (1, 2):
            if iteration == 2 and resumed:
                model.save(0, 1)
                opt['train']['channels_last'] = then
                opt['path'].update(resume_state=str(tmp_path / '1.state'),
                                   pretrain_network_g=str(tmp_path / 'net_g_1.pth'))
                model = runs.model(deepcopy(opt))
                model.resume_training(torch.load(tmp_path / '1.state', weights_only=True))
            torch.manual_seed(iteration)
            model.feed_data(runs.batch())
            model.optimize_parameters(iteration)
        weights[resumed] = torch.cat([p.detach().flatten() for p in model.net_g.parameters()])
    torch.testing.assert_close(weights[True], weights[False], rtol=0, atol=1e-5)  # a step moves them by 1e-3


@pytest.mark.parametrize('first', [True, False])
def test_a_resumed_run_goes_through_its_weights_as_its_option_file_says(tmp_path, first):
    opt = runs.options(tmp_path)
    opt['path'].update(models=str(tmp_path), training_states=str(tmp_path))
    opt['train']['optim_g']['fused'] = first
    model = runs.model(deepcopy(opt))
    model.feed_data(runs.batch())
    model.optimize_parameters(1)
    model.save(0, 1)
    opt['train']['optim_g']['fused'] = not first
    opt['path']['resume_state'] = str(tmp_path / '1.state')
    opt['path']['pretrain_network_g'] = str(tmp_path / 'net_g_1.pth')
    resumed = runs.model(deepcopy(opt))
    resumed.resume_training(torch.load(tmp_path / '1.state', weights_only=True))
    assert [group['fused'] for group in resumed.optimizer_g.param_groups] == [not first] * 2
    resumed.feed_data(runs.batch())
    resumed.optimize_parameters(2)
    assert {int(state['step']) for state in resumed.optimizer_g.state.values()} <= {1, 2}


@pytest.mark.parametrize('given, rate', [({}, 1e-3), ({'mixer_lr': None}, 1e-3), ({'mixer_lr': 5e-4}, 5e-4),
                                         ({'mixer_lr': 0}, 0)])
def test_mixers_learn_at_the_students_rate_unless_they_have_their_own(tmp_path, given, rate):
    opt = runs.options(tmp_path, **given)
    opt['train']['optim_g']['lr'] = 1e-3
    check_options(opt, is_train=True)
    assert [group['initial_lr'] for group in runs.model(opt).optimizer_g.param_groups] == [1e-3, rate]
