"""What checkpoints say of their networks, and networks that are built of it."""
import pytest
import runs
import tiny
import torch
from refusals import refusal

import mipkd_model
from mipkd_arch import has_view, staged_view
from mipkd_arch.base.checkpoint import read_checkpoint
from mipkd_arch.base.errors import UserError
from mipkd_arch.base.network_record import network_record, recorded_network
from mipkd_arch.base.weights import load_weights
from mipkd_arch.spandrel_arch import SpandrelNetwork
from mipkd_model.cli import main
from mipkd_model.networks.build import make_network

from basicsr.archs import build_network
from basicsr.models.base_model import BaseModel

SWINIR = {'type': 'SwinIRStudent', 'img_size': 16, 'embed_dim': 12, 'depths': [2, 2], 'num_heads': [2, 2],
          'window_size': 8, 'upscale': 2}


def saved(folder, block, network=None, name='net_g_4.pth'):
    """Write a checkpoint of a network as trainings do. Returns the network and the file."""
    network = network or build_network(block)
    torch.save({'params': network.state_dict(), **network_record(block, block['upscale'])}, folder / name)
    return network.eval(), folder / name


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A model after a step, and the folder with what it has saved."""
    folder = tmp_path_factory.mktemp('record')
    opt = runs.options(folder, losses=('pixel_opt', ))
    opt['network_g'] = {'type': 'EDSRStudent', 'num_feat': 8, 'num_block': 4, 'upscale': 2, 'res_scale': 0.3}
    opt['path'].update(models=str(folder), training_states=str(folder))
    model = runs.model(opt)
    model.feed_data(runs.batch())
    model.optimize_parameters(1)
    model.save(0, 1)
    return model, folder


def test_checkpoints_and_states_of_a_training_name_the_whole_network(trained):
    _, folder = trained
    whole = {'type': 'EDSRStudent', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 4, 'upscale': 2,
             'res_scale': 0.3, 'img_range': 255., 'rgb_mean': [0.4488, 0.4371, 0.404]}
    for name in ('net_g_1.pth', '1.state'):
        content = torch.load(folder / name, weights_only=True)
        assert (content['network'], content['scale']) == (whole, 2)


def test_a_network_is_built_from_its_checkpoint_alone(trained):
    model, folder = trained
    lq = torch.rand(1, 3, 9, 7)
    for key, expected in ((None, model.net_g_ema), ('params', model.net_g)):
        network = mipkd_model.load_network(folder / 'net_g_1.pth', key)
        assert not network.training and type(network).__name__ == 'EDSRStudent'
        assert all(torch.equal(value, expected.state_dict()[key]) for key, value in network.state_dict().items())
        with torch.no_grad():  # those of the model are laid out pixel by pixel, for which other kernels run
            torch.testing.assert_close(network(lq), expected.eval()(lq), rtol=1e-5, atol=1e-5)
    model.net_g.train()


def test_basicsrs_loader_takes_no_notice_of_what_stands_beside_the_weights(trained):
    model, folder = trained
    network = build_network({**runs.FAMILIES['EDSR'], 'num_block': 4, 'res_scale': 0.3})
    loader = BaseModel({'num_gpu': 0, 'is_train': False, 'dist': False})
    loader.load_network(network, str(folder / 'net_g_1.pth'), True, 'params')
    assert all(torch.equal(value, model.net_g.state_dict()[key]) for key, value in network.state_dict().items())


def test_spandrel_opens_a_swinir_student_as_before(tmp_path):
    spandrel = pytest.importorskip('spandrel')
    network, file = saved(tmp_path, SWINIR)
    opened = spandrel.ModelLoader(device='cpu').load_from_file(file)
    lq = torch.rand(1, 3, 16, 24)
    with torch.no_grad():
        # The same operations in another order of the same code base, each of them exact to float32's rounding.
        torch.testing.assert_close(opened(lq), network(lq).clamp(0, 1), rtol=1e-4, atol=1e-5)
    assert opened.scale == 2


def test_a_checkpoint_that_names_its_network_is_a_teacher_by_its_file_alone(tmp_path):
    network, file = saved(tmp_path, SWINIR)
    opened, lq = SpandrelNetwork(file=str(file)).eval(), torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(opened(lq), network(lq))
        assert torch.equal(staged_view(opened, 2)(lq), network(lq))
    assert has_view(opened) and opened.upscale == 2


def test_converted_weights_name_their_network(tmp_path, capsys):
    source = tiny.rcan(2).eval()
    torch.save(source.state_dict(), tmp_path / 'a.pt')
    assert main(['teacher', 'convert', str(tmp_path / 'a.pt'), '--out', str(tmp_path / 'b.pth')]) == 0
    lq = torch.rand(1, 3, 6, 5)
    with torch.no_grad():
        assert torch.equal(mipkd_model.load_network(tmp_path / 'b.pth')(lq), source(lq))


@pytest.mark.parametrize('change, says', [
    ({'num_feat': 16}, 'network_t.num_feat: 16, but the weights of'),
    ({'res_scale': 1}, 'are those of a network of res_scale: 0.1; set that'),
    ({'rgb_mean': [0.5, 0.5, 0.5]}, 'of rgb_mean: [0.4488, 0.4371, 0.404]; set that'),
    ({'type': 'MSRResNet'}, 'network_t.type: MSRResNet, but')])
def test_options_that_contradict_the_checkpoint_are_named(tmp_path, change, says):
    block = runs.FAMILIES['EDSR']
    _, file = saved(tmp_path, block)
    options = {**block, **change}
    if 'type' in change:
        options = {'type': 'MSRResNet', 'num_feat': 8, 'num_block': 3, 'upscale': 2}
    opt = {'network_t': options, 'path': {'pretrain_network_t': str(file)}}
    message = refusal(make_network, opt, 't', kind=UserError)
    assert message.startswith('network_t.') and says in message and str(file) in message


def test_students_and_their_bases_and_what_training_alone_needs_do_not_contradict(tmp_path):
    _, file = saved(tmp_path, SWINIR)
    block = {**SWINIR, 'type': 'SwinIR', 'drop_path_rate': 0., 'img_size': 24, 'mlp_ratio': 2, 'img_range': 1,
             'upsampler': 'pixelshuffle'}
    make_network({'network_g': block, 'path': {'pretrain_network_g': str(file)}}, 'g')


def test_a_student_may_start_from_one_of_other_sizes_where_it_is_not_strict(tmp_path):
    _, file = saved(tmp_path, runs.FAMILIES['EDSR'])
    opt = {'network_g': {**runs.FAMILIES['EDSR'], 'upscale': 4},
           'path': {'pretrain_network_g': str(file), 'strict_load_g': False}}
    _, report = make_network(opt, 'g')
    assert 'keep their initial values' in report


@pytest.mark.parametrize('record', [{}, {'network': 5}, {'network': {'type': 'Absent'}, 'scale': 2},
                                    {'network': {'type': 'SpandrelNetwork', 'file': 'x'}, 'scale': 2}], ids=str)
def test_a_file_that_names_no_network_loads_as_before(tmp_path, record):
    network = tiny.edsr()
    torch.save({'params': network.state_dict(), **record}, tmp_path / 'net.pth')
    assert load_weights(tiny.edsr(), tmp_path / 'net.pth') == ([], [])
    assert recorded_network(read_checkpoint(tmp_path / 'net.pth')) is None
    assert 'does not record of which network' in refusal(mipkd_model.load_network, tmp_path / 'net.pth', kind=UserError)


def test_weights_that_are_not_of_the_network_that_a_file_names_are_one_line(tmp_path):
    _, file = saved(tmp_path, runs.FAMILIES['EDSR'], tiny.edsr(2, num_feat=12))
    for function in (mipkd_model.load_network, lambda file: SpandrelNetwork(file=str(file))):
        assert str(file) in refusal(function, file, kind=UserError)
