"""Staged views of spandrel's architectures and of BasicSR's RRDBNet and Compact, against the networks themselves."""
import dataclasses

import pytest
import refusals
import runs
import torch
from more_networks import STUDENTS, TEACHERS, build
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.FDAT import FDAT
from spandrel.architectures.RCAN import RCAN

from mipkd_arch import StagedViewError, has_view, staged_view
from mipkd_arch.staged_views import NoStagedView, crop_to, pad_to_multiple
from mipkd_model.networks.build import _mistake_of_view

from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.utils.registry import ARCH_REGISTRY

NAMES = [*TEACHERS, *STUDENTS]
PADS_NOT = ('DRCT', )
"""Networks that leave it to others to pad their input to multiples of their window."""


def seeded(function, lq):
    torch.manual_seed(1)  # of dropout and stochastic depth
    return function(lq.clone()).detach()


@pytest.mark.parametrize('training', [False, True], ids=['eval', 'train'])
@pytest.mark.parametrize('name', NAMES)
def test_a_view_gives_the_image_of_its_network_bit_for_bit(name, training):
    network = build(name).train(training)
    for cuts in (1, 2):
        view = staged_view(network, cuts)
        for size in [(2, 16, 20), *([] if training else [(1, 16, 16)])]:
            lq = torch.rand(size[0], 3, *size[1:])
            assert torch.equal(seeded(view, lq), seeded(network, lq))


@pytest.mark.parametrize('name', [name for name in NAMES if name != 'RGT'])  # which takes no side below 16
def test_a_view_pads_as_its_network_does(name):
    network, lq = build(name).eval(), torch.rand(1, 3, 13, 11)
    view = staged_view(network)
    own = seeded(network, pad_to_multiple(lq, view.size_multiple) if name in PADS_NOT else lq)
    assert torch.equal(seeded(view, lq), crop_to(own, lq, view.upscale))


def test_a_view_pads_to_the_least_size_that_its_network_takes():
    network, lq = build('RGT').eval(), torch.rand(1, 3, 9, 20)
    view = staged_view(network)
    assert view.min_size == 16
    own = network(torch.nn.functional.pad(lq, (0, 0, 0, 7), 'reflect'))
    assert torch.equal(view(lq), crop_to(own, lq, 2))


@pytest.mark.parametrize('name', NAMES)
def test_features_have_the_declared_shape_and_no_block_writes_into_its_input(name):
    network, lq = build(name).eval(), torch.rand(1, 3, 16, 16)
    view = staged_view(network, 2)
    assert _mistake_of_view(view, network, lq, network(lq).detach()) is None
    passed = view.forward_features(lq)
    assert [tuple(feature.shape) for feature in passed.features] == [(1, view.num_feat, 16, 16)] * 3


@pytest.mark.parametrize('name', NAMES)
def test_blocks_are_named_as_modules_of_the_network(name):
    network = build(name)
    modules = dict(network.named_modules())
    assert all(block in modules for block in staged_view(network).blocks)


@pytest.mark.parametrize('name', NAMES)
def test_the_pass_can_be_continued_at_every_position(name):
    network, lq = build(name).eval(), torch.rand(1, 3, 16, 16)
    view = staged_view(network, 2)
    passed = view.forward_features(lq)
    for position, feature in enumerate(passed.features):
        assert torch.equal(view.finish_from(position, feature.clone(), passed), passed.output)


@pytest.mark.parametrize('recompute', [False, True])
def test_what_a_block_hands_to_the_tail_carries_the_gradient_of_the_pass_that_made_it(recompute):
    view = staged_view(build('SPAN').train(), 2)
    passed = view.forward_features(torch.rand(1, 3, 16, 16))
    assert set(passed.side) == {'block_1', 'block_6.c1_r'}
    if recompute:
        view = dataclasses.replace(view, activation_checkpointing=True)
    feature = passed.features[1].detach().requires_grad_()
    side = {}
    deep = view.run_stage(1, feature, side)
    assert set(side) == {'block_6.c1_r'}
    gradients = [torch.autograd.grad(view.finish(deep, passed, given).sum(), feature, retain_graph=True)[0]
                 for given in (None, side)]
    assert not torch.equal(*gradients)  # the inner feature of block_6 is a second way to the image
    assert not torch.allclose(gradients[1], torch.zeros(1))


