"""Mistakes in what an option file says of validation, refused before anything starts."""
import pytest
import runs
import torch
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.config.checks import check_networks, check_options
from mipkd_model.evaluation.evaluate import EvaluationSettings, evaluate
from mipkd_model.evaluation.restore import restorer

from basicsr.archs import build_network


def metric(**changes):
    return {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2, **changes}}}


@pytest.mark.parametrize('change, says', [
    ({'metrics': {'psnr': {'type': 'calculate_psmr'}}}, "val.metrics.psnr.type: no 'calculate_psmr' is registered"),
    ({'metrics': {'psnr': 'calculate_psnr'}}, "val.metrics.psnr: 'calculate_psnr' is not a mapping"),
    ({'metrics': {'psnr': {'type': 'calculate_psnr'}}}, 'val.metrics.psnr.crop_border: missing'),
    ({'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': -1}}}, 'val.metrics.psnr.crop_border: -1'),
    ({'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_chanel': True}}},
     'val.metrics.psnr.test_y_chanel: calculate_psnr has no such option (did you mean'),
    ({'tile': 0}, 'val.tile: 0'), ({'tile': 'big'}, "val.tile: 'big'"), ({'tile_pad': 1.5}, 'val.tile_pad: 1.5'),
    (metric(test_y_channel='false'), "val.metrics.psnr.test_y_channel: 'false' is neither true nor false"),
    (metric(better='Higher'), "val.metrics.psnr.better: 'Higher' is not known (did you mean 'higher'?)"),
    (metric(input_order='CHW'), 'val.metrics.psnr.input_order: calculate_psnr has no such option'),
    ({'metrics': ['psnr']}, "val.metrics: ['psnr'] is not a mapping of metrics by their names"),
    ({'metrics': {1: {}}}, 'val.metrics: {1: {}} is not a mapping of metrics by their names'),
    ({'save_img': 'no'}, "val.save_img: 'no' is neither true nor false"),
    ({'pbar': 1}, 'val.pbar: 1 is neither true nor false'),
    ({'self_ensemble': 'yes'}, "val.self_ensemble: 'yes' is neither true nor false")])
def test_a_mistake_in_the_validation_block_is_refused_before_anything_starts(tmp_path, change, says):
    opt = runs.options(tmp_path)
    opt['val'].update(change)
    assert refusal(check_options, opt, True, kind=UserError).startswith(says)


def test_the_place_in_tables_must_be_text(tmp_path):
    opt = {**runs.options(tmp_path), 'table': {'pair': 3}}
    assert refusal(check_options, opt, True, kind=UserError) == (
        'table.pair: 3 is not a string or null')


def test_the_option_that_says_nothing_of_tiles_is_accepted(tmp_path):
    opt = runs.options(tmp_path)
    opt['val'].update(tile=8, tile_pad=None, self_ensemble=False)
    check_options(opt, True)


@pytest.mark.parametrize('name', ['a/b', '../a', '..', '', ' ', 5, None, 'a\\b'])
def test_names_that_are_no_names_of_files_are_refused(tmp_path, name):
    opt = runs.options(tmp_path)
    opt['datasets']['val']['name'] = name
    assert refusal(check_options, opt, True, kind=UserError).startswith('datasets.val.name: ')
    opt = {**runs.options(tmp_path), 'name': name}
    assert refusal(check_options, opt, True, kind=UserError).startswith('name: ')


def test_two_data_sets_of_one_name_are_refused(tmp_path):
    opt = runs.options(tmp_path)
    opt['datasets']['val_2'] = dict(opt['datasets']['val'])
    assert refusal(check_options, opt, True, kind=UserError).startswith(
        'datasets.val_2.name: made is the name of datasets.val too')


def as_test(folder, **changes):
    """Options of a test of a student whose weights are there."""
    opt = runs.options(folder)
    torch.save({'params': build_network(opt['network_g']).state_dict()}, folder / 'student.pth')
    opt['path'] = {'pretrain_network_g': str(folder / 'student.pth'), **changes.pop('path', {})}
    return {**opt, 'datasets': {'test': opt['datasets']['val']}, **changes}


def test_a_sound_test_is_accepted(tmp_path):
    check_options(as_test(tmp_path), False)
    check_networks(as_test(tmp_path), False)


def test_a_test_of_a_network_without_trained_weights_is_refused(tmp_path):
    opt = as_test(tmp_path, path={'pretrain_network_g': None})
    assert refusal(check_networks, opt, False, kind=UserError).startswith('path.pretrain_network_g: missing')


def test_a_test_of_a_network_of_another_scale_is_refused(tmp_path):
    opt = as_test(tmp_path, scale=4)
    assert refusal(check_networks, opt, False, kind=UserError) == (
        'network_g.upscale: 2 is not the scale: 4 of the option file, by which EDSR must super-resolve')


def test_a_test_without_data_sets_is_refused(tmp_path):
    opt = as_test(tmp_path, datasets={})
    assert 'datasets' in refusal(check_options, opt, False, kind=UserError)


def test_an_output_of_another_scale_is_never_cropped_to_fit(tmp_path):
    from mipkd_model.data.paired_dataset import PairedSRDataset
    opt = runs.options(tmp_path)
    data = PairedSRDataset({**opt['datasets']['val'], 'phase': 'val', 'scale': 2})
    network = build_network({**opt['network_g'], 'upscale': 4}).eval()
    assert refusal(evaluate, restorer(network, 2), data, EvaluationSettings(2, {}), torch.device('cpu'), kind=UserError
                   ).startswith('scale: found 2, but the output of the network for 26x20 pixels is 104x80')
