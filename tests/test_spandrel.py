"""Teachers that the spandrel library opens: their images, their staged views, their runs, and what is refused."""
import sys

import pytest
import refusals
import runs
import tiny
import torch
from safetensors.torch import save_file

from mipkd_arch import has_view, staged_view, staged_views
from mipkd_arch.base.errors import UserError
from mipkd_arch.spandrel_arch import SpandrelNetwork
from mipkd_model.config.checks import check_networks, check_options

spandrel = pytest.importorskip('spandrel', reason='spandrel is not installed')

from spandrel.architectures.Compact import Compact  # noqa: E402
from spandrel.architectures.DAT import DAT  # noqa: E402

SIZES = {'embed_dim': 32, 'split_size': [2, 4], 'expansion_factor': 2.}
KINDS = {
    'light': {'img_size': 16, 'depth': [4], 'num_heads': [2], 'resi_connection': '3conv',
              'upsampler': 'pixelshuffledirect'},
    # spandrel takes an img_size of 64 for granted where a group has two blocks only.
    'groups': {'img_size': 64, 'depth': [2, 2], 'num_heads': [2, 2], 'upsampler': 'pixelshuffle'},
}
CUTS = {'light': [1, 2, 3, 4, ['layers.0.blocks.0', 'layers.0.blocks.2'], ['layers.0.blocks.3']],
        'groups': [1, 2, ['layers.0'], ['layers.0', 'layers.1']]}


def save(network, file):
    torch.save({'params': network.state_dict()}, file)
    return str(file)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('spandrel')


@pytest.fixture(scope='module')
def dat(folder):
    """A function of kind and upscale: spandrel's network in eval mode, and its file."""
    made = {}

    def make(kind, upscale=2):
        if (kind, upscale) not in made:
            torch.manual_seed(0)
            network = DAT(**SIZES, **KINDS[kind], upscale=upscale)
            for module in network.modules():
                if isinstance(module, torch.nn.BatchNorm2d):  # as after training
                    torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
                    torch.nn.init.uniform_(module.running_var, 0.5, 2)
            made[kind, upscale] = network.eval(), save(network, folder / f'{kind}{upscale}.pth')
        return made[kind, upscale]

    return make


@pytest.mark.parametrize('upscale', [2, 3, 4])
@pytest.mark.parametrize('kind', KINDS)
def test_a_file_alone_gives_the_network_that_was_saved(dat, kind, upscale):
    expected, file = dat(kind, upscale)
    network, lq = SpandrelNetwork(file=file).eval(), torch.rand(2, 3, 18, 21)
    with torch.no_grad():
        assert torch.equal(network(lq), expected(lq))
    assert network.upscale == upscale and SpandrelNetwork.brings_weights
    assert all(torch.equal(value, expected.state_dict()[key.removeprefix('wrapped.')])
               for key, value in network.state_dict().items())


def view_and_network(network, lq, cuts):
    with torch.no_grad():
        # The view runs first: DAT's forward moves the network's mean to where lq is, which a view must not rely on.
        return staged_view(network, cuts)(lq), network(lq)


@pytest.mark.parametrize('size', [(16, 16), (18, 21), (32, 17)])
@pytest.mark.parametrize('upscale', [2, 3, 4])
@pytest.mark.parametrize('batch', [1, 2])
@pytest.mark.parametrize('kind', KINDS)
def test_a_view_runs_bit_for_bit_like_the_network(dat, kind, batch, upscale, size):
    network = SpandrelNetwork(file=dat(kind, upscale)[1]).eval()
    output, expected = view_and_network(network, torch.rand(batch, 3, *size), 2)
    assert output.shape == (batch, 3, upscale * size[0], upscale * size[1])
    assert torch.equal(output, expected) and staged_view(network).upscale == upscale


@pytest.mark.parametrize('size', [(12, 12), (3, 20)])
@pytest.mark.parametrize('kind', KINDS)
def test_a_view_runs_bit_for_bit_like_the_network_below_its_minimum_size(dat, kind, size):
    output, expected = view_and_network(SpandrelNetwork(file=dat(kind)[1]).eval(), torch.rand(1, 3, *size), 2)
    assert torch.equal(output, expected)


