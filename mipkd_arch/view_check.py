"""Whether a staged view is what it is to be: its network in pieces, with maps as it says."""
import torch

from .base.errors import reason_of
from .size_probe import in_eval_mode, tolerance
from .staged_view import StagedViewError


def check_view(view, network, lq, made):
    """Compare a view with what its network has made of an image.

    Args:
        view (StagedView): cut as it is used.
        network (nn.Module): what the view is of.
        lq (Tensor): (1, C_in, H, W), of a size that the network takes.
        made (Tensor): what the network makes of it in eval mode.

    Raises:
        StagedViewError: image, maps, ``num_feat`` or ``upscale`` are others.
    """
    kind = type(view.network).__name__
    with in_eval_mode(network):
        try:
            maps, output = _pieces(view, lq)
        except StagedViewError:
            raise
        except Exception as error:  # any view, any failure
            raise StagedViewError(f'the staged view of {kind} fails where the network does not ({reason_of(error)}); '
                                  'mend the function that makes it') from None
        expected = (len(lq), view.num_feat, *lq.shape[-2:])
        for name, shape in maps:
            if shape != expected:
                raise StagedViewError(f'the staged view of {kind} gives a map {shape} after {name} for an lq '
                                      f'{tuple(lq.shape)}; with num_feat: {view.num_feat} it must be {expected}')
        scale = view.upscale
        if tuple(made.shape[-2:]) != (lq.shape[-2] * scale, lq.shape[-1] * scale):
            raise StagedViewError(f'the staged view of {kind} has upscale: {scale}, but the network makes '
                                  f'{tuple(made.shape)} of an lq {tuple(lq.shape)}')
        if not torch.is_tensor(output) or output.shape != made.shape:
            what = tuple(output.shape) if torch.is_tensor(output) else type(output).__name__
            raise StagedViewError(f'the staged view of {kind} makes {what} where the network makes '
                                  f'{tuple(made.shape)}; mend its tail')
        apart = (output - made).abs().max()
        if not apart <= max(tolerance(made), (network(lq.clone()) - made).abs().max()):  # some are never the same
            raise StagedViewError(f'the staged view of {kind} is not the network: their images differ by up to '
                                  f'{apart.item():.3g}; compare head, blocks and tail with its forward')


def _pieces(view, lq):
    """Run the pieces one by one. Returns the shapes of the maps by what made them, and the image."""
    passed = view.forward_features(lq)
    names = ['the head', *(stage[-1] for stage in view.stages)]
    feature = passed.features[0]
    for stage in view.stages:
        for name in stage:
            before, given = feature.clone(), feature
            feature = view.blocks[name](feature)
            if not torch.equal(given, before):
                raise StagedViewError(f'the staged view of {type(view.network).__name__} has a block, {name}, that '
                                      'writes into the map it is given, which losses look at; let it work on a copy')
    return [(name, tuple(feature.shape)) for name, feature in zip(names, passed.features, strict=True)], passed.output
