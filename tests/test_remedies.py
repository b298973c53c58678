"""What messages say of the remedy: the word that was meant, the way to write a number, why an option is gone."""
import shlex
from functools import reduce

import pytest
import runs
from refusals import refusal

from mipkd_arch.base.errors import UserError, command, near_miss, number_remedy
from mipkd_model.config.checks import check_options
from mipkd_model.data.hints import how_to_get
from mipkd_model.experiments.option_files import text_of_test, write_command
from mipkd_model.experiments.runs import parse_run
from mipkd_model.networks.catalog import OFFICIAL, how_to_get_weights
from mipkd_model.schema.removed import why_removed
from mipkd_model.training.build import make_losses


def test_a_word_is_suggested_whatever_its_case():
    assert near_miss('mipkdmodel', ['SRModel', 'MiPKDModel']) == " (did you mean 'MiPKDModel'?)"
    assert near_miss('calculate_PSNR', ['calculate_ssim', 'calculate_psnr']) == " (did you mean 'calculate_psnr'?)"
    assert near_miss('edsr', ['RCAN', 'EDSR', 'MSRResNet']) == " (did you mean 'EDSR'?)"


@pytest.mark.parametrize('value, remedy', [
    ('1e-2', '; it is a text: write it without quotes'), ('many', ''), (3, ''),
    ('0500000', '; it is a text, for it begins with 0: take that 0 away')])
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


def test_what_is_said_of_an_option_of_val_holds_of_all_data_that_is_measured_on():
    assert len({why_removed(f'datasets.{name}.phase') for name in ('val_Set5', 'test_a', 'val')}) == 1
    assert why_removed('datasets.val_Set5.name') is None and why_removed('datasets.train_2.phase') is None


@pytest.mark.parametrize('key, kind, message', [
    ('gan_opt', 'GANLoss', 'a loss that distills, as ATLoss does, and those of images are pixel_opt, '),
    ('kd_opt', 'ATLoss', 'a loss that compares two images')])
def test_a_loss_that_does_not_fit_its_option_is_one_line_with_those_that_do(key, kind, message):
    options = {'type': kind, **({'gan_type': 'vanilla'} if kind == 'GANLoss' else {})}
    line = refusal(make_losses, {key: options}, kind=UserError)
    assert line.startswith(f"train.{key}.type: '{kind}' does not fit; this option takes {message}")


@pytest.mark.parametrize('words', [['a b', "it's", '$HOME', ''], ['--out', 'x;y', 'ü'], ['~/my data/x'], ['a~b', '*']])
def test_a_suggested_command_can_be_pasted(words):
    assert shlex.split(command('mipkd', *words)) == ['mipkd', *words]


def test_a_home_folder_is_left_to_the_shell():
    assert command('ls', '~/my data', '~', '~ann/x') == "ls ~/'my data' ~ ~ann/x"


FOLDER = 'my data; rm x'
SUGGESTED = {
    'packing': lambda: how_to_get(f'{FOLDER}/train_HR.lmdb', 4),
    'fetching weights': lambda: how_to_get_weights(f'{FOLDER}/{OFFICIAL["EDSR_Lx4"].file}'),
    'writing an option file': lambda: write_command('test_FAKD_EDSR_x2', f'{FOLDER}/a.yml'),
    'starting it': lambda: text_of_test(parse_run('test_FAKD_EDSR_x2'), f'{FOLDER}/a.yml'),
}


@pytest.mark.parametrize('says', SUGGESTED.values(), ids=SUGGESTED)
def test_every_path_in_a_suggested_command_is_quoted(says):
    lines = [line for line in says().splitlines() if FOLDER in line]
    assert lines and all(f"'{FOLDER}" in line for line in lines)
