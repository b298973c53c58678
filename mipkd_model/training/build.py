"""What a training trains, built from its options: losses, staged views, and the distiller of both.

The launchers build the losses and views once before a run starts, to find mistakes; MiPKDModel builds them to train.
"""
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from mipkd_arch.base.building import build_from_options, with_path
from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.ensemble_arch import TeacherEnsemble
from mipkd_arch.size_probe import probe_network
from mipkd_arch.staged_views import NoStagedView, StagedView, StagedViewError, has_view, staged_view, whole_view

from basicsr.utils.registry import LOSS_REGISTRY

from ..losses import DistillLoss
from ..losses.schedule import WeightSchedule, without_schedule
from ..networks.build import check_image, check_upscale
from ..schema.training import IMAGE_LOSSES, TrainOptions, active_losses
from .compiling import check_compiler, compile_blocks
from .convolutions import discard_inputs, keep_ends_in_float32, store_in_bf16
from .distiller import Distiller
from .network_format import choose_formats, in_float32
from .precision import check_precision, float32_products, uses_bf16


def read_train_options(opt: Mapping[str, Any], device: torch.device) -> TrainOptions:
    """The block ``train``, checked against the device of the training; a UserError where an option is wrong."""
    options = TrainOptions.read(opt['train'], 'train')
    check_precision(options.precision, device)
    if options.compile:
        check_compiler(device)
    return options


def make_losses(train_opt: Mapping[str, Any]) -> dict[str, nn.Module]:
    """Build the losses of ``train.*_opt``, by name without the ending. Weight 0 leaves one out."""
    losses: dict[str, nn.Module] = {}
    for key, block in active_losses(train_opt).items():
        loss = build_from_options(f'train.{key}', without_schedule(block), LOSS_REGISTRY)
        if (key in IMAGE_LOSSES) == isinstance(loss, DistillLoss):
            raise UserError(f'train.{key}.type: {block["type"]!r} does not fit; {", ".join(IMAGE_LOSSES)} take losses '
                            'that compare two images, all other options losses that distill, as ATLoss does')
        losses[key.removesuffix('_opt')] = loss
    if not losses:
        raise UserError('train: has no loss of a weight above 0; give at least one of pixel_opt, kd_opt, '
                        'feature_prior_opt, block_prior_opt')
    return losses


def make_schedules(train_opt: Mapping[str, Any], losses: Iterable[str]) -> dict[str, WeightSchedule]:
    """The schedules of those losses, named without ``_opt``, that have one; by their names."""
    blocks = {name: train_opt[f'{name}_opt'].get('schedule') for name in losses}
    return {name: WeightSchedule.of(block, f'train.{name}_opt.schedule', train_opt['total_iter'])
            for name, block in blocks.items() if block is not None}


def needs_teacher(opt: Mapping[str, Any], losses: Mapping[str, nn.Module]) -> bool:
    """Whether a loss compares with a teacher; a UserError where one does, and there is no ``network_t``."""
    names = [name for name, loss in losses.items() if name == 'kd' or isinstance(loss, DistillLoss)]
    if names and opt.get('network_t') is None:
        raise UserError(f'network_t: missing, but train.{names[0]}_opt needs a teacher')
    return bool(names)


def make_views(opt: Mapping[str, Any], student: nn.Module, teacher: nn.Module | None,
               losses: Mapping[str, nn.Module]) -> tuple[StagedView, StagedView | None]:
    """Views of student and teacher (None without one), cut into stages where a loss reads features."""
    feature_losses = [name for name, loss in losses.items() if isinstance(loss, DistillLoss) and loss.needs_features]
    view_g = _make_view(opt, 'g', student, feature_losses)
    view_t = None if teacher is None else _make_view(opt, 't', teacher, feature_losses)
    if view_t is not None and len(view_g.stages) != len(view_t.stages):
        raise UserError(f'train.cuts_g and train.cuts_t: cut student and teacher into {len(view_g.stages)} and '
                        f'{len(view_t.stages)} stages; the numbers must be equal')
    return view_g, view_t


def _make_view(opt: Mapping[str, Any], label: str, network: nn.Module, feature_losses: list[str]) -> StagedView:
    try:
        if not feature_losses and not has_view(network):
            found = probe_network(network)
            view = whole_view(network, found.upscale, found.size_multiple)
        else:
            view = staged_view(network, opt['train'].get(f'cuts_{label}', 3) if feature_losses else 1)
    except NoStagedView as error:
        raise NoStagedView(f'network_{label}: train.{feature_losses[0]}_opt reads features, but {error}. Losses that '
                           'compare images alone take any network') from None
    except StagedViewError as error:
        raise StagedViewError(f'train.cuts_{label}: {error}') from None
    except Exception as error:  # any view, any failure
        why = error if isinstance(error, UserError) else f'its staged view cannot be made ({reason_of(error)})'
        raise StagedViewError(f'network_{label}: {why}') from None
    check_upscale(opt, label, network, view.upscale)
    return view


def frozen_inside(network: nn.Module) -> list[nn.Module]:
    """The frozen networks inside of a ``TeacherEnsemble``, which are not its submodules; none for other networks."""
    return list(network.teachers.values()) if isinstance(network, TeacherEnsemble) else []


def build_distiller(opt: dict[str, Any], student: nn.Module, teacher: nn.Module | None, losses: dict[str, nn.Module],
                    options: TrainOptions, device: torch.device) -> Distiller:
    """Build what is trained, on the device, and set both networks up as ``options`` say a step computes.

    Student and teacher are on the device; the teacher is frozen, and None without one.
    """
    networks = {'g': student, 't': teacher} if teacher is not None else {'g': student}
    bf16 = uses_bf16(options.precision, device)
    for network in networks.values():
        for part in (network, *frozen_inside(network)):
            if bf16:
                keep_ends_in_float32(part)
            if part is not student:
                discard_inputs(part)
    formats = choose_formats(opt, networks, options, device)
    view_g, view_t = make_views(opt, student, teacher, losses)
    with float32_products('fp32', device):
        for (label, network), view in zip(networks.items(), (view_g, view_t), strict=False):
            check_image(opt, label, network, view)
    if bf16 and not formats['g'].bf16:
        view_g = in_float32(view_g)
    if bf16 and view_t is not None and not formats['t'].bf16:
        view_t = in_float32(view_t)
    train = opt['train']
    try:
        distiller = Distiller(view_g, view_t, losses, train.get('mixer_opt'), make_schedules(train, losses)).to(device)
    except UserError as error:
        raise with_path(error) from None
    except Exception as error:  # any loss, any failure
        raise UserError(f'train: the losses refuse these networks ({reason_of(error)})') from None
    distiller.formats = {label: found.memory_format for label, found in formats.items()}
    distiller.to(memory_format=distiller.formats['g'])
    if teacher is not None:
        teacher.to(memory_format=distiller.formats['t'])
        if formats['t'].bf16:
            store_in_bf16(teacher)
    if options.compile:
        for view in filter(None, (view_g, view_t)):
            compile_blocks(view)
    return distiller
