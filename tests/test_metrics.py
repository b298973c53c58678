"""PSNR and SSIM: BasicSR's values, from less work."""
import cv2
import numpy as np
import pytest
import tiny
from skimage.metrics import structural_similarity

from mipkd_model.evaluation.metrics import psnr, score, ssim, to_y

from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.metrics.metric_util import to_y_channel


def pair(height=37, width=52, noise=6, seed=0):
    """A smooth image and a noisy copy, uint8 RGB."""
    gt = cv2.resize(tiny.noise(6, 7, seed), (width, height), interpolation=cv2.INTER_CUBIC)
    noisy = gt + np.random.default_rng(seed).normal(0, noise, gt.shape)
    return noisy.round().clip(0, 255).astype(np.uint8), gt


def block(kind, border, on_y):
    return {'type': f'calculate_{kind}', 'crop_border': border, 'test_y_channel': on_y}


def basicsr_score(kind, image, gt, border, on_y):
    function = {'psnr': calculate_psnr, 'ssim': calculate_ssim}[kind]
    return function(image[..., ::-1], gt[..., ::-1], crop_border=border, test_y_channel=on_y)


@pytest.mark.parametrize('on_y', [True, False])
@pytest.mark.parametrize('border', [0, 2, 4])
@pytest.mark.parametrize('kind', ['psnr', 'ssim'])
@pytest.mark.parametrize('noise', [0.3, 6, 60])
def test_values_equal_those_of_basicsr(kind, border, on_y, noise):
    image, gt = pair(noise=noise)
    found = score(image, gt, {'it': block(kind, border, on_y)})
    assert found['it'] == pytest.approx(basicsr_score(kind, image, gt, border, on_y), rel=0, abs=1e-9)


def test_y_equals_that_of_basicsr_to_the_last_bit():
    colours = np.stack(np.meshgrid(*[np.arange(0, 256, 5)] * 3), -1).reshape(-1, 52, 3).astype(np.uint8)
    assert np.array_equal(to_y(colours), to_y_channel(colours[..., ::-1])[..., 0].astype(np.float64))


def test_psnr_of_a_uniform_difference_is_that_of_the_formula():
    gt = np.full((20, 20), 100.)
    assert psnr(gt + 3, gt) == pytest.approx(20 * np.log10(255 / 3), abs=1e-12)


def test_psnr_of_equal_images_is_infinite_and_ssim_is_one():
    image, _ = pair()
    found = score(image, image, {kind: block(kind, 2, True) for kind in ('psnr', 'ssim')})
    assert found == {'psnr': float('inf'), 'ssim': pytest.approx(1, abs=1e-12)}


def test_ssim_equals_that_of_scikit_image_where_the_window_fits():
    image, gt = (to_y(x) for x in pair())
    _, full = structural_similarity(image, gt, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                    data_range=255, full=True)
    assert ssim(image, gt) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-9)


def test_several_metrics_give_what_each_gives_alone():
    image, gt = pair()
    metrics = {f'{kind}_{on_y}_{border}': block(kind, border, on_y)
               for kind in ('psnr', 'ssim') for on_y in (True, False) for border in (0, 3)}
    together = score(image, gt, metrics)
    assert list(together) == list(metrics)
    assert together == {name: score(image, gt, {name: metric})[name] for name, metric in metrics.items()}


def test_another_metric_of_basicsrs_registry_gives_basicsrs_value():
    from basicsr.utils.registry import METRIC_REGISTRY

    def mean_difference(img, img2, gain):
        return gain * float(img.mean() - img2.mean() + img[..., 0].mean())

    METRIC_REGISTRY._obj_map['mean_difference'] = mean_difference
    image, gt = pair()
    try:
        found = score(image, gt, {'own': {'type': 'mean_difference', 'gain': 2, 'better': 'lower'}})['own']
    finally:
        METRIC_REGISTRY._obj_map.pop('mean_difference')
    assert found == mean_difference(image[..., ::-1], gt[..., ::-1], 2)
