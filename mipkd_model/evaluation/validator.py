"""The validations of a run, or of a test: records, log, and what is compared from one to the next."""
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from mipkd_arch.staged_view import size_multiple

from basicsr.data import build_dataset
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only

from ..training.compiling import eagerly
from .recording import doubts, tested_origin, trained_origin
from .records import Record
from .teacher_score import comparable_means, warn_of_bicubic, warn_of_surpassed
from .validation import counted, keep_record, restorer_of, validate


class Validator:
    """Measures a network on whole images.

    Args:
        opt: all options.
        network: the one that is measured, in training the moving average of the student where there is one.
        device: where it is.
        teacher_scores: of ``measure_teacher``.

    Attributes:
        best (dict): the best value of each metric so far, by dataset and metric, as BasicSR keeps it: 'better'
            ('higher' or 'lower'), 'val' and 'iter'.
    """

    def __init__(self, opt: dict[str, Any], network: nn.Module, device: torch.device,
                 teacher_scores: dict[str, dict[str, float]] | None = None) -> None:
        self.opt, self.network, self.device = opt, network, device
        self.teacher_scores, self.surpassed = teacher_scores or {}, False
        self.best: dict[str, dict[str, dict[str, Any]]] = {}
        self.records: dict[str, Record] = {}
        self.checks: dict[str, list] = {}
        with eagerly():
            self.size_multiple = size_multiple(network)
        if not opt['is_train']:
            self.origin = tested_origin(opt)  # now, for the file may be another one when the test has ended
            for line in doubts(opt, self.origin):
                get_root_logger().warning(line)

    def restore(self, lq: torch.Tensor) -> torch.Tensor:
        """Super-resolve lq (N, 3, H, W) in float32, as ``val`` says; returns (N, 3, upscale * H, upscale * W)."""
        with self._eval_mode(), torch.no_grad():
            return restorer_of(self.opt, self.network, self.size_multiple)(lq)

    def validate(self, dataset: Any, iteration: int | None, tb_logger: Any = None, save_img: bool = False) -> None:
        """Measure the network on a dataset; write the record and log the means.

        Args:
            dataset (Dataset): for validation, with its options in ``opt``.
            iteration: of the training, None in a test.
            tb_logger: TensorBoard's writer, or None.
            save_img: save the outputs.
        """
        name = dataset.opt['name']
        origin = self.origin if iteration is None else trained_origin(self.opt, iteration)
        record = self.records.get(name)
        if record and record.iteration == iteration is not None:
            # BasicSR's loop validates once more at its end, where the weights have been saved.
            self._add_checkpoint(record, origin)
            return
        with self._eval_mode():
            record = validate(self.opt, self.network, self.size_multiple, dataset, self.device, self.checks, origin,
                              iteration, save_img)
        if record is not None:
            self.records[name] = record
            self._log(record, tb_logger)

    def validate_all(self, iteration: int) -> None:
        """Validate on all datasets of the options, as BasicSR's loop does."""
        for phase, block in self.opt['datasets'].items():
            if phase.split('_')[0] == 'val':
                self.validate(build_dataset(block), iteration, save_img=self.opt['val']['save_img'])

    @contextmanager
    def _eval_mode(self) -> Iterator[None]:
        training = self.network.training
        self.network.eval()
        try:
            with eagerly():
                yield
        finally:
            self.network.train(training)

    @master_only
    def _add_checkpoint(self, record: Record, origin: Any) -> None:
        if record.checkpoint is None and origin.checkpoint:
            keep_record(self.opt, replace(record, checkpoint=origin.checkpoint))

    @master_only
    def _log(self, record: Record, tb_logger: Any) -> None:
        name, logger, metrics = record.dataset['name'], get_root_logger(), self.opt['val']['metrics']
        if record.dataset['good'] is False:
            logger.warning(record.dataset['check'])
        lines = [f'Validation {name}']
        for metric, value in record.mean.items():
            line = f'\t # {metric}: {value:.4f}'
            if record.iteration is not None:
                best = self._update_best(name, metric, value, record.iteration)
                line += f'\tBest: {best["val"]:.4f} @ {best["iter"]} iter'
            if (count := counted(record, metric)) < len(record.images):
                line += f'\t(mean of {count} of {len(record.images)} images)'
            lines.append(line)
            if tb_logger:
                tb_logger.add_scalar(f'metrics/{name}/{metric}', value, record.iteration)
        logger.info('\n'.join(lines) + '\n')
        if record.iteration is not None and not self.surpassed:
            self.surpassed = warn_of_surpassed(self.teacher_scores, name, comparable_means(record), metrics)
        if record.iteration is not None and record.iteration == int(self.opt['train']['total_iter']):
            warn_of_bicubic(record)

    def _update_best(self, dataset: str, metric: str, value: float, iteration: int) -> dict[str, Any]:
        better = self.opt['val']['metrics'][metric].get('better', 'higher')
        worst = float('-inf') if better == 'higher' else float('inf')
        best = self.best.setdefault(dataset, {}).setdefault(metric, {'better': better, 'val': worst, 'iter': -1})
        if value >= best['val'] if better == 'higher' else value <= best['val']:
            best.update(val=value, iter=iteration)
        return best
