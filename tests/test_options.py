"""The option files that are shipped, and what the checks say of broken ones."""
from copy import deepcopy

import pytest
import runs
import tiny
import torch

from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import FeaturePriorMixer
from mipkd_arch.staged_views import has_view, staged_view
from mipkd_model.config.checks import check_files, check_options, find_in_options, read_options
from mipkd_model.training.build import make_losses, make_schedules

from basicsr.archs import build_network

FILES = runs.ours('options', '**/*.yml')


def is_train(file):
    return file.name.startswith('train')


@pytest.fixture(params=FILES, ids=[str(file.relative_to(runs.ROOT / 'options')) for file in FILES])
def file(request):
    return request.param


def test_there_are_option_files():
    assert {'train_MiPKD_x4.yml', 'test_MiPKD_x4.yml', 'test_Teacher_EDSR_x4.yml'} <= {file.name for file in FILES}


def test_an_option_file_passes_the_checks(file):
    check_options(read_options(file), is_train(file))


def give_weights(block, folder, scale):
    """Write the file that a network of a block is read from: a small one of its kind, or random weights."""
    for teacher in block.get('teachers', {}).values():
        give_weights(teacher, folder, scale)
    if block.get('type') == 'SpandrelNetwork':
        block['file'] = str(tiny.dat_file(folder, scale))
    elif 'file' in block:
        network = build_network({name: value for name, value in block.items() if name != 'file'})
        block['file'] = str(folder / f'{block["type"]}.pth')
        torch.save({'params': network.state_dict()}, block['file'])


def test_the_networks_and_losses_of_an_option_file_are_built_and_cut(file, tmp_path):
    opt = read_options(file)
    train = opt.get('train', {})
    for label in ('g', 't'):
        give_weights(opt.get(f'network_{label}', {}), tmp_path, opt['scale'])
    views = {}
    for label in ('g', 't'):
        if f'network_{label}' in opt:
            network = build_network(opt[f'network_{label}'])
            if f'cuts_{label}' in train or has_view(network):
                views[label] = staged_view(network, train.get(f'cuts_{label}', 2))
                assert views[label].upscale == opt['scale']
    losses = make_losses(train) if is_train(file) else {}
    if is_train(file):
        assert losses and all(schedule.factor(1) > 0 for schedule in make_schedules(train, losses).values())
    if any(getattr(loss, 'needs_mixers', False) for loss in losses.values()):
        assert views['g'].num_positions == views['t'].num_positions
        FeaturePriorMixer(views['g'].num_feat, views['t'].num_feat, **train.get('mixer_opt', {}))


def test_metrics_are_those_of_the_papers(file):
    opt = read_options(file)
    for metric in opt['val']['metrics'].values():
        assert metric['test_y_channel'] is True and metric['crop_border'] == opt['scale']


def test_the_paper_pair_has_the_papers_sizes():
    opt = read_options(runs.ROOT / 'options/train_MiPKD_x4.yml')
    count = {label: sum(p.numel() for p in build_network(opt[f'network_{label}']).parameters()) for label in 'gt'}
    assert [round(count[label] / 1e6, 2) for label in 'tg'] == [43.09, 2.70]
    assert (opt['train']['total_iter'], opt['datasets']['train']['gt_size']) == (250000, 192)


@pytest.mark.parametrize('file', runs.ours('options', 'test_MiPKD*.yml'), ids=lambda file: file.name)
def test_a_test_file_builds_the_student_its_training_file_trains(file):
    test, train = read_options(file), read_options(file.with_name(file.name.replace('test_', 'train_')))
    assert test['network_g'] == train['network_g'] and test['scale'] == train['scale']
    assert test['path']['pretrain_network_g'] == f'experiments/{train["name"]}/models/net_g_latest.pth'


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    opt = runs.options(tmp_path_factory.mktemp('good'))
    check_options(opt, is_train=True)
    check_files(opt)
    return opt


@pytest.mark.parametrize('change, message', [
    (lambda o: o.pop('scale'), 'scale: missing; it needs an integer from 1 to 64'),
    (lambda o: o.update(modl_type=o.pop('model_type')), "model_type: missing (did you mean 'modl_type'?); it"),
    (lambda o: o.update(model_type='MiPKDModell'), "model_type: no 'MiPKDModell' is registered (did you mean 'MiPKDM"),
    (lambda o: o.update(path='x'), "path: 'x' is not a mapping"),
    (lambda o: o['network_g'].update(type='EDSRStuden'), "network_g.type: no 'EDSRStuden' is registered (did you mea"),
    (lambda o: o['network_g'].update(num_feats=3), "network_g.num_feats: EDSR has no such option (did you mean 'num_"),
    (lambda o: o['network_g'].pop('num_in_ch'), 'network_g.num_in_ch: missing, EDSR needs it'),
    (lambda o: o.update(network_t={'type': 'SwinIR', 'embed_dims': 60}), 'network_t.embed_dims: SwinIR has no such op'),
    (lambda o: o['train']['kd_opt'].update(type='L1Los'), "train.kd_opt.type: no 'L1Los' is registered (did you mean"),
    (lambda o: o['train'].update(mixer_opt={'latnet': 6}), 'train.mixer_opt.latnet: FeaturePriorMixer has no such opt'),
    (lambda o: o['train'].update(mixer_opt=6), 'train.mixer_opt: 6 is not a mapping'),
    (lambda o: o['train']['feature_prior_opt'].update(gian=1), "train.feature_prior_opt.gian: FeaturePriorLoss has no"),
    (lambda o: o['datasets'].pop('train'), 'datasets.train: missing, there is nothing to train on'),
    (lambda o: o['datasets'].update(val={}), 'datasets.val: needs a block with a type'),
    (lambda o: o['datasets'].update(vall={'type': 'x'}),
     'datasets.vall: is not a phase; allowed are train, val and val_<name>'),
    (lambda o: o.update(model_type='SRModel'), 'datasets.train.type: PairedSRDataset gives uint8 images, '),
    (lambda o: o['datasets']['train'].update(type='Paired'), "datasets.train.type: no 'Paired' is registered"),
])
def test_a_broken_option_is_one_line_with_its_path(good, change, message):
    opt = deepcopy(good)
    change(opt)
    with pytest.raises(UserError) as caught:
        check_options(opt, is_train=True)
    assert str(caught.value).startswith(message) and '\n' not in str(caught.value)


