from types import SimpleNamespace

import pytest
import tiny
import torch
from torch import nn

from mipkd_arch import StagedView, StagedViewError, has_view, register_view, staged_view

from basicsr.archs.edsr_arch import EDSR
from basicsr.models.swinir_model import SwinIRModel

ALL = list(tiny.NETWORKS)
THREE = ['EDSR', 'RCAN', 'SwinIR']
NAMED_CUTS = {'EDSR': ['body.0', 'body.2'], 'RCAN': ['body.1'], 'SwinIR': ['layers.0', 'layers.2']}


def run_both(network, lq, cuts=3):
    """Outputs of the network and of its view, random choices (stochastic depth) alike."""
    outputs = []
    # The view runs first: BasicSR's forward moves the network's mean to where lq is, which a view must not rely on.
    for function in (staged_view(network, cuts), network):
        torch.manual_seed(1)
        outputs.append(function(lq))
    return outputs[::-1]


def one_line(error):
    message = str(error.value)
    assert '\n' not in message
    return message


@pytest.mark.parametrize('train', [True, False], ids=['train', 'eval'])
@pytest.mark.parametrize('name', ALL)
def test_a_view_runs_bit_for_bit_like_the_network(name, train):
    expected, output = run_both(tiny.NETWORKS[name]().train(train), torch.rand(2, 3, 16, 16))
    assert torch.equal(output, expected)


@pytest.mark.parametrize('upscale', [2, 3, 4])
@pytest.mark.parametrize('name', [name for name in ALL if name not in ('SwinIR_nearest', 'SwinIR_restoring')])
def test_a_view_runs_bit_for_bit_like_the_network_at_every_scale(name, upscale):
    network = tiny.NETWORKS[name](upscale).eval()
    expected, output = run_both(network, torch.rand(1, 3, 16, 16))
    assert torch.equal(output, expected)
    assert output.shape == (1, 3, 16 * upscale, 16 * upscale)
    assert staged_view(network).upscale == upscale


@pytest.mark.parametrize('name', ALL)
def test_a_view_runs_bit_for_bit_like_the_network_in_bfloat16_autocast(name):
    with torch.autocast('cpu', torch.bfloat16):
        expected, output = run_both(tiny.NETWORKS[name]().eval(), torch.rand(1, 3, 16, 16))
    assert output.dtype == expected.dtype
    assert torch.equal(output, expected)


