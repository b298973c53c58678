"""Staged views: any super-resolution network as ``head -> blocks -> tail``, without changing the network.

A view holds callables that run the pieces of a network. Nothing is hooked, wrapped or copied, so the network, its
class and its state dict stay as they are, and running all pieces gives ``network(lq)`` bit for bit. The features
between the pieces are (N, C, H, W) at LR size, whatever the network uses inside.
"""
from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .base.errors import UserError, near_miss
from .registration import register
from .size_probe import probe_network

Block = Callable[[Tensor], Any]


class StagedViewError(UserError):
    """A network has no staged view as it was asked for."""


class NoStagedView(StagedViewError):
    """No view is registered for the class of a network, or none can be made of it with its sizes."""


@dataclass(frozen=True)
class StagedOutput:
    """Features and output of one forward pass through a staged network."""
    features: tuple[Tensor, ...]
    """Features at the K positions, each (N, C, H, W): after the head, then after every stage."""
    output: Tensor
    """The super-resolved image (N, C_out, upscale * H, upscale * W)."""
    lq: Tensor | None = None
    """The input, (N, C_in, H, W)."""
    side: Mapping[str, Tensor] = field(default_factory=dict)
    """What blocks have handed to the tail, by name; empty for most networks."""


@dataclass(frozen=True)
class StagedView:
    """A network seen as a head, named blocks grouped into stages, and a tail."""
    network: nn.Module
    """The network itself, untouched."""
    head: Callable[[Tensor], Tensor]
    """lq (N, C_in, H, W) -> shallow features (N, C, H, W)."""
    blocks: Mapping[str, Block]
    """In order, features -> features, named as in ``network.named_modules()``; all are (N, C, H, W). A block whose
    inner features the tail needs returns (features, {name: inner features})."""
    tail: Callable[..., Tensor]
    """(deep features, shallow features) -> image. The shallow features feed the global skip connection. A tail that
    needs more names it: ``lq``, the input (N, C_in, H, W), and ``side``, the mapping of what blocks have returned."""
    num_feat: int
    """C, the channels of the features."""
    upscale: int
    """Factor between lq and the output."""
    size_multiple: int = 1
    """H and W of an lq must be multiples of this; ``__call__`` pads and crops."""
    min_size: int = 1
    """Least H and W of an lq; ``__call__`` pads smaller ones."""
    pad_mode: str = 'reflect'
    """How ``__call__`` pads; 'symmetric' repeats the edge, as the networks do that pad by flipping."""
    stages: tuple[tuple[str, ...], ...] = ()
    """Block names by stage; made by ``cut``. Empty means one stage of all blocks."""
    activation_checkpointing: bool = False
    """Whether stages keep only their input and are run again in the backward pass; for networks in eval mode."""
    _tail_inputs: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        if not self.stages:
            object.__setattr__(self, 'stages', (tuple(self.blocks), ))
        named = tuple(inspect.signature(self.tail).parameters)[2:]
        unknown = [name for name in named if name not in ('lq', 'side')]
        if unknown:
            raise StagedViewError(f'the staged view of {type(self.network).__name__} has a tail with the argument '
                                  f'{unknown[0]!r}; behind deep and shallow features it may have lq and side')
        object.__setattr__(self, '_tail_inputs', named)

    @property
    def num_positions(self) -> int:
        """Number of positions with features: one after the head and one after each stage."""
        return len(self.stages) + 1

    def run_stage(self, index: int, feature: Tensor, side: dict[str, Tensor] | None = None) -> Tensor:
        """Run stage ``index`` on features (N, C, H, W); what its blocks hand to the tail is put into ``side``."""
        def run(feature: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            handed: dict[str, Tensor] = {}
            for name in self.stages[index]:
                result = self.blocks[name](feature)
                if isinstance(result, tuple):
                    feature, inner = result
                    handed.update(inner)
                else:
                    feature = result
            return feature, handed

        if self.activation_checkpointing:
            feature, handed = checkpoint(run, feature, use_reentrant=False, preserve_rng_state=False)
        else:
            feature, handed = run(feature)
        if side is not None:
            side.update(handed)
        return feature

    def forward_features(self, lq: Tensor) -> StagedOutput:
        """Run the whole network on lq (N, C_in, H, W), sized to ``size_multiple``, and keep the features."""
        # A copy goes in: some networks write into their input, and others use the same lq afterwards.
        features = [self.head(lq.clone())]
        side: dict[str, Tensor] = {}
        for index in range(len(self.stages)):
            features.append(self.run_stage(index, features[-1], side))
        return StagedOutput(tuple(features), self._image(features[-1], features[0], lq, side), lq, side)

    def finish(self, deep: Tensor, passed: StagedOutput, side: Mapping[str, Tensor] | None = None) -> Tensor:
        """The tail's image for deep features (N, C, H, W), with the skip connections of a forward pass.

        Args:
            side: what stages that were run outside of that pass have handed to the tail; it takes precedence.
        """
        return self._image(deep, passed.features[0], passed.lq, {**passed.side, **(side or {})})

    def finish_from(self, position: int, feature: Tensor, passed: StagedOutput) -> Tensor:
        """The image for features (N, C, H, W) that enter at a position, with the skip connections of a forward pass."""
        side: dict[str, Tensor] = {}
        for stage in range(position, len(self.stages)):
            feature = self.run_stage(stage, feature, side)
        return self.finish(feature, passed, side)

    def _image(self, deep: Tensor, shallow: Tensor, lq: Tensor | None, side: Mapping[str, Tensor]) -> Tensor:
        more = {'lq': None if lq is None else lq.clone(), 'side': side}
        return self.tail(deep, shallow, **{name: more[name] for name in self._tail_inputs})

    def __call__(self, lq: Tensor) -> Tensor:
        """Super-resolve lq (N, C_in, H, W) of any size."""
        bottom, right = (max(self.min_size - size, -size % self.size_multiple) for size in lq.shape[-2:])
        padded = pad(lq, bottom, right, self.pad_mode)
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


def pad(lq: Tensor, bottom: int, right: int, mode: str = 'reflect') -> Tensor:
    """Pad lq (N, C, H, W) on its right and bottom by reflection, as BasicSR's SwinIRModel does.

    Reflection needs more pixels than it pads; what is missing in an image of a few pixels repeats its edge. With
    mode 'symmetric' the edge is part of the reflection.
    """
    if not (bottom or right):
        return lq
    height, width = lq.shape[-2:]
    if mode == 'symmetric':
        lq = torch.cat([lq, lq.flip(-2)], -2)[..., :height + bottom, :]
        return torch.cat([lq, lq.flip(-1)], -1)[..., :width + right]
    lq = F.pad(lq, (0, min(right, width - 1), 0, min(bottom, height - 1)), 'reflect')
    return F.pad(lq, (0, right + width - lq.shape[-1], 0, bottom + height - lq.shape[-2]), 'replicate')


def pad_to_multiple(lq: Tensor, multiple: int, mode: str = 'reflect') -> Tensor:
    """Pad lq (N, C, H, W) on its right and bottom so that H and W are multiples."""
    return pad(lq, -lq.shape[-2] % multiple, -lq.shape[-1] % multiple, mode)


def crop_to(output: Tensor, lq: Tensor, upscale: int) -> Tensor:
    """Crop output (N, C, H', W') to ``upscale`` times the size of lq (N, C, H, W)."""
    return output[..., :lq.shape[-2] * upscale, :lq.shape[-1] * upscale]


def normalized(net: Any, lq: Tensor) -> Tensor:
    """lq (N, 3, H, W) without the network's mean, in its range."""
    net.mean = net.mean.type_as(lq)  # as the network's own forward does; the tail relies on it
    return (lq - net.mean) * net.img_range


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


def viewed_classes() -> list[type]:
    """The classes that a view is registered for."""
    register()  # the views of BasicSR's networks
    return list(VIEWS)


def find_view(network: nn.Module) -> StagedView | None:
    """The view of a network, uncut; None where none is registered for its class, or can be made with its sizes."""
    try:
        return staged_view(network)
    except NoStagedView:
        return None


def has_view(network: nn.Module) -> bool:
    """Whether a view is registered for the network's class or one of its bases, and can be made of this network."""
    return find_view(network) is not None


def upscale_of(network: nn.Module) -> int:
    """The factor between a network's lq and its output, by its view or by a probe.

    Raises:
        UserError: the probe fails.
    """
    view = find_view(network)
    return probe_network(network).upscale if view is None else view.upscale


def size_multiple(network: nn.Module) -> int:
    """What the sides of a network's lq must be multiples of, by its view or by a probe; 1 where the probe fails."""
    view = find_view(network)
    if view is not None:
        return view.size_multiple if view.pad_mode == 'reflect' else 1  # others pad in their own forward
    try:
        return probe_network(network).size_multiple
    except UserError:
        return 1


def staged_view(network: nn.Module, cuts: int | Sequence[str] = 1) -> StagedView:
    """Make the staged view of a network whose class, or a base of it, has a registered view, cut by ``StagedView.cut``.

    Raises:
        NoStagedView: no view is registered for the class, or none can be made with these sizes.
        StagedViewError: the cuts do not fit.
    """
    register()  # the views of BasicSR's networks
    make = next((VIEWS[cls] for cls in type(_bare(network)).__mro__ if cls in VIEWS), None)
    if make is None:
        known = ', '.join(sorted(cls.__name__ for cls in VIEWS))
        raise NoStagedView(f'no staged view is registered for {type(_bare(network)).__name__}; known are {known}. '
                           'docs/staged_views.md shows how to add one')
    return make(_bare(network)).cut(cuts)
