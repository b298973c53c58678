"""Whether the images that a network is measured on are the standard ones of that name."""
import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..data.benchmarks import SETS, known_set
from ..data.bicubic import imresize
from ..data.prepare.verify import judge_count, judge_psnr
from .metrics import OURS, Image, Metrics, Scores, score, usual_metrics


class ImageCheck(NamedTuple):
    """What identifies a pair of images."""

    digest: str  # SHA-256 of the image's name, sizes and pixels
    bicubic: Scores  # values of the metrics for lq upsampled by MATLAB's bicubic
    psnr_y: float | None  # PSNR of that on Y, without a border of scale pixels; None without gt


def check_image(name: str, lq: Image, gt: Image | None, metrics: Metrics, scale: int) -> ImageCheck:
    """Identify a pair, lq (H, W, 3) and gt (H * scale, W * scale, 3), or lq alone, by hash and bicubic."""
    images = [image for image in (lq, gt) if image is not None]
    digest = hashlib.sha256(' '.join([name, *(str(image.shape) for image in images)]).encode())
    for image in images:
        digest.update(image.tobytes())
    if gt is None:
        return ImageCheck(digest.hexdigest(), {}, None)
    wanted = {key: block for key, block in metrics.items() if block['type'] in OURS}
    values = score(imresize(lq, size=gt.shape[:2]), gt, {**wanted, '': usual_metrics(scale)['psnr']})
    return ImageCheck(digest.hexdigest(), values, values.pop(''))


def check_dataset(name: str, checks: list[ImageCheck], scale: int) -> dict[str, Any]:
    """Compare a dataset with the standard one of its name by the number of images and PSNR of bicubic.

    Returns:
        ``sha256`` of all images; ``check``, the findings; ``good``: False if it is not the standard dataset, None if
        nothing is known of that name.
    """
    # Sorted, since BasicSR's datasets list a folder in any order.
    digests = ' '.join(sorted(check.digest for check in checks))
    found = {'sha256': hashlib.sha256(digests.encode()).hexdigest()}
    values = [check.psnr_y for check in checks if check.psnr_y is not None]
    if len(values) < len(checks):
        return {**found, 'check': f'{len(checks) - len(values)} of {len(checks)} images have no gt', 'good': None}
    known = known_set(Path(name))
    psnr = float(np.mean([value for value in values if np.isfinite(value)] or values))  # a black image's is infinite
    findings = [judge_count(len(checks), known, name), judge_psnr(psnr, known, scale)]
    good = all(finding.good for finding in findings)
    compared = known is not None and scale in SETS[known].bicubic
    return {**found, 'check': '; '.join(finding.text for finding in findings),
            'good': good if compared or not good else None}
