"""Compiled blocks."""
import os
import shutil
from copy import deepcopy

import pytest
import refusals
import runs
import tiny
import torch
from precision import FEW_ROUNDINGS, no_worse

from mipkd_arch import staged_view
from mipkd_arch.base.errors import UserError
from mipkd_arch.staged_views import StagedView
from mipkd_model.training.compiling import compile_blocks


@pytest.fixture(autouse=True)
def _forget():
    yield
    torch.compiler.reset()


def trained(opt, backend=None, steps=3):
    """Model after its steps, and the losses of each; blocks compiled by a backend that needs no compiler of C++."""
    torch.manual_seed(5)  # the student does not begin as its teacher
    model = runs.model(deepcopy(opt))
    if backend:
        for view in model.distiller.views.values():
            compile_blocks(view, backend=backend)
    torch.manual_seed(1)
    logs = []
    for iteration in range(1, steps + 1):
        model.feed_data(runs.batch())
        model.optimize_parameters(iteration)
        logs.append(model.get_current_log())
    return model, logs


def options(folder, family='EDSR', **train):
    opt = runs.smooth(runs.options(folder, family, **train))
    if family == 'SwinIR':
        opt['network_g']['drop_path_rate'] = 0.
    return opt


@pytest.mark.parametrize('family', runs.FAMILIES)
def test_steps_of_compiled_blocks_give_the_losses_of_eager_ones(tmp_path, family):
    opt = options(tmp_path, family)
    expected = trained(opt)[1]
    for ours, theirs in zip(trained(opt, 'aot_eager')[1], expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)  # float32 has seven digits, and layers in a row lose some


@pytest.mark.parametrize('family', runs.FAMILIES)
def test_a_compiled_step_in_bf16_is_as_near_to_float32_as_an_eager_one(tmp_path, family):
    opt = options(tmp_path, family)
    fast = {**opt, 'train': {**opt['train'], 'precision': 'bf16'}}
    found = []
    for options_, backend in ((opt, None), (fast, None), (fast, 'aot_eager')):
        model, logs = trained(options_, backend, 1)
        found.append((logs[0], torch.cat([p.grad.flatten() for p in model.distiller.parameters()
                                           if p.grad is not None])))
    exact, eager, compiled = found  # float32 is exact enough: its roundings are 2**16 times as small
    assert compiled[0] == pytest.approx(exact[0], rel=FEW_ROUNDINGS['bf16'])
    no_worse(compiled[1], eager[1], exact[1].double(), torch.bfloat16)


@pytest.mark.skipif(not any(map(shutil.which, ('g++', 'clang++', 'c++'))), reason='needs a compiler of C++')
@pytest.mark.skipif(os.environ.get('ATEN_CPU_CAPABILITY') == 'default', reason="PyTorch's own code does not compile so")
def test_the_option_compiles_by_pytorchs_own_backend(tmp_path):
    opt = options(tmp_path)
    expected = trained(opt)[1]
    opt['train']['compile'] = True
    model, found = trained(opt)
    assert found[-1] == pytest.approx(expected[-1], rel=1e-4)
    assert all(block._compiled_call_impl for block in (model.net_g.body[0], model.net_t.body[0]))


def test_blocks_of_one_kind_are_compiled_once(tmp_path):
    torch._dynamo.utils.counters.clear()
    network = tiny.edsr(2, num_block=12).requires_grad_(False)
    compile_blocks(staged_view(network), backend='eager')
    network(torch.rand(1, 3, 8, 8))
    assert torch._dynamo.utils.counters['stats']['unique_graphs'] == 2, 'a residual block, and the last convolution'


def test_names_in_checkpoints_stay_and_the_average_is_not_compiled(tmp_path):
    plain, _ = trained(runs.options(tmp_path))
    model, _ = trained(runs.options(tmp_path), 'eager')
    assert list(model.distiller.state_dict()) == list(plain.distiller.state_dict())
    assert model.net_g_ema.body[0]._compiled_call_impl is None
    assert deepcopy(model.net_g).body[0]._compiled_call_impl is None


def test_validation_compiles_nothing(tmp_path):
    model, _ = trained({**runs.options(tmp_path, ema_decay=0)}, 'eager')
    torch._dynamo.utils.counters.clear()
    for side in (9, 10, 11, 12):
        model.feed_data({'lq': torch.rand(1, 3, side, side)})
        model.test()
    assert not torch._dynamo.utils.counters['stats']


def test_a_network_that_nobody_looks_into_is_compiled_whole(tmp_path):
    from mipkd_arch.staged_views import whole_view
    network = torch.nn.Conv2d(3, 3, 1)
    compile_blocks(whole_view(network, 1), backend='eager')
    assert network._compiled_call_impl


def test_a_view_whose_blocks_are_no_modules_is_refused_in_one_line():
    network = torch.nn.Conv2d(3, 3, 1)
    view = StagedView(network, lambda x: x, {'first': network}, lambda x, _: x, num_feat=3, upscale=1)
    assert "Conv2d has no module 'first'" in refusals.refusal(compile_blocks, view, kind=UserError)
