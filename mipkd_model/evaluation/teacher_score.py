"""How good the teacher is, measured before training, and the student next to teacher and bicubic."""
import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from mipkd_arch.staged_views import size_multiple

from basicsr.data import build_dataset
from basicsr.utils import get_root_logger

from .evaluate import EvaluationSettings, evaluate, mean_scores
from .metrics import Scores
from .records import Record

TeacherScores = dict[str, dict[str, float]]
"""A teacher's values by dataset and metric."""


def is_better(value: float, than: float, block: dict[str, Any]) -> bool:
    """Whether a value of the metric of a block of ``val.metrics`` is better than another; nan never is."""
    return value < than if block.get('better', 'higher') == 'lower' else value > than


def compared_means(scores: list[Scores], bicubic: list[Scores], name: str) -> tuple[float, float] | None:
    """Means of a network and of bicubic by a metric over the images on which neither is infinite; None without one."""
    pairs = [(ours[name], theirs[name]) for ours, theirs in zip(scores, bicubic, strict=True)
             if name in ours and name in theirs]
    kept = [pair for pair in pairs if not np.isinf(pair).any()]  # a black image's PSNR would decide the comparison
    if not kept:
        return None
    network_mean, bicubic_mean = map(float, np.mean(kept, 0))
    return network_mean, bicubic_mean


def measure_teacher(opt: dict[str, Any], teacher: nn.Module, device: torch.device) -> TeacherScores:
    """Measure a teacher by the first metric on the first validation dataset; warn if it is not above bicubic.

    The result is empty if there is nothing to measure, with ``val.check_teacher: false``, and in a resumed run, whose
    state has the values.
    """
    settings = EvaluationSettings.of(opt)
    name = next(iter(settings.metrics), None)
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
    reference = _reference(opt['scale'])
    text = f'{name} {compared[0]:.4f}, {reference} {compared[1]:.4f}'
    logger.info(f'Teacher on {where}: {text}')
    if not is_better(*compared, settings.metrics[name]):
        file = opt['path'].get('pretrain_network_t') or opt['network_t'].get('file')
        logger.warning(f'{file}: the teacher is no better than {reference} on {where}: {text}; check that these are '
                       f'weights of network_t for scale {opt["scale"]}, and that rgb_mean, img_range and res_scale are '
                       'those it was trained with.')
    return {where: {name: compared[0]}}


def student_warnings(record: Record, teacher_scores: TeacherScores, at_end: bool) -> Iterator[str]:
    """Lines on a student that is better than its teacher or, at the end of its training, no better than bicubic."""
    images, dataset, reference = record.images.values(), record.dataset['name'], _reference(record.scale)
    teacher = teacher_scores.get(dataset, {})
    for name, block in record.protocol['metrics'].items():
        compared = compared_means([image.scores for image in images], [image.bicubic for image in images], name)
        student = compared[0] if compared else record.mean.get(name, math.nan)  # as the teacher was measured
        if is_better(student, teacher.get(name, math.nan), block):
            yield (f'The student is better than its teacher on {dataset}: {name} {student:.4f}, teacher '
                   f'{teacher[name]:.4f}; a better teacher, or lower weights of the distillation losses, could help.')
        if at_end and compared and not is_better(*compared, block):
            yield (f'The student is below {reference} on {dataset}: {name} {student:.4f}, {reference} '
                   f'{compared[1]:.4f}; the training may be too short, or its learning rate too high or too low. '
                   'mipkd check warns of schedules that do not fit the length.')


def _reference(scale: int) -> str:
    return 'bicubic' if scale > 1 else 'lq itself'
