"""Images that keep their size, with noise or JPEG artifacts: networks, data, training, validation and test at x1."""
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import runs
import tiny
import torch
from methods import refused
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.cli import main
from mipkd_model.config.checks import check_networks, check_options
from mipkd_model.data.folders import image_files
from mipkd_model.data.prepare.pack import pack_pairs
from mipkd_model.data.prepare.verify import Pair, verify
from mipkd_model.evaluation.records import read_record
from mipkd_model.networks.convert import convert_file

from basicsr.archs import build_network
from basicsr.data import build_dataset
from basicsr.metrics import calculate_psnr

SWINIR = {key: list(value) if isinstance(value, tuple) else value for key, value in tiny.SWINIR_SIZES.items()}
NETWORKS = {
    'EDSR': {'type': 'EDSR', **tiny.EDSR_SIZES, 'upscale': 1},
    'RCAN': {'type': 'RCAN', **tiny.RCAN_SIZES, 'upscale': 1},
    'SwinIR': {'type': 'SwinIR', **SWINIR, 'upscale': 1, 'upsampler': ''},
    'SwinIRStudent': {'type': 'SwinIRStudent', **SWINIR, 'upscale': 1, 'upsampler': ''},
    'RRDBNet': {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 1, 'num_feat': 8, 'num_block': 1,
                'num_grow_ch': 4},
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Images, and the same with noise, packed."""
    folder = tmp_path_factory.mktemp('one')
    (folder / 'noisy').mkdir()
    for file in runs.photographs(folder / 'hr', height=37, width=45):
        image = cv2.imread(str(file))
        noise = np.random.default_rng(0).normal(0, 15, image.shape)
        cv2.imwrite(str(folder / 'noisy' / file.name), (image + noise).clip(0, 255).astype(np.uint8))
    pack_pairs(image_files(folder / 'hr'), folder, [1], {1: image_files(folder / 'noisy')})
    return folder


def options(folder, student='EDSR', teacher='EDSR', losses=tuple(runs.LOSSES), **train):
    opt = runs.options(folder, student=NETWORKS[student], losses=losses, **train)
    torch.save({'params': build_network(dict(NETWORKS[teacher])).state_dict()}, folder / f'{teacher}.pth')
    opt.update(scale=1, network_t=dict(NETWORKS[teacher]))
    opt['path']['pretrain_network_t'] = str(folder / f'{teacher}.pth')
    for block in opt['datasets'].values():
        block['dataroot_lq'] = str(folder / 'train_LRx1.lmdb')
    opt['datasets']['train'].update(gt_size=16, num_worker_per_gpu=0)
    return opt


@pytest.mark.parametrize('student, teacher', [('EDSR', 'RCAN'), ('RCAN', 'SwinIR'), ('SwinIRStudent', 'EDSR')])
def test_every_pair_is_distilled_by_all_losses_of_mipkd(folder, student, teacher):
    opt = options(folder, student, teacher)
    check_options(opt, True)
    check_networks(opt, True)
    model = runs.model(opt)
    for iteration in (1, 2):
        model.feed_data(runs.batch(2, 16, 1))
        model.optimize_parameters(iteration)
    assert list(model.get_current_log()) == ['l_pix', 'l_kd', 'l_feat', 'l_ae', 'l_block']


def test_a_network_without_a_view_is_distilled_by_losses_on_images(folder):
    opt = options(folder, 'RRDBNet', 'RRDBNet', ('pixel_opt', 'kd_opt'))
    check_options(opt, True)
    check_networks(opt, True)


def test_validation_and_the_measured_teacher_are_compared_with_the_lq_images_themselves(folder, log):
    opt = options(folder, 'SwinIRStudent', 'SwinIR')
    opt['path']['log'], opt['val']['check_teacher'] = str(folder), True
    model = runs.model(opt)
    assert 'the teacher is no better than lq itself on made: psnr ' in log.text
    dataset = build_dataset({**opt['datasets']['val'], 'phase': 'val', 'scale': 1})
    model.validation(SimpleNamespace(dataset=dataset), 4, None)
    record = read_record(folder / 'records/made_4.json')
    border = np.s_[2:-2, 2:-2]
    expected = [calculate_psnr(*(cv2.imread(str(folder / part / file.name))[border] for part in ('noisy', 'hr')), 0,
                               test_y_channel=True) for file in image_files(folder / 'noisy')]
    assert record.scale == 1 and record.bicubic['psnr'] == pytest.approx(np.mean(expected), abs=1e-6)


def test_noisy_images_are_given_and_not_made(tmp_path):
    files = runs.photographs(tmp_path / 'hr', 2)
    assert '--scale: 1 needs --lr' in refusal(pack_pairs, files, tmp_path, [1], kind=UserError)


def test_packed_pairs_are_verified_without_asking_how_they_were_made(folder):
    findings = list(verify(Pair(folder / 'train_HR.lmdb', folder / 'train_LRx1.lmdb', 1)))
    assert all(finding.good for finding in findings)
    assert any('bicubic x1 gives' in finding.text for finding in findings)


def test_dukd_at_x1_would_teach_the_student_to_do_nothing(folder):
    opt = options(folder, losses=('pixel_opt', ), dukd_opt={'type': 'DUKDLoss'})
    assert refused(opt).startswith('train.dukd_opt.zoom_out: true, but at scale: 1 it would train')
    opt['train']['dukd_opt']['zoom_out'] = False
    check_networks(opt, True)


@pytest.mark.parametrize('window, img_range', [(8, 1.), (7, 255.)])
def test_a_swinir_against_noise_or_jpeg_artifacts_is_converted(tmp_path, capsys, window, img_range):
    network = tiny.swinir(1, upsampler='', window_size=window, img_size=2 * window, img_range=img_range).eval()
    torch.save({'params': network.state_dict()}, tmp_path / 'a.pth')
    assert main(['teacher', 'convert', str(tmp_path / 'a.pth'), '--out', str(tmp_path / 'b.pth')]) == 0
    assert "upsampler: ''" in capsys.readouterr().out
    block, assumed = convert_file(tmp_path / 'a.pth', tmp_path / 'c.pth')
    assert (block['upscale'], block['img_range'], assumed) == (1, img_range, ['img_range'])
    again, lq = build_network(block).eval(), torch.rand(1, 3, 2 * window, window)
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(again(lq), network(lq))
