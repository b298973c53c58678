"""Steps whose losses or gradients are not finite: what they leave alone, and what is said of them."""
import logging
from copy import deepcopy

import pytest
import runs
import torch
from refusals import refusal
from torch import nn

from mipkd_arch.base.errors import UserError
from mipkd_model.training.nonfinite import NonFiniteGuard
from mipkd_model.training.optimizer import skips_on_device

ADAM = {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99]}
KINDS = [ADAM, {**ADAM, 'fused': False}, {'type': 'AdamW', 'lr': 1e-3, 'amsgrad': True},
         {'type': 'SGD', 'lr': 1e-2, 'momentum': 0.9, 'dampening': 0.5}, {'type': 'SGD', 'lr': 1e-2},
         {'type': 'RMSprop', 'lr': 1e-3}]


class Trouble:
    """A model that is given losses or gradients that are not finite, in the iterations that a test names."""

    def __init__(self, folder, synchronous=True, **train):
        torch.manual_seed(0)
        opt = runs.options(folder, **train)
        opt['path'].update(models=str(folder / 'models'), training_states=str(folder / 'states'))
        self.model, self.iteration = runs.model(opt), 0
        self.model.guard.synchronous = synchronous
        self.batches = [runs.batch() for _ in range(4)]

    def loss(self, name, iterations, value=float('nan')):
        """The image loss of that name is another then."""
        self.model.distiller.losses[name].register_forward_hook(
            lambda module, args, loss: loss * value if self.iteration in iterations else None)
        return self

    def gradient(self, weight, iterations):
        """The gradient of a weight of the student has one number that is not finite then."""
        def spoil(gradient):
            if self.iteration in iterations:
                gradient = gradient.clone()
                gradient[(0, ) * gradient.dim()] = float('inf')
            return gradient

        self.model.net_g.get_parameter(weight).register_hook(spoil)
        return self

    def train(self, steps):
        for _ in range(steps):
            self.iteration += 1
            self.model.update_learning_rate(self.iteration)
            self.model.feed_data(self.batches[self.iteration % 4])
            self.model.optimize_parameters(self.iteration)
        return self

    def state(self):
        """All tensors that a step changes: weights, averages, and what the optimizer keeps."""
        kept = self.model.optimizer_g.state_dict()['state']
        return deepcopy({**{f'distiller.{key}': value for key, value in self.model.distiller.state_dict().items()},
                         **{f'ema.{key}': value for key, value in self.model.net_g_ema.state_dict().items()},
                         **{f'{weight} {name}': value for weight, values in kept.items()
                            for name, value in values.items() if torch.is_tensor(value)}})


def same(before, after):
    return before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize('synchronous', [True, False], ids=['read', 'on the device'])
@pytest.mark.parametrize('optim_g', KINDS, ids=str)
@pytest.mark.parametrize('cause', ['loss', 'gradient'])
def test_a_step_that_is_not_finite_leaves_everything_as_it_was(tmp_path, cause, optim_g, synchronous):
    trouble = Trouble(tmp_path, synchronous, optim_g=optim_g)
    trouble.loss('pixel', {3}) if cause == 'loss' else trouble.gradient('body.1.conv1.weight', {3})
    before = trouble.train(2).state()
    assert same(before, trouble.train(1).state())
    assert not same(before, trouble.train(1).state())
    assert trouble.model.guard.report() == 1


@pytest.mark.parametrize('synchronous', [True, False], ids=['read', 'on the device'])
@pytest.mark.parametrize('optim_g', KINDS, ids=str)
def test_a_run_goes_on_after_a_first_step_that_is_not_finite_as_if_it_had_not_been(tmp_path, optim_g, synchronous):
    found = []
    for spoilt in ({1}, ()):
        trouble = Trouble(tmp_path, synchronous, optim_g=optim_g, ema_decay=0.).loss('pixel', spoilt)
        if spoilt:
            trouble.train(1)
        trouble.iteration, trouble.model.distiller.calibrated = 1, False
        trouble.train(2)
        found.append(trouble.model.net_g.state_dict())
    assert same(*found)


def test_the_average_moves_alike_whether_or_not_the_host_waits(tmp_path):
    found = []
    for synchronous in (True, False):
        found.append(Trouble(tmp_path, synchronous).train(3).state())
    assert all(torch.allclose(found[0][key], found[1][key], rtol=1e-6, atol=1e-8) for key in found[0])


