"""Whether the images that a network is measured on are those that everyone measures on."""
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..data.benchmarks import SETS, known_set
from ..data.bicubic import imresize
from ..data.prepare.verify import judge_count, judge_psnr
from .metrics import OURS, score, usual_metrics


class ImageCheck(NamedTuple):
    """What one pair of images is recognised by."""

    digest: str
    """SHA-256 of the image's name, sizes and pixels."""
    bicubic: dict
    """Values of the metrics for lq enlarged by MATLAB's bicubic."""
    psnr_y: float | None
    """PSNR of that on Y, without a border of ``scale`` pixels; None without gt."""


def check_image(name, lq, gt, metrics, scale):
    """Look at one pair, or at lq alone.

    Args:
        name (str): of the image.
        lq (ndarray): uint8 RGB (H, W, 3).
        gt (ndarray | None): uint8 RGB (H * scale, W * scale, 3).
        metrics (dict): block ``val.metrics``.
        scale (int): factor between them.

    Returns:
        ImageCheck: of the pair.
    """
    images = [image for image in (lq, gt) if image is not None]
    digest = hashlib.sha256(' '.join([name, *(str(image.shape) for image in images)]).encode())
    for image in images:
        digest.update(np.ascontiguousarray(image))
    if gt is None:
        return ImageCheck(digest.hexdigest(), {}, None)
    known = usual_metrics(scale)['psnr']
    wanted = {key: block for key, block in metrics.items() if block['type'] in OURS}
    values = score(imresize(lq, size=gt.shape[:2]), gt, {**wanted, '': known})
    psnr_y = values.pop('')
    return ImageCheck(digest.hexdigest(), values, psnr_y)


def check_dataset(name, checks, scale):
    """Compare a data set with what is known of the set of its name: number of images, and PSNR of bicubic.

    Args:
        name (str): of the data set, such as 'Set5'.
        checks (list[ImageCheck]): of its images.
        scale (int): factor between gt and lq.

    Returns:
        dict: ``sha256`` of all images; ``check``, what was found; ``good``: False where it is not the set of that name,
        None where no figure of it is known.
    """
    # Sorted, for BasicSR's datasets list a folder in any order.
    digests = ' '.join(sorted(check.digest for check in checks))
    found = {'sha256': hashlib.sha256(digests.encode()).hexdigest()}
    without = sum(check.psnr_y is None for check in checks)
    if without:
        return {**found, 'check': f'{without} of {len(checks)} images have no gt', 'good': None}
    known = known_set(Path(name))
    values = [check.psnr_y for check in checks]
    psnr = float(np.mean([value for value in values if np.isfinite(value)] or values))  # a black image's is infinite
    findings = [judge_count(len(checks), known, name), judge_psnr(psnr, known, scale)]
    compared = known is not None and scale in SETS[known].bicubic
    good = all(finding.good for finding in findings)
    return {**found, 'check': '; '.join(finding.text for finding in findings),
            'good': good if compared or not good else None}
