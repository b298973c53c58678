"""Validation as BasicSR's pipelines ask for it: a network and a dataset in, a record out."""
import math
import time
from dataclasses import replace
from functools import partial
from os import path as osp
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from basicsr.utils import get_root_logger

from .dataset_check import ImageCheck, check_dataset
from .evaluate import EvaluationSettings, ImageResult, evaluate, mean_scores
from .metrics import Metrics
from .provenance import Provenance, device_name, now, relative, versions
from .records import FOLDER, ImageRecord, Record, write_record
from .restore import Restore
from .teacher_score import TeacherScores, measure_teacher, warn_if_above_teacher, warn_if_below_bicubic


class Validator:
    """Measures the network of a training or a test, writes the records and logs them.

    All ranks call it; rank 0 writes. Networks are passed in eval mode.

    Attributes:
        teacher_scores: of ``measure_teacher``; part of a training state.
    """

    def __init__(self, opt: dict[str, Any], size_multiple: int, device: torch.device) -> None:
        """Sides of lq must be multiples of ``size_multiple``; the networks are on ``device``."""
        self.opt, self.size_multiple, self.device = opt, size_multiple, device
        self.settings = EvaluationSettings.of(opt)
        self.teacher_scores: TeacherScores = {}
        self._warned_of_teacher = False
        self._checks: dict[str, list[ImageCheck]] = {}
        self._records: dict[str, Record] = {}
        self._provenance = Provenance(None, None)
        if not opt['is_train']:
            self._provenance = Provenance.of_test(opt)  # now, since the file may change while the test runs
            for line in self._provenance.doubts(opt):
                get_root_logger().warning(line)

    def measure_teacher(self, teacher: nn.Module) -> None:
        """Set ``teacher_scores``; warns of a teacher that is no better than bicubic."""
        self.teacher_scores = measure_teacher(self.opt, teacher, self.device)

    def restorer(self, network: nn.Module) -> Restore:
        """Inference of a network as ``val`` asks for it: tiles, self-ensemble."""
        return self.settings.restorer(network, self.size_multiple)

    def validate(self, network: nn.Module, dataset: Any, iteration: int | None = None, save_img: bool = False
                 ) -> Record | None:
        """Measure a network on a dataset and write the record.

        Args:
            network: without DDP.
            dataset: see ``evaluate``.
            iteration: of the training; None in a test.
            save_img: save the outputs.

        Returns:
            None if there is nothing to measure, or if this iteration has been validated before, as by BasicSR at the
            end of a training.
        """
        start, opt, name = time.perf_counter(), self.opt, dataset.opt['name']
        provenance = Provenance.of_training(opt, iteration) if iteration is not None else self._provenance
        last = self._records.get(name)
        if last and last.iteration == iteration is not None:
            if last.checkpoint is None and provenance.checkpoint:  # it has been saved since
                self._write(replace(last, checkpoint=provenance.checkpoint))
            return None
        suffix = iteration if iteration is not None else opt['val'].get('suffix') or opt['name']
        folder = osp.join(opt['path'].get('visualization', ''), name)
        # None of tqdm: only on a terminal, since a bar takes many lines of a log file.
        hidden = None if opt['val'].get('pbar') is None else not opt['val']['pbar']
        results = evaluate(
            self.restorer(network), dataset, self.settings, self.device, check=name not in self._checks,
            save_as=(lambda image: osp.join(folder, f'{image}_{suffix}.png')) if save_img else None,
            progress=partial(tqdm, desc=name, unit='image', disable=opt['rank'] > 0 or hidden))
        if name not in self._checks:
            for line in not_measured(results, self.settings.metrics):
                get_root_logger().warning(f'{name}: {line}')
            self._checks[name] = [result.check for result in results if result.check]
        if not any(result.scores for result in results):
            return None
        record = self._record(network, dataset, results, provenance, iteration, time.perf_counter() - start)
        self._records[name] = record
        self._write(record)
        return record

    def _record(self, network: nn.Module, dataset: Any, results: list[ImageResult], provenance: Provenance,
                iteration: int | None, seconds: float) -> Record:
        opt, data, settings = self.opt, dataset.opt, self.settings
        checks, table = self._checks[data['name']], opt.get('table') or {}
        option_file = dict(opt.get('option_file') or {'file': None, 'sha256': None, 'changed': [], 'command': ''})
        return Record(
            name=opt['name'], pair=table.get('pair', opt['network_g']['type']), method=table.get('method', opt['name']),
            scale=opt['scale'], iteration=iteration,
            seed=opt['manual_seed'] if iteration is not None else (provenance.training or {}).get('seed'),
            command=option_file.pop('command'), option_file=option_file, checkpoint=provenance.checkpoint,
            training=provenance.training, network=dict(opt['network_g']),
            parameters=sum(p.numel() for p in network.parameters()),
            dataset={'name': data['name'], 'gt': data.get('dataroot_gt') and str(data['dataroot_gt']),
                     'lq': str(data.get('dataroot_lq')), **check_dataset(data['name'], checks, opt['scale'])},
            protocol={'metrics': settings.metrics, 'self_ensemble': settings.self_ensemble, 'tile': settings.tile,
                      'tile_pad': settings.tile_pad if settings.tile else None, 'precision': 'fp32'},
            mean=mean_scores([result.scores for result in results]),
            bicubic=mean_scores([check.bicubic for check in checks]),
            images={result.name: ImageRecord(scores=result.scores, bicubic=check.bicubic, lq=result.lq,
                                             output=result.output and relative(result.output))
                    for result, check in zip(results, checks, strict=True)},
            versions=versions(self.device), device=device_name(self.device), finished=now(), seconds=round(seconds, 3))

    def _write(self, record: Record) -> None:
        if self.opt['rank'] == 0 and 'log' in self.opt['path']:
            name = record.dataset['name']
            label = name if record.iteration is None else f'{name}_{record.iteration}'
            write_record(record, Path(self.opt['path']['log'], FOLDER, f'{label}.json'))

    def log(self, record: Record, best: dict[str, dict[str, Any]] | None = None, tb_logger: Any = None) -> None:
        """Log the means of a record, and warn of a wrong dataset, a student above its teacher or below bicubic.

        ``best`` has the best value of the training by metric, as BasicSR's ``best_metric_results``.
        """
        if self.opt['rank']:
            return
        name, logger = record.dataset['name'], get_root_logger()
        if record.dataset['good'] is False:
            logger.warning(record.dataset['check'])
        lines = [f'Validation {name}']
        for metric, value in record.mean.items():
            lines.append(f'\t # {metric}: {value:.4f}')
            if best:
                lines[-1] += f'\tBest: {best[metric]["val"]:.4f} @ {best[metric]["iter"]} iter'
            if (count := images_in_mean(record, metric)) < len(record.images):
                lines[-1] += f'\t(mean of {count} of {len(record.images)} images)'
            if tb_logger:
                tb_logger.add_scalar(f'metrics/{name}/{metric}', value, record.iteration)
        logger.info('\n'.join(lines) + '\n')
        if record.iteration is None:
            return
        self._warned_of_teacher = self._warned_of_teacher or warn_if_above_teacher(record, self.teacher_scores)
        if record.iteration == int(self.opt['train']['total_iter']):
            warn_if_below_bicubic(record)


def not_measured(results: list[ImageResult], metrics: Metrics) -> list[str]:
    """What is not measured, or not on all images, and why: a line each."""
    if not metrics:
        return ['nothing is measured, since val.metrics is missing.']
    lines = []
    without_gt = [name for name in metrics if any(name not in {**result.scores, **result.failed} for result in results)]
    if without_gt:
        lines.append(f'{", ".join(without_gt)}: not measured, since images have no gt.')
    for name in metrics:
        failed = [result for result in results if name in result.failed]
        if failed:
            lines.append(f'{name}: no value for {len(failed)} of {len(results)} images, the first {failed[0].name} '
                         f'({failed[0].failed[name]}); the mean is that of the others.')
    return lines


def images_in_mean(record: Record, metric: str) -> int:
    """How many images the mean of a metric is over; see ``mean_scores``."""
    values = [image.scores[metric] for image in record.images.values() if metric in image.scores]
    return sum(not math.isinf(value) for value in values) or len(values)