def test_the_loss_that_is_not_finite_is_named(tmp_path, log):
    trouble = Trouble(tmp_path).loss('pixel', {2}).train(3)
    assert log.messages[-1] == ('Skipped steps: 1, the last in iteration 2: not finite: l_pix. Weights and '
                                'optimizer are as before.')
    assert trouble.model.get_current_log()['skipped'] == 1


def test_all_losses_that_are_not_finite_are_named(tmp_path, log):
    Trouble(tmp_path).loss('pixel', {2}).loss('kd', {2}, float('inf')).train(2)
    assert 'not finite: l_pix, l_kd.' in log.messages[-1]


def test_where_all_losses_are_finite_the_first_such_gradient_is_named(tmp_path, log):
    Trouble(tmp_path).gradient('conv_last.weight', {2}).gradient('body.1.conv1.weight', {2}).train(2)
    assert 'not finite: the gradient of net_g.body.1.conv1.weight.' in log.messages[-1]


def test_a_mixer_is_named_as_its_part_of_a_state_is(tmp_path, log):
    trouble = Trouble(tmp_path)
    name, weight = next(iter(trouble.model.distiller.mixers.named_parameters()))
    weight.register_hook(lambda gradient: gradient * float('nan'))
    trouble.train(1)
    assert f'not finite: the gradient of net_mixer.{name}.' in log.messages[-1]


def test_gradients_too_large_to_be_squared_are_left_out_and_the_largest_is_named(tmp_path, log):
    trouble = Trouble(tmp_path).train(1)
    before = trouble.state()
    trouble.model.net_g.conv_last.weight.register_hook(lambda gradient: torch.full_like(gradient, 1e30))
    assert same(before, trouble.train(1).state())
    assert 'the gradient of net_g.conv_last.weight' in log.messages[-1]


def test_a_step_without_trouble_says_nothing(tmp_path, log):
    trouble = Trouble(tmp_path).train(2)
    assert 'skipped' not in trouble.model.get_current_log()
    assert not [record for record in log.records if record.levelno > logging.INFO]


def test_on_a_device_counts_are_read_with_the_log_alone(tmp_path, log):
    trouble = Trouble(tmp_path, synchronous=False).loss('pixel', {2, 3}).gradient('conv_last.weight', {3, 4}).train(5)
    assert not [message for message in log.messages if 'Skipped' in message]
    assert trouble.model.get_current_log()['skipped'] == 3
    assert ('Skipped steps: 3, the last in iteration 4: not finite: the gradient of '
            'net_g.conv_last.weight.') in log.messages[-1]


@pytest.mark.parametrize('synchronous', [True, False], ids=['read', 'on the device'])
def test_ten_in_a_row_stop_the_run_and_weights_are_those_before(tmp_path, synchronous):
    trouble = Trouble(tmp_path, synchronous).loss('pixel', set(range(3, 99))).train(2)
    (tmp_path / 'states').mkdir()
    for iteration in (1, 2, 5):
        (tmp_path / f'states/{iteration}.state').touch()
    before = trouble.state()

    def go_on():
        trouble.train(10)
        trouble.model.get_current_log()

    said = refusal(go_on, kind=UserError)
    assert said.startswith('iteration 12: 10 steps in a row not finite: l_pix')
    assert f'the newest state before it is {tmp_path / "states/2.state"};' in said
    assert 'lower train.optim_g.lr, set train.grad_clip' in said
    assert same(before, trouble.state())


def test_nine_in_a_row_do_not_stop_it(tmp_path):
    trouble = Trouble(tmp_path).loss('pixel', {*range(1, 10), *range(11, 20)}).train(20)
    assert trouble.model.guard.report() == 18


@pytest.mark.parametrize('synchronous', [True, False], ids=['read', 'on the device'])
def test_stop_ends_the_run_at_the_first(tmp_path, synchronous):
    trouble = Trouble(tmp_path, synchronous, nonfinite='stop', grad_clip=1.).loss('kd', {2}).train(1)

    def go_on():
        trouble.train(1)
        trouble.model.get_current_log()

    said = refusal(go_on, kind=UserError)
    assert said.startswith('train.nonfinite: stop: in iteration 2 not finite: l_kd; the newest state before it')


