"""How long validation takes: BasicSR's, this package's, and the forward passes of the network alone.

All three super-resolve the same synthetic images with the same small student; the first two measure PSNR and SSIM on Y
and are checked to find the same values. Runs alternate, and each figure is a median. The last line is one JSON object:
"metrics_ratio" is BasicSR's time for the metrics of one image over ours, "basicsr_over_passes" and "ours_over_passes"
compare whole validations with the forward passes.

example:
  python benchmarks/validation.py --images 5 --size 128 128
"""
import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import mipkd_model  # noqa: F401  (first: it says how torch's threads wait, and makes BasicSR importable)

# isort: split
import cv2
import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from mipkd_arch.base.cli import exit_status
from mipkd_arch.base.errors import number_in
from mipkd_arch.student_arch import EDSRStudent
from mipkd_model.evaluation.evaluate import EvaluationSettings, evaluate, mean_scores
from mipkd_model.evaluation.metrics import score, usual_metrics

from basicsr.metrics import calculate_psnr, calculate_ssim
from basicsr.models.sr_model import SRModel

SCALE = 4
METRICS = usual_metrics(SCALE)


class SyntheticImages(torch.utils.data.Dataset):
    """Pairs of images in memory, as BasicSR's datasets give them."""

    opt = {'name': 'made'}

    def __init__(self, count: int, width: int, height: int) -> None:
        rng = np.random.default_rng(0)
        self.items: list[dict[str, Any]] = []
        for index in range(count):
            coarse = rng.integers(0, 256, (height // 4 + 2, width // 4 + 2, 3), np.uint8)
            gt = cv2.resize(coarse, (width * SCALE, height * SCALE), interpolation=cv2.INTER_CUBIC)
            pair = {'lq': gt[::SCALE, ::SCALE], 'gt': gt}
            self.items.append({key: torch.from_numpy(image.transpose(2, 0, 1).copy()).float() / 255
                               for key, image in pair.items()}
                              | {'lq_path': f'{index}.png', 'gt_path': f'{index}.png'})

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.items[index]


def basicsr_validation(network: nn.Module, data: SyntheticImages, device: torch.device) -> dict[str, float]:
    """BasicSR's own loop, on a model that has just what the loop reads. Returns its means."""
    model = SRModel.__new__(SRModel)
    model.opt = {'val': {'metrics': METRICS}, 'is_train': False}
    model.device, model.net_g, model.is_train = device, network, False
    model._log_validation_metric_values = lambda *args: None
    model._initialize_best_metric_results = lambda *args: None
    model._update_best_metric_result = lambda *args: None
    model.nondist_validation(torch.utils.data.DataLoader(data, batch_size=1), 0, None, False)
    return model.metric_results


def our_validation(network: nn.Module, data: SyntheticImages, device: torch.device) -> dict[str, float]:
    """The package's. Returns its means."""
    results = evaluate(network, data, EvaluationSettings(SCALE, METRICS), device)
    return mean_scores([result.scores for result in results])


def forward_passes(network: nn.Module, data: SyntheticImages, device: torch.device) -> None:
    """The network alone."""
    with torch.no_grad():
        for item in data.items:
            network(item['lq'][None].to(device))
    if device.type == 'cuda':
        torch.cuda.synchronize()


def basicsr_metrics(image: np.ndarray, gt: np.ndarray) -> list[float]:
    return [metric(image[..., ::-1], gt[..., ::-1], SCALE, test_y_channel=True)
            for metric in (calculate_psnr, calculate_ssim)]


def our_metrics(image: np.ndarray, gt: np.ndarray) -> list[float]:
    return list(score(image, gt, METRICS).values())


def timed(function: Callable[..., Any], *args: Any) -> tuple[float, Any]:
    """Milliseconds, and what the function returns."""
    start = time.perf_counter()
    value = function(*args)
    return 1000 * (time.perf_counter() - start), value


def measure(args: argparse.Namespace) -> None:
    """Time all in turn and print the result."""
    for name in ('images', 'repeats'):
        number_in(f'--{name}', getattr(args, name), 1, integer=True)
    for side in args.size:
        number_in('--size', side, 8, integer=True)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    data = SyntheticImages(args.images, *args.size)
    network = EDSRStudent(num_feat=64, num_block=32, upscale=SCALE).eval().to(device)
    gt = np.ascontiguousarray((data[0]['gt'].permute(1, 2, 0) * 255).round().byte().numpy())
    noisy = (gt + np.random.default_rng(1).normal(0, 4, gt.shape)).clip(0, 255).astype(np.uint8)
    calls: dict[str, tuple[Any, ...]] = {
        'basicsr_metrics': (basicsr_metrics, noisy, gt), 'our_metrics': (our_metrics, noisy, gt),
        'basicsr': (basicsr_validation, network, data, device), 'ours': (our_validation, network, data, device),
        'passes': (forward_passes, network, data, device)}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in tqdm(range(args.repeats + 1), 'time', unit='round'):
        values = {}
        for name, call in calls.items():
            took, values[name] = timed(*call)
            if turn:
                times[name].append(took)
        np.testing.assert_allclose(values['our_metrics'], values['basicsr_metrics'], rtol=0, atol=1e-6)
        np.testing.assert_allclose(list(values['ours'].values()), list(values['basicsr'].values()), rtol=0, atol=1e-6)
    median = {name: statistics.median(found) for name, found in times.items()}
    result: dict[str, Any] = {f'{name}_ms': round(value, 1) for name, value in median.items()}
    result.update(metrics_ratio=round(median['basicsr_metrics'] / median['our_metrics'], 2),
                  basicsr_over_passes=round(median['basicsr'] / median['passes'], 2),
                  ours_over_passes=round(median['ours'] / median['passes'], 2),
                  device=str(device), threads=torch.get_num_threads(), torch=torch.__version__)
    print(json.dumps(result))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=5, help='how many (default: %(default)s)')
    parser.add_argument('--size', type=int, nargs=2, default=[128, 128], metavar=('WIDTH', 'HEIGHT'),
                        help='of lq (default: %(default)s)')
    parser.add_argument('--repeats', type=int, default=5,
                        help='runs of each, after a warm-up (default: %(default)s)')
    return exit_status(measure, parser.parse_args())


if __name__ == '__main__':
    sys.exit(main())
