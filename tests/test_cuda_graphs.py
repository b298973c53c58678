"""Steps that are replayed. Without a GPU a replay is played by running the function again, into the same tensors."""
from copy import deepcopy

import methods
import pytest
import refusals
import runs
import torch

from mipkd_arch.base.errors import UserError
from mipkd_model.training.cuda_graphs import GraphedGradients


class Again:
    """Stands in for ``CudaCapture``: a replay fills the tensors of the capture, and nothing else."""

    def __init__(self):
        self.captures = 0

    def warm_up(self, function):
        function()

    def __call__(self, function, generator):
        self.captures += 1
        with torch.random.fork_rng(devices=[]):  # a capture draws nothing
            names, losses, gradients = function()
        held = [tensor for tensor in [*losses, *gradients] if tensor is not None]

        def replay():
            _, losses, gradients = function()
            for old, new in zip(held, [tensor for tensor in [*losses, *gradients] if tensor is not None], strict=True):
                old.data.copy_(new)

        return (names, losses, gradients), replay


def trained(opt, capture=None, steps=12):
    torch.manual_seed(0)
    model = runs.model(deepcopy(opt))
    if capture:
        model.gradients = GraphedGradients(model.gradients, capture)
    torch.manual_seed(1)
    logs = []
    for iteration in range(1, steps + 1):
        model.feed_data(runs.batch())
        model.optimize_parameters(iteration)
        logs.append(model.get_current_log())
    return model, logs


def assert_same(found, expected):
    (ours, logs), (theirs, expected_logs) = found, expected
    assert logs == expected_logs
    assert all(map(torch.equal, ours.distiller.state_dict().values(), theirs.distiller.state_dict().values()))


def test_a_loss_that_begins_or_ends_later_takes_its_routes_in_replayed_steps_too(tmp_path):
    opt = runs.options(tmp_path)
    opt['train']['block_prior_opt']['schedule'] = {'type': 'constant', 'start_factor': 0, 'end': 3, 'end_factor': 1}
    opt['train']['feature_prior_opt']['schedule'] = {'type': 'linear', 'end': 8}
    opt['train']['total_iter'] = 12
    assert_same(trained(opt, Again()), trained(opt))


@pytest.mark.parametrize('family', runs.FAMILIES)
def test_replayed_steps_are_those_of_a_plain_run_to_the_last_bit(tmp_path, family):
    opt = runs.options(tmp_path, family)
    capture = Again()
    assert_same(trained(opt, capture), trained(opt))
    assert capture.captures == 4, 'one for each route of two stages'


def test_a_way_that_does_not_reach_a_weight_leaves_it_where_it_is(tmp_path):
    """Momentum would move it if its gradient were zero instead of missing."""
    opt = runs.options(tmp_path, losses=['block_prior_opt'])
    model, _ = trained(opt, Again())
    assert any(p.grad is None for p in model.distiller.parameters())
    assert_same((model, trained(opt, Again())[1]), trained(opt))


def test_drop_paths_are_drawn_as_in_a_plain_run(tmp_path):
    opt = runs.options(tmp_path, 'SwinIR')
    opt['network_g']['drop_path_rate'] = 0.5
    assert_same(trained(opt, Again(), 6), trained(opt, steps=6))


def test_logits_kd_is_one_graph(tmp_path):
    capture = Again()
    opt = runs.options(tmp_path, losses=['pixel_opt', 'kd_opt'])
    assert_same(trained(opt, capture), trained(opt))
    assert capture.captures == 1


def test_a_loss_that_decides_anew_in_each_step_is_refused_in_one_line(tmp_path):
    opt = methods.options(tmp_path, 'dukd')
    message = refusals.refusal(trained, opt, Again(), kind=UserError)
    assert message.startswith("train.cuda_graphs: the loss that draws numbers for 'dukd'")
    assert message.endswith('set cuda_graphs: false')


def test_more_routes_than_graphs_may_be_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr('mipkd_model.training.cuda_graphs.MAX_GRAPHS', 3)
    message = refusals.refusal(trained, runs.options(tmp_path), Again(), kind=UserError)
    assert message.startswith('train.cuda_graphs: 4 routes are a graph each, and 3 are allowed; cut into fewer stages')


def test_a_batch_of_another_shape_is_refused_in_one_line(tmp_path):
    model, _ = trained(runs.options(tmp_path), Again(), 1)
    model.feed_data(runs.batch(1))
    message = refusals.refusal(model.optimize_parameters, 2, kind=UserError)
    assert message.startswith('train.cuda_graphs: a batch of (1, 3, 16, 16) after one of (2, 3, 16, 16)')


def test_what_cannot_be_captured_is_one_line(tmp_path):
    class Failing(Again):
        def __call__(self, function, generator):
            raise RuntimeError('operation not permitted\nwhen stream is capturing')

    message = refusals.refusal(trained, runs.options(tmp_path), Failing(), kind=UserError)
    assert 'cannot be captured (operation not permitted when stream is capturing); set cuda_graphs: false' in message


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('precision', ['fp32', 'auto'])
@pytest.mark.parametrize('family', runs.FAMILIES)
def test_graphs_of_a_gpu_give_the_losses_of_a_plain_run(tmp_path, family, precision):
    opt = {**runs.options(tmp_path, family, precision=precision), 'num_gpu': 1}
    if family == 'SwinIR':
        opt['network_g']['drop_path_rate'] = 0.
    expected = trained(opt)[1]
    opt['train']['cuda_graphs'] = True
    for ours, theirs in zip(trained(opt)[1], expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-3 if precision == 'fp32' else 0.05)
