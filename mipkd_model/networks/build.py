"""Networks built from their options, with their weights; whatever does not fit together is one line.

Nothing here logs: BasicSR's logger must not be asked for before the pipeline has set it up.
"""
from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from mipkd_arch.base.checkpoint import read_checkpoint
from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.base.network_record import check_record, load_recorded
from mipkd_arch.size_probe import SIDE, in_eval_mode, probe_network, trial_images
from mipkd_arch.staged_views import StagedView, StagedViewError, has_view, size_multiple, staged_view
from mipkd_arch.view_check import check_view

from basicsr.utils.registry import ARCH_REGISTRY, Registry

from ..base.weights import load_weights
from .machine import limited_size

MAX_LISTED = 4


def build_from_options(where: str, block: Mapping[str, Any], registry: Registry) -> Any:
    """Build what a block of ``type`` and arguments names; any failure of its class is one line with their path."""
    arguments = deepcopy(dict(block))
    kind = registry.get(arguments.pop('type'))
    try:
        with limited_size(where):
            return kind(**arguments)
    except UserError as error:
        raise with_path(error) from None
    except Exception as error:  # any class, any failure
        raise UserError(f'{where}: {kind.__name__} refuses these options ({reason_of(error)})') from None


def with_path(error: UserError) -> UserError:
    """The error with the full path of its option: losses and mixers begin theirs with the name of their block."""
    return UserError(f'train.{error}') if re.match(r'[A-Za-z]\w*_opt\.', str(error)) else error


def make_network(opt: Mapping[str, Any], label: str) -> tuple[nn.Module, str | None]:
    """Build ``network_<label>`` and load ``path.pretrain_network_<label>`` where there is one.

    Args:
        opt: all options.
        label: 'g' or 't'.

    Returns:
        The network, on the CPU, and a sentence on what was loaded, or None.

    Raises:
        UserError: the network cannot be built, or the weights do not fit it.
    """
    block, paths = opt[f'network_{label}'], opt['path']
    network = build_from_options(f'network_{label}', block, ARCH_REGISTRY)
    path = paths.get(f'pretrain_network_{label}')
    if path is None:
        return network, f'weights of {block["file"]}' if getattr(network, 'brings_weights', False) else None
    checkpoint, strict = read_checkpoint(path), paths.get(f'strict_load_{label}', True)
    if strict:
        check_record(f'network_{label}', block, checkpoint, path)
    missing, unused = load_weights(network, path, strict=strict, param_key=paths.get(f'param_key_{label}'),
                                   checkpoint=checkpoint)
    report = f'weights of {path}'
    if missing:
        report += f', but {len(missing)} keep their initial values ({", ".join(missing[:MAX_LISTED])}, ...)'
    return network, report + (f'; {len(unused)} of the file are not used' if unused else '')


def load_network(file: str, param_key: str | None = None) -> nn.Module:
    """Build the network that a checkpoint of a training or of ``mipkd teacher convert`` records, with its weights.

    Args:
        param_key: which weights of the file; None takes the average where there is one, else ``params``.

    Returns:
        On the CPU, in eval mode. It takes RGB images (N, 3, H, W) in [0, 1].

    Raises:
        UserError: the file cannot be read, does not record its network, or the two do not fit.
    """
    network = load_recorded(read_checkpoint(file), file, param_key)
    if network is None:
        raise UserError(f'{file}: does not record of which network its weights are, or one that is not registered; '
                        'build that by its class, and load them by mipkd_model.base.weights.load_weights')
    return network.eval()


def make_teacher(opt: Mapping[str, Any]) -> tuple[nn.Module, str]:
    """Build the teacher: trained, frozen, in eval mode. Returns it with the report of ``make_network``."""
    teacher, report = make_network(opt, 't')
    if report is None:
        raise UserError('path.pretrain_network_t: missing; a teacher without trained weights teaches noise')
    return teacher.eval().requires_grad_(False), report


def check_upscale(opt: Mapping[str, Any], label: str, network: nn.Module, upscale: int | None = None) -> None:
    """Check that ``network_<label>`` has the option file's scale.

    Args:
        opt: all options.
        upscale: the network's factor; None: that of its view or of a probe.

    Raises:
        UserError: it has another.
    """
    where, scale = f'network_{label}', opt['scale']
    if upscale is None:
        try:
            upscale = staged_view(network).upscale if has_view(network) else probe_network(network).upscale
        except UserError as error:
            raise UserError(f'{where}: {error}') from None
    if upscale == scale:
        return
    parameters = inspect.signature(type(network)).parameters
    option = 'scale' if 'scale' in parameters and 'upscale' not in parameters else 'upscale'
    made = f', which {type(network).__name__} makes,' if opt[where].get(option) == scale else ''
    raise UserError(f'{where}.{option}: {upscale}{made} is not the scale: {scale} of the option file')


def check_image(opt: Mapping[str, Any], label: str, network: nn.Module, view: StagedView | None = None) -> None:
    """Check that ``network_<label>`` makes of an RGB image one that is ``scale`` times as large, and so does its view.

    Args:
        opt: all options.
        network: on any device.
        view: of the network, cut as it is used; None leaves the comparison out.

    Raises:
        UserError: it does not, or fails; or network and view make different images.
    """
    where, kind = f'network_{label}', type(network).__name__
    multiple = size_multiple(network) if view is None else view.size_multiple
    side = SIDE // 2 if has_view(network) else SIDE
    height = side + -side % multiple
    width = height + multiple
    lq = trial_images(1, height, width, like=network)
    try:
        with in_eval_mode(network):
            output = network(lq.clone())
            shape = tuple(output.shape)
    except UserError:
        raise
    except Exception as error:  # any network, any failure
        raise UserError(f'{where}: {kind} fails on an image of {width}x{height} ({reason_of(error)})') from None
    expected = (1, 3, height * opt['scale'], width * opt['scale'])
    if shape != expected:
        raise UserError(f'{where}: {kind} makes {shape} of an RGB image {tuple(lq.shape)}; at scale: '
                        f'{opt["scale"]} it must be {expected}')
    if not torch.isfinite(output).all():
        raise UserError(f'{where}: {kind} makes values that are not finite of an image; correct its sizes or its '
                        'weights')
    if view is not None and has_view(network):
        try:
            check_view(view, network, lq, output)
        except StagedViewError as error:
            raise StagedViewError(f'{where}: {error}') from None
