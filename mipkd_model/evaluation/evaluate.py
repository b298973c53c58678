"""A network's output on every image of a dataset, measured."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from mipkd_arch.base.errors import UserError
from mipkd_arch.base.failures import on_no_memory

from basicsr.utils.dist_util import get_dist_info

from ..base.files import atomic_write
from .dataset_check import ImageCheck, check_image
from .metrics import Image, Metrics, Scores, score
from .restore import TILE_PAD, Restore, restorer

THREADS = 2
MAX_PENDING = 4  # images kept until they are measured, while a GPU continues
TILE = 256  # proposed where an image does not fit into memory; fits most networks on any machine


@dataclass(frozen=True)
class EvaluationSettings:
    """How networks are measured: the options ``scale`` and ``val``."""
    scale: int
    metrics: Metrics
    tile: int | None = None
    tile_pad: int = TILE_PAD
    self_ensemble: bool = False

    @classmethod
    def of(cls, opt: dict[str, Any]) -> EvaluationSettings:
        val = opt.get('val') or {}
        pad = val.get('tile_pad')
        return cls(opt['scale'], val.get('metrics') or {}, val.get('tile'), TILE_PAD if pad is None else pad,
                   val.get('self_ensemble', False))

    def restorer(self, network: Restore, size_multiple: int) -> Restore:
        """Inference of a network in eval mode, whose lq must have sides that are multiples of ``size_multiple``."""
        return restorer(network, self.scale, size_multiple, self.tile, self.tile_pad, self.self_ensemble)


@dataclass(frozen=True)
class ImageResult:
    """What one image gave."""
    name: str  # of the gt image, or of the lq image where there is no gt
    lq: str  # name of the lq image
    scores: Scores  # without gt, of the metrics that need none
    check: ImageCheck | None  # of the images themselves, if asked for
    output: str | None  # file of the saved output
    failed: dict[str, str]  # by metric, why it has no value


def to_uint8(image: Tensor) -> Image:
    """(3, H, W), uint8 or float, clipped to [0, 1] and rounded as in BasicSR's ``tensor2img``, to uint8 (H, W, 3)."""
    if image.dtype != torch.uint8:
        image = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return image.permute(1, 2, 0).contiguous().cpu().numpy()


def evaluate(restore: Restore, dataset: Any, settings: EvaluationSettings, device: torch.device, *,
             check: bool = False, save_as: Callable[[str], str] | None = None,
             progress: Callable[[Iterable[int]], Iterable[int]] = iter) -> list[ImageResult]:
    """Super-resolve all images in float32 and measure them; each rank takes its share of the images.

    Args:
        restore: see ``EvaluationSettings.restorer``.
        dataset: items as of BasicSR's paired datasets or PairedSRDataset for validation, or without ``gt``.
        settings: scale and metrics.
        device: of the network.
        check: also check the images themselves.
        save_as: from the name of an lq image to the file for the output.
        progress: wraps the indices of this rank's images.

    Returns:
        Of all images in the dataset's order, the same on all ranks.

    Raises:
        UserError: an output has not the size of gt, or an image does not fit into memory.
    """
    rank, world_size = get_dist_info()
    ahead = 0 if device.type == 'cpu' else MAX_PENDING * world_size  # measuring would take cores from the network
    pending = {}
    with ThreadPoolExecutor(THREADS) as pool, torch.no_grad(), _full_float32():
        for index in progress(range(rank, len(dataset), world_size)):
            item = dataset[index]
            image, finite = _super_resolve(restore, item, settings, device)
            pending[index] = pool.submit(_measure, item, image, finite, settings, check, save_as)
            if index - ahead in pending:
                pending[index - ahead].result()
        results = {index: future.result() for index, future in pending.items()}
    if world_size > 1:
        shares: list[Any] = [None] * world_size
        torch.distributed.all_gather_object(shares, results)
        results = {index: result for share in shares for index, result in share.items()}
    return [results[index] for index in range(len(dataset))]


def _super_resolve(restore: Restore, item: dict[str, Any], settings: EvaluationSettings, device: torch.device
                   ) -> tuple[Image, bool]:
    """The output (H, W, 3) of an item's lq, and whether all of it is finite."""
    height, width = item['lq'].shape[-2:]
    remedy = f'set val.tile lower than {settings.tile}' if settings.tile else f'set val.tile: {TILE}, the side of tiles'
    with on_no_memory(lambda asked: f'{Path(item["lq_path"]).stem}: not enough memory to super-resolve this image of '
                                    f'{width}x{height} pixels at x{settings.scale}{asked}; {remedy}'):
        lq = item['lq'].to(device)
        output = restore((lq.float() / 255 if lq.dtype == torch.uint8 else lq)[None])[0]
        return to_uint8(output.nan_to_num()), bool(output.isfinite().all())


def _measure(item: dict[str, Any], image: Image, finite: bool, settings: EvaluationSettings, check: bool,
             save_as: Callable[[str], str] | None) -> ImageResult:
    lq_name = Path(item['lq_path']).stem
    name = Path(item['gt_path']).stem if 'gt' in item else lq_name
    lq, gt = to_uint8(item['lq']), to_uint8(item['gt']) if 'gt' in item else None
    file = save_as(lq_name) if save_as else None
    if file:
        with atomic_write(file) as temporary:
            temporary.write_bytes(cv2.imencode('.png', image[..., ::-1])[1].tobytes())
    if gt is not None and image.shape != gt.shape:
        raise UserError(f'{name}: the output has {image.shape[1]}x{image.shape[0]} pixels, but gt {gt.shape[1]}x'
                        f'{gt.shape[0]}; set scale: {settings.scale} to that of network and data')
    failed: dict[str, str] = {}
    scores = score(image, gt, settings.metrics, failed)
    if not finite:
        scores = dict.fromkeys(scores, float('nan'))
    found = check_image(name, lq, gt, settings.metrics, settings.scale) if check else None
    return ImageResult(name, lq_name, scores, found, file, failed)


@contextmanager
def _full_float32() -> Iterator[None]:
    """Without TF32, as published results, and without cuDNN's tuning, which would run for each image size."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('highest')
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def mean_scores(scores: list[Scores]) -> Scores:
    """Means by metric over the images that have a value; nan makes the mean nan.

    Infinite values, such as PSNR of a black image that is restored exactly, are left out unless all are infinite.
    """
    means = {}
    for name in dict.fromkeys(name for values in scores for name in values):
        found = [values[name] for values in scores if name in values]
        means[name] = float(np.mean([value for value in found if not np.isinf(value)] or found))
    return means
