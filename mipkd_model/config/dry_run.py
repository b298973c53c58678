"""Whether networks, weights and losses fit together: all are built once, on the CPU, and a training tries one step."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.prior_mixer import TEACHER
from mipkd_arch.size_probe import trial_images

from ..base.randomness import StepRandom
from ..evaluation.provenance import read_run
from ..losses import DistillLoss
from ..networks.build import check_image, check_upscale, make_student, make_teacher
from ..training.build import build_distiller, make_losses, needs_teacher, read_train_options
from ..training.distiller import Distiller
from ..training.inner_step import run_inner_steps

FEW, SMALL = 2, 16  # samples, and side of lq in pixels, which most steps take as they take more and larger ones
CPU = torch.device('cpu')


def check_networks(opt: Mapping[str, Any], is_train: bool) -> Distiller | None:
    """Check that networks, weights and losses fit together, by building them once on the CPU.

    ``opt`` has passed ``check_options`` and ``check_files``. Returns what a training of MiPKDModel trains, else None;
    raises a ``UserError`` on the first that does not fit.
    """
    if opt['model_type'] != 'MiPKDModel':
        return None  # BasicSR's other models have rules of their own
    with torch.random.fork_rng(devices=[]):  # a run draws the same numbers with and without the check
        student, report = make_student(opt)
        if is_train:
            losses = make_losses(opt['train'])
            options = read_train_options(opt, torch.device('cuda' if opt['num_gpu'] else 'cpu'))
            teacher = make_teacher(opt)[0] if needs_teacher(opt, losses) else None
            options = options.model_copy(update={'precision': 'fp32', 'channels_last': False, 'compile': False})
            distiller = build_distiller(dict(opt), student, teacher, losses, options, CPU)
            _check_step(opt, distiller)
            return distiller
        check_upscale(opt, 'g', student)
        if report is None:
            raise UserError('path.pretrain_network_g: missing; a network without trained weights is not worth a test')
        if opt['path'].get('pretrain_network_g'):
            read_run(opt['path']['pretrain_network_g'])
        check_image(opt, 'g', student)
        return None


def _check_step(opt: Mapping[str, Any], distiller: Distiller) -> None:
    """Try a step on few and small samples or, where that fails, on samples as those of the training."""
    block, scale, parts = opt['datasets']['train'], opt['scale'], opt['train'].get('accumulate', 1)
    gt_size, batch = block.get('gt_size'), block['batch_size_per_gpu'] // parts
    side = gt_size // scale if isinstance(gt_size, int) else SMALL
    losses = {f'train.{name}_opt': loss for name, loss in distiller.losses.items() if isinstance(loss, DistillLoss)}
    for where, loss in losses.items():
        if parts > 1 and not loss.takes_parts:
            raise UserError(f'train.accumulate: {parts}, but {where} needs a batch in one piece; set accumulate: 1; '
                            'less memory is needed with a lower datasets.train.batch_size_per_gpu or gt_size')
    needed = {where: loss.min_batch for where, loss in losses.items()}
    for where, least in needed.items():
        if batch < least:
            raise UserError(f'datasets.train.batch_size_per_gpu: {block["batch_size_per_gpu"]}'
                            f'{f" in {parts} parts" if parts > 1 else ""}, but {where} compares the samples of a batch '
                            f'with each other and needs at least {least}')
    few, small = min(batch, max([FEW, *needed.values()])), min(side, SMALL)
    failure = _failure(distiller, few, small, scale)
    if failure is not None and (few, small) != (batch, side):
        failure = _failure(distiller, batch, side, scale)
    distiller.zero_grad(set_to_none=True)
    if failure is not None:
        where, reason = failure
        raise UserError(f'{where}: fails on {batch} lq of {side}x{side} ({reason}); where their number or size is the '
                        'reason, change datasets.train.batch_size_per_gpu, train.accumulate or datasets.train.gt_size')


def _failure(distiller: Distiller, batch: int, side: int, scale: int) -> tuple[str, str] | None:
    """What fails in a step, and why; None where nothing does. A ``UserError`` that names its option passes."""
    lq, gt = trial_images(batch, side, side), trial_images(batch, side * scale, side * scale)
    where = ''
    try:
        step = distiller.forward_networks(lq, gt, StepRandom(0, 1, CPU))
        losses: dict[str, torch.Tensor] = {}
        for name in distiller.losses:
            where = f'train.{name}_opt'
            distiller.add_loss(losses, name, step)
            total = sum((value.reshape(()) for value in losses.values()), torch.zeros(()))
        where = 'train'
        total.backward()
        where = ', '.join(f'train.{name}_opt' for name in distiller.inner_losses(0)) or where
        run_inner_steps(distiller, lq, gt, step.rng, 0, 'fp32')
    except Exception as error:  # any network, any loss, any failure
        if isinstance(error, UserError) and str(error).startswith(('train.', 'datasets.')):
            raise
        return where or _failing_network(distiller, lq), reason_of(error)
    return None


def _failing_network(distiller: Distiller, lq: torch.Tensor) -> str:
    """The option of the network that fails on lq."""
    try:
        if TEACHER in distiller.views:
            distiller.teacher_forward(distiller.pad(lq))
    except Exception:  # any failure
        return 'network_t'
    return 'network_g'
