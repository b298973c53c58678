"""Options that say how a step is computed: what is refused, and what reads them."""
import methods
import pytest
import refusals
import runs
import torch

from mipkd_arch.base.errors import UserError
from mipkd_model.config.checks import check_options
from mipkd_model.training.build import read_train_options

CPU, CUDA = torch.device('cpu'), torch.device('cuda')
NEEDED = {'total_iter': 4, 'optim_g': {}, 'scheduler': {}}


def of(device=CPU, **train):
    return read_train_options({'train': {**NEEDED, **train}}, device)


def test_what_is_not_given_has_its_default():
    found = of()
    assert (found.precision, found.channels_last, found.compile, found.accumulate) == ('auto', True, False, 1)
    assert found.grad_clip is None and found.nonfinite == 'skip'


def test_a_wrong_option_is_one_line():
    assert refusals.refusal(of, channels_last='yes', kind=UserError).startswith('train.channels_last: ')


def test_recompute_is_a_switch(tmp_path):
    opt = methods.options(tmp_path, losses=('block_prior_opt', ))
    opt['train']['block_prior_opt']['recompute'] = 'yes'
    assert methods.refused(opt) == "train.block_prior_opt.recompute: 'yes' is neither true nor false"


def test_the_checks_before_a_run_read_them(tmp_path):
    opt = methods.options(tmp_path, accumulate=2)
    assert methods.refused(opt).startswith('train.accumulate: 2 equal parts')


def test_a_loss_that_compares_samples_needs_them_in_each_part(tmp_path):
    opt = methods.options(tmp_path, 'rkd', accumulate=2)
    opt['datasets']['train']['batch_size_per_gpu'] = 4
    assert methods.refused(opt) == (
        'datasets.train.batch_size_per_gpu: 4 in 2 parts, but train.rkd_opt compares the samples of a batch with each '
        'other and needs at least 3')


def test_parts_go_with_means_over_samples(tmp_path):
    opt = methods.options(tmp_path, accumulate=3, pixel_opt={'type': 'L1Loss', 'reduction': 'sum'})
    assert methods.refused(opt).startswith('train.pixel_opt.reduction: sum does not go with train.accumulate: 3')


def test_compiling_for_a_cpu_needs_a_compiler(monkeypatch):
    monkeypatch.setattr('mipkd_model.training.compiling.COMPILERS', ('no-such-compiler', ))
    assert refusals.refusal(of, compile=True, kind=UserError) == (
        'train.compile: needs a C++ compiler, found none of no-such-compiler; install one, or set compile: false')
    assert of(CUDA, compile=True).compile


@pytest.mark.parametrize('value', [None, 'two', '2', 2.5, 0, -1, True, [2]])
def test_a_batch_size_that_is_none_is_one_line(tmp_path, value):
    opt = runs.options(tmp_path)
    opt['datasets']['train']['batch_size_per_gpu'] = value
    message = refusals.refusal(check_options, opt, True, kind=UserError)
    assert message.startswith(f'datasets.train.batch_size_per_gpu: {value!r} is not an integer of at least 1')
