"""Metrics other than PSNR and SSIM: of BasicSR or one's own, that fail, or that need no gt; and figures without end."""
import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import runs
import tiny
import torch
from test_validation import set_up, written

from mipkd_model.evaluation.evaluate import mean_scores
from mipkd_model.evaluation.metrics import needs_gt, score
from mipkd_model.evaluation.records import find_records
from mipkd_model.evaluation.teacher_score import compared_means, measure_teacher

from basicsr.data.single_image_dataset import SingleImageDataset
from basicsr.metrics import calculate_niqe
from basicsr.utils.registry import METRIC_REGISTRY

NIQE = {'niqe': {'type': 'calculate_niqe', 'crop_border': 4, 'better': 'lower'}}
PSNR = {'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True}}


@pytest.fixture
def metric(monkeypatch):
    """Register a function as the metric 'own'."""
    def register(function):
        monkeypatch.setitem(METRIC_REGISTRY._obj_map, 'own', function)
        return {'own': {'type': 'own'}}

    return register


@pytest.mark.parametrize('give, says', [
    (lambda: 1 / 0, 'division by zero'), (lambda: float('nan'), 'it gives nan'), (lambda: None, 'NoneType'),
    (lambda: [1, 2], "not 'list'"), (lambda: np.ones(2), 'only '),
    (lambda: {}['gone'], "'gone'"), (lambda: torch.ones(2), 'only one element')])
def test_a_metric_that_fails_or_gives_no_number_has_no_value_and_a_reason(metric, give, says):
    failed, image = {}, tiny.noise(20, 20)
    found = score(image, image, {**metric(lambda img, img2: give()), **PSNR}, failed)
    assert found == {'psnr': float('inf')} and says in failed['own']


@pytest.mark.parametrize('value', [3, np.float32(2.5), torch.tensor([1.5]), np.array(4)])
def test_any_kind_of_number_is_one(metric, value):
    image = tiny.noise(20, 20)
    assert score(image, image, metric(lambda img, img2: value)) == {'own': float(value)}


def test_an_image_that_ssims_window_does_not_fit_has_no_value():
    failed, image = {}, tiny.noise(14, 40)
    assert score(image, image, {'ssim': {'type': 'calculate_ssim', 'crop_border': 2}}, failed) == {}
    assert 'smaller than the window of 11 pixels' in failed['ssim']


def test_means_are_of_the_images_that_have_a_finite_value():
    inf, nan = float('inf'), float('nan')
    assert mean_scores([{'a': 1., 'b': inf}, {'a': 3.}, {'b': 5., 'a': inf}]) == {'a': 2., 'b': 5.}
    assert mean_scores([{'a': inf}, {'a': inf}]) == {'a': inf}
    assert np.isnan(mean_scores([{'a': nan}, {'a': 1.}, {'a': inf}])['a'])
    ours, theirs = [{'a': 1.}, {'a': inf}, {'a': 5.}, {}], [{'a': 2.}, {'a': 3.}, {'a': inf}, {}]
    assert compared_means(ours, theirs, 'a') == (1, 2)
    assert compared_means([{'a': inf}], [{'a': 1.}], 'a') is None


def test_a_validation_goes_on_without_the_images_that_a_metric_fails_on_and_says_so_once(tmp_path, log):
    opt, loader = set_up(tmp_path, metrics={**PSNR, **NIQE})  # of 40x52 pixels, below what NIQE takes
    model = runs.model(opt)
    for iteration in (2, 4):
        model.validation(loader, iteration, None)
    said = [message for message in log.messages if 'no value' in message]
    assert len(said) == 1 and said[0].startswith('made: niqe: no value for 6 of 6 images, the first 0000 (')
    assert all(list(record.mean) == ['psnr'] for record in find_records([tmp_path / 'log']).values())


def test_a_mean_of_some_images_is_that_of_the_others(tmp_path, log, metric):
    opt, loader = set_up(tmp_path)
    calls = iter(range(6))
    opt['val']['metrics'] = metric(lambda img, img2: 1 / next(calls))
    runs.model(opt).validation(loader, 2, None)
    assert any('own: no value for 1 of 6 images' in message for message in log.messages)
    assert written(tmp_path).mean == {'own': pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5)}


