"""One step of a training, tried before it starts: losses and networks may not take its patches or its batch.

It is tried on few and small samples, which most steps take as they take larger ones. Only where that fails is it tried
on samples as those of the training, and where these fail, too, on larger ones, so that the message can name the least.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.prior_mixer import TEACHER
from mipkd_arch.size_probe import trial_images

from ..base.randomness import StepRandom
from ..losses import DistillLoss
from ..training.distiller import Distiller

FEW, SMALL = 2, 16  # samples, and side of lq in pixels
MORE, LARGE = 4, 48


def check_step(opt: Mapping[str, Any], distiller: Distiller) -> None:
    """Try a step of a training on the CPU. Gradients are cleared afterwards; statistics of batch norms have changed.

    Args:
        opt: all options.
        distiller: what is to be trained.

    Raises:
        UserError: a network or a loss does not take samples as the training has them.
    """
    block, scale = opt['datasets']['train'], opt['scale']
    gt_size = block.get('gt_size')
    side = gt_size // scale if isinstance(gt_size, int) else SMALL
    parts = opt['train'].get('accumulate', 1)
    batch = block['batch_size_per_gpu'] // parts
    needed = max((loss.min_batch for loss in distiller.losses.values() if isinstance(loss, DistillLoss)), default=1)
    try:
        few, small = min(batch, max(FEW, needed)), min(side, SMALL)
        why = _failure(distiller, few, small, scale)
        if why is not None and (few, small) != (batch, side):
            why = _failure(distiller, batch, side, scale)
        if why is None:
            return
        where, reason = why
        lq = f'{batch} lq of {side}x{side}'
        if batch > 1 and _failure(distiller, 1, side, scale, only=where) is None:
            raise UserError(f'datasets.train.batch_size_per_gpu: {block["batch_size_per_gpu"]}'
                            f'{f" in {parts} parts" if parts > 1 else ""}, but {where} takes one sample at a time '
                            f'({reason}); set it to 1, or train.accumulate to the batch size')
        larger = _least(distiller, range(side + 1, LARGE + 1), lambda size: (batch, size), scale, where)
        if larger is not None:
            raise UserError(f'datasets.train.gt_size: {gt_size}, but {where} does not take {lq} ({reason}); the least '
                            f'gt_size is {larger * scale}')
        more = _least(distiller, range(batch + 1, MORE + 1), lambda count: (count, side), scale, where)
        if more is not None:
            raise UserError(f'datasets.train.batch_size_per_gpu: {block["batch_size_per_gpu"]}, but {where} does not '
                            f'take {lq} ({reason}); the least in each part is {more}')
        raise UserError(f'{where}: a step on {lq} fails ({reason})')
    finally:
        distiller.zero_grad(set_to_none=True)


def _least(distiller: Distiller, values: Sequence[int], shape: Callable[[int], tuple[int, int]], scale: int,
           where: str) -> int | None:
    """The first of the values with which a step's part of that name does not fail; None where the last one fails."""
    if not values or _failure(distiller, *shape(values[-1]), scale, only=where) is not None:
        return None
    return next(value for value in values if _failure(distiller, *shape(value), scale, only=where) is None)


def _failure(distiller: Distiller, batch: int, side: int, scale: int,
             only: str | None = None) -> tuple[str, str] | None:
    """What fails in a step, and why; None where nothing does. ``only`` leaves out losses of other names.

    Raises:
        UserError: a loss names the option at fault itself.
    """
    lq, gt = trial_images(batch, side, side), trial_images(batch, side * scale, side * scale)
    where: str | None = None
    total: Any = 0
    try:
        step = distiller.forward_networks(lq, gt, StepRandom(0, 1, torch.device('cpu')))
        for name in distiller.losses:
            where = f'train.{name}_opt'
            if only in (None, 'train', where):
                total = total + torch.stack(list(distiller.loss_values(name, step).values())).sum()
        where = 'train'
        if torch.is_tensor(total):
            total.backward()
    except Exception as error:  # any network, any loss, any failure
        if isinstance(error, UserError) and str(error).startswith('train.'):
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
