"""Checkpoints of other code bases: renamed, their sizes read off the weights."""
from functools import partial

import pytest
import refusals
import tiny
import torch
import yaml
from torch.nn import functional as F

from mipkd_arch.base.checkpoint import WeightsError
from mipkd_arch.base.weights import load_weights
from mipkd_model.cli import main
from mipkd_model.networks.build import make_network
from mipkd_model.networks.convert import basicsr_names, convert_file, network_of

from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN

MEAN = torch.tensor([0.4488, 0.4371, 0.4040])
refusal = partial(refusals.refusal, kind=ValueError)


def edsr_pytorch(num_feat=6, num_block=3, upscale=4, rgb_range=255.):
    """Random weights as EDSR-PyTorch's EDSR has them: the convolutions by its names, and the two shifts."""
    shapes = {'head.0': (num_feat, 3), f'body.{num_block}': (num_feat, num_feat), 'tail.1': (3, num_feat)}
    for i in range(num_block):
        shapes |= {f'body.{i}.body.{j}': (num_feat, num_feat) for j in (0, 2)}
    for i, factor in enumerate([3] if upscale == 3 else [2] * (upscale // 2)):
        shapes[f'tail.0.{2 * i}'] = (num_feat * factor**2, num_feat)
    state = {}
    for layer, shape in shapes.items():
        state[f'{layer}.weight'] = torch.randn(*shape, 3, 3) * 0.2
        state[f'{layer}.bias'] = torch.randn(shape[0])
    for layer, sign in (('sub', -1), ('add', 1)):
        state[f'{layer}_mean.weight'] = torch.eye(3).view(3, 3, 1, 1)
        state[f'{layer}_mean.bias'] = sign * rgb_range * MEAN
    return state


def run_edsr_pytorch(state, image, num_block, res_scale):
    """EDSR-PyTorch's forward pass; image (N, 3, H, W) and the result in its rgb_range."""
    def conv(x, layer):
        weight = state[f'{layer}.weight'].double()
        return F.conv2d(x, weight, state[f'{layer}.bias'].double(), padding=weight.shape[-1] // 2)

    shallow = deep = conv(conv(image, 'sub_mean'), 'head.0')
    for i in range(num_block):
        deep = deep + res_scale * conv(conv(deep, f'body.{i}.body.0').relu(), f'body.{i}.body.2')
    image = conv(deep, f'body.{num_block}') + shallow
    for i in (0, 2):
        if f'tail.0.{i}.weight' in state:
            factor = round((state[f'tail.0.{i}.weight'].shape[0] / image.shape[1])**0.5)
            image = F.pixel_shuffle(conv(image, f'tail.0.{i}'), factor)
    return conv(conv(image, 'tail.1'), 'add_mean')


@pytest.mark.parametrize('upscale', [2, 3, 4])
@pytest.mark.parametrize('rgb_range', [255., 1.])
def test_a_converted_edsr_gives_what_it_gave_before(tmp_path, upscale, rgb_range):
    state = edsr_pytorch(upscale=upscale, rgb_range=rgb_range)
    torch.save(state, tmp_path / 'edsr.pt')
    block, assumed = convert_file(tmp_path / 'edsr.pt', tmp_path / 'out.pth', res_scale=0.3)
    assert assumed == [] and block['img_range'] == rgb_range
    network = EDSR(**{key: value for key, value in block.items() if key != 'type'})
    load_weights(network, tmp_path / 'out.pth')
    lq = torch.rand(1, 3, 7, 9, dtype=torch.float64)
    expected = run_edsr_pytorch(state, lq * rgb_range, 3, 0.3) / rgb_range
    assert torch.allclose(network.double()(lq), expected, atol=1e-5)


@pytest.mark.parametrize('upscale', [2, 3, 4])
def test_a_converted_rcan_gives_what_the_authors_network_gives(tmp_path, upscale):
    theirs = pytest.importorskip('spandrel.architectures.RCAN').RCAN(
        scale=upscale, n_resgroups=3, n_resblocks=2, n_feats=8, reduction=4)
    torch.save(theirs.state_dict(), tmp_path / 'RCAN.pt')
    block, _ = convert_file(tmp_path / 'RCAN.pt', tmp_path / 'out.pth')
    network = RCAN(**{key: value for key, value in block.items() if key != 'type'})
    load_weights(network, tmp_path / 'out.pth')
    lq = torch.rand(1, 3, 7, 9, dtype=torch.float64)
    assert torch.allclose(network.double()(lq), theirs.double()(lq.clone()), atol=1e-5)  # theirs scales its input


def built(block):
    return make_network({'network_t': block, 'path': {}}, 't')[0]


@pytest.mark.parametrize('make', tiny.NETWORKS.values(), ids=tiny.NETWORKS)
def test_sizes_are_read_off_the_weights_of_basicsrs_networks(make):
    network = make(4).eval()
    block, _ = network_of(network.state_dict())
    again = built({**block, 'res_scale': 0.1} if block['type'] == 'EDSR' else block).eval()
    again.load_state_dict(network.state_dict())
    lq = torch.rand(1, 3, 16, 16)
    assert torch.equal(again(lq), network(lq))


@pytest.mark.parametrize('upscale', [2, 3, 4, 8])
@pytest.mark.parametrize('name', ['EDSR', 'RCAN', 'SwinIR', 'SwinIR_direct'])
def test_the_factor_is_read_off_the_weights(name, upscale):
    assert network_of(tiny.NETWORKS[name](upscale).state_dict())[0]['upscale'] == upscale


def test_the_img_size_of_a_swinir_is_read_off_its_masks_and_left_out_without_them():
    state = tiny.swinir(img_size=12).state_dict()
    assert network_of(state)[0]['img_size'] == 12
    assert 'img_size' not in network_of({key: value for key, value in state.items() if 'attn_mask' not in key})[0]


def test_weights_of_a_swinir_load_into_one_of_another_img_size(tmp_path):
    network, other = tiny.swinir(img_size=48).eval(), tiny.swinir(img_size=16).eval()
    torch.save({'params': network.state_dict()}, tmp_path / 'swinir.pth')
    assert load_weights(other, tmp_path / 'swinir.pth') == ([], [])
    lq = torch.rand(1, 3, 20, 24)
    assert torch.equal(other(lq), network(lq))


@pytest.mark.parametrize('num_feat, res_scale', [(256, 0.1), (64, 1)])
def test_the_res_scale_of_an_edsr_is_guessed_by_its_width(num_feat, res_scale):
    block, assumed = network_of(EDSR(3, 3, num_feat=num_feat, num_block=1, upscale=2).state_dict())
    assert block['res_scale'] == res_scale and 'res_scale' in assumed


def test_other_names_are_left_as_they_are():
    state = {'head.0.weight': torch.zeros(1), 'another': torch.zeros(1)}
    assert basicsr_names(state, 'file') == (state, None)


def test_the_command_prints_what_belongs_into_the_option_file(tmp_path, capsys):
    torch.save({'model': edsr_pytorch()}, tmp_path / 'edsr_x4.pt')
    assert main(['teacher', 'convert', str(tmp_path / 'edsr_x4.pt')]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith('# not in the weights, assumed as usual: res_scale; --res-scale sets another')
    opt = yaml.safe_load(printed)
    assert opt['network_t'] == {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 6, 'num_block': 3,
                                'upscale': 4, 'res_scale': 1, 'img_range': 255., 'rgb_mean': [0.4488, 0.4371, 0.404]}
    assert opt['path'] == {'pretrain_network_t': str(tmp_path / 'edsr_x4_basicsr.pth')}
    content = torch.load(tmp_path / 'edsr_x4_basicsr.pth')
    assert content.keys() == {'params', 'network', 'scale'}
    assert (content['network'], content['scale']) == (opt['network_t'], 4)
    make_network(opt, 't')


def test_a_given_res_scale_is_taken(tmp_path, capsys):
    torch.save(edsr_pytorch(), tmp_path / 'a.pt')
    assert main(['teacher', 'convert', str(tmp_path / 'a.pt'), '--out', str(tmp_path / 'new/b.pth'), '--res-scale',
                 '0.5']) == 0
    assert yaml.safe_load(capsys.readouterr().out)['network_t']['res_scale'] == 0.5
    assert [file.name for file in (tmp_path / 'new').iterdir()] == ['b.pth']


@pytest.mark.parametrize('prefix', ['', 'model.'])
def test_names_of_edsr_pytorch_are_pointed_to_this_command_which_reads_them(tmp_path, prefix):
    torch.save({f'{prefix}{key}': value for key, value in edsr_pytorch().items()}, tmp_path / 'a.pt')
    message = refusal(load_weights, tiny.edsr(), tmp_path / 'a.pt')
    assert message.endswith(f'; rename them by: mipkd teacher convert {tmp_path / "a.pt"}')
    assert convert_file(tmp_path / 'a.pt', tmp_path / 'b.pth')[0]['type'] == 'EDSR'


def without(key):
    return {name: value for name, value in edsr_pytorch().items() if key not in name}


REFUSED = {
    'an unknown network': (lambda: {'conv.weight': torch.zeros(3)},
                           'is of no known network (it has conv.weight, ...); known are EDSR and RCAN'),
    'another mean': (lambda: edsr_pytorch() | {'sub_mean.bias': torch.full((3, ), -127.5)},
                     'sub_mean and add_mean are absent, or not those'),
    'no mean': (lambda: without('sub_mean'), 'sub_mean and add_mean are absent, or not those'),
    'a mean that is not added again': (lambda: edsr_pytorch() | {'add_mean.bias': torch.zeros(3)}, 'add_mean'),
    'a layer too many': (lambda: edsr_pytorch() | {'extra.weight': torch.zeros(3)},
                         'does not fit EDSR: 1 unknown to the network (first extra.weight)'),
    'a layer too few': (lambda: without('body.1.body.0.bias'),
                        'does not fit EDSR: 1 missing in the file (first body.1.conv1.bias)'),
    'known names of other shapes': (lambda: {key: torch.ones(1) for key in tiny.edsr().state_dict()},
                                    'is of no known network'),
    'a SwinIR of nearest+conv at x2': (
        lambda: {key: value for key, value in tiny.swinir(upsampler='nearest+conv').state_dict().items()
                 if 'conv_up2' not in key}, 'a variant of SwinIR that BasicSR does not have'),
}


@pytest.mark.parametrize('make, says', REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_converted_is_one_line_and_leaves_nothing(tmp_path, make, says):
    torch.save(make(), tmp_path / 'file.pt')
    message = refusal(convert_file, tmp_path / 'file.pt', tmp_path / 'out.pth', kind=WeightsError)
    assert message.startswith(f'{tmp_path / "file.pt"}: ') and says in message
    assert [file.name for file in tmp_path.iterdir()] == ['file.pt']


def test_an_unknown_network_is_pointed_to_spandrel(tmp_path):
    torch.save({'conv.weight': torch.zeros(3)}, tmp_path / 'file.pt')
    assert 'network_t: {type: SpandrelNetwork, file: ...}' in refusal(convert_file, tmp_path / 'file.pt',
                                                                      tmp_path / 'out.pth')


def test_a_file_that_is_there_is_not_overwritten(tmp_path):
    torch.save(edsr_pytorch(), tmp_path / 'a.pt')
    (tmp_path / 'b.pth').write_text('kept')
    assert '--out' in refusal(convert_file, tmp_path / 'a.pt', tmp_path / 'b.pth')
    assert (tmp_path / 'b.pth').read_text() == 'kept'


def test_a_res_scale_for_a_network_without_one_is_refused(tmp_path):
    torch.save(tiny.swinir().state_dict(), tmp_path / 'a.pt')
    assert 'SwinIR has no res_scale' in refusal(convert_file, tmp_path / 'a.pt', tmp_path / 'b.pth', res_scale=0.1)


def test_a_target_below_a_file_is_one_line(tmp_path):
    torch.save(edsr_pytorch(), tmp_path / 'a.pt')
    assert refusal(convert_file, tmp_path / 'a.pt', tmp_path / 'a.pt/b.pth').startswith(f'{tmp_path / "a.pt/b.pth"}: ')


def test_a_missing_file_is_one_line(tmp_path, capsys):
    assert main(['teacher', 'convert', str(tmp_path / 'absent.pt')]) == 1
    assert capsys.readouterr().err == f'error: {tmp_path / "absent.pt"}: no such checkpoint file\n'


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(tmp_path, capsys, monkeypatch):
    torch.save({'params': edsr_pytorch()}, tmp_path / 'x.pt')
    monkeypatch.setattr('os.access', lambda path, mode: False)
    assert main(['teacher', 'convert', str(tmp_path / 'x.pt')]) == 1
    why = f'cannot be written, for {tmp_path} is not a writable folder; set another place by --out'
    assert capsys.readouterr().err == f'error: {tmp_path}/x_basicsr.pth: {why}\n'
    assert main(['teacher', 'get', 'EDSR_Lx4', '--out', str(tmp_path / 'new')]) == 1
    assert 'set another place by --out' in capsys.readouterr().err and not (tmp_path / 'new').exists()
