"""Several frozen teachers and the network that makes one image of theirs, as MTKD has them (arXiv 2404.09571)."""
from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from basicsr.utils.registry import ARCH_REGISTRY

from .base.building import build_from_options
from .base.checkpoint import read_checkpoint
from .base.errors import UserError, near_miss
from .base.network_record import brings_weights, check_record
from .base.option_types import Text
from .base.weights import load_weights
from .dctswin import WINDOW, DCTSwin
from .size_probe import SIDE, in_eval_mode, trial_images
from .staged_views import (
    NoStagedView,
    StagedOutput,
    StagedView,
    crop_to,
    pad_to_multiple,
    register_view,
    size_multiple,
    staged_view,
    upscale_of,
)

FARTHEST_MEAN = 0.25
"""How far the mean of a teacher's image may be from that of its input, both in [0, 1]."""


@ARCH_REGISTRY.register()
class TeacherEnsemble(nn.Module):
    """Frozen teachers, and DCTSwin, which makes one image of theirs.

    Trained as ``network_g`` it is MTKD's first stage: only the aggregation network is trained, and saved. With those
    weights it is the ``network_t`` of the second. Teachers run one after the other, in eval mode and without gradient.
    They are not submodules: parameters, modules and the state dict are those of the aggregation network, and of
    ``teacher_sha256``, (K, 32) bytes, by which weights are refused that were trained for other teachers or another
    order. Copies share the weights of the teachers.
    """
    teacher_sha256: Tensor

    def __init__(self, *, teachers: Annotated[Mapping[str, Mapping[str, Any]], Field(
            min_length=1, description='Teachers by names of your choice, in the order of their images: blocks as '
                                      'network_t, each with the file of its weights.')],
            upscale: Annotated[int, Field(description='2^n or 3, the teachers\' own.')] = 4,
            features_of: Annotated[Text | None, Field(
                description='Name of the teacher whose features losses take; null: none does.')] = None,
            num_feat: Annotated[int, Field(
                description='Channels of the aggregation network; a multiple of num_heads.')] = 96,
            depths: Annotated[Sequence[Annotated[int, Field(ge=1)]], Field(
                min_length=1, description='Its layers in each group.')] = (4, 4),
            num_heads: Annotated[int, Field(description='Its attention heads.')] = 6,
            mlp_ratio: Annotated[float, Field(gt=0, description='Channels of its MLPs over num_feat.')] = 2.,
            skip: Annotated[bool, Field(
                description='Add a trained weighted mean of the images; for short trainings.')] = False) -> None:
        super().__init__()
        if num_feat % num_heads:
            raise UserError(f'num_feat: {num_feat} is not a multiple of num_heads: {num_heads}')
        if features_of is not None and features_of not in teachers:
            raise UserError(f'features_of: {features_of!r} is none of the teachers{near_miss(features_of, teachers)}; '
                            f'they are {", ".join(teachers)}')
        # First, so that its random weights do not depend on how many numbers teachers have drawn for theirs.
        self.aggregator = DCTSwin(len(teachers), upscale, num_feat, depths, num_heads, mlp_ratio, skip)
        self.upscale, self.features_of = upscale, features_of
        found = {name: _open_teacher(f'teachers.{name}', block, upscale) for name, block in teachers.items()}
        self.teachers = {name: network for name, (network, _) in found.items()}
        self.size_multiples = {name: size_multiple(network) for name, network in self.teachers.items()}
        digests = b''.join(digest for _, digest in found.values())
        self.register_buffer('teacher_sha256', torch.tensor(list(digests), dtype=torch.uint8).view(len(found), -1))

    def forward(self, lq: Tensor) -> Tensor:
        """lq (N, 3, H, W) in [0, 1], of any size -> image (N, 3, upscale * H, upscale * W)."""
        if self.training and min(lq.shape[-2:]) < WINDOW:
            raise UserError(f'datasets.train.gt_size: patches of {lq.shape[-1]}x{lq.shape[-2]} lq pixels are smaller '
                            f'than the windows of the aggregation network; raise it to at least '
                            f'{WINDOW * self.upscale}')
        return self.aggregate(lq)

    def aggregate(self, lq: Tensor, known: Mapping[str, Tensor] | None = None) -> Tensor:
        """The image (N, 3, upscale * H, upscale * W) made of those of all teachers for lq (N, 3, H, W).

        Args:
            known: images of that size by teachers that need not run again.
        """
        images = dict(known or {})
        images |= {name: self.teacher_image(name, lq) for name in self.teachers if name not in images}
        # Their own images are seen clipped, and so they are here.
        return self.aggregator(torch.cat([images[name].clamp(0, 1) for name in self.teachers], 1))

    @torch.no_grad()
    def teacher_image(self, name: str, lq: Tensor) -> Tensor:
        """The image (N, 3, upscale * H, upscale * W) of one teacher for lq (N, 3, H, W) of any size."""
        # A copy goes in, for some networks write into their input.
        image = self.teachers[name](pad_to_multiple(lq, self.size_multiples[name]).clone())
        return crop_to(image, lq, self.upscale)

    def get_submodule(self, target: str) -> nn.Module:
        """As of any module; where there is none of that name, of the teacher whose blocks the staged view names."""
        try:
            return super().get_submodule(target)
        except AttributeError:
            if self.features_of is None:
                raise
            return staged_view(self.teachers[self.features_of]).network.get_submodule(target)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> TeacherEnsemble:
        for network in self.teachers.values():
            network._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def __deepcopy__(self, memo: dict[int, Any]) -> TeacherEnsemble:
        for network in self.teachers.values():
            memo.update({id(p): nn.Parameter(p.data, requires_grad=False) for p in network.parameters()})
            memo.update({id(buffer): buffer.detach() for buffer in network.buffers()})
        copy = type(self).__new__(type(self))
        memo[id(self)] = copy
        copy.__dict__ = deepcopy(self.__dict__, memo)
        return copy

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *arguments: Any) -> None:
        saved = state_dict.get(f'{prefix}teacher_sha256')
        if saved is not None and not torch.equal(saved.cpu(), self.teacher_sha256.cpu()):
            raise UserError(f'teachers: {self._difference([bytes(row.tolist()) for row in saved.cpu()])}')
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def _difference(self, saved: list[bytes]) -> str:
        own = [bytes(row.tolist()) for row in self.teacher_sha256]
        names = dict(zip(own, self.teachers, strict=True))
        remedy = 'or train the aggregation network for these'
        if sorted(saved) == sorted(own):
            return (f'{", ".join(self.teachers)}, but the aggregation network was trained for '
                    f'{", ".join(names[digest] for digest in saved)}; give them in that order, {remedy}')
        if len(saved) != len(own):
            return f'are {len(own)}, but the aggregation network was trained for {len(saved)}; give those, {remedy}'
        name, ours, theirs = next(row for row in zip(self.teachers, own, saved, strict=True) if row[1] != row[2])
        return (f'{name} has weights of SHA-256 {ours.hex()[:12]}..., but the aggregation network was trained for '
                f'those of {theirs.hex()[:12]}... in its place; give that file, {remedy}')


