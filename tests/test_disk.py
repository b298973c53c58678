"""Room on the disk, counted before a run starts."""
import shutil
from collections import namedtuple

import pytest
import runs
import torch
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.run.disk import check_disk, image_bytes, in_units, optimizer_bytes, size_of
from mipkd_model.run.states import write_state

from basicsr.archs import build_network

Usage = namedtuple('Usage', 'total used free')


def options(folder, **train):
    opt = runs.options(folder, **train)
    root = folder / 'experiments/tiny'
    opt['path'].update(experiments_root=str(root), results_root=str(folder / 'results/tiny'),
                       models=str(root / 'models'), training_states=str(root / 'training_states'))
    opt.update(rank=0, is_train=True)
    return opt


@pytest.fixture
def disk(monkeypatch):
    """Sets the free bytes of every disk."""
    asked = []
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: asked.append(path) or Usage(10**12, 0, asked_for[0]))
    asked_for = [10**12]

    def set_free(size):
        asked_for[0] = size
        return asked

    return set_free


def needed(opt, distiller, disk):
    """Bytes that a run needs at least, by trying."""
    low, high = 0, 10**12
    while high - low > 1:
        middle = (low + high) // 2
        disk(middle)
        try:
            check_disk(opt, distiller)
            high = middle
        except UserError:
            low = middle
    return high


def test_a_run_that_fits_is_let_go(tmp_path):
    opt = options(tmp_path)
    check_disk(opt, runs.model(opt).distiller)


@pytest.mark.parametrize('optim_g', [{'type': 'Adam', 'lr': 1e-3}, {'type': 'SGD', 'lr': 1e-3},
                                     {'type': 'AdamW', 'lr': 1e-3, 'amsgrad': True}], ids=lambda o: o['type'])
def test_sizes_are_those_of_the_files_that_a_run_writes(tmp_path, disk, optim_g):
    opt = options(tmp_path, optim_g=optim_g, total_iter=2)
    opt['logger'].update(save_checkpoint_freq=1, keep_states=1, print_freq=10**6)
    del opt['val']
    model = runs.model(opt)
    for iteration in (1, 2):
        model.feed_data(runs.batch())
        model.optimize_parameters(iteration)
        model.save(0, iteration)
    model.save(-1, -1)
    checkpoint = (tmp_path / 'experiments/tiny/models/net_g_2.pth').stat().st_size
    state = (tmp_path / 'experiments/tiny/training_states/2.state').stat().st_size
    assert len(list((tmp_path / 'experiments/tiny/models').iterdir())) == 3
    shutil.rmtree(tmp_path / 'experiments')
    found = needed(opt, model.distiller, disk)
    assert found == pytest.approx(3 * checkpoint + 2 * state, rel=0.25)


def test_a_networks_size_is_that_of_its_file(tmp_path):
    network = build_network({'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_block': 16,
                                  'upscale': 2})
    torch.save({'params': network.state_dict()}, tmp_path / 'net_g.pth')
    assert size_of(network) == pytest.approx((tmp_path / 'net_g.pth').stat().st_size, rel=0.01)


@pytest.mark.parametrize('block, numbers', [
    ({'type': 'Adam'}, 2), ({'type': 'Adam', 'amsgrad': True}, 3), ({'type': 'SGD'}, 0),
    ({'type': 'SGD', 'momentum': 0.9}, 1), ({'type': 'RMSprop'}, 1), ({'type': 'RMSprop', 'centered': True}, 2),
    ({'type': 'NAdam'}, 2), ({'type': 'RAdam'}, 2), ({'type': 'Adamax'}, 2)], ids=str)
def test_an_optimizer_keeps_so_many_numbers_for_each_weight(block, numbers):
    assert optimizer_bytes({'lr': 1e-3, **block}) == 4 * numbers


def test_a_run_that_does_not_fit_is_refused_with_figures_and_remedies(tmp_path, disk):
    opt = options(tmp_path, total_iter=10000)
    opt['logger'].update(save_checkpoint_freq=10)
    distiller = runs.model(opt).distiller
    asked = disk(10**6)
    said = refusal(check_disk, opt, distiller, kind=UserError)
    assert said.startswith(f'{tmp_path / "experiments/tiny"}: has 1.0 MB free, but this run will write about ')
    assert '1001 checkpoints of ' in said and 'raise logger.save_checkpoint_freq' in said
    assert said.endswith(', or free space') and 'val.save_img' not in said
    assert set(asked) == {tmp_path}, 'the folder is not there yet; the nearest above it is'


def test_states_are_counted_as_many_as_are_kept_and_one_while_it_is_written(tmp_path, disk):
    opt = options(tmp_path, total_iter=1000)
    distiller = runs.model(opt).distiller
    sizes = []
    for keep in (1, 2, 12):
        opt['logger']['keep_states'] = keep
        sizes.append(needed(opt, distiller, disk))
    assert sizes[2] - sizes[0] == pytest.approx(11 * (sizes[1] - sizes[0]), abs=2)


def test_a_resumed_run_needs_what_is_left(tmp_path, disk):
    opt = options(tmp_path, total_iter=1000)
    distiller = runs.model(opt).distiller
    whole = needed(opt, distiller, disk)
    opt['start_iter'], opt['path']['resume_state'] = 900, 'x'
    for iteration in (896, 898, 900):
        write_state({'iter': iteration}, tmp_path / 'experiments/tiny/training_states', 3)
    assert needed(opt, distiller, disk) == pytest.approx(0.1 * whole, rel=0.1)


def test_images_are_counted_where_they_are_saved(tmp_path, disk):
    opt = options(tmp_path, total_iter=100)
    opt['val']['val_freq'], opt['logger']['save_checkpoint_freq'] = 10, 100
    distiller = runs.model(opt).distiller
    without = needed(opt, distiller, disk)
    opt['val']['save_img'] = True
    images = needed(opt, distiller, disk) - without
    assert images == pytest.approx(0.6 * 11 * 6 * 40 * 52 * 3, rel=0.01), '10 validations and the last one, 6 images'
    disk(1000)
    assert 'set val.save_img: false' in refusal(check_disk, opt, distiller, kind=UserError)


def test_images_of_a_test_are_counted_too(tmp_path, disk):
    opt = options(tmp_path)
    opt.update(is_train=False, datasets={'test_1': opt['datasets']['val']})
    opt['val']['save_img'] = True
    disk(10000)
    said = refusal(check_disk, opt, kind=UserError)
    assert said.startswith(f'{tmp_path / "results/tiny"}: has 10.0 kB free') and '6 images of 3.7 kB' in said


def test_outputs_without_gt_are_as_large_as_lq_enlarged(tmp_path):
    opt = options(tmp_path)
    data = opt['datasets']['val']
    assert image_bytes(data, 2) == image_bytes({'dataroot_lq': data['dataroot_lq']}, 2) == [40 * 52 * 3] * 6
    assert image_bytes({'dataroot_lq': str(tmp_path / 'nowhere')}, 2) == image_bytes({}, 2) == []


def test_other_processes_leave_it_to_the_first(tmp_path, disk):
    opt = options(tmp_path)
    disk(0)
    check_disk({**opt, 'rank': 1}, runs.model(opt).distiller)


@pytest.mark.parametrize('size, text', [(0, '0 bytes'), (999, '999 bytes'), (1000, '1.0 kB'), (2.55e6, '2.5 MB'),
                                        (1.5e9, '1.5 GB'), (3e12, '3000.0 GB')])
def test_sizes_are_said_in_units(size, text):
    assert in_units(size) == text
