"""Options of BasicSR's own data set, and what it finds only when it reads."""
from copy import deepcopy

import pytest
import runs
from refusals import refusal

from mipkd_arch.errors import UserError
from mipkd_model.config.checks import check_files, check_options


@pytest.fixture(scope='module')
def of_basicsr(tmp_path_factory):
    """Options of a training on BasicSR's own data set, from folders."""
    folder = tmp_path_factory.mktemp('basicsr')
    opt = runs.options(folder)
    runs.photographs(folder / 'lr', 6, 20, 26)
    for name, block in opt['datasets'].items():
        train = {key: block[key] for key in ('gt_size', 'use_hflip', 'use_rot', 'num_worker_per_gpu',
                                             'batch_size_per_gpu')} if name == 'train' else {}
        opt['datasets'][name] = {'name': 'made', 'type': 'PairedImageDataset', 'dataroot_gt': str(folder / 'hr'),
                                 'dataroot_lq': str(folder / 'lr'), 'io_backend': {'type': 'disk'}, **train}
    return opt


def test_a_sound_data_set_of_basicsr_is_accepted(of_basicsr):
    check_options(of_basicsr, True)
    check_files(of_basicsr)


@pytest.mark.parametrize('path, value, message', [
    ('use_hflp', True, "datasets.train.use_hflp: nothing reads this option (did you mean 'use_hflip'?)"),
    ('dataset_enlarge_ratio', 100, 'datasets.train.dataset_enlarge_ratio: nothing reads this option'),
    ('use_hflip', None, 'datasets.train.use_hflip')])
def test_options_of_basicsrs_data_set_are_checked_too(of_basicsr, path, value, message):
    opt = deepcopy(of_basicsr)
    opt['datasets']['train'][path] = value
    assert refusal(check_options, opt, True, kind=UserError).startswith(message)


@pytest.mark.parametrize('path, value', [('gt_size', 4096), ('io_backend', {'type': 'hdf5'}), ('dataroot_lq', 'hr')])
def test_what_basicsrs_data_set_finds_when_it_reads_is_found_before(of_basicsr, path, value):
    if path == 'dataroot_lq':
        value = of_basicsr['datasets']['train']['dataroot_gt']
    opt = deepcopy(of_basicsr)
    opt['datasets']['train'][path] = value
    check_options(opt, True)
    assert refusal(check_files, opt, kind=UserError).startswith('datasets.train: PairedImageDataset refuses')


def test_a_data_set_of_basicsr_needs_to_know_how_files_are_read(tmp_path):
    opt = runs.options(tmp_path)
    opt['datasets']['val'].update(type='PairedImageDataset')
    assert refusal(check_options, opt, True, kind=UserError).startswith('datasets.val.io_backend: missing')
