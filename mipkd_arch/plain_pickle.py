"""What a pickle would build, found out without building it.

torch's unpickler for weights alone runs no code, but it takes time and memory as the file wants it: tuples of tuples
that have 2^40 ends are hashed end by end. Here the steps are gone through with sizes in place of objects.
"""
import pickletools
import re
from typing import NamedTuple

import torch

PLAIN = re.compile(r'collections\.(OrderedDict|Counter)|(builtins|__builtin__)\.set|torch\.(Size|device)|'
                   r'torch\.(cuda\.)?\w+Storage|torch\.storage\.(Typed|Untyped)Storage|'
                   r'torch\.nn\.parameter\.Parameter|torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter)')
"""What plain tensors and plain data are made of."""
MOST_ENDS, MOST_LEVELS = 10_000, 100
GROWING = ('APPEND', 'APPENDS', 'SETITEM', 'SETITEMS', 'ADDITEMS', 'BUILD')
TUPLES = ('TUPLE', 'TUPLE1', 'TUPLE2', 'TUPLE3', 'REDUCE', 'NEWOBJ', 'NEWOBJ_EX', 'OBJ', 'BINPERSID')
_MARK = object()


class Foreign(Exception):
    """A pickle holds something that is not plain; its only argument is that thing's name."""


class _Made(NamedTuple):
    ends: int = 1
    levels: int = 1
    text: str = ''


def check_pickle(stream):
    """Go through one pickle; the stream is behind it afterwards.

    Raises:
        Foreign: it holds objects of other classes or functions than tensors and plain data are made of.
        ValueError: it is damaged, or nests its content beyond all measure.
    """
    stack, memo = [], {}
    for opcode, arg, _ in pickletools.genops(stream):
        name = opcode.name
        if name in ('GLOBAL', 'INST'):
            _check_name(arg.replace(' ', '.', 1))
        elif name == 'STACK_GLOBAL':
            _check_name('.'.join(item.text for item in stack[-2:] if item is not _MARK))
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE'):
            memo[len(memo) if name == 'MEMOIZE' else arg] = stack[-1]
        if name in ('GET', 'BINGET', 'LONG_BINGET'):
            stack.append(memo[arg])
            continue
        if name == 'MEMOIZE':
            continue
        taken = _take(stack, opcode)
        for made in opcode.stack_after:
            if made is pickletools.markobject:
                stack.append(_MARK)
                continue
            levels = 1 + max((item.levels for item in taken), default=0)
            if name in GROWING:
                levels = max(taken[0].levels, 1 + max((item.levels for item in taken[1:]), default=0))
            ends = sum(item.ends for item in taken) if name in TUPLES else 1
            if ends > MOST_ENDS or levels > MOST_LEVELS:
                raise ValueError('its content is nested beyond all measure')
            stack.append(_Made(max(ends, 1), levels, arg if isinstance(arg, str) else ''))


def _take(stack, opcode):
    """Take off the stack what a step uses up; returns it, the lowest first."""
    before, taken = opcode.stack_before, []
    if pickletools.markobject in before:
        while (item := stack.pop()) is not _MARK:
            taken.append(item)
        before = before[:before.index(pickletools.markobject)]
    for _ in before:
        item = stack.pop()
        if item is _MARK and opcode.name != 'POP':
            raise ValueError('its steps do not fit each other')
        taken.append(item)
    return taken[::-1]


def _check_name(name):
    head, _, tail = name.rpartition('.')
    if not PLAIN.fullmatch(name) and not (head == 'torch' and isinstance(getattr(torch, tail, None), torch.dtype)):
        raise Foreign(name)
