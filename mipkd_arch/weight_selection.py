"""Weight selection: a student starts from a part of its teacher's weights.

After *Initializing Models with Larger Ones* (Xu et al., ICLR 2024, arXiv 2311.18823), for networks of one family: the
first channels of each layer are taken, and of blocks that follow each other as many as the student has.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from .base.errors import UserError
from .base.option_types import SelectedBlocks

Selected = Iterator[tuple[nn.Parameter, torch.Tensor]]
"""The student's parameters with the values that are selected for them."""
ALIKE = 'weight selection takes two networks that differ in their numbers of channels and blocks alone'


def select_weights(student: nn.Module, teacher: nn.Module, blocks: SelectedBlocks = 'uniform') -> None:
    """Overwrite all parameters of a student by a part of those of a teacher of the same family.

    Channels of features keep their order, so that those which skip connections add still belong together; attention
    keeps the first channels of its first heads. Buffers are the student's own.

    Raises:
        UserError: the networks are not of one family, or the teacher is smaller; the student is unchanged.
    """
    if not (isinstance(student, type(teacher)) or isinstance(teacher, type(student))):
        raise UserError(f'{type(teacher).__name__} is of another family than {type(student).__name__}; {ALIKE}')
    selected = list(_of_module(student, teacher, blocks, ''))
    with torch.no_grad():
        for parameter, value in selected:
            parameter.copy_(value)


def _of_module(student: nn.Module, teacher: nn.Module, blocks: SelectedBlocks, path: str) -> Selected:
    for name, parameter in student.named_parameters(recurse=False):
        yield parameter, _first(parameter, getattr(teacher, name, None), f'{path}{name}')
    parts = _counterparts(student, teacher, blocks, path)
    attention = _is_attention(student) and _is_attention(teacher)
    for name, child in student.named_children():
        if attention and name in ('qkv', 'proj'):
            yield from _of_projection(student, teacher, name, f'{path}{name}.')
        else:
            yield from _of_module(child, parts[name], blocks, f'{path}{name}.')


def _counterparts(student: nn.Module, teacher: nn.Module, blocks: SelectedBlocks, path: str) -> dict[str, nn.Module]:
    """The parts of the teacher that those of the student are selected from, by the names of the latter."""
    ours, theirs = dict(student.named_children()), dict(teacher.named_children())
    if _is_stack(student) and _is_stack(teacher) and len(ours) <= len(theirs):
        reached = len(theirs) if blocks == 'uniform' else len(ours)  # that many of the teacher's, evenly spaced
        return {name: theirs[str(number * reached // len(ours))] for number, name in enumerate(ours)}
    if ours.keys() != theirs.keys():
        where = path.rstrip('.') or type(student).__name__
        parts = ((f'{len(ours)} parts', f'{len(theirs)}') if isinstance(student, (nn.Sequential, nn.ModuleList)) else
                 (f'the parts {", ".join(ours)}', ', '.join(theirs)))
        raise UserError(f'{where}: has {parts[0]}, and the teacher {parts[1]}; {ALIKE}, the teacher being the larger '
                        'one')
    return theirs


def _is_stack(module: nn.Module) -> bool:
    """Whether a module is blocks of one kind that follow each other."""
    return isinstance(module, (nn.Sequential, nn.ModuleList)) and len({type(block) for block in module}) == 1


def _first(parameter: torch.Tensor, source: object, path: str) -> torch.Tensor:
    """The first elements of ``source`` along each axis, as many as the parameter has."""
    shape = list(source.shape) if isinstance(source, torch.Tensor) else []
    if len(shape) != parameter.ndim or any(theirs < ours for ours, theirs in zip(parameter.shape, shape, strict=True)):
        raise UserError(f'{path}: is {list(parameter.shape)}, and the teacher\'s {shape or "not there"}; {ALIKE}, the '
                        'teacher being the larger one')
    return source[tuple(slice(size) for size in parameter.shape)]  # type: ignore[index]  # is a tensor


def _is_attention(module: nn.Module) -> bool:
    """Whether a module is multi-head attention whose queries, keys and values are made by one layer."""
    return all(isinstance(getattr(module, name, None), nn.Linear) for name in ('qkv', 'proj')) and isinstance(
        getattr(module, 'num_heads', None), int)


def _of_projection(student: Any, teacher: Any, name: str, path: str) -> Selected:
    """Of the layer before or behind the attention, whose rows or columns are (3,) heads x channels of a head."""
    ours, theirs = ((attention.num_heads, attention.proj.in_features // attention.num_heads)
                    for attention in (student, teacher))
    axis, count = (0, (3, )) if name == 'qkv' else (1, ())
    for kind, parameter in getattr(student, name).named_parameters():
        target, source = parameter, getattr(getattr(teacher, name), kind)
        if axis < parameter.ndim:
            target, source = target.unflatten(axis, (*count, *ours)), source.unflatten(axis, (*count, *theirs))
        yield parameter, _first(target, source, f'{path}{kind}').reshape(parameter.shape)
