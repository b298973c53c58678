"""A frozen network as training uses it gives what it gave before."""
from copy import deepcopy
from functools import partial

import pytest
import runs
import tiny
import torch
from precision import FORMATS, no_worse, saved_bytes

from mipkd_arch import staged_view
from mipkd_model.training.convolutions import FrozenConv2d, FrozenFloat32Conv2d, discard_inputs, store_in_bf16
from mipkd_model.training.precision import autocast

CPU = torch.device('cpu')


def traced(network, lq):
    with torch.no_grad(), autocast('bf16', CPU):
        return staged_view(network, 2).forward_features(lq)


@pytest.mark.parametrize('family', runs.FAMILIES)
def test_a_teacher_stored_in_bf16_gives_what_autocast_gives_to_the_last_bit(family):
    network = tiny.NETWORKS[family](2).eval().requires_grad_(False)
    stored = deepcopy(network)
    store_in_bf16(stored)
    lq = torch.rand(2, 3, 16, 16)
    first, second = traced(network, lq), traced(stored, lq)
    assert torch.equal(first.output, second.output)
    for ours, theirs in zip(first.features, second.features, strict=True):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)


def test_so_does_a_network_that_spandrel_opens(tmp_path):
    pytest.importorskip('spandrel')
    from mipkd_arch.spandrel_arch import SpandrelNetwork
    network = SpandrelNetwork(file=str(tiny.dat_file(tmp_path, 2))).eval().requires_grad_(False)
    stored = deepcopy(network)
    store_in_bf16(stored)
    lq = torch.rand(1, 3, 16, 16)
    assert torch.equal(traced(network, lq).output, traced(stored, lq).output)


def test_gradients_go_through_it_as_through_the_other():
    network = tiny.swinir(2).eval().requires_grad_(False)
    stored = deepcopy(network)
    store_in_bf16(stored)
    gradients = []
    for one in (network, stored):
        lq = torch.rand(1, 3, 16, 16, generator=tiny.seeded()).requires_grad_()
        with autocast('bf16', CPU):
            one(lq).float().square().sum().backward()
        gradients.append(lq.grad)
    assert torch.equal(*gradients) and gradients[0].abs().sum() > 0


def test_normalisations_stay_in_float32():
    network = tiny.swinir(2)
    store_in_bf16(network)
    kinds = {type(module).__name__: parameter.dtype for module in network.modules()
             for parameter in module.parameters(recurse=False)}
    assert kinds['LayerNorm'] == torch.float32 and kinds['Linear'] == kinds['Conv2d'] == torch.bfloat16


@pytest.mark.parametrize('precision, dtype', [('bf16', torch.bfloat16), ('fp32', torch.float32)])
def test_only_the_teacher_of_a_run_in_bf16_is_stored_so(tmp_path, precision, dtype):
    model = runs.model(runs.options(tmp_path, precision=precision))
    assert model.net_t.conv_after_body.weight.dtype == dtype
    assert {p.dtype for p in model.distiller.parameters()} == {torch.float32}


@pytest.mark.parametrize('family', runs.FAMILIES)
def test_losses_and_gradients_of_a_step_are_those_without_it_to_the_last_bit(tmp_path, family, monkeypatch):
    opt = runs.options(tmp_path, family, precision='bf16')
    found = []
    for stored in (True, False):
        if not stored:
            monkeypatch.setattr('mipkd_model.training.build.store_in_bf16', lambda network: None)
        torch.manual_seed(0)
        model = runs.model(deepcopy(opt))
        model.feed_data({key: torch.randint(0, 256, (2, 3, side, side), generator=tiny.seeded(), dtype=torch.uint8)
                         for key, side in (('lq', 16), ('gt', 32))})
        torch.manual_seed(0)
        model.optimize_parameters(1)
        found.append((model.get_current_log(), {name: p.detach() for name, p in model.distiller.named_parameters()}))
    assert found[0][0] == found[1][0]
    assert all(torch.equal(value, found[1][1][name]) for name, value in found[0][1].items())


def gradients(network, lq, precision):
    """Output, and gradient of the input; in float64 where both are given so."""
    lq = lq.clone().requires_grad_()
    with autocast(precision, CPU):
        output = network(lq).to(lq.dtype)
    (output * torch.linspace(-1, 1, output.numel(), dtype=lq.dtype).view_as(output)).sum().backward()
    return output.detach(), lq.grad


