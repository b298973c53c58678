"""Options that say how a step is computed: what is refused, and what reads them."""
import methods
import pytest
import refusals
import runs
import torch

from mipkd_arch.base.errors import UserError
from mipkd_model.config.checks import check_keys, check_options
from mipkd_model.training.options import StepOptions

CPU, CUDA = torch.device('cpu'), torch.device('cuda')


def of(device=CPU, batch=8, **train):
    return StepOptions.of({'train': train, 'datasets': {'train': {'batch_size_per_gpu': batch}}}, device)


def test_what_is_not_given_has_its_default():
    assert of() == StepOptions(precision='auto', channels_last=True, compile=False, accumulate=1,
                               grad_clip=None)
    assert of(grad_clip=0.5, accumulate=4).grad_clip == 0.5


@pytest.mark.parametrize('train, hint', [
    ({'channels_last': 'yes'}, "train.channels_last: 'yes' is neither true nor false"),
    ({'compile': 1}, 'train.compile: 1 is neither true nor false'),
    ({'accumulate': 3}, 'train.accumulate: 3 equal parts cannot be made of datasets.train.batch_size_per_gpu: 8'),
    ({'accumulate': 0}, 'train.accumulate: 0 is not a whole number of at least 1'),
    ({'accumulate': 2.}, 'train.accumulate: 2.0 is not a whole number'),
    ({'grad_clip': 0}, 'train.grad_clip: 0 would take all of the gradient away'),
    ({'grad_clip': -1}, 'train.grad_clip: -1 is not a number of at least 0'),
    ({'grad_clip': True}, 'train.grad_clip: True is not a number'),
    ({'grad_clip': '1e-2'}, "'1e-2' is not a number of at least 0; it is a text: write it without quotes"),
    ({'nonfinite': 'ignore'}, "train.nonfinite: 'ignore' is not known; allowed are 'skip', 'stop'"),
    ({'precision': 'fp16'}, "train.precision: 'fp16'")])
def test_a_wrong_option_is_one_line(train, hint):
    assert hint in refusals.refusal(of, **train, kind=UserError)


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


def test_misspelt_ones_are_found(tmp_path):
    opt = runs.options(tmp_path, acumulate=2)
    assert "did you mean 'accumulate'" in refusals.refusal(check_keys, opt, kind=UserError)


def test_compiling_for_a_cpu_needs_a_compiler(monkeypatch):
    monkeypatch.setattr('mipkd_model.training.options.COMPILERS', ('no-such-compiler', ))
    assert refusals.refusal(of, compile=True, kind=UserError) == (
        'train.compile: needs a compiler of C++, found none of no-such-compiler; install one, or set compile: false')
    assert of(CUDA, compile=True).compile


@pytest.mark.parametrize('value', [None, 'two', '2', 2., 0, -1, True, [2]])
def test_a_batch_size_that_is_none_is_one_line(tmp_path, value):
    opt = runs.options(tmp_path)
    opt['datasets']['train']['batch_size_per_gpu'] = value
    message = refusals.refusal(check_options, opt, True, kind=UserError)
    assert message.startswith(f'datasets.train.batch_size_per_gpu: {value!r} is not a whole number of at least 1')
