"""What a model is worth: PSNR on photographs, and time."""
from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ..data.bicubic import shrink
from ..data.images import read_image
from ..evaluation.evaluate import mean_scores, to_uint8
from ..evaluation.metrics import score, usual_metrics
from .runtimes import Model


def middle_pair(file: Path, side: int, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """The middle of a photograph and the LR image that MATLAB's bicubic makes of it.

    Args:
        side: of the LR image in pixels; a smaller photograph is repeated.

    Returns:
        uint8 RGB (scale * side, scale * side, 3), and lq (1, 3, side, side) float32 in [0, 1].
    """
    gt, full = read_image(file), side * scale
    gt = np.tile(gt, (-(-full // gt.shape[0]), -(-full // gt.shape[1]), 1))
    top, left = (gt.shape[0] - full) // 2, (gt.shape[1] - full) // 2
    gt = np.ascontiguousarray(gt[top:top + full, left:left + full])
    return gt, as_batch(shrink(gt, scale))


def as_batch(image: np.ndarray) -> np.ndarray:
    """An image, uint8 (H, W, 3), as a network takes it: (1, 3, H, W) float32 in [0, 1]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None], np.float32) / 255


def as_image(output: np.ndarray) -> np.ndarray:
    """A network's output (1, 3, H, W), rounded to uint8 (H, W, 3)."""
    return to_uint8(torch.from_numpy(output[0]))


def mean_psnr(model: Model, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """PSNR in dB on Y of what a model makes of pairs by ``middle_pair``, ``scale`` pixels of border left out."""
    metrics = usual_metrics(model.scale)
    return mean_scores([score(as_image(model.run(lq)), gt, metrics) for gt, lq in pairs])['psnr']


def times(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call, after one that is not counted; calls take turns, so that all meet the same load."""
    for call in calls.values():
        call()
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name].append(1e3 * (time.perf_counter() - start))
    return found
