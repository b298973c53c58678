"""Parts of the demo; ``make demo`` runs the whole of it."""
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import runs
import tiny
import torch
from PIL import Image

from mipkd_arch.base.errors import UserError
from mipkd_model.cli import build_parser
from mipkd_model.config.checks import read_options

sys.path.append(str(runs.ROOT / 'demo'))

import comparison
import photographs

OPTIONS = read_options(runs.ROOT / 'options/demo/train_MiPKD_x4.yml')


@pytest.fixture(scope='module')
def packed(tmp_path_factory):
    pytest.importorskip('skimage')
    folder = tmp_path_factory.mktemp('demo')
    photographs.pack(folder)
    return folder


@pytest.fixture(scope='module')
def val(packed):
    return {**OPTIONS['datasets']['val'], 'dataroot_gt': str(packed / 'val_HR.lmdb'),
            'dataroot_lq': str(packed / 'val_LRx4.lmdb')}


def test_no_photograph_is_both_trained_on_and_validated_on():
    assert not set(photographs.TRAINING) & set(photographs.VALIDATION)


def test_packing_again_keeps_what_is_there_and_mends_what_an_interruption_left(packed):
    import shutil
    before = (packed / 'val_HR.lmdb/data.mdb').stat().st_mtime_ns
    shutil.rmtree(packed / 'train_LRx4.lmdb')
    photographs.pack(packed)
    assert (packed / 'val_HR.lmdb/data.mdb').stat().st_mtime_ns == before
    assert (packed / 'train_LRx4.lmdb').exists()


def test_a_package_that_ships_other_photographs_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, 'TRAINING', ('no_such.png', ))
    with pytest.raises(UserError, match='no_such.png'):
        photographs.pack(tmp_path)


def test_the_shipped_teacher_is_much_better_than_bicubic_on_photographs_it_never_saw(val, tmp_path):
    from mipkd_arch.base.weights import load_weights

    from basicsr.archs import build_network
    teacher = build_network(OPTIONS['network_t'])
    load_weights(teacher, runs.ROOT / OPTIONS['path']['pretrain_network_t'])
    summary = comparison.compare({'teacher': teacher.eval()}, val, 4, tmp_path / 'picture.png')
    assert summary['teacher']['psnr'] > summary['bicubic']['psnr'] + 1.5
    assert summary['teacher']['ssim'] > summary['bicubic']['ssim'] + 0.03


def test_the_comparison_has_a_row_for_each_network_and_a_picture(val, tmp_path):
    networks = {'before': tiny.edsr(4).eval()}
    summary = comparison.compare(networks, val, 4, tmp_path / 'picture.png')
    assert list(summary) == ['bicubic', 'before'] and set(summary['before']) == {'psnr', 'ssim'}
    lines = comparison.table(summary, networks).splitlines()
    assert len(lines) == 3 and f'{summary["bicubic"]["psnr"]:.2f}' in lines[1]
    side = comparison.CROP * comparison.ZOOM
    assert Image.open(tmp_path / 'picture.png').size == (3 * side + 8, 3 * (side + comparison.BAR + 4) - 4)


def test_the_crop_shown_is_the_one_with_the_most_detail():
    import numpy as np
    gt = np.zeros((200, 300, 3))
    gt[100:150, 200:250] = np.random.default_rng(0).integers(0, 256, (50, 50, 3))
    top, left = comparison.most_detailed(gt)
    assert top <= 100 <= 150 <= top + comparison.CROP and left <= 200 <= 250 <= left + comparison.CROP


def test_bicubic_keeps_a_constant_image():
    assert torch.allclose(comparison.upscale_bicubic(torch.full((1, 3, 8, 8), 0.4), 4), torch.tensor(0.4))


def test_the_demo_ends_with_commands_that_are_understood():
    run = runpy.run_path(str(runs.ROOT / 'demo/run.py'))
    commands = run['use_commands'](Path('experiments/demo'))
    parsed = [build_parser().parse_args(shlex.split(command)[1:]) for command in commands]
    assert parsed[0].run_or_checkpoint == parsed[1].model == 'experiments/demo'