def assert_forgets_alike(network, lq, precision):
    """A forward is the same kernel, to the last bit; a way back is another, right to the precision of its format."""
    exact = gradients(deepcopy(network).double(), lq.double(), 'fp32')[1]
    output, gradient = gradients(network, lq, precision)
    discard_inputs(network)
    assert any(isinstance(module, FrozenConv2d) for module in network.modules())
    found = gradients(network, lq, precision)
    assert torch.equal(found[0], output)
    no_worse(found[1], gradient, exact, FORMATS[precision])


@pytest.mark.parametrize('precision', FORMATS)
@pytest.mark.parametrize('family', runs.FAMILIES)
def test_convolutions_that_forget_their_input_give_the_same_output_and_gradient(family, precision):
    network = tiny.NETWORKS[family](2).eval().requires_grad_(False)
    assert_forgets_alike(network, torch.rand(2, 3, 16, 16, generator=tiny.seeded()), precision)


@pytest.mark.parametrize('precision', FORMATS)
@pytest.mark.parametrize('layer', [
    partial(torch.nn.Conv2d, 4, 8, 3, padding=1), partial(torch.nn.Conv2d, 4, 8, 1, bias=False),
    partial(torch.nn.Conv2d, 4, 8, 3, stride=2, padding=1), partial(torch.nn.Conv2d, 4, 8, 3, groups=4),
    partial(torch.nn.Conv2d, 4, 4, 3, stride=(3, 2), groups=2), partial(torch.nn.Conv2d, 4, 6, (3, 1), dilation=2)],
    ids=lambda layer: str(layer.args[2:] + tuple(layer.keywords.items())))
def test_convolutions_of_any_stride_dilation_and_groups_can_forget_their_input(layer, precision):
    """One at a time: in a network, the roundings of all others hide what one has wrong."""
    network = torch.nn.Sequential(layer()).requires_grad_(False)
    assert_forgets_alike(network, torch.rand(2, 4, 13, 12, generator=tiny.seeded()), precision)


@pytest.mark.parametrize('padding', [{'padding': 'same'}, {'padding': 1, 'padding_mode': 'reflect'}], ids=str)
def test_convolutions_that_pad_in_a_way_of_their_own_are_left_as_they_are(padding):
    network = torch.nn.Sequential(torch.nn.Conv2d(4, 8, 3, **padding)).requires_grad_(False)
    lq = torch.rand(2, 4, 9, 8, generator=tiny.seeded())
    expected = gradients(network, lq, 'fp32')
    discard_inputs(network)
    assert all(map(torch.equal, gradients(network, lq, 'fp32'), expected))


def test_the_way_through_a_frozen_network_keeps_less():
    network = tiny.edsr(2, num_feat=32, num_block=8).requires_grad_(False)
    lq = torch.rand(2, 3, 32, 32).requires_grad_()
    before = saved_bytes(lambda: network(lq))
    discard_inputs(network)
    one_map = 2 * 32 * 32 * 32 * 4
    # Of each block the input of its first convolution; what its ReLU gives is still kept, for the ReLU.
    assert before - saved_bytes(lambda: network(lq)) >= 8 * one_map


@pytest.mark.parametrize('norm', [torch.nn.utils.weight_norm, torch.nn.utils.parametrizations.weight_norm,
                                  torch.nn.utils.parametrizations.spectral_norm])
@pytest.mark.filterwarnings('ignore:.*weight_norm')
def test_layers_that_compute_their_weights_are_left_to_autocast(norm):
    network = torch.nn.Sequential(norm(torch.nn.Conv2d(3, 8, 3)), torch.nn.Conv2d(8, 3, 3)).eval()
    network.requires_grad_(False)
    lq = torch.rand(2, 3, 9, 9, generator=tiny.seeded())
    expected = gradients(network, lq, 'bf16')
    store_in_bf16(network)
    assert network[1].weight.dtype == torch.bfloat16
    assert all(map(torch.equal, gradients(network, lq, 'bf16'), expected))


def test_the_teacher_of_a_run_is_kept_so(tmp_path):
    model = runs.model(runs.options(tmp_path, precision='bf16'))
    convolutions = [module for module in model.net_t.modules() if isinstance(module, torch.nn.Conv2d)]
    ends = convolutions[0], convolutions[-1]
    assert {(type(module), module.weight.dtype) for module in ends} == {(FrozenFloat32Conv2d, torch.float32)}
    assert {(type(module), module.weight.dtype) for module in convolutions[1:-1]} == {(FrozenConv2d, torch.bfloat16)}
    assert not any(isinstance(module, FrozenConv2d) for module in model.net_g.modules())


def test_the_names_of_its_weights_stay():
    network = tiny.rcan(2)
    names = list(network.state_dict())
    discard_inputs(network)
    assert list(network.state_dict()) == names
