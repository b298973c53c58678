"""What messages say of the remedy: the word that was meant, the way to write a number, why an option is gone."""
import shlex
from functools import reduce

import pytest
import runs
from refusals import refusal

from mipkd_arch.base.errors import UserError, command, near_miss, number_remedy
from mipkd_model.config.checks import check_options
from mipkd_model.data.benchmarks import how_to_get
from mipkd_model.experiments.option_files import text_of_test
from mipkd_model.experiments.runs import parse_run
from mipkd_model.networks.catalog import OFFICIAL, how_to_get_weights
from mipkd_model.training.build import make_losses


def test_a_word_is_suggested_whatever_its_case():
    assert near_miss('mipkdmodel', ['SRModel', 'MiPKDModel']) == " (did you mean 'MiPKDModel'?)"
    assert near_miss('calculate_PSNR', ['calculate_ssim', 'calculate_psnr']) == " (did you mean 'calculate_psnr'?)"
    assert near_miss('edsr', ['RCAN', 'EDSR', 'MSRResNet']) == " (did you mean 'EDSR'?)"


@pytest.mark.parametrize('value, remedy', [
    ('1e-2', '; it is a string: write it without quotes, and without a 0 in front'), ('many', ''), (3, '')])
def test_a_number_that_is_a_text_comes_with_its_remedy(value, remedy):
    assert number_remedy(value) == remedy


@pytest.mark.parametrize('path, message', [
    ('datasets.train.io_backend', 'sees by itself whether a path is a folder'),
    ('datasets.val.meta_info_file', 'takes all images'),
    ('datasets.train.use_flip', 'flips are use_hflip'), ('val.window_size', 'images are padded')])
def test_an_option_that_basicsr_alone_reads_is_refused_with_the_reason(tmp_path, path, message):
    opt = runs.options(tmp_path)
    *blocks, name = path.split('.')
    reduce(dict.get, blocks, opt)[name] = 5
    line = refusal(check_options, opt, True, kind=UserError)
    assert line.startswith(f'{path}: nothing reads this option, for ') and message in line


@pytest.mark.parametrize('key, kind, message', [
    ('gan_opt', 'GANLoss', 'all other options losses that distill, as ATLoss does'),
    ('kd_opt', 'ATLoss', 'take losses that compare two images')])
def test_a_loss_that_does_not_fit_its_option_is_one_line_with_those_that_do(key, kind, message):
    options = {'type': kind, **({'gan_type': 'vanilla'} if kind == 'GANLoss' else {})}
    line = refusal(make_losses, {key: options}, kind=UserError)
    assert line.startswith(f"train.{key}.type: '{kind}' does not fit; ") and message in line


@pytest.mark.parametrize('words', [['a b', "it's", '$HOME', ''], ['--out', 'x;y', 'ü'], ['~/my data/x'], ['a~b', '*']])
def test_a_suggested_command_can_be_pasted(words):
    assert shlex.split(command('mipkd', *words)) == ['mipkd', *words]


FOLDER = 'my data; rm x'
SUGGESTED = {
    'packing': lambda: how_to_get(f'{FOLDER}/train_HR.lmdb', 4),
    'fetching weights': lambda: how_to_get_weights(f'{FOLDER}/{OFFICIAL["EDSR_Lx4"].file}'),
    'starting it': lambda: text_of_test(parse_run('test_FAKD_EDSR_x2'), f'{FOLDER}/a.yml'),
}


@pytest.mark.parametrize('says', SUGGESTED.values(), ids=SUGGESTED)
def test_every_path_in_a_suggested_command_is_quoted(says):
    lines = [line for line in says().splitlines() if FOLDER in line]
    assert lines and all(f"'{FOLDER}" in line for line in lines)