@pytest.mark.parametrize('kind, cuts', [(kind, cuts) for kind in CUTS for cuts in CUTS[kind]], ids=str)
def test_no_cut_changes_the_output_and_all_maps_are_of_lq_size(dat, kind, cuts):
    network, lq = SpandrelNetwork(file=dat(kind)[1]).eval(), torch.rand(2, 3, 16, 20)
    output, expected = view_and_network(network, lq, cuts)
    assert torch.equal(output, expected)
    view = staged_view(network, cuts)
    maps = view.forward_features(lq).features
    assert len(maps) == view.num_positions == (cuts if isinstance(cuts, int) else len(cuts) + 1) + 1
    assert all(feature.shape == (2, 32, 16, 20) for feature in maps) and view.num_feat == 32


def test_a_view_trains_and_autocasts_like_the_network(dat):
    network, lq = SpandrelNetwork(file=dat('light')[1]), torch.rand(2, 3, 16, 16)
    outputs = []
    for function in (staged_view(network.train(), 3), network):
        torch.manual_seed(1)  # stochastic depth
        outputs.append(function(lq))
    assert torch.equal(*outputs)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(*view_and_network(network.eval(), lq, 3))


@pytest.mark.parametrize('kind', KINDS)
def test_maps_in_a_trace_are_not_changed_by_what_runs_after_them(dat, kind):
    view, lq = staged_view(SpandrelNetwork(file=dat(kind)[1]).eval(), 2), torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        passed, feature = view.forward_features(lq), view.head(lq)
        for stage, found in enumerate(passed.features[1:]):
            feature = view.run_stage(stage, feature.clone())
            assert torch.equal(found, feature)
        assert torch.equal(view.finish(feature, passed), passed.output)


def test_more_stages_than_blocks_are_refused(dat):
    network = SpandrelNetwork(file=dat('light')[1])
    message = refusals.refusal(staged_view, network, 5, kind=UserError)
    assert message.startswith('DAT has 4 blocks to cut and cannot have 5 stages')


# ---------------------------------------------------------------- runs

def options(folder, file, losses=(), **train):
    opt = runs.options(folder, losses=losses, **train)
    opt['network_t'] = {'type': 'SpandrelNetwork', 'file': str(file)}
    opt['path']['pretrain_network_t'] = None
    opt['datasets']['train']['batch_size_per_gpu'] = 3
    return opt


def trained(opt, steps=3):
    check_options(opt, is_train=True)
    check_networks(opt, is_train=True)
    model = runs.model(opt)
    before = {key: value.clone() for key, value in model.net_t.state_dict().items()}
    for iteration in range(1, steps + 1):
        model.feed_data(runs.batch(3, side=16))
        model.optimize_parameters(iteration)
    assert all(torch.equal(value, before[key]) for key, value in model.net_t.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in model.net_t.parameters())
    log = model.get_current_log()
    assert all(0 < value < float('inf') for value in log.values())
    assert model.net_g.conv_first.weight.grad.abs().max() > 0
    return list(log)


@pytest.mark.parametrize('kind', KINDS)
def test_dat_teaches_an_edsr_by_mipkd_and_by_all_losses_on_maps(folder, dat, kind):
    file = dat(kind)[1]
    assert trained(options(folder, file, runs.LOSSES)) == ['l_pix', 'l_kd', 'l_feat', 'l_ae', 'l_block']
    blocks = {f'{name.lower()}_opt': {'type': f'{name}Loss'} for name in ('FAKD', 'AT', 'FitNet', 'RKD', 'CrossKD')}
    assert trained(options(folder, file, **blocks)) == ['l_fakd', 'l_at', 'l_fitnet', 'l_rkd', 'l_crosskd']


@pytest.mark.parametrize('kind', KINDS)
def test_the_block_prior_alone_reaches_the_student_through_a_frozen_dat(folder, dat, kind):
    losses = trained(options(folder, dat(kind)[1], block_prior_opt={'type': 'BlockPriorLoss', 'student_prob': 0}), 1)
    assert losses == ['l_block']