@pytest.mark.parametrize('make, factor', [
    (lambda: ESRGAN(num_filters=8, num_blocks=2, scale=4, shuffle_factor=2, in_nc=12), 2),
    (lambda: FDAT(scale=2, embed_dim=16, num_groups=1, depth_per_group=1, num_heads=2, unshuffle_mod=True), 2),
    (lambda: RCAN(scale=2, n_resgroups=1, n_resblocks=1, n_feats=16, unshuffle_mod=True), 2),
    (lambda: RRDBNet(3, 3, scale=2, num_feat=8, num_block=2, num_grow_ch=4), None)])
def test_a_network_whose_features_are_smaller_than_lq_is_refused(make, factor):
    network = make()
    assert not has_view(network)
    message = refusals.refusal(staged_view, network, kind=NoStagedView)
    assert 'smaller than lq' in message and (factor is None or f'pixel unshuffle by {factor}' in message)


def test_a_tail_with_an_unknown_argument_is_refused():
    view = staged_view(build('SAFMN'))
    message = refusals.refusal(type(view), view.network, view.head, view.blocks, lambda deep, shallow, image: deep,
                               num_feat=16, upscale=2, kind=StagedViewError)
    assert message.endswith("tail with the argument 'image'; behind deep and shallow features it may have lq and side")


# ---------------------------------------------------------------- three steps of MiPKD

@ARCH_REGISTRY.register()
class TinyNetwork(torch.nn.Module):
    """A network of ``more_networks`` by its name; views look through what only wraps a network."""

    def __init__(self, *, name: str) -> None:
        super().__init__()
        self.wrapped = build(name)

    def forward(self, lq):
        return self.wrapped(lq)


def three_steps(folder, scale, **networks):
    """Train for three steps. Returns the model and its losses."""
    opt = runs.options(folder, losses=runs.LOSSES)
    for label in ('g', 't'):
        if label in networks:
            opt[f'network_{label}'] = {'type': 'TinyNetwork', 'name': networks[label]}
        else:
            opt[f'network_{label}']['upscale'] = scale
    opt['scale'] = scale
    torch.save({'params': ARCH_REGISTRY.get(opt['network_t']['type'])(
        **{key: value for key, value in opt['network_t'].items() if key != 'type'}).state_dict()},
        folder / 'teacher.pth')
    model = runs.model(opt)
    for iteration in range(1, 4):
        model.feed_data(runs.batch(2, 16, scale))
        model.optimize_parameters(iteration)
    losses = model.get_current_log()
    assert all(0 < value < float('inf') for value in losses.values()) and model.guard.consecutive == 0
    return model, list(losses)


@pytest.mark.parametrize('name', TEACHERS)
def test_every_teacher_teaches_an_edsr_by_mipkd(tmp_path, name):
    _, losses = three_steps(tmp_path, staged_view(build(name)).upscale, t=name)
    assert losses == ['l_pix', 'l_kd', 'l_feat', 'l_ae', 'l_block']


@pytest.mark.parametrize('name', STUDENTS)
def test_every_student_learns_from_an_edsr_by_mipkd(tmp_path, name):
    model, losses = three_steps(tmp_path, 2, g=name)
    assert losses == ['l_pix', 'l_kd', 'l_feat', 'l_ae', 'l_block']
    before, after = build(name).state_dict(), model.net_g.wrapped.state_dict()
    trained = {key for key, parameter in model.net_g.wrapped.named_parameters() if parameter.requires_grad}
    assert trained and all(not torch.equal(before[key], after[key]) for key in trained)