@pytest.mark.parametrize('dtype', [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize('name', ALL)
def test_a_view_runs_bit_for_bit_like_a_network_of_another_dtype(name, dtype):
    expected, output = run_both(tiny.NETWORKS[name]().to(dtype).eval(), torch.rand(1, 3, 16, 16, dtype=dtype))
    assert output.dtype == expected.dtype == dtype
    assert torch.equal(output, expected)


@pytest.mark.parametrize('name', ALL)
def test_a_view_runs_bit_for_bit_like_the_network_in_channels_last(name):
    network = tiny.NETWORKS[name]().eval().to(memory_format=torch.channels_last)
    lq = torch.rand(2, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    expected, output = run_both(network, lq)
    assert torch.equal(output, expected)


@pytest.mark.parametrize('cuts', [1, 2, 3, 'named'])
@pytest.mark.parametrize('name', THREE)
def test_no_cut_changes_the_output(name, cuts):
    cuts = NAMED_CUTS[name] if cuts == 'named' else cuts
    expected, output = run_both(tiny.NETWORKS[name]().train(), torch.rand(1, 3, 16, 16), cuts)
    assert torch.equal(output, expected)


@pytest.mark.parametrize('size', [(7, 9), (8, 5), (1, 1)])
@pytest.mark.parametrize('name', ['EDSR', 'RCAN'])
def test_convolutional_views_take_lq_of_any_size(name, size):
    expected, output = run_both(tiny.NETWORKS[name]().eval(), torch.rand(1, 3, *size))
    assert torch.equal(output, expected)


@pytest.mark.parametrize('size', [(13, 10), (16, 9), (8, 20)])
@pytest.mark.parametrize('name, upscale', [('SwinIR', 2), ('SwinIR', 3), ('SwinIR', 1), ('SwinIR_direct', 2),
                                           ('SwinIR_direct', 3), ('SwinIR_restoring', 1)])
def test_a_swinir_view_pads_and_crops_odd_sizes_as_basicsr_does(name, size, upscale):
    network, lq = tiny.NETWORKS[name](upscale).eval(), torch.rand(1, 3, *size)
    model = SimpleNamespace(opt={'network_g': {'window_size': 4}, 'scale': upscale}, lq=lq, net_g=network)
    SwinIRModel.test(model)
    network.eval()
    output = staged_view(network, 3)(lq)
    assert output.shape == (1, 3, size[0] * upscale, size[1] * upscale)
    assert torch.equal(output, model.output)


def test_a_swinir_view_takes_images_too_small_to_be_padded_by_reflection():
    output = staged_view(tiny.swinir(2).eval())(torch.rand(1, 3, 2, 5))
    assert output.shape == (1, 3, 4, 10)


def test_a_swinir_view_knows_that_windows_shrink_to_a_small_img_size():
    network, lq = tiny.swinir(2, img_size=4, window_size=8).eval(), torch.rand(1, 3, 12, 4)
    expected, output = run_both(network, lq)
    assert staged_view(network).size_multiple == 4
    assert torch.equal(output, expected)


@pytest.mark.parametrize('name', ALL)
def test_gradients_through_a_view_are_those_through_the_network(name):
    network, lq = tiny.NETWORKS[name]().train(), torch.rand(2, 3, 16, 16)
    gradients = []
    for output in run_both(network, lq):
        network.zero_grad()
        output.square().sum().backward()
        gradients.append({key: p.grad.clone() for key, p in network.named_parameters()})
    for key, expected in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], expected, rtol=1e-6, atol=1e-6 * expected.abs().max().item())
    assert all(gradient.abs().max() > 0 for gradient in gradients[1].values())


@pytest.mark.parametrize('name', THREE)
def test_making_and_running_a_view_leaves_the_network_as_it_was(name):
    network = tiny.NETWORKS[name]().eval()

    def portrait():
        hooks = [hook for module in network.modules() for hook in (
            module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)]
        return (type(network), type(network).forward, sorted(vars(network)), list(network.state_dict()),
                [key for key, _ in network.named_modules()], [len(hook) for hook in hooks], network.training)

    before, weights = portrait(), {key: value.clone() for key, value in network.state_dict().items()}
    staged_view(network, 3)(torch.rand(1, 3, 16, 16))
    assert portrait() == before
    assert not any(portrait()[5])
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())


def test_a_view_sees_weights_that_change_after_it_was_made():
    network, lq = tiny.edsr().eval(), torch.rand(1, 3, 6, 6)
    view = staged_view(network, 3)
    network.load_state_dict(tiny.edsr().state_dict())
    assert torch.equal(view(lq), network(lq))


@pytest.mark.parametrize('cuts', [1, 2, 3])
@pytest.mark.parametrize('name', THREE)
def test_a_trace_has_one_map_per_position_at_lq_size(name, cuts):
    view = staged_view(tiny.NETWORKS[name]().eval(), cuts)
    passed = view.forward_features(torch.rand(2, 3, 8, 12))
    assert len(passed.features) == view.num_positions == cuts + 1
    assert all(feature.shape == (2, view.num_feat, 8, 12) for feature in passed.features)


@pytest.mark.parametrize('name', ALL)
def test_maps_in_a_trace_are_not_changed_by_what_runs_after_them(name):
    view, lq = staged_view(tiny.NETWORKS[name]().eval(), 3), torch.rand(1, 3, 16, 16)
    passed = view.forward_features(lq)
    feature = view.head(lq)
    assert torch.equal(passed.features[0], feature)
    for stage in range(3):
        feature = view.run_stage(stage, feature.clone())
        assert torch.equal(passed.features[stage + 1], feature)


@pytest.mark.parametrize('name', THREE)
def test_the_tail_gives_the_output_from_the_last_and_the_first_map(name):
    view = staged_view(tiny.NETWORKS[name]().eval(), 3)
    passed = view.forward_features(torch.rand(1, 3, 16, 16))
    assert torch.equal(view.finish(passed.features[-1], passed), passed.output)


def test_ten_groups_of_rcan_are_cut_in_three_after_the_third_and_the_seventh():
    view = staged_view(tiny.rcan(num_group=10), 3)
    assert [stage[-1] for stage in view.stages] == ['body.2', 'body.6', 'conv_after_body']


