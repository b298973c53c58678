"""Networks built from their options, with their weights; whatever does not fit together is one line.

Nothing here logs: BasicSR's logger must not be asked for before the pipeline has set it up.
"""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from mipkd_arch.base.building import build_from_options, with_path
from mipkd_arch.base.checkpoint import read_checkpoint
from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.base.network_record import brings_weights, check_record, load_recorded
from mipkd_arch.base.weights import load_weights
from mipkd_arch.size_probe import SIDE, in_eval_mode, tolerance, trial_images
from mipkd_arch.staged_views import StagedView, StagedViewError, has_view, size_multiple, upscale_of
from mipkd_arch.weight_selection import select_weights

from basicsr.utils.registry import ARCH_REGISTRY


def make_network(opt: Mapping[str, Any], label: str) -> tuple[nn.Module, str | None]:
    """Build ``network_<label>``, 'g' or 't', and load ``path.pretrain_network_<label>`` where there is one.

    Returns:
        The network, on the CPU, and a sentence on what was loaded, or None.
    """
    block, paths = opt[f'network_{label}'], opt['path']
    network = build_from_options(f'network_{label}', block, ARCH_REGISTRY)
    path = paths.get(f'pretrain_network_{label}')
    if path is None:
        return network, f'weights of {block["file"]}' if brings_weights(block) else None
    checkpoint, strict = read_checkpoint(path), paths.get(f'strict_load_{label}', True)
    if strict:
        check_record(f'network_{label}', block, checkpoint, path)
    try:
        missing, unused = load_weights(network, path, strict=strict, param_key=paths.get(f'param_key_{label}'),
                                       checkpoint=checkpoint)
    except UserError as error:  # some networks refuse weights, too
        raise with_path(error, f'network_{label}', block) from None
    if not strict:
        return network, (f'weights of {path}; {len(missing)} of the network keep their initial values, and '
                         f'{len(unused)} of the file are not used')
    return network, f'weights of {path}'


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
    block, path = opt['network_t'], opt['path'].get('pretrain_network_t')
    if path is not None and brings_weights(block):
        raise UserError(f'path.pretrain_network_t: {path}: {block["type"]} brings its weights by network_t.file; set '
                        'this to null')
    teacher, report = make_network(opt, 't')
    if report is None:
        raise UserError('path.pretrain_network_t: missing; a teacher without trained weights teaches noise')
    return teacher.eval().requires_grad_(False), report


def make_student(opt: Mapping[str, Any]) -> tuple[nn.Module, str | None]:
    """Build the student, with the weights that ``train.weight_selection`` takes from the teacher where it is set.

    Returns:
        As ``make_network``.
    """
    student, report = make_network(opt, 'g')
    blocks = (opt.get('train') or {}).get('weight_selection')
    if blocks is None or opt['path'].get('resume_state'):
        return student, report
    teacher, _ = make_teacher(opt)
    try:
        select_weights(student, getattr(teacher, 'wrapped', teacher), blocks)
    except UserError as error:
        raise UserError(f'train.weight_selection: {error}') from None
    return student, f'weights selected from those of network_t, of its blocks the {blocks} ones'


def check_upscale(opt: Mapping[str, Any], label: str, network: nn.Module, upscale: int | None = None) -> None:
    """Check that ``network_<label>``, whose factor is found out where it is None, has the option file's scale."""
    where, scale = f'network_{label}', opt['scale']
    if upscale is None:
        try:
            upscale = upscale_of(network)
        except UserError as error:
            raise UserError(f'{where}: {error}') from None
    if upscale != scale:
        option = next((name for name in ('scale', 'upscaling_factor') if name in opt[where]), 'upscale')
        raise UserError(f'{where}.{option}: {upscale} is not the scale: {scale} of the option file, by which '
                        f'{type(network).__name__} must super-resolve')


def check_image(opt: Mapping[str, Any], label: str, network: nn.Module, view: StagedView | None = None) -> None:
    """Check that ``network_<label>`` makes of an RGB image one that is ``scale`` times as large, and so does its view.

    The view is cut as it is used; None leaves the comparison out. Any difference or failure is a ``UserError``.
    """
    where, kind = f'network_{label}', type(network).__name__
    multiple = size_multiple(network) if view is None else view.size_multiple
    side = max(SIDE // 2, view.min_size) if view is not None and has_view(network) else SIDE
    height = side + -side % multiple
    width = height + multiple
    lq = trial_images(1, height, width, like=network)
    with in_eval_mode(network):
        try:
            output = network(lq.clone())
        except UserError:
            raise
        except Exception as error:  # any network, any failure
            raise UserError(f'{where}: {kind} fails on an image of {width}x{height} ({reason_of(error)})') from None
        expected = (1, 3, height * opt['scale'], width * opt['scale'])
        if output.shape != expected:
            raise UserError(f'{where}: {kind} makes {tuple(output.shape)} of an RGB image {tuple(lq.shape)}; at scale: '
                            f'{opt["scale"]} it must be {expected}')
        if not torch.isfinite(output).all():
            raise UserError(f'{where}: {kind} makes values that are not finite of an image; correct its sizes or its '
                            'weights')
        if view is None or not has_view(network):
            return
        try:
            mistake = _mistake_of_view(view, network, lq, output)
        except Exception as error:  # any view, any failure
            mistake = f'fails where the network does not ({reason_of(error)}); fix the function that makes it'
    if mistake:
        raise StagedViewError(f'{where}: the staged view of {type(view.network).__name__} {mistake}')


def _mistake_of_view(view: StagedView, network: nn.Module, lq: torch.Tensor, output: torch.Tensor) -> str | None:
    """How a view differs from its network in the image (N, 3, H', W') of lq (N, 3, H, W), or in what it declares."""
    passed = view.forward_features(lq)
    feature = passed.features[0]
    for name, block in view.blocks.items():
        block_input, before = feature, feature.clone()
        result = block(feature)
        feature = result[0] if isinstance(result, tuple) else result
        if not torch.equal(block_input, before):
            return f'has a block, {name}, that writes into its input, which losses use; let it work on a copy'
    expected = (len(lq), view.num_feat, *lq.shape[-2:])
    for name, feature in zip(['the head', *(stage[-1] for stage in view.stages)], passed.features, strict=True):
        if feature.shape != expected:
            return (f'has features {tuple(feature.shape)} after {name} for an lq {tuple(lq.shape)}; with num_feat: '
                    f'{view.num_feat} they must be {expected}')
    if passed.output.shape != output.shape:
        return f'makes {tuple(passed.output.shape)} where the network makes {tuple(output.shape)}; fix its tail'
    difference = (passed.output - output).abs().max()
    if not difference <= max(tolerance(output), (network(lq.clone()) - output).abs().max()):  # some are never the same
        return (f'does not match the network: their images differ by up to {difference.item():.3g}; compare head, '
                'blocks and tail with its forward')
    return None
