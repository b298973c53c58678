"""Whether networks, weights and losses fit together: all of them are built once, on the CPU."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from mipkd_arch.base.errors import UserError, reason_of, shown

from ..evaluation.provenance import read_run
from ..networks.build import check_image, check_upscale, make_network, make_teacher, with_path
from ..schema.training import IMAGE_LOSSES
from ..training.build import make_losses, make_views, needs_teacher, read_train_options
from ..training.distiller import Distiller
from .findings import Findings
from .step_trial import check_step

SIDE = 8  # of the images that image losses are tried on


def find_in_networks(opt: Mapping[str, Any], is_train: bool) -> Findings:
    """What does not fit together of networks, weights and losses; options must have passed the other checks."""
    found = Findings()
    if opt['model_type'] != 'MiPKDModel':
        return found  # BasicSR's other models have rules of their own
    with torch.random.fork_rng(devices=[]):  # a run draws the same numbers with and without the check
        student = _network(found, opt, 'g', is_train)
        if is_train:
            _find_in_training(found, opt, student)
    return found


def _network(found: Findings, opt: Mapping[str, Any], label: str, is_train: bool) -> nn.Module | None:
    """A network that gives images of the scale, None where there is none."""
    network = None
    with found.catching():
        network, report = make_network(opt, label)
        if not is_train:
            check_upscale(opt, label, network)
            if report is None:
                raise UserError('path.pretrain_network_g: missing; a network without trained weights is not worth a '
                                'test')
            if opt['path'].get('pretrain_network_g'):
                read_run(opt['path']['pretrain_network_g'])
            check_image(opt, label, network)
    return network


def _find_in_training(found: Findings, opt: Mapping[str, Any], student: nn.Module | None) -> None:
    losses: dict[str, nn.Module] | None = None
    teacher: nn.Module | None = None
    with found.catching():
        losses = make_losses(opt['train'])
        for name, loss in losses.items():
            if f'{name}_opt' in IMAGE_LOSSES and name != 'perceptual':
                _check_image_loss(f'train.{name}_opt', opt['train'][f'{name}_opt']['type'], loss)
    with found.catching():
        read_train_options(opt, torch.device('cuda' if opt['num_gpu'] else 'cpu'))
    if losses is None:
        return
    asks = False
    with found.catching():
        asks = needs_teacher(opt, losses)
        teacher = make_teacher(opt)[0] if asks else None
    if student is None or (asks and teacher is None):
        return
    with found.catching():
        views = make_views(opt, student, teacher, losses)
        for label, network, view in zip('gt', (student, teacher), views, strict=True):
            if network is not None:
                check_image(opt, label, network, view)
        distiller = _distiller(opt, views, losses)
        check_step(opt, distiller)
        found.distiller = distiller


def _distiller(opt: Mapping[str, Any], views: Sequence[Any], losses: dict[str, nn.Module]) -> Distiller:
    try:
        student, teacher = views
        return Distiller(student, teacher, losses, opt['train'].get('mixer_opt'))
    except UserError as error:
        raise with_path(error) from None
    except Exception as error:  # any loss, any failure
        raise UserError(f'train: the losses refuse these networks ({reason_of(error)})') from None


def _check_image_loss(where: str, kind: str, loss: nn.Module) -> None:
    """Check that an image loss makes a finite number of two images."""
    try:
        value = loss(torch.rand(2, 3, SIDE, SIDE, requires_grad=True), torch.rand(2, 3, SIDE, SIDE))
        value.backward()
        number = value.item()
    except Exception as error:  # any loss, any failure
        raise UserError(f'{where}: {kind} makes no number of two images ({reason_of(error)})') from None
    if number != number or abs(number) == float('inf'):
        raise UserError(f'{where}: {kind} makes {shown(number)} of two images')