def test_thirty_two_blocks_of_edsr_are_cut_where_the_names_say():
    view = staged_view(tiny.edsr(num_feat=4, num_block=32), ['body.10', 'body.21'])
    assert [stage[-1] for stage in view.stages] == ['body.10', 'body.21', 'conv_after_body']
    assert [len(stage) for stage in view.stages] == [11, 11, 11]


@pytest.mark.parametrize('cuts', [1, 2, 3, 5, 7])
def test_a_number_of_stages_spreads_the_blocks_evenly_and_loses_none(cuts):
    view = staged_view(tiny.edsr(num_feat=4, num_block=7), cuts)
    lengths = [len(stage) for stage in view.stages[:-1]] + [len(view.stages[-1]) - 1]
    assert len(view.stages) == cuts
    assert max(lengths) - min(lengths) <= 1
    assert [name for stage in view.stages for name in stage] == list(view.blocks)


@pytest.mark.parametrize('name', THREE)
def test_blocks_are_named_as_in_named_modules(name):
    network = tiny.NETWORKS[name]()
    assert set(staged_view(network).blocks) <= set(dict(network.named_modules()))


@pytest.mark.parametrize('cuts', [4, 0, -1])
def test_a_number_of_stages_out_of_range_is_refused_with_the_range(cuts):
    with pytest.raises(StagedViewError) as error:
        staged_view(tiny.edsr(), cuts)
    message = one_line(error)
    assert 'EDSR' in message and f'{cuts} stages' in message and 'allowed are 1 to 3' in message


def test_an_unknown_block_name_is_refused_with_the_nearest_one():
    with pytest.raises(StagedViewError) as error:
        staged_view(tiny.edsr(), ['boddy.1'])
    message = one_line(error)
    assert "'boddy.1'" in message and "did you mean 'body.1'?" in message and 'body.0 to body.2' in message


def test_a_cut_after_the_last_block_is_refused():
    with pytest.raises(StagedViewError, match="no block 'conv_after_body' to cut after"):
        staged_view(tiny.edsr(), ['conv_after_body'])


@pytest.mark.parametrize('cuts', [['body.1', 'body.0'], ['body.1', 'body.1']])
def test_block_names_out_of_order_are_refused(cuts):
    with pytest.raises(StagedViewError) as error:
        staged_view(tiny.edsr(), cuts)
    assert 'in order' in one_line(error) and str(cuts) in one_line(error)


def test_a_class_without_a_view_is_refused_with_the_known_ones():
    network = nn.Conv2d(3, 3, 1)
    assert not has_view(network)
    with pytest.raises(StagedViewError) as error:
        staged_view(network)
    message = one_line(error)
    assert 'Conv2d' in message and all(name in message for name in THREE)


def test_a_second_view_for_a_class_is_refused():
    with pytest.raises(StagedViewError, match='EDSR already has a staged view: residual_cnn_view'):
        @register_view(EDSR)
        def another_view(net):
            return None
    assert staged_view(tiny.edsr()).num_feat == 8


def test_a_users_subclass_gets_the_view_of_its_base():
    class WideEDSR(EDSR):
        pass

    network = WideEDSR(3, 3, num_feat=8, num_block=3).eval()
    expected, output = run_both(network, torch.rand(1, 3, 6, 6))
    assert has_view(network)
    assert torch.equal(output, expected)


def test_a_users_own_network_works_once_its_view_is_registered():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 3, padding=1)
            self.trunk = nn.ModuleList(nn.Conv2d(6, 6, 3, padding=1) for _ in range(4))
            self.out = nn.Sequential(nn.Conv2d(6, 12, 3, padding=1), nn.PixelShuffle(2))

        def forward(self, x):
            shallow = deep = self.stem(x)
            for conv in self.trunk:
                deep = torch.relu(conv(deep))
            return self.out(deep + shallow)

    @register_view(Plain)
    def plain_view(net):
        blocks = {f'trunk.{i}': lambda x, conv=conv: torch.relu(conv(x)) for i, conv in enumerate(net.trunk)}
        return StagedView(net, net.stem, blocks, lambda deep, shallow: net.out(deep + shallow), num_feat=6, upscale=2)

    network = Plain()
    expected, output = run_both(network, torch.rand(1, 3, 5, 7), ['trunk.0', 'trunk.2'])
    assert torch.equal(output, expected)
    assert [len(stage) for stage in staged_view(network, ['trunk.0', 'trunk.2']).stages] == [1, 2, 1]