@pytest.fixture
def compact(folder, monkeypatch):
    """The file of a network that has no staged view."""
    monkeypatch.delitem(staged_views.VIEWS, Compact)
    return save(Compact(num_feat=8, num_conv=1, upscale=2), folder / 'compact.pth')


@pytest.mark.parametrize('size', [(9, 13), (15, 40), (3, 5), (1, 30)])
@pytest.mark.parametrize('requirements', [{'minimum': 16}, {'multiple_of': 8}, {'minimum': 16, 'square': True}],
                         ids=str)
def test_an_input_of_another_size_is_padded_and_its_image_cropped_as_by_spandrel(compact, size, requirements):
    network, lq = SpandrelNetwork(file=compact).eval(), torch.rand(1, 3, *size)
    opened = spandrel.ModelLoader(device='cpu').load_from_file(compact).eval()
    network.size_requirements = opened.size_requirements = spandrel.SizeRequirements(**requirements)
    with torch.no_grad():
        image = network(lq)
        assert torch.equal(image.clamp(0, 1), opened(lq))
    assert image.shape == (1, 3, 2 * size[0], 2 * size[1])


def test_a_network_without_a_staged_view_serves_losses_on_images(folder, compact):
    assert not has_view(SpandrelNetwork(file=compact))
    opt = options(folder, compact, ('pixel_opt', 'kd_opt'), dukd_opt={'type': 'DUKDLoss'})
    assert trained(opt) == ['l_pix', 'l_kd', 'l_zoom_in', 'l_zoom_out']


# ---------------------------------------------------------------- what is refused

def refused(opt):
    check_options(opt, is_train=True)
    return refusals.refusal(check_networks, opt, is_train=True, kind=UserError)


def test_a_network_without_a_staged_view_is_refused_for_a_loss_on_maps(folder, compact):
    message = refused(options(folder, compact, ('pixel_opt', ), fakd_opt={'type': 'FAKDLoss'}))
    assert message.startswith('network_t: train.fakd_opt reads features, but no staged view is registered for')
    assert 'images alone take any network' in message


def test_weights_in_the_option_file_are_refused_for_a_network_that_brings_its_own(folder, dat):
    opt = options(folder, dat('light')[1], ('kd_opt', ))
    opt['path']['pretrain_network_t'] = 'teacher.pth'
    message = refusals.refusal(check_networks, opt, is_train=True, kind=UserError)
    assert message.startswith('path.pretrain_network_t: teacher.pth: SpandrelNetwork brings its weights by '
                              'network_t.file')


def test_an_option_file_without_the_file_is_refused(folder):
    opt = options(folder, '', ('kd_opt', ))
    del opt['network_t']['file']
    message = refusals.refusal(check_options, opt, is_train=True, kind=UserError)
    assert message.startswith('network_t.file: missing, SpandrelNetwork needs it')


@pytest.mark.parametrize('losses', [('kd_opt', ), ('block_prior_opt', )], ids='-'.join)
def test_a_network_of_another_scale_is_refused(folder, dat, losses):
    assert refused(options(folder, dat('light', 4)[1], losses)).startswith('network_t.upscale: 4 is not the scale: 2')


def unknown(file):
    torch.save({'params': {'some.weight': torch.ones(3), 'other.bias': torch.ones(2)}}, file)


def truncated(file):
    save(tiny.edsr(), file)
    file.write_bytes(file.read_bytes()[:2000])


@pytest.mark.parametrize('make, hint', [
    (lambda file: None, 'no such checkpoint file'), (lambda file: file.mkdir(), 'no such checkpoint file'),
    (lambda file: file.write_text('not found\n' * 9), 'cannot be read as a checkpoint'),
    (truncated, 'cannot be read as a checkpoint'), (unknown, 'cannot open it'),
    (lambda file: save(Compact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=1, upscale=2), file), 'RGB')],
    ids=['missing', 'folder', 'text', 'truncated', 'unknown', 'grey'])
def test_a_file_that_is_no_teacher_is_one_line(tmp_path, make, hint):
    file = tmp_path / 'some.pth'
    make(file)
    message = refusals.refusal(SpandrelNetwork, file=str(file), kind=UserError)
    assert message.startswith(f'{file}: ') and hint in message


