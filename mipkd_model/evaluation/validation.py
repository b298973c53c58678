"""Validation as BasicSR's pipelines ask for it: a network and a dataset in, a record out."""
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from os import path as osp
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from mipkd_arch.staged_views import size_multiple

from basicsr.data import build_dataset
from basicsr.utils import get_root_logger

from ..base.progress import note_score
from ..training.compiling import eagerly
from .dataset_check import ImageCheck, check_dataset
from .evaluate import EvaluationSettings, ImageResult, evaluate, mean_scores
from .metrics import Image, Metrics
from .provenance import Origin, device_name, doubts, now, origin_of_test, origin_of_training, relative, versions
from .records import FOLDER, ImageRecord, Record, write_record
from .restore import Restore
from .strip import Strip, side_by_side
from .teacher_score import TeacherScores, student_warnings


class Validator:
    """Measures the network of a training, the moving average where there is one, or of a test; writes and logs records.

    Attributes:
        best: the best value of each metric so far, by dataset and metric, as BasicSR keeps it: 'better' ('higher' or
            'lower'), 'val' and 'iter'. Part of a training state, as ``teacher_scores`` are.
    """

    def __init__(self, opt: dict[str, Any], network: nn.Module, device: torch.device,
                 teacher_scores: TeacherScores | None = None, teacher: Restore | None = None) -> None:
        self.opt, self.network, self.device, self.teacher = opt, network, device, teacher
        self.settings = EvaluationSettings.of(opt)
        self.teacher_scores: TeacherScores = teacher_scores or {}
        self.best: dict[str, dict[str, dict[str, Any]]] = {}
        self.records: dict[str, Record] = {}
        self._checks: dict[str, list[ImageCheck]] = {}
        self._strips: dict[str, tuple[Strip, dict[str, list[Image]]]] = {}  # with the teacher's crops
        self._warned = False
        with eagerly():
            self.size_multiple = size_multiple(network)
        self._origin: Origin = (None, None)
        if not opt['is_train']:
            self._origin = origin_of_test(opt)  # now, since the file may change while the test runs
            for line in doubts(opt, self._origin[1]):
                get_root_logger().warning(line)

    def restore(self, lq: torch.Tensor) -> torch.Tensor:
        """Super-resolve lq (N, 3, H, W) in float32, as ``val`` says; returns (N, 3, upscale * H, upscale * W)."""
        with self._eval_mode() as network, torch.no_grad():
            return self.settings.restorer(network, self.size_multiple)(lq)

    @contextmanager
    def _eval_mode(self) -> Iterator[nn.Module]:
        training = self.network.training
        try:
            with eagerly():
                yield self.network.eval()
        finally:
            self.network.train(training)

    def validate_all(self, iteration: int, tb_logger: Any = None) -> None:
        """Validate on all datasets of the options, as BasicSR's loop does."""
        for phase, block in self.opt['datasets'].items():
            if phase.split('_')[0] == 'val':
                self.validate(build_dataset(block), iteration, tb_logger, self.opt['val']['save_img'])

    def validate(self, dataset: Any, iteration: int | None = None, tb_logger: Any = None, save_img: bool = False
                 ) -> None:
        """Measure the network on a dataset; write the record and log the means. All ranks call it; rank 0 writes.

        An ``iteration`` of the training (None in a test) is measured once; the second call, which BasicSR makes at the
        end of a training, adds the checkpoint to the record. ``dataset`` is as for ``evaluate``.
        """
        start, opt, name = time.perf_counter(), self.opt, dataset.opt['name']
        origin = self._origin if iteration is None else origin_of_training(opt, iteration)
        last = self.records.get(name)
        if last and last.iteration == iteration is not None:
            if last.checkpoint is None and origin[0]:  # it has been saved since
                self._write(replace(last, checkpoint=origin[0]))
            return
        suffix = iteration if iteration is not None else opt['val'].get('suffix') or opt['name']
        folder = osp.join(opt['path'].get('visualization', ''), name)
        # None of tqdm: only on a terminal, since a bar takes many lines of a log file.
        hidden = None if opt['val'].get('pbar') is None else not opt['val']['pbar']
        with self._eval_mode() as network:
            results = evaluate(
                self.settings.restorer(network, self.size_multiple), dataset, self.settings, self.device,
                check=name not in self._checks,
                save_as=(lambda image: osp.join(folder, f'{image}_{suffix}.png')) if save_img else None,
                progress=partial(tqdm, desc=name, unit='image', leave=None, disable=opt['rank'] > 0 or hidden))
        if name not in self._checks:
            for line in not_measured(results, self.settings.metrics):
                get_root_logger().warning(f'{name}: {line}')
            self._checks[name] = [result.check for result in results if result.check]
        if not any(result.scores for result in results):
            return
        record = self._record(dataset, results, origin, iteration, time.perf_counter() - start)
        self.records[name] = record
        self._write(record)
        if opt['rank'] == 0:
            self._log(record, tb_logger)
            if tb_logger and record.dataset['gt']:
                self._show(dataset, iteration, tb_logger)

    def _record(self, dataset: Any, results: list[ImageResult], origin: Origin, iteration: int | None, seconds: float
                ) -> Record:
        opt, data, settings = self.opt, dataset.opt, self.settings
        checkpoint, training = origin
        checks, table = self._checks[data['name']], opt.get('table') or {}
        option_file = dict(opt.get('option_file') or {'file': None, 'sha256': None, 'changed': [], 'command': ''})
        return Record(
            name=opt['name'], pair=table.get('pair', opt['network_g']['type']), method=table.get('method', opt['name']),
            scale=opt['scale'], iteration=iteration,
            seed=opt['manual_seed'] if iteration is not None else (training or {}).get('seed'),
            command=option_file.pop('command'), option_file=option_file, checkpoint=checkpoint,
            training=training, network=dict(opt['network_g']),
            parameters=sum(p.numel() for p in self.network.parameters()),
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

    def _log(self, record: Record, tb_logger: Any) -> None:
        """Log the means of a record, and warn of a wrong dataset, a student above its teacher or below bicubic."""
        name, iteration, logger = record.dataset['name'], record.iteration, get_root_logger()
        if record.dataset['good'] is False:
            logger.warning(record.dataset['check'])
        lines = [f'Validation {name}']
        for metric, value in record.mean.items():
            lines.append(f'\t # {metric}: {value:.4f}')
            if iteration is not None:
                best = self._update_best(name, metric, value, iteration)
                lines[-1] += f'\tBest: {best["val"]:.4f} @ {best["iter"]} iter'
            if tb_logger:
                tb_logger.add_scalar(f'metrics/{name}/{metric}', value, iteration)
        logger.info('\n'.join(lines) + '\n')
        note_score(name, record.mean)
        if iteration is not None:
            at_end = iteration == int(self.opt['train']['total_iter'])
            for line in student_warnings(record, {} if self._warned else self.teacher_scores, at_end):
                logger.warning(line)
                self._warned = True

    def _show(self, dataset: Any, iteration: int | None, tb_logger: Any) -> None:
        """Give TensorBoard crops of the first images: bicubic, the student, its teacher if there is one, and gt."""
        name = dataset.opt['name']
        with self._eval_mode() as network:
            if name not in self._strips:
                strip = Strip(dataset, self.opt['scale'])
                taught = {}
                if self.teacher is not None:
                    taught['teacher'] = strip.restored(self.settings.restorer(self.teacher, 1), self.device)
                self._strips[name] = strip, taught
            strip, taught = self._strips[name]
            student = strip.restored(self.settings.restorer(network, self.size_multiple), self.device)
        columns = {'bicubic': strip.bicubic, 'student': student, **taught, 'HR': strip.gt}
        tb_logger.add_image(f'crops/{name}/{"-".join(columns)}', side_by_side(list(columns.values())), iteration,
                            dataformats='HWC')

    def _update_best(self, dataset: str, metric: str, value: float, iteration: int) -> dict[str, Any]:
        better = self.settings.metrics[metric].get('better', 'higher')
        worst = float('-inf') if better == 'higher' else float('inf')
        best = self.best.setdefault(dataset, {}).setdefault(metric, {'better': better, 'val': worst, 'iter': -1})
        if value >= best['val'] if better == 'higher' else value <= best['val']:
            best.update(val=value, iter=iteration)
        return best


def not_measured(results: list[ImageResult], metrics: Metrics) -> Iterator[str]:
    """Which metrics have no value on some images, and why, a line each."""
    if not metrics:
        yield 'nothing is measured, since val.metrics is missing.'
    for name in metrics:
        missing = [result for result in results if name not in result.scores]
        if missing:
            first = missing[0]
            yield (f'{name}: no value for {len(missing)} of {len(results)} images, the first {first.name} '
                   f'({first.failed.get(name, "it has no gt")}); the mean is that of the others.')