@pytest.mark.parametrize('optim_g', [{'type': 'SGD', 'lr': 1e25}, {**ADAM, 'lr': 1e25}], ids=lambda o: o['type'])
def test_a_learning_rate_far_too_high_ends_in_one_line(tmp_path, optim_g):
    trouble = Trouble(tmp_path, optim_g=optim_g)
    said = refusal(trouble.train, 20, kind=UserError)
    assert 'steps in a row not finite' in said and 'lower train.optim_g.lr' in said


def test_clipping_uses_the_same_norm_and_skips_alike(tmp_path):
    trouble = Trouble(tmp_path, grad_clip=1e-3).gradient('conv_last.weight', {2})
    before = trouble.train(1).state()
    assert trouble.model.get_current_log()['grad_norm'] > 1e-3
    gradients = [p.grad for p in trouble.model.distiller.parameters() if p.grad is not None]
    assert torch.nn.utils.get_total_norm(gradients).item() == pytest.approx(1e-3, rel=1e-3)
    assert same(before, trouble.train(1).state())


def test_accumulated_parts_are_looked_at_together(tmp_path, log):
    trouble = Trouble(tmp_path, accumulate=2).loss('pixel', {2})
    before = trouble.train(1).state()
    assert same(before, trouble.train(1).state())
    assert 'l_pix' in log.messages[-1]


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    trouble = Trouble(tmp_path).train(1)
    with torch.no_grad():
        trouble.model.net_g.conv_first.weight[0, 0, 0, 0] = float('nan')
    said = refusal(trouble.model.save, 0, 1, kind=UserError)
    assert said.startswith('iteration 1: net_g.conv_first.weight is not finite, and nothing is saved; the newest')
    assert not list(tmp_path.glob('models/*')) and not list(tmp_path.glob('states/*'))


def test_an_average_that_is_not_finite_is_not_saved(tmp_path):
    trouble = Trouble(tmp_path)
    with torch.no_grad():
        trouble.model.net_g_ema.conv_last.bias[1] = float('inf')
    assert 'at the end: net_g_ema.conv_last.bias is not finite' in refusal(trouble.model.save, -1, -1, kind=UserError)


def test_what_was_left_out_since_the_last_log_is_told_before_a_save(tmp_path, log):
    trouble = Trouble(tmp_path, synchronous=False).loss('pixel', {1}).train(2)
    trouble.model.save(0, 2)
    assert any('Skipped steps: 1, ' in message for message in log.messages)


def watched(values):
    """``NonFiniteGuard`` that has seen steps with one loss each, given by name and value."""
    part = nn.Linear(2, 1)
    guard = NonFiniteGuard({'net_g': part}, {'net_g': part}, False, torch.device('cpu'))
    optimizer = torch.optim.Adam(part.parameters(), fused=True)
    for iteration, (name, value) in enumerate(values, 1):
        optimizer.zero_grad()
        part(torch.ones(1, 2)).sum().backward()
        guard.check({name: torch.tensor(value)}, iteration)
        guard.step(optimizer)
    return guard


def test_losses_of_other_names_than_in_the_step_before_are_counted_too(log):
    guard = watched([('l_a', float('nan')), ('l_b', float('inf')), ('l_a', 1.), ('l_b', 1.)])
    assert guard.report() == 2
    assert [message.partition('finite: ')[2][:3] for message in log.messages] == ['l_a', 'l_b']


def test_a_row_is_one_whatever_the_losses_are_called():
    assert '10 steps in a row' in refusal(watched, [('l_a', float('nan')), ('l_b', float('nan'))] * 5, kind=UserError)


def test_the_flag_on_the_device_is_used_where_the_optimizer_knows_it():
    weight = torch.zeros(2, requires_grad=True)
    weight.grad = torch.ones(2)
    sgd = torch.optim.SGD([weight], 1., momentum=0.9, fused=True)
    assert not skips_on_device(sgd), 'its first step makes the momentum'
    sgd.step()
    assert skips_on_device(sgd)
    assert skips_on_device(torch.optim.Adam([weight], fused=True))
    assert not skips_on_device(torch.optim.Adam([weight], fused=False))
    assert not skips_on_device(torch.optim.RMSprop([weight]))