@pytest.mark.filterwarnings('ignore')
def test_a_torchscript_program_is_refused_and_not_run(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / 'some.pt'))
    message = refusals.refusal(SpandrelNetwork, file=str(tmp_path / 'some.pt'), kind=UserError)
    assert 'holds a TorchScript program, which is neither' in message


@pytest.mark.parametrize('prefix, wrapper', [('', None), ('netG.', 'net'), ('module.', 'params-ema'),
                                             ('model.', 'state_dict')])
def test_a_file_of_safetensors_or_with_names_of_other_trainers_opens(dat, tmp_path, prefix, wrapper):
    network, lq = dat('light')[0], torch.rand(1, 3, 16, 16)
    weights = {f'{prefix}{key}': value.clone() for key, value in network.state_dict().items()}
    if wrapper:
        torch.save({wrapper: weights}, tmp_path / 'some.pth')
    else:
        save_file(weights, tmp_path / 'some.pth')
    with torch.no_grad():
        assert torch.equal(SpandrelNetwork(file=str(tmp_path / 'some.pth')).eval()(lq), network(lq))


def test_without_spandrel_one_line_says_how_to_install_it(dat, monkeypatch):
    monkeypatch.setitem(sys.modules, 'spandrel', None)
    message = refusals.refusal(SpandrelNetwork, file=dat('light')[1], kind=UserError)
    assert message.endswith('needs the spandrel library (spandrel is missing): pip install spandrel')


# ---------------------------------------------------------------- what spandrel does around a network


def descriptor(network, tmp_path):
    """The file of a network's weights, and what spandrel makes of it."""
    torch.save(network.state_dict(), tmp_path / 'some.pth')
    return str(tmp_path / 'some.pth'), spandrel.ModelLoader(device='cpu').load_from_file(tmp_path / 'some.pth').eval()


def dehaze():
    from spandrel.architectures.MixDehazeNet import MixDehazeNet
    return MixDehazeNet(embed_dims=[8, 16, 32, 16, 8], depths=[1, 1, 1, 1, 1])


def mm_realsr():
    from spandrel.architectures.MMRealSR import MMRealSR
    return MMRealSR(num_in_ch=3, num_out_ch=3, scale=4, num_feat=16, num_block=1, num_grow_ch=8)


def denoiser():
    from spandrel.architectures.DRUNet import DRUNet
    return DRUNet(in_nc=4, out_nc=3, nc=[8, 8, 8, 8], nb=2)


def seemore():
    from spandrel.architectures.SeemoRe import SeemoRe
    return SeemoRe(scale=2)


def writing():
    from spandrel.architectures.RCAN import RCAN
    return RCAN(scale=2, n_resgroups=1, n_resblocks=1, n_feats=16, reduction=4)


def enlightening():
    from spandrel.architectures.RetinexFormer import RetinexFormer
    return RetinexFormer(n_feat=8, num_blocks=[1, 1, 1])


@pytest.mark.parametrize('make', [dehaze, mm_realsr, denoiser, seemore, writing, enlightening])
def test_a_network_gives_what_spandrel_gives_for_a_batch_too(tmp_path, make):
    file, opened = descriptor(make(), tmp_path)
    network, lq = SpandrelNetwork(file=file).eval(), torch.rand(2, 3, 17, 22)
    before = lq.clone()
    expected = torch.cat([opened(image.clone()) for image in lq.split(1)])
    with torch.no_grad():
        found = network(lq).clamp(0, 1)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)  # a batch is rounded in another order
    assert torch.equal(lq, before)


def test_a_gradient_goes_through_what_spandrel_does_around_a_network(tmp_path):
    network, lq = SpandrelNetwork(file=descriptor(dehaze(), tmp_path)[0]).eval(), torch.rand(1, 3, 40, 40)
    network(lq.requires_grad_()).mean().backward()
    assert lq.grad.abs().max() > 0


@pytest.mark.parametrize('make', [seemore, writing])
def test_networks_made_for_one_image_and_those_that_write_into_it_teach(folder, tmp_path, make):
    opt = options(folder, descriptor(make(), tmp_path)[0], ('pixel_opt', 'kd_opt'))
    assert trained(opt, 1) == ['l_pix', 'l_kd']
