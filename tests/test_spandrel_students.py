"""Students of spandrel's classes: their published sizes, their checkpoints in spandrel, and training by option file."""
import sys

import pytest
import refusals
import runs
import torch

from mipkd_arch import staged_view
from mipkd_arch.base.errors import UserError
from mipkd_arch.spandrel_students_arch import NAMES, SPAN
from mipkd_model import load_network
from mipkd_model.config.checks import check_networks, check_options

from basicsr.utils.registry import ARCH_REGISTRY

spandrel = pytest.importorskip('spandrel', reason='spandrel is not installed')
TINY = {'SPAN': {'feature_channels': 8, 'upscale': 2}, 'MoSR': {'dim': 8, 'n_block': 3, 'upscale': 2},
        'PLKSR': {'dim': 16, 'n_blocks': 3, 'kernel_size': 5, 'upscaling_factor': 2},
        'RealPLKSR': {'dim': 16, 'n_blocks': 3, 'kernel_size': 5, 'upscaling_factor': 2},
        'SAFMN': {'dim': 8, 'n_blocks': 3, 'upscaling_factor': 2},
        'CompactStudent': {'num_feat': 8, 'num_conv': 3, 'upscale': 2}}


@pytest.mark.parametrize('name, sizes, millions', [
    ('SPAN', {}, 2.24), ('PLKSR', {}, 7.39), ('PLKSR', {'n_blocks': 12, 'kernel_size': 13, 'use_ea': False}, 2.37),
    ('RealPLKSR', {}, 7.39), ('SAFMN', {}, 0.24), ('MoSR', {}, 4.29)])
def test_the_defaults_are_the_published_sizes_at_x4(name, sizes, millions):
    network = ARCH_REGISTRY.get(name)(**sizes)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 2) == millions
    assert staged_view(network).upscale == 4


def trained(folder, name, losses=tuple(runs.LOSSES)):
    """The checkpoint of a student that was trained for two iterations, and its model."""
    opt = runs.options(folder, losses=losses)
    opt['network_g'] = {'type': name, **TINY[name]}
    check_options(opt, is_train=True)
    check_networks(opt, is_train=True)
    for part in ('models', 'training_states'):
        opt['path'][part] = str(folder / part)
        (folder / part).mkdir()
    model = runs.model(opt)
    for iteration in (1, 2):
        model.feed_data(runs.batch())
        model.optimize_parameters(iteration)
    model.save(0, 2)
    return folder / 'models' / 'net_g_2.pth', model


@pytest.mark.parametrize('name', TINY)
def test_a_trained_student_opens_in_spandrel_and_by_its_checkpoint_alone(tmp_path, name):
    file, model = trained(tmp_path, name)
    lq, expected = torch.rand(1, 3, 17, 20), model.net_g_ema.eval()
    opened = spandrel.ModelLoader(device='cpu').load_from_file(str(file)).model.eval()
    with torch.no_grad():
        image, tolerance = expected(lq.clone()), 1e-4  # of another memory format
        for network in (opened, load_network(str(file))):
            assert torch.allclose(network(lq.clone()), image, rtol=tolerance, atol=tolerance * image.abs().max().item())


def test_the_convolutions_of_span_train_as_sums_and_are_one_in_eval_mode():
    torch.manual_seed(0)
    network, lq = SPAN(feature_channels=8, upscale=2), torch.rand(1, 3, 12, 12)
    computed = {key for key, parameter in network.named_parameters() if not parameter.requires_grad}
    assert computed and all('.eval_conv.' in key for key in computed)
    with torch.no_grad():
        image = network.train()(lq)
        assert torch.allclose(network.eval()(lq), image, atol=1e-4 * image.abs().max().item())
    network.train()(lq).mean().backward()
    assert all((parameter.grad is None) == (key in computed) for key, parameter in network.named_parameters())


def test_the_average_of_span_is_folded_from_averaged_weights(tmp_path):
    model = trained(tmp_path, 'SPAN')[1]
    average, lq = model.net_g_ema, torch.rand(1, 3, 12, 12)
    with torch.no_grad():
        image = average.eval()(lq)
        assert torch.allclose(average.train()(lq), image, atol=1e-4 * image.abs().max().item())


@pytest.mark.parametrize('name', NAMES)
def test_a_misspelled_argument_is_refused(tmp_path, name):
    opt = runs.options(tmp_path)
    opt['network_g'] = {'type': name, **TINY[name], 'num_blocks': 3}
    assert f'network_g.num_blocks: {name} has no such option' in refusals.refusal(
        check_options, opt, is_train=True, kind=UserError)


def test_without_spandrel_a_student_says_how_to_install_it(monkeypatch):
    import importlib

    from mipkd_arch import spandrel_students_arch as module
    monkeypatch.setitem(sys.modules, 'spandrel.architectures', None)
    monkeypatch.setattr(ARCH_REGISTRY, '_obj_map', {})
    try:
        importlib.reload(module)
        message = refusals.refusal(ARCH_REGISTRY.get('SPAN'), kind=UserError)
    finally:
        monkeypatch.undo()
        monkeypatch.setattr(ARCH_REGISTRY, '_obj_map', {key: value for key, value in ARCH_REGISTRY._obj_map.items()
                                                        if key not in NAMES})
        importlib.reload(module)
    assert message == 'network_g.type: SPAN needs the spandrel library: pip install spandrel'
