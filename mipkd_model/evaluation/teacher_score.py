"""How good the teacher is, measured before training: unsuitable weights may load without an error."""
import math
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from mipkd_arch.staged_views import size_multiple

from basicsr.data import build_dataset
from basicsr.utils import get_root_logger

from .evaluate import EvaluationSettings, compared_means, evaluate, mean_scores
from .metrics import Metrics
from .records import Record

TeacherScores = dict[str, dict[str, float]]
"""A teacher's values by dataset and metric."""


def teacher_metric(metrics: Metrics) -> str | None:
    """Name of the metric that a teacher is measured by: the first PSNR, else the first one."""
    psnr = [name for name, block in metrics.items() if block['type'] == 'calculate_psnr']
    return next(iter([*psnr, *metrics]), None)


def is_better(value: float, than: float, block: dict[str, Any]) -> bool:
    """Whether a value of the metric of a block of ``val.metrics`` is better than another; nan never is."""
    return value < than if block.get('better', 'higher') == 'lower' else value > than


def measure_teacher(opt: dict[str, Any], teacher: nn.Module, device: torch.device) -> TeacherScores:
    """Measure a teacher, in float32 and eval mode, on the first validation dataset; warn if it is not above bicubic.

    The result is empty if there is nothing to measure, with ``val.check_teacher: false``, and in a resumed run, whose
    state has the values.
    """
    settings = EvaluationSettings.of(opt)
    name = teacher_metric(settings.metrics)
    block = next((block for phase, block in opt['datasets'].items() if phase.split('_')[0] == 'val'), None)
    if name is None or block is None or not opt['val'].get('check_teacher', True) or opt['path'].get('resume_state'):
        return {}
    dataset = build_dataset({**deepcopy(block), 'phase': 'val', 'scale': opt['scale']})
    settings = replace(settings, metrics={name: settings.metrics[name]})
    where, logger = block['name'], get_root_logger()
    logger.info(f'Measuring the teacher on {where}; val.check_teacher: false turns this off.')
    results = evaluate(settings.restorer(teacher, size_multiple(teacher)), dataset, settings, device, check=True,
                       progress=partial(tqdm, desc=f'teacher on {where}', unit='image', leave=False,
                                        disable=opt['rank'] > 0 or None))  # None: only on a terminal
    scores = [result.scores for result in results]
    value = mean_scores(scores).get(name)
    if value is None:
        logger.warning(f'{where}: {name} has no value on any image, so the teacher is not measured.')
        return {}
    compared = compared_means(scores, [result.check.bicubic for result in results if result.check], name)
    if compared is None:  # a metric that bicubic is not measured by, or only infinite values
        logger.info(f'Teacher on {where}: {name} {value:.4f}')
        return {where: {name: value}}
    text = _comparison(name, opt['scale'], *compared)
    logger.info(f'Teacher on {where}: {text}')
    if not is_better(*compared[:2], settings.metrics[name]):
        file = opt['path'].get('pretrain_network_t') or opt['network_t'].get('file')
        logger.warning(f'{file}: the teacher is no better than {_reference(opt["scale"])} on {where}: {text}; check '
                       f'that these are weights of network_t for scale {opt["scale"]}, and that rgb_mean, img_range '
                       'and res_scale are those it was trained with.')
    return {where: {name: compared[0]}}


def warn_if_below_bicubic(record: Record) -> None:
    """Warn of a student that, at the end of its training, is no better than bicubic by one of the metrics."""
    for name, block in record.protocol['metrics'].items():
        compared = _compared_with_bicubic(record, name)
        if compared and not is_better(*compared[:2], block):
            text = _comparison(name, record.scale, *compared)
            get_root_logger().warning(
                f'The student is below {_reference(record.scale)} on {record.dataset["name"]}: {text}; the training '
                'may be too short, or its learning rate too high or too low. mipkd check warns of schedules that '
                'do not fit the length.')
            return


def warn_if_above_teacher(record: Record, teacher_scores: TeacherScores) -> bool:
    """Warn of a student that is better than its teacher by one of the metrics. Returns whether it is."""
    dataset = record.dataset['name']
    for name, value in teacher_scores.get(dataset, {}).items():
        # Without images of infinite PSNR, as the teacher was measured: a black one would decide the comparison.
        compared = _compared_with_bicubic(record, name)
        student = compared[0] if compared else record.mean.get(name, math.nan)
        if is_better(student, value, record.protocol['metrics'].get(name, {})):
            get_root_logger().warning(
                f'The student is better than its teacher on {dataset}: {name} {student:.4f}, teacher {value:.4f}; a '
                'better teacher, or lower weights of the distillation losses, could help.')
            return True
    return False


def _compared_with_bicubic(record: Record, name: str) -> tuple[float, float, int] | None:
    images = record.images.values()
    return compared_means([image.scores for image in images], [image.bicubic for image in images], name)


def _comparison(name: str, scale: int, value: float, bicubic: float, left_out: int) -> str:
    aside = f' (without {left_out} images on which one of them is infinite)' if left_out else ''
    return f'{name} {value:.4f}, {_reference(scale)} {bicubic:.4f}{aside}'


def _reference(scale: int) -> str:
    return 'bicubic' if scale > 1 else 'lq itself'