def _open_teacher(where: str, block: Mapping[str, Any], upscale: int) -> tuple[nn.Module, bytes]:
    """Build a frozen teacher of its option block at ``where``. Returns it with the SHA-256 of its file."""
    if not isinstance(block, Mapping) or not isinstance(block.get('type'), str):
        raise UserError(f'{where}: needs a block with a type')
    if not isinstance(block.get('file'), str):
        raise UserError(f'{where}.file: missing; name the file of its weights, for a teacher without teaches noise')
    file = Path(block['file']).expanduser()
    own = block if brings_weights(block) else {name: value for name, value in block.items() if name != 'file'}
    network = build_from_options(where, own, ARCH_REGISTRY)
    if own is not block:
        checkpoint = read_checkpoint(file)
        check_record(where, own, checkpoint, file)
        load_weights(network, file, checkpoint=checkpoint)
    network.eval().requires_grad_(False)
    _check_teacher(where, network, upscale)
    return network, hashlib.sha256(file.read_bytes()).digest()


def _check_teacher(where: str, network: nn.Module, upscale: int) -> None:
    """Check that a teacher takes and gives RGB images in [0, 1], ``upscale`` times as large."""
    kind = type(network).__name__
    try:
        own = upscale_of(network)
    except UserError as error:
        raise UserError(f'{where}: {error}') from None
    if own != upscale:
        raise UserError(f'{where}: {kind} super-resolves by {own}, and upscale is {upscale}; all teachers must have '
                        'the same')
    lq = pad_to_multiple(trial_images(1, SIDE, SIDE), size_multiple(network))
    with in_eval_mode(network):
        image = network(lq.clone())
    if not (image.mean() - lq.mean()).abs() < FARTHEST_MEAN:
        raise UserError(f'{where}: {kind} makes an image of mean {image.mean():.3g} of one of {lq.mean():.3g}; all '
                        'teachers must take and give RGB in [0, 1]')


@register_view(TeacherEnsemble)
def ensemble_view(net: TeacherEnsemble) -> StagedView:
    """Head and blocks of the teacher that ``features_of`` names. The tail makes its image, and aggregates it with those
    that the others make of lq, so that a stack of student and teacher blocks, too, ends in the aggregated image."""
    if net.features_of is None:
        raise NoStagedView(f'TeacherEnsemble has features of {len(net.teachers)} teachers; name one of them by '
                           f'features_of: {" or ".join(net.teachers)}')
    name, inner = net.features_of, staged_view(net.teachers[net.features_of])

    def tail(deep: Tensor, shallow: Tensor, lq: Tensor, side: Mapping[str, Tensor]) -> Tensor:
        image = inner.finish(deep, StagedOutput((shallow, ), deep, lq, side))
        return net.aggregate(lq, {name: crop_to(image, lq, net.upscale)})

    return StagedView(net, inner.head, inner.blocks, tail, num_feat=inner.num_feat, upscale=inner.upscale,
                      size_multiple=inner.size_multiple, min_size=inner.min_size, pad_mode=inner.pad_mode)