@pytest.mark.parametrize('change, message', [
    (lambda o: o.update(network_s={}), "network_s: nothing reads this option (did you mean 'network_"),
    (lambda o: o['train'].update(cut_g=3), "train.cut_g: nothing reads this option (did you mean 'cuts_g'?); known"),
    (lambda o: o['path'].update(pretrained_network_g=None), 'path.pretrained_network_g: nothing reads this option (di'),
    (lambda o: o['logger'].update(print_frequency=1), 'logger.print_frequency: nothing reads this option'),
    (lambda o: o['val'].update(metric={}), "val.metric: nothing reads this option (did you mean 'metrics'?); known"),
])
def test_a_key_that_nothing_reads_is_one_line_with_the_closest_known_one(good, change, message):
    opt = deepcopy(good)
    change(opt)
    with pytest.raises(UserError) as caught:
        check_options(opt, is_train=True)
    assert str(caught.value).startswith(message) and '\n' not in str(caught.value)


def test_keys_of_basicsrs_own_models_are_left_to_them(good):
    found = find_in_options({**good, 'model_type': 'SRGANModel', 'network_d': {'type': 'VGGStyleDiscriminator',
                                                                               'num_in_ch': 3, 'num_feat': 8}}, True)
    assert found.lines and all('PairedSRDataset gives uint8 images' in line for line in found.lines)


@pytest.mark.parametrize('change, message', [
    (lambda o: o['datasets']['train'].update(dataroot_gt='datasets/DIV2K/train_HR.lmdb'),
     'datasets.train.dataroot_gt: datasets/DIV2K/train_HR.lmdb is not there. Fetch and pack DIV2K: '
     'mipkd data div2k --scale 2'),
    (lambda o: o['datasets']['val'].update(dataroot_lq='datasets/benchmark/Set0/LR'),
     'datasets.val.dataroot_lq: datasets/benchmark/Set0/LR is not there. Fetch the benchmark sets: '
     'mipkd data benchmark'),
    (lambda o: o['datasets']['val'].update(dataroot_lq='photos/lq.lmdb'),
     'datasets.val.dataroot_lq: photos/lq.lmdb is not there. Pack folders: '),
    (lambda o: o['path'].update(pretrain_network_t='w/EDSR_Lx4_f256b32_DIV2K_official-76ee1c8f.pth'),
     'path.pretrain_network_t: w/EDSR_Lx4_f256b32_DIV2K_official-76ee1c8f.pth is not there. Fetch it: '
     'mipkd teacher get EDSR_Lx4 --out w'),
    (lambda o: o['path'].update(pretrain_network_g='mine.pth'),
     'path.pretrain_network_g: mine.pth is not there. Correct the path'),
    (lambda o: o['path'].update(pretrain_network_g='experiments/train_FAKD_EDSR_x2/models/net_g_latest.pth'),
     'path.pretrain_network_g: experiments/train_FAKD_EDSR_x2/models/net_g_latest.pth is not there. Train it first: '
     'mipkd train -opt options/train_FAKD_EDSR_x2.yml; that file is written by: '
     'mipkd options write --name train_FAKD_EDSR_x2 --out '
     'options/train_FAKD_EDSR_x2.yml'),
    (lambda o: o.update(network_t={'type': 'SpandrelNetwork', 'file': 'w/DAT_light_x2.pth'}),
     'network_t.file: w/DAT_light_x2.pth is not there. Fetch it: mipkd teacher get DAT_light_x2 --out w'),
    (lambda o: o['train'].update(csd_opt={'type': 'CSDLoss', 'weights': 'w/vgg19-dcbb9e9d.pth'}),
     'train.csd_opt.weights: w/vgg19-dcbb9e9d.pth is not there. Fetch it: mipkd teacher get VGG19 --out w'),
])
def test_a_missing_file_is_one_line_with_the_command_that_gets_it(good, change, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # elsewhere it may be there
    opt = deepcopy(good)
    change(opt)
    with pytest.raises(UserError) as caught:
        check_files(opt)
    assert str(caught.value).startswith(message) and '\n' not in str(caught.value)


@pytest.mark.parametrize('change, message', [
    (lambda o: [o.update(scale=3), o['datasets']['train'].update(gt_size=33)], 'would be 17x13'),
    (lambda o: o['datasets']['train'].update(gt_size=4096), 'smaller than gt_size 4096'),
])
def test_data_that_does_not_suit_the_options_is_found_before_training(good, change, message):
    opt = deepcopy(good)
    change(opt)
    with pytest.raises(UserError) as caught:
        check_files(opt)
    assert message in str(caught.value) and '\n' not in str(caught.value)


@pytest.mark.parametrize('text, message', [
    ('a: [1', 'line 1'), ('- 1\n- 2\n', 'is not an option file'), ('a: !!python/object/apply:os.getcwd []', 'line 1'),
    (b'\xff\xfe\x00', 'cannot be read'),
])
def test_a_file_that_is_no_option_file_is_refused(tmp_path, text, message):
    file = tmp_path / 'broken.yml'
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        read_options(file)
    assert message in str(caught.value) and str(file) in str(caught.value) and '\n' not in str(caught.value)
