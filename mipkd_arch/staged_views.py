"""Staged views: any super-resolution network as ``head -> blocks -> tail``, without changing the network.

A view holds callables that run the pieces of a network. Nothing is hooked, wrapped or copied, so the network, its
class and its state dict stay as they are, and running all pieces gives ``network(lq)`` bit for bit. The features
between the pieces are (N, C, H, W) at LR size, whatever the network uses inside.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .base.errors import UserError, near_miss
from .registration import register
from .size_probe import probe_network


class StagedViewError(UserError):
    """A network has no staged view as it was asked for."""


class NoStagedView(StagedViewError):
    """No view is registered for the class of a network."""


@dataclass(frozen=True)
class StagedOutput:
    """Features and output of one forward pass through a staged network."""
    features: tuple[Tensor, ...]
    """Features at the K positions, each (N, C, H, W): after the head, then after every stage."""
    output: Tensor
    """The super-resolved image (N, C_out, upscale * H, upscale * W)."""
    lq: Tensor | None = None
    """The input, (N, C_in, H, W)."""


@dataclass(frozen=True)
class StagedView:
    """A network seen as a head, named blocks grouped into stages, and a tail."""
    network: nn.Module
    """The network itself, untouched."""
    head: Callable[[Tensor], Tensor]
    """lq (N, C_in, H, W) -> shallow features (N, C, H, W)."""
    blocks: Mapping[str, Callable[[Tensor], Tensor]]
    """In order, features -> features, named as in ``network.named_modules()``; all are (N, C, H, W)."""
    tail: Callable[..., Tensor]
    """(deep features, shallow features) -> image; the shallow ones feed the global skip connection. With
    ``lq_in_tail``, (deep features, shallow features, lq) -> image."""
    num_feat: int
    """C, the channels of the features."""
    upscale: int
    """Factor between lq and the output."""
    size_multiple: int = 1
    """H and W of an lq must be multiples of this; ``__call__`` pads by reflection and crops. A network with other
    needs, such as a least size, has 1 here and pads in its own forward."""
    lq_in_tail: bool = False
    """Whether the tail takes lq too, for networks whose global skip connection starts at the image."""
    stages: tuple[tuple[str, ...], ...] = ()
    """Block names by stage; made by ``cut``. Empty means one stage of all blocks."""
    activation_checkpointing: bool = False
    """Whether stages keep only their input and are run again in the backward pass; for networks in eval mode."""

    def __post_init__(self) -> None:
        if not self.stages:
            object.__setattr__(self, 'stages', (tuple(self.blocks), ))

    @property
    def num_positions(self) -> int:
        """Number of positions with features: one after the head and one after each stage."""
        return len(self.stages) + 1

    def run_stage(self, index: int, feature: Tensor) -> Tensor:
        """Run stage ``index`` on features (N, C, H, W)."""
        def run(feature: Tensor) -> Tensor:
            for name in self.stages[index]:
                feature = self.blocks[name](feature)
            return feature

        if self.activation_checkpointing:
            return checkpoint(run, feature, use_reentrant=False, preserve_rng_state=False)
        return run(feature)

    def forward_features(self, lq: Tensor) -> StagedOutput:
        """Run the whole network on lq (N, C_in, H, W), sized to ``size_multiple``, and keep the features."""
        # A copy goes in: some networks write into their input, and others use the same lq afterwards.
        features = [self.head(lq.clone())]
        for index in range(len(self.stages)):
            features.append(self.run_stage(index, features[-1]))
        return StagedOutput(tuple(features), self._image(features[-1], features[0], lq), lq)

    def finish(self, deep: Tensor, passed: StagedOutput) -> Tensor:
        """The tail's image for deep features (N, C, H, W), with the skip connections of a forward pass."""
        return self._image(deep, passed.features[0], passed.lq)

    def _image(self, deep: Tensor, shallow: Tensor, lq: Tensor | None) -> Tensor:
        return self.tail(deep, shallow, lq.clone()) if self.lq_in_tail and lq is not None else self.tail(deep, shallow)

    def __call__(self, lq: Tensor) -> Tensor:
        """Super-resolve lq (N, C_in, H, W) of any size."""
        padded = pad_to_multiple(lq, self.size_multiple)
        return crop_to(self.forward_features(padded).output, lq, self.upscale)

    def cut(self, cuts: int | Sequence[str]) -> StagedView:
        """The same view with its blocks grouped into stages.

        Args:
            cuts: a number of stages, spread evenly over the blocks, or the names of the blocks after which to cut
                (``['body.10', 'body.21']`` gives three stages).

        Raises:
            StagedViewError: more stages than blocks, an unknown name, or names that are not in order.
        """
        names = list(self.blocks)
        ends = self._even_ends(cuts) if isinstance(cuts, int) else self._named_ends(cuts)
        return replace(self, stages=tuple(tuple(names[a:b]) for a, b in pairwise([0, *ends, len(names)])))

    def _even_ends(self, count: int) -> list[int]:
        # The last block closes the body (a convolution, not one of the repeated blocks): it never is a cut.
        repeated = max(len(self.blocks) - 1, 1)
        if not 1 <= count <= repeated:
            raise StagedViewError(f'{type(self.network).__name__} has {repeated} blocks to cut and cannot have {count} '
                                  f'stages; allowed are 1 to {repeated}')
        return [(2 * repeated * i + count) // (2 * count) for i in range(1, count)]  # rounded half up

    def _named_ends(self, cuts: Sequence[str]) -> list[int]:
        kind, names = type(self.network).__name__, list(self.blocks)
        for name in cuts:
            if name not in names[:-1]:
                raise StagedViewError(f'{kind} has no block {name!r} to cut after{near_miss(name, names[:-1])}; '
                                      f'allowed are {names[0]} to {names[-2:][0]}')
        ends = [names.index(name) + 1 for name in cuts]
        if ends != sorted(set(ends)):
            raise StagedViewError(f'{kind} must be cut after different blocks in order, not {list(cuts)}')
        return ends


def pad(lq: Tensor, bottom: int, right: int) -> Tensor:
    """Pad lq (N, C, H, W) on its right and bottom by reflection, as BasicSR's SwinIRModel does.

    Reflection needs more pixels than it pads; what is missing in an image of a few pixels repeats its edge.
    """
    if not (bottom or right):
        return lq
    height, width = lq.shape[-2:]
    lq = F.pad(lq, (0, min(right, width - 1), 0, min(bottom, height - 1)), 'reflect')
    return F.pad(lq, (0, right + width - lq.shape[-1], 0, bottom + height - lq.shape[-2]), 'replicate')


def pad_to_multiple(lq: Tensor, multiple: int) -> Tensor:
    """Pad lq (N, C, H, W) on its right and bottom so that H and W are multiples."""
    return pad(lq, -lq.shape[-2] % multiple, -lq.shape[-1] % multiple)


def crop_to(output: Tensor, lq: Tensor, upscale: int) -> Tensor:
    """Crop output (N, C, H', W') to ``upscale`` times the size of lq (N, C, H, W)."""
    return output[..., :lq.shape[-2] * upscale, :lq.shape[-1] * upscale]


def whole_view(network: nn.Module, upscale: int, size_multiple: int = 1) -> StagedView:
    """A view of a network as one block, without features; for losses that compare only images."""
    return StagedView(network, head=lambda lq: lq, blocks={'': network}, tail=lambda deep, shallow: deep,
                      num_feat=0, upscale=upscale, size_multiple=size_multiple)


ViewFunction = TypeVar('ViewFunction', bound=Callable[..., StagedView])
VIEWS: dict[type, Callable[..., StagedView]] = {}


def register_view(*classes: type) -> Callable[[ViewFunction], ViewFunction]:
    """Decorator: the function makes the staged view of these network classes and of their subclasses.

    It takes the network and returns a ``StagedView``; ``docs/staged_views.md`` has a complete example.
    """
    def decorator(function: ViewFunction) -> ViewFunction:
        for cls in classes:
            if VIEWS.get(cls, function) is not function:
                raise StagedViewError(f'{cls.__name__} already has a staged view: {VIEWS[cls].__name__}')
            VIEWS[cls] = function
        return function

    return decorator


def _bare(network: nn.Module) -> nn.Module:
    """The network itself, out of one that only wraps it."""
    return getattr(network, 'wrapped', network)


def _view_of(network: nn.Module) -> Callable[..., StagedView] | None:
    register()  # the views of BasicSR's networks
    return next((VIEWS[cls] for cls in type(_bare(network)).__mro__ if cls in VIEWS), None)


def has_view(network: nn.Module) -> bool:
    """Whether ``staged_view(network)`` knows the network's class or one of its bases."""
    return _view_of(network) is not None


def size_multiple(network: nn.Module) -> int:
    """What the sides of a network's lq must be multiples of, by its view or by a probe; 1 where the probe fails."""
    if has_view(network):
        return staged_view(network).size_multiple
    try:
        return probe_network(network).size_multiple
    except UserError:
        return 1


def staged_view(network: nn.Module, cuts: int | Sequence[str] = 1) -> StagedView:
    """Make the staged view of a network whose class, or a base of it, has a registered view, cut by ``StagedView.cut``.

    Raises:
        NoStagedView: no view is registered for the class.
        StagedViewError: the cuts do not fit.
    """
    make = _view_of(network)
    if make is None:
        known = ', '.join(sorted(cls.__name__ for cls in VIEWS))
        raise NoStagedView(f'no staged view is registered for {type(_bare(network)).__name__}; known are {known}. '
                           'docs/staged_views.md shows how to add one')
    return make(_bare(network)).cut(cuts)
