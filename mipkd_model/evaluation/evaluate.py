"""A network's output on every image of a data set, measured."""
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch

from mipkd_arch.base.errors import UserError
from mipkd_arch.base.failures import on_no_memory

from ..base.files import atomic_write
from .dataset_check import ImageCheck, check_image
from .metrics import needs_gt, score

THREADS = 2
MAX_WAITING = 4  # images that are kept until they have been measured, while a GPU goes on


@dataclass(frozen=True)
class ImageResult:
    """What became of one image."""
    name: str
    """Of the gt image, or of the lq image where there is no gt."""
    lq: str
    """Name of the lq image."""
    scores: dict
    """Values by metric; without gt, of those that need none."""
    check: ImageCheck | None
    """Of the images, where it was asked for."""
    output: str | None
    """File that the output was saved in."""
    failed: dict = field(default_factory=dict)
    """By metric, why it has no value on this image."""


def to_levels(image):
    """The image of 8 bits that a tensor stands for, as BasicSR's ``tensor2img`` rounds it.

    Args:
        image (Tensor): (3, H, W), uint8, or float in [0, 1]; what lies outside is clipped.

    Returns:
        ndarray: uint8 RGB (H, W, 3).
    """
    if image.dtype != torch.uint8:
        image = (image.detach().float().clamp(0, 1) * 255).round().to(torch.uint8)
    return image.permute(1, 2, 0).contiguous().cpu().numpy()


def evaluate(restore, dataset, metrics, scale, device, *, check=False, save_as=None, rank=0, world_size=1,
             progress=iter, remedy='it needs more memory'):
    """Super-resolve all images in float32 and measure them; they are shared out among the processes.

    Args:
        restore (callable): lq (1, 3, H, W) in [0, 1] to (1, 3, scale * H, scale * W).
        dataset (Dataset): items as BasicSR's paired datasets or PairedSRDataset give them for validation; without
            ``gt`` only metrics that need none are measured.
        metrics (dict): block ``val.metrics``.
        scale (int): factor between lq and gt.
        device (torch.device): where the network is.
        check (bool): look at the pairs themselves, too.
        save_as (callable | None): name of the lq image to the file to save the output in.
        rank, world_size (int): which process of how many this is.
        progress (callable): wraps the indices of this process's images.
        remedy (str): what helps where an image does not fit into memory.

    Returns:
        list[ImageResult]: of all images in the data set's order, the same in each process.

    Raises:
        UserError: an output is not of the size of gt, or there is not enough memory for an image.
    """
    def memory(item, doing):
        height, width = item['lq'].shape[-2:]
        return on_no_memory(lambda asked: f'{Path(item["lq_path"]).stem}: not enough memory to {doing} this image of '
                                          f'{width}x{height} pixels at x{scale}{asked}; {remedy}')

    def finish(item, image, finite):
        lq_name = Path(item['lq_path']).stem
        file = save_as(lq_name) if save_as else None
        if file:
            _write_image(image, file)
        name = Path(item['gt_path']).stem if 'gt' in item else lq_name
        lq, gt = to_levels(item['lq']), to_levels(item['gt']) if 'gt' in item else None
        if gt is not None and image.shape != gt.shape:
            raise UserError(f'{name}: the output is {image.shape[1]}x{image.shape[0]}, but gt {gt.shape[1]}x'
                            f'{gt.shape[0]}; is scale: {scale} that of network and data?')
        failed = {}
        if finite:
            scores = score(image, gt, metrics, failed)
        else:
            scores = {name: float('nan') for name, block in metrics.items() if gt is not None or not needs_gt(block)}
        found = check_image(name, lq, gt, metrics, scale) if check else None
        return ImageResult(name, lq_name, scores, found, file, failed)

    def measure(item, image, finite):
        with memory(item, 'measure'):
            return finish(item, image, finite)

    results, waiting = {}, deque()
    with ThreadPoolExecutor(THREADS) as pool, torch.no_grad(), _float32():
        # A CPU's cores are the network's own: measuring beside it would slow down both.
        submit = _at_once if device.type == 'cpu' else pool.submit
        for index in progress(range(rank, len(dataset), world_size)):
            item = dataset[index]
            with memory(item, 'super-resolve'):
                lq = item['lq'].to(device)
                output = restore((lq.float() / 255 if lq.dtype == torch.uint8 else lq)[None])[0]
                finite, image = bool(output.isfinite().all()), to_levels(output.nan_to_num())
            waiting.append((index, submit(measure, item, image, finite)))
            if len(waiting) > MAX_WAITING:
                index, future = waiting.popleft()
                results[index] = future.result()
        results.update((index, future.result()) for index, future in waiting)
    if world_size > 1:
        parts = [None] * world_size
        torch.distributed.all_gather_object(parts, results)
        results = {index: result for part in parts for index, result in part.items()}
    return [results[index] for index in range(len(dataset))]


def _at_once(function, *args):
    future = Future()
    future.set_result(function(*args))
    return future


@contextmanager
def _float32():
    """Float32 as such: published figures are not of TF32. Nor is cuDNN tuned, which each size of image would need."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('highest')
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def mean_scores(scores):
    """Means by metric of a list of values by metric, summed in the order of the list.

    A metric's mean is over the images that have a value. Infinite ones, as PSNR is of a black image that came out
    black, are left out, unless all are; one nan makes the mean nan.
    """
    means = {}
    for name in dict.fromkeys(name for values in scores for name in values):
        found = [values[name] for values in scores if name in values]
        means[name] = float(np.mean([value for value in found if not np.isinf(value)] or found))
    return means


def compared_means(scores, bicubic, name):
    """Means of a network and of bicubic by a metric, over the images on which neither is infinite.

    Args:
        scores, bicubic (list[dict[str, float]]): values by metric of the same images.
        name (str): of the metric.

    Returns:
        tuple[float, float, int] | None: both means, and how many images were left out; None where none is left.
    """
    pairs = [(values[name], theirs[name]) for values, theirs in zip(scores, bicubic, strict=True)
             if name in values and name in theirs]
    kept = [pair for pair in pairs if not np.isinf(pair).any()]
    return (*map(float, np.mean(kept, 0)), len(pairs) - len(kept)) if kept else None


def _write_image(image, file):
    written, png = cv2.imencode('.png', image[..., ::-1])
    assert written, 'PNG takes any image of 8 bits'
    with atomic_write(file) as temporary:
        temporary.write_bytes(png)