def without_gt(folder, side=200):
    """Options of a test and the loader of two images that have no gt."""
    opt, _ = set_up(folder)
    (folder / 'own').mkdir()
    for index in range(2):
        smooth = cv2.resize(tiny.noise(9, 9, index), (side, side), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / f'own/{index}.png'), smooth)
    block = {'name': 'mine', 'type': 'SingleImageDataset', 'dataroot_lq': str(folder / 'own'), 'phase': 'test',
             'scale': 2, 'io_backend': {'type': 'disk'}}
    return opt, SimpleNamespace(dataset=SingleImageDataset(block))


def test_images_without_gt_are_measured_by_what_needs_none_and_the_rest_is_said(tmp_path, log):
    opt, loader = without_gt(tmp_path)
    opt['val']['metrics'] = {**PSNR, **NIQE}
    model = runs.model(opt)
    model.validation(loader, 4, None, save_img=True)
    record = written(tmp_path)
    for name, image in record.images.items():
        output = cv2.imread(str(tmp_path / f'visualization/mine/{name}_4.png'))
        assert image.scores == {'niqe': pytest.approx(calculate_niqe(output, 4), rel=1e-6)}
    assert record.dataset['gt'] is None and record.dataset['check'] == '2 of 2 images have no gt'
    assert list(record.mean) == ['niqe']
    assert any('mine: psnr: no value for 2 of 2 images, the first 0 (it has no gt)' in line for line in log.messages)


@pytest.mark.parametrize('kind, needs', [('calculate_psnr', True), ('calculate_ssim', True), ('calculate_niqe', False)])
def test_metrics_of_basicsr_that_need_gt_are_known(kind, needs):
    assert needs_gt({'type': kind}) is needs


def test_one_black_image_leaves_means_records_and_json_finite(tmp_path, log):
    opt, loader = set_up(tmp_path)
    model = runs.model(opt)
    with torch.no_grad():
        model.net_g_ema.conv_last.bias.zero_()
    model.validation(SimpleNamespace(dataset=WithBlack(loader.dataset)), 2, None)
    record = written(tmp_path)
    assert record.images['black'].bicubic['psnr'] == float('inf') and np.isfinite(record.bicubic['psnr'])
    assert 'inf dB' not in record.dataset['check']

    def refuse(constant):
        raise ValueError(constant)

    for file in (tmp_path / 'log').rglob('*.json'):
        json.loads(file.read_text(), parse_constant=refuse)


def test_a_teacher_that_the_only_metric_has_no_value_for_is_said_not_to_be_measured(tmp_path, log):
    opt, _ = set_up(tmp_path, metrics=NIQE, check_teacher=True)
    assert measure_teacher({**opt, 'rank': 0, 'world_size': 1}, tiny.edsr(2).eval(), torch.device('cpu')) == {}
    assert log.messages[-1] == 'made: niqe has no value on any image, so the teacher is not measured.'


class WithBlack:
    """The images of a data set, and a black one before them."""

    def __init__(self, dataset):
        self.dataset, self.opt = dataset, dataset.opt

    def __len__(self):
        return 1 + len(self.dataset)

    def __getitem__(self, index):
        if index:
            return self.dataset[index - 1]
        return {'lq': torch.zeros(3, 20, 26, dtype=torch.uint8), 'gt': torch.zeros(3, 40, 52, dtype=torch.uint8),
                'lq_path': 'black.png', 'gt_path': 'black.png'}


@pytest.mark.parametrize('error', [0, 1])
def test_a_black_image_does_not_make_a_good_teacher_a_bad_one(tmp_path, log, monkeypatch, error):
    opt, loader = set_up(tmp_path, check_teacher=True)
    images = WithBlack(loader.dataset)
    monkeypatch.setattr('mipkd_model.evaluation.teacher_score.build_dataset', lambda block: images)
    known = {item['lq'].numpy().tobytes(): item['gt'].numpy() for item in images}

    class Teacher(torch.nn.Module):
        """One level beside gt, on the black image beside it by the error or right."""

        def forward(self, lq):
            gt = known[(lq[0] * 255).round().byte().numpy().tobytes()].astype(np.int16)
            return torch.from_numpy((gt + (1 if gt.any() else error)).clip(0, 255)).float()[None] / 255

    scores = measure_teacher({**opt, 'rank': 0, 'world_size': 1}, Teacher(), torch.device('cpu'))
    assert 40 < scores['made']['psnr'] < 60
    assert not any('no better' in message for message in log.messages)
