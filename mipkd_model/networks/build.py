"""Networks built from their options, with their weights; whatever does not fit together is one line.

Nothing here logs: BasicSR's logger must not be asked for before the pipeline has set it up.
"""
import inspect
import re
from copy import deepcopy

import torch

from mipkd_arch.base.checkpoint import read_checkpoint
from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.base.network_record import check_record, recorded_network
from mipkd_arch.size_probe import SIDE, in_eval_mode, trial_images, tried
from mipkd_arch.staged_view import StagedViewError, has_view, size_multiple, staged_view
from mipkd_arch.view_check import check_view

from basicsr.utils.registry import ARCH_REGISTRY

from ..base.weights import load_weights
from .build_errors import refusal
from .machine import limited_size

MAX_LISTED = 4


def build_from_options(where, block, registry):
    """Build what a block names; whatever its class says against the options is one line with their path."""
    arguments = deepcopy(block)
    kind = arguments.pop('type')
    try:
        with limited_size(where):
            return registry.get(kind)(**arguments)
    except UserError as error:
        raise with_path(error) from None
    except Exception as error:  # any class, any failure
        def build(changed):
            with limited_size(where):
                registry.get(kind)(**deepcopy(changed))

        raise UserError(refusal(where, block, registry.get(kind), build, error)) from None


def with_path(error):
    """A mistake by the whole path of the option: losses and mixers name theirs by their block alone."""
    return UserError(f'train.{error}') if re.match(r'[A-Za-z]\w*_opt\.', str(error)) else error


def make_network(opt, label):
    """Build ``network_<label>`` and load ``path.pretrain_network_<label>`` where there is one.

    Args:
        opt (dict): all options.
        label (str): 'g' or 't'.

    Returns:
        tuple[nn.Module, str | None]: the network, on the CPU, and a sentence on what was loaded.
    """
    network, paths = build_from_options(f'network_{label}', opt[f'network_{label}'], ARCH_REGISTRY), opt['path']
    path = paths.get(f'pretrain_network_{label}')
    if path is None:
        file = opt[f'network_{label}'].get('file') if getattr(network, 'brings_weights', False) else None
        return network, file and f'weights of {file}'
    checkpoint, strict = read_checkpoint(path), paths.get(f'strict_load_{label}', True)
    if strict:
        check_record(f'network_{label}', opt[f'network_{label}'], checkpoint, path)
    left, unused = load_weights(network, path, strict=strict, param_key=paths.get(f'param_key_{label}'),
                                checkpoint=checkpoint)
    report = f'weights of {path}'
    if left:
        report += f', but {len(left)} keep their start values ({", ".join(left[:MAX_LISTED])}, ...)'
    return network, report + (f'; {len(unused)} of the file are not used' if unused else '')


def load_network(file, param_key=None):
    """Build the network that a checkpoint names, with its weights; nothing of its sizes is to be known.

    Args:
        file: a checkpoint that a training or ``mipkd teacher convert`` has written.
        param_key (str | None): which weights of the file; None takes the average where there is one, else ``params``.

    Returns:
        nn.Module: on the CPU, in eval mode. It takes RGB images (N, 3, H, W) in [0, 1].

    Raises:
        UserError: the file cannot be read, does not name its network, or the two do not fit.
    """
    checkpoint = read_checkpoint(file)
    block = recorded_network(checkpoint)
    if block is None:
        raise UserError(f'{file}: does not say of which network its weights are, or of one that is not registered; '
                        'build that by its class, and load them by mipkd_model.base.weights.load_weights')
    network = build_from_options(str(file), block, ARCH_REGISTRY)
    load_weights(network, file, param_key=param_key, checkpoint=checkpoint)
    return network.eval()


def make_teacher(opt):
    """Build the teacher: trained, frozen, in eval mode. Returns it with the report of ``make_network``."""
    block, path = opt['network_t'], opt['path'].get('pretrain_network_t')
    brings_weights = getattr(ARCH_REGISTRY.get(block['type']), 'brings_weights', False)
    if brings_weights and path is not None:
        raise UserError(f'path.pretrain_network_t: {path}: {block["type"]} brings its weights by network_t.file; set '
                        'this to ~')
    if not brings_weights and path is None:
        raise UserError('path.pretrain_network_t: missing; a teacher without trained weights teaches noise')
    teacher, report = make_network(opt, 't')
    return teacher.eval().requires_grad_(False), report


def check_upscale(opt, label, network, upscale=None):
    """Check that a network has the option file's scale.

    Args:
        opt (dict): all options.
        label (str): 'g' or 't'.
        network (nn.Module): the network.
        upscale (int | None): its factor; None: what its view says, or it makes of an image.

    Raises:
        UserError: it has another.
    """
    where, scale = f'network_{label}', opt['scale']
    if upscale is None:
        try:
            upscale = staged_view(network).upscale if has_view(network) else tried(network).upscale
        except UserError as error:
            raise UserError(f'{where}: {error}') from None
    if upscale == scale:
        return
    named = inspect.signature(type(network)).parameters
    option = 'scale' if 'scale' in named and 'upscale' not in named else 'upscale'
    if opt[where].get(option) == scale:
        raise UserError(f'{where}.{option}: {scale}, but so built, {type(network).__name__} makes images {upscale} '
                        f'times as large; set another {option} and scale, or take another network')
    raise UserError(f'{where}.{option}: {upscale} is not the scale: {scale} of the option file')


def check_image(opt, label, network, view=None):
    """Check that a network makes of an RGB image one that is ``scale`` times as large, and so does its view.

    Args:
        opt (dict): all options.
        label (str): 'g' or 't'.
        network (nn.Module): the network, on any device.
        view (StagedView | None): of the network, as ``make_views`` gives it; None leaves the comparison out.

    Raises:
        UserError: it does not, or fails; or network and view make different images.
    """
    where, kind = f'network_{label}', type(network).__name__
    multiple = size_multiple(network) if view is None else view.size_multiple
    side = SIDE // 2 if has_view(network) else SIDE
    height = side + -side % multiple
    lq = trial_images(1, height, height + multiple, like=network)
    size = f'{height + multiple}x{height}'
    try:
        with in_eval_mode(network):
            made = network(lq.clone())
            shape = tuple(made.shape)
    except UserError:
        raise
    except Exception as error:  # any network, any failure
        raise UserError(f'{where}: {kind} makes no image of one of {size} ({reason_of(error)})') from None
    expected = (1, 3, height * opt['scale'], (height + multiple) * opt['scale'])
    if shape != expected:
        raise UserError(f'{where}: {kind} makes {shape} of an RGB image {tuple(lq.shape)}; at scale: '
                        f'{opt["scale"]} it must be {expected}')
    if not torch.isfinite(made).all():
        raise UserError(f'{where}: {kind} makes values that are not finite of an image; mend its sizes or its weights')
    if view is not None and has_view(network):
        try:
            check_view(view, network, lq, made)
        except StagedViewError as error:
            raise StagedViewError(f'{where}: {error}') from None
