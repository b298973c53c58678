"""Checks that a staged view gives what its network gives, with feature maps of the shapes that it declares."""
from __future__ import annotations

import torch
from torch import nn

from .base.errors import reason_of
from .size_probe import in_eval_mode, tolerance
from .staged_views import StagedView, StagedViewError


def check_view(view: StagedView, network: nn.Module, lq: torch.Tensor, output: torch.Tensor) -> None:
    """Compare a view, cut as it is used, with its network on one image.

    Args:
        lq: (1, C_in, H, W), of a size that the network takes.
        output: (1, C_out, upscale * H, upscale * W), of the network in eval mode.

    Raises:
        StagedViewError: image, features, ``num_feat`` or ``upscale`` differ, or a block writes into its input.
    """
    with in_eval_mode(network):
        try:
            mistake = _mistake(view, network, lq, output)
        except Exception as error:  # any view, any failure
            mistake = f'fails where the network does not ({reason_of(error)}); fix the function that makes it'
    if mistake:
        raise StagedViewError(f'the staged view of {type(view.network).__name__} {mistake}')


def _mistake(view: StagedView, network: nn.Module, lq: torch.Tensor, output: torch.Tensor) -> str | None:
    passed = view.forward_features(lq)
    feature = passed.features[0]
    for name in view.blocks:
        block_input, before = feature, feature.clone()
        feature = view.blocks[name](feature)
        if not torch.equal(block_input, before):
            return f'has a block, {name}, that writes into its input, which losses use; let it work on a copy'
    expected = (len(lq), view.num_feat, *lq.shape[-2:])
    for name, feature in zip(['the head', *(stage[-1] for stage in view.stages)], passed.features, strict=True):
        if feature.shape != expected:
            return (f'has features {tuple(feature.shape)} after {name} for an lq {tuple(lq.shape)}; with num_feat: '
                    f'{view.num_feat} they must be {expected}')
    if output.shape[-2:] != (lq.shape[-2] * view.upscale, lq.shape[-1] * view.upscale):
        return f'has upscale: {view.upscale}, but the network makes {tuple(output.shape)} of an lq {tuple(lq.shape)}'
    if passed.output.shape != output.shape:
        return (f'makes {tuple(passed.output.shape)} where the network makes {tuple(output.shape)}; fix its tail')
    difference = (passed.output - output).abs().max()
    if not difference <= max(tolerance(output), (network(lq.clone()) - output).abs().max()):  # some are never the same
        return (f'does not match the network: their images differ by up to {difference.item():.3g}; compare head, '
                'blocks and tail with its forward')
    return None
