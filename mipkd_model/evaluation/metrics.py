"""PSNR and SSIM, equal to BasicSR's to 1e-6 and several times as fast.

What makes the difference: both metrics share one conversion to Y, which is three look-ups for each pixel; the Gaussian
window of SSIM is run over rows and columns apart; and four windowed means are taken instead of five, for SSIM needs the
two variances only as their sum.
"""
import inspect
import math
import warnings
from contextlib import contextmanager

import cv2
import numpy as np

from mipkd_arch.base.errors import UserError, reason_of, shown
from mipkd_arch.base.failures import is_out_of_memory

from basicsr.metrics import calculate_metric
from basicsr.utils.registry import METRIC_REGISTRY

# BT.601 in limited range, for R, G, B in [0, 1], as BasicSR's rgb2ycbcr.
_LEVELS = (np.arange(256, dtype=np.float32) / 255).astype(np.float64)
_TERMS = np.stack([_LEVELS * weight for weight in (65.481, 128.553, 24.966)], -1)[None]
_SUM = np.ones((1, 3))
_WINDOW = cv2.getGaussianKernel(11, 1.5)
_REACH = len(_WINDOW) // 2
C1, C2 = (0.01 * 255)**2, (0.03 * 255)**2


def to_y(image):
    """Y of YCbCr, as BasicSR's ``to_y_channel``: not rounded, but to float32.

    Args:
        image (ndarray): uint8 RGB (H, W, 3); an image (H, W, 1) is its own Y.

    Returns:
        ndarray: float64 (H, W), in [16, 235] for RGB.
    """
    if image.shape[2] == 1:
        return image[..., 0].astype(np.float64)
    y = cv2.transform(cv2.LUT(np.ascontiguousarray(image), _TERMS), _SUM)
    y += 16
    y /= 255
    return (y.astype(np.float32) * np.float32(255)).astype(np.float64)


def psnr(image, gt):
    """Peak signal-to-noise ratio in dB, inf for equal images.

    Args:
        image, gt (ndarray): float64 (H, W) or (H, W, C), in [0, 255].
    """
    mse = np.square(image - gt).mean()
    return float(10 * np.log10(255 * 255 / mse)) if mse else float('inf')


def ssim(image, gt):
    """Structural similarity (Wang et al. 2004) with a Gaussian window of 11x11 and sigma 1.5, where it fits whole.

    Args:
        image, gt (ndarray): float64 (H, W) or (H, W, C), in [0, 255]; the mean over channels is taken.
    """
    if image.ndim == 3:
        return float(np.mean([ssim(*planes) for planes in zip(cv2.split(image), cv2.split(gt), strict=True)]))
    mean, mean_gt = _windowed(image), _windowed(gt)
    product, squares = mean * mean_gt, mean * mean + mean_gt * mean_gt
    covariance = _windowed(image * gt) - product
    variances = _windowed(image * image + gt * gt) - squares
    return float(((2 * product + C1) * (2 * covariance + C2) / ((squares + C1) * (variances + C2))).mean())


def _windowed(plane):
    return cv2.sepFilter2D(plane, -1, _WINDOW, _WINDOW)[_REACH:-_REACH, _REACH:-_REACH]


OURS = {'calculate_psnr': psnr, 'calculate_ssim': ssim}
"""By BasicSR's names; other metrics of its registry are computed by BasicSR."""


def usual_metrics(border, on_y=True):
    """PSNR and SSIM as a block ``val.metrics``, with ``border`` pixels left out, on Y or on RGB."""
    return {name: {'type': f'calculate_{name}', 'crop_border': border, 'test_y_channel': on_y}
            for name in ('psnr', 'ssim')}


def needs_gt(block):
    """Whether the metric of a block of ``val.metrics`` compares with gt, as all do but NIQE and its like."""
    return 'img2' in inspect.signature(METRIC_REGISTRY.get(block['type'])).parameters


def score(image, gt, metrics, failed=None):
    """Values of several metrics; one that fails on the image, or makes no number of it, has none.

    Args:
        image (ndarray): uint8 RGB (H, W, 3), or gray (H, W, 1).
        gt (ndarray | None): the same; without it, metrics that compare with it have no values.
        metrics (dict): by name a block as of ``val.metrics``: ``type``, ``crop_border`` in pixels of gt,
            ``test_y_channel`` (default: false, on RGB), or what another metric of BasicSR's takes.
        failed (dict | None): gets by name why a metric has no value on this image.

    Returns:
        dict[str, float]: by name.

    Raises:
        UserError: ``crop_border`` leaves nothing of the image.
    """
    values, planes = {}, {}
    failed = {} if failed is None else failed
    for name, block in metrics.items():
        if gt is None and needs_gt(block):
            continue
        if block['type'] not in OURS:
            with _why(failed, name):
                values[name] = _value_of_registry(image, gt, block)
            continue
        border, on_y = block['crop_border'], block.get('test_y_channel', False)
        if (border, on_y) not in planes:
            height, width = gt.shape[:2]
            if 2 * border >= min(height, width):
                raise UserError(f'val.metrics.{name}.crop_border: {border} leaves nothing of an image of '
                                f'{width}x{height}')
            cropped = (x[border:height - border, border:width - border] for x in (image, gt))
            planes[border, on_y] = [to_y(x) if on_y else x.astype(np.float64) for x in cropped]
        if block['type'] == 'calculate_ssim' and min(planes[border, on_y][0].shape[:2]) < len(_WINDOW):
            failed[name] = f'without its border the image is smaller than the window of {len(_WINDOW)} pixels'
            continue
        values[name] = OURS[block['type']](*planes[border, on_y])
    return values


@contextmanager
def _why(failed, name):
    """Note why a metric fails: any metric, of anyone, on any image."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        failed[name] = reason_of(error)


def _value_of_registry(image, gt, block):
    """Value of a metric of BasicSR's registry, which takes BGR.

    Raises:
        ValueError: it is no number.
    """
    options = {key: value for key, value in block.items() if key != 'better'}
    # Copies, for some write into what they are given.
    pair = {'img': image[..., ::-1].copy(), **({} if gt is None else {'img2': gt[..., ::-1].copy()})}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # NumPy's, of what becomes nan and is said below
        value = calculate_metric(pair, options)
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f'it gives {shown(value)}, which is no number') from None
    if math.isnan(number):
        raise ValueError('it gives nan')
    return number
