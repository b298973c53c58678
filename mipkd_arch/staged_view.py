"""Staged views: any super-resolution network as ``head -> blocks -> tail``, without changing the network.

A view holds callables that run the pieces of a network. Nothing is hooked, wrapped or copied, so the network, its
class and its state dict stay as they are, and running all pieces gives ``network(lq)`` bit for bit. The feature maps
between the pieces are (N, C, H, W) at LR size, whatever the network uses inside.
"""
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .base.errors import UserError, near_miss
from .size_probe import tried


class StagedViewError(UserError):
    """A network cannot be seen in stages as it was asked to be."""


class NoStagedView(StagedViewError):
    """No view is registered for the class of a network."""


@dataclass(frozen=True)
class StagedOutput:
    """Features and output of one forward pass through a staged network."""
    features: tuple[torch.Tensor, ...]
    """Feature maps at the K positions, each (N, C, H, W): after the head, then after every stage."""
    output: torch.Tensor
    """The super-resolved image (N, C_out, upscale * H, upscale * W)."""
    lq: torch.Tensor | None = None
    """What went in, (N, C_in, H, W)."""


@dataclass(frozen=True)
class StagedView:
    """A network seen as a head, named blocks grouped into stages, and a tail."""
    network: nn.Module
    """The network itself, untouched."""
    head: Callable[[torch.Tensor], torch.Tensor]
    """lq (N, C_in, H, W) -> shallow map (N, C, H, W)."""
    blocks: Mapping[str, Callable[[torch.Tensor], torch.Tensor]]
    """Ordered map -> map pieces, named as in ``network.named_modules()``; all maps are (N, C, H, W)."""
    tail: Callable[..., torch.Tensor]
    """(deep map, shallow map) -> image; the shallow map feeds the global skip connection. With ``lq_in_tail``, (deep
    map, shallow map, lq) -> image."""
    num_feat: int
    """C, the width of the maps."""
    upscale: int
    """Factor between lq and the output."""
    size_multiple: int = 1
    """H and W of an lq must be multiples of this; ``__call__`` pads by reflection and crops."""
    lq_in_tail: bool = False
    """Whether the tail takes lq too, as networks do whose global skip connection starts at the image."""
    stages: tuple[tuple[str, ...], ...] = ()
    """Block names by stage; made by ``cut``. Empty means one stage of all blocks."""

    def __post_init__(self):
        if not self.stages:
            object.__setattr__(self, 'stages', (tuple(self.blocks), ))

    @property
    def num_positions(self):
        """Number of positions with a feature map: one after the head and one after each stage."""
        return len(self.stages) + 1

    def run_stage(self, index, feature):
        """Run stage ``index`` on ``feature`` (N, C, H, W)."""
        for name in self.stages[index]:
            feature = self.blocks[name](feature)
        return feature

    def forward_features(self, lq):
        """Run the whole network on lq (N, C_in, H, W), sized to ``size_multiple``, and keep the features."""
        # A copy goes in: some networks write into what they are given, and others look at the same lq afterwards.
        features = [self.head(lq.clone())]
        for index in range(len(self.stages)):
            features.append(self.run_stage(index, features[-1]))
        return StagedOutput(tuple(features), self._image(features[-1], features[0], lq), lq)

    def finish(self, deep, passed):
        """The image that the tail makes of a deep map (N, C, H, W) with the skip connections of a forward pass."""
        return self._image(deep, passed.features[0], passed.lq)

    def _image(self, deep, shallow, lq):
        return self.tail(deep, shallow, lq.clone()) if self.lq_in_tail else self.tail(deep, shallow)

    def __call__(self, lq):
        """Super-resolve lq (N, C_in, H, W) of any size."""
        padded = pad_to_multiple(lq, self.size_multiple)
        return crop_to(self.forward_features(padded).output, lq, self.upscale)

    def recomputed(self):
        """Return the same view, whose stages keep their input only and are run again on the way back.

        That takes one more pass through them, and the memory of one stage at a time. It is for networks in eval mode,
        which do the same each time.
        """
        return _RecomputedView(**vars(self))

    def cut(self, cuts):
        """Return the same view with its blocks grouped into stages.

        Args:
            cuts (int | sequence[str]): a number of stages, spread evenly over the blocks, or the names of the
                blocks after which to cut (``['body.10', 'body.21']`` gives three stages).

        Raises:
            StagedViewError: more stages than blocks, an unknown name, or names that are not in order.
        """
        names = list(self.blocks)
        kind = type(self.network).__name__
        if isinstance(cuts, int) and not isinstance(cuts, bool):
            # The last block closes the body (a convolution, not one of the repeated blocks): it never is a cut.
            repeated = max(len(names) - 1, 1)
            if not 1 <= cuts <= repeated:
                raise StagedViewError(f'{kind} has {repeated} blocks to cut and cannot have {cuts} stages; '
                                      f'allowed are 1 to {repeated}')
            ends = [(2 * repeated * i + cuts) // (2 * cuts) for i in range(1, cuts)]  # rounded half up
        elif isinstance(cuts, (list, tuple)):
            for name in cuts:
                if name not in names[:-1]:
                    allowed = f'allowed are {names[0]} to {names[-2]}' if names[:-1] else 'it has one block only'
                    raise StagedViewError(f'{kind} has no block {name!r} to cut after{near_miss(name, names[:-1])}; '
                                          f'{allowed}')
            ends = [names.index(name) + 1 for name in cuts]
            if ends != sorted(set(ends)):
                raise StagedViewError(f'{kind} must be cut after different blocks in order, not {list(cuts)}')
        else:
            raise StagedViewError(f'cuts must be a number of stages or a list of block names, not {cuts!r}')
        bounds = [0, *ends, len(names)]
        return replace(self, stages=tuple(tuple(names[a:b]) for a, b in pairwise(bounds)))


class _RecomputedView(StagedView):
    def run_stage(self, index, feature):
        return checkpoint(super().run_stage, index, feature, use_reentrant=False, preserve_rng_state=False)


def pad(lq, bottom, right):
    """Pad lq (N, C, H, W) on its right and bottom by reflection, as BasicSR's SwinIRModel does.

    Reflection needs more pixels than it pads; what is missing in an image of a few pixels repeats its edge.
    """
    if not (bottom or right):
        return lq
    height, width = lq.shape[-2:]
    lq = F.pad(lq, (0, min(right, width - 1), 0, min(bottom, height - 1)), 'reflect')
    return F.pad(lq, (0, right + width - lq.shape[-1], 0, bottom + height - lq.shape[-2]), 'replicate')


def pad_to_multiple(lq, multiple):
    """Pad lq (N, C, H, W) on its right and bottom so that H and W are multiples."""
    return pad(lq, -lq.shape[-2] % multiple, -lq.shape[-1] % multiple)


def crop_to(output, lq, upscale):
    """Crop output (N, C, H', W') to ``upscale`` times the size of lq (N, C, H, W)."""
    return output[..., :lq.shape[-2] * upscale, :lq.shape[-1] * upscale]


def whole_view(network, upscale, size_multiple=1):
    """A view of a network that nobody looks into: one block, no map. It suits losses on images alone."""
    return StagedView(network, head=lambda lq: lq, blocks={'': network}, tail=lambda deep, shallow: deep,
                      num_feat=0, upscale=upscale, size_multiple=size_multiple)


_VIEWS = {}


def register_view(*classes):
    """Decorator: the function makes the staged view of these network classes and of their subclasses.

    The function takes the network and returns a ``StagedView``; see ``docs/staged_views.md`` for a complete example.
    """

    def decorator(function):
        for cls in classes:
            if _VIEWS.get(cls, function) is not function:
                raise StagedViewError(f'{cls.__name__} already has a staged view: {_VIEWS[cls].__name__}')
            _VIEWS[cls] = function
        return function

    return decorator


def _view_of(network):
    """The registered function for a network, or None. One that only wraps another is looked at as that other."""
    return next((_VIEWS[cls] for cls in type(_bare(network)).__mro__ if cls in _VIEWS), None)


def _bare(network):
    return getattr(network, 'wrapped', network)


def has_view(network):
    """Whether ``staged_view(network)`` knows the network's class or one of its bases."""
    return _view_of(network) is not None


def size_multiple(network):
    """What the sides of a network's lq must be multiples of: as its view says, or as trying it finds.

    It is 1 where the network makes no image of any that is tried; whoever runs it is told why.
    """
    if has_view(network):
        return staged_view(network).size_multiple
    try:
        return tried(network).size_multiple
    except UserError:
        return 1


def staged_view(network, cuts=1):
    """Make the staged view of a network.

    Args:
        network (nn.Module): a network whose class, or a base of it, has a registered view.
        cuts (int | sequence[str]): see ``StagedView.cut``.

    Raises:
        NoStagedView: no view is registered for the class.
        StagedViewError: the cuts do not fit.
    """
    make = _view_of(network)
    if make is None:
        known = ', '.join(sorted(cls.__name__ for cls in _VIEWS))
        raise NoStagedView(f'no staged view is registered for {type(_bare(network)).__name__}; known are {known}. '
                           'docs/staged_views.md shows how to add one')
    return make(_bare(network)).cut(cuts)
