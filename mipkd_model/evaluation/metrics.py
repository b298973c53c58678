"""PSNR and SSIM, equal to BasicSR's to 1e-6 and several times as fast; other metrics are computed by BasicSR."""
import inspect
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.base.failures import is_out_of_memory

from basicsr.metrics import calculate_metric
from basicsr.utils.registry import METRIC_REGISTRY

Image = NDArray[np.uint8]
"""RGB (H, W, 3)."""
Plane = NDArray[Any]  # float64
Metrics = dict[str, dict[str, Any]]
"""Block ``val.metrics``: by name ``type``, ``crop_border`` in gt pixels, ``test_y_channel`` (default: false), or the
arguments of another metric of BasicSR's registry, and ``better`` ('higher' or 'lower')."""
Scores = dict[str, float]  # by the names of metrics

# BT.601 in limited range, for R, G, B in [0, 1], as in BasicSR's rgb2ycbcr.
_UNIT = (np.arange(256, dtype=np.float32) / 255).astype(np.float64)
_TERMS = np.stack([_UNIT * weight for weight in (65.481, 128.553, 24.966)], -1)[None]
_SUM = np.ones((1, 3))
SSIM_WINDOW = 11
_GAUSSIAN = cv2.getGaussianKernel(SSIM_WINDOW, 1.5)
C1, C2 = (0.01 * 255)**2, (0.03 * 255)**2


def to_y(image: Image) -> Plane:
    """Y of YCbCr (H, W) in [16, 235] of RGB (H, W, 3), rounded as in BasicSR's ``to_y_channel``; gray is its own Y."""
    if image.shape[2] == 1:
        return image[..., 0].astype(np.float64)
    y = (cv2.transform(cv2.LUT(np.ascontiguousarray(image), _TERMS), _SUM) + 16) / 255
    return (y.astype(np.float32) * np.float32(255)).astype(np.float64)


def psnr(image: Plane, gt: Plane) -> float:
    """Peak signal-to-noise ratio in dB of images (H, W) or (H, W, C) in [0, 255]; inf for equal images."""
    mse = np.square(image - gt).mean()
    return float(10 * np.log10(255 * 255 / mse)) if mse else float('inf')


def ssim(image: Plane, gt: Plane) -> float:
    """Structural similarity (Wang et al. 2004) of images (H, W) or (H, W, C) in [0, 255], the mean over channels.

    The window is Gaussian, 11x11 with sigma 1.5, at all positions where it fits. It is separable, and only the sum of
    the two variances is needed: four filtered images instead of five.
    """
    if image.ndim == 3:
        return float(np.mean([ssim(*planes) for planes in zip(cv2.split(image), cv2.split(gt), strict=True)]))
    mean, mean_gt = _filtered(image), _filtered(gt)
    product, squares = mean * mean_gt, mean * mean + mean_gt * mean_gt
    covariance = _filtered(image * gt) - product
    variances = _filtered(image * image + gt * gt) - squares
    return float(((2 * product + C1) * (2 * covariance + C2) / ((squares + C1) * (variances + C2))).mean())


def _filtered(plane: Plane) -> Plane:
    reach = SSIM_WINDOW // 2
    return cv2.sepFilter2D(plane, -1, _GAUSSIAN, _GAUSSIAN)[reach:-reach, reach:-reach]


OURS = {'calculate_psnr': psnr, 'calculate_ssim': ssim}  # by BasicSR's names


def usual_metrics(border: int, on_y: bool = True) -> Metrics:
    """PSNR and SSIM as a block ``val.metrics``, without a border of ``border`` pixels, on Y or on RGB."""
    return {name: {'type': f'calculate_{name}', 'crop_border': border, 'test_y_channel': on_y}
            for name in ('psnr', 'ssim')}


def needs_gt(block: dict[str, Any]) -> bool:
    """Whether the metric of a block of ``val.metrics`` compares with gt, as all do but NIQE and the like."""
    return 'img2' in inspect.signature(METRIC_REGISTRY.get(block['type'])).parameters


def score(image: Image, gt: Image | None, metrics: Metrics, failed: dict[str, str] | None = None) -> Scores:
    """Values of several metrics on an image (H, W, 3), or gray (H, W, 1).

    Without gt, metrics that need it have no value; of one that fails or gives nan, ``failed`` receives the reason.

    Raises:
        UserError: ``crop_border`` leaves nothing of the image.
    """
    values: Scores = {}
    planes: dict[tuple[int, bool], list[Plane]] = {}  # both metrics share the conversion to Y
    for name, block in metrics.items():
        if gt is None and needs_gt(block):
            continue
        try:
            if gt is None or block['type'] not in OURS:
                values[name] = _value_of_registry(image, gt, block)
                continue
            key = block['crop_border'], block.get('test_y_channel', False)
            if key not in planes:
                planes[key] = [_plane(x, *key, name) for x in (image, gt)]
            if block['type'] == 'calculate_ssim' and min(planes[key][0].shape[:2]) < SSIM_WINDOW:
                raise ValueError(f'without its border the image is smaller than the window of {SSIM_WINDOW} pixels')
            values[name] = OURS[block['type']](*planes[key])
        except Exception as error:  # a metric of the user's may fail in any way
            if isinstance(error, UserError) or is_out_of_memory(error):
                raise
            if failed is not None:
                failed[name] = reason_of(error)
    return values


def _plane(image: Image, border: int, on_y: bool, name: str) -> Plane:
    height, width = image.shape[:2]
    if 2 * border >= min(height, width):
        raise UserError(f'val.metrics.{name}.crop_border: {border} leaves nothing of an image of {width}x{height}')
    cropped = image[border:height - border, border:width - border]
    return to_y(cropped) if on_y else cropped.astype(np.float64)


def _value_of_registry(image: Image, gt: Image | None, block: dict[str, Any]) -> float:
    options = {key: value for key, value in block.items() if key != 'better'}
    # BGR as BasicSR's metrics expect it; copies, since some of them write into their input.
    pair = {key: x[..., ::-1].copy() for key, x in (('img', image), ('img2', gt)) if x is not None}
    value = float(calculate_metric(pair, options))
    if np.isnan(value):
        raise ValueError('it gives nan')
    return value
