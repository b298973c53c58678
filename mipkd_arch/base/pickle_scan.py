"""What a pickle would build, found out without building it.

torch's unpickler for weights alone runs no code, but it takes time and memory as the file wants it: tuples of tuples
that have 2^40 ends are hashed end by end, and one long list can be made into a million sets. Here the steps are gone
through with sizes in place of objects.
"""
import pickletools
import re
import sys

import torch

PLAIN = re.compile(r'collections\.(OrderedDict|Counter)|(builtins|__builtin__)\.(set|complex|bytearray)|'
                   r'_codecs\.encode|torch\.(Size|device)|torch\.(cuda\.)?\w+Storage|'
                   r'torch\.storage\.(Typed|Untyped)Storage|torch\.nn\.parameter\.Parameter|'
                   r'torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter)')
"""What plain tensors and plain data are made of; bytes are written as ``encode(text, 'latin1')``."""
MOST_ENDS, MOST_LEVELS = 10_000, 100
MOST_WORK = 5  # steps of building, characters included, for each byte of the pickle; torch's own writer needs 1
GROWING = ('APPEND', 'APPENDS', 'SETITEM', 'SETITEMS', 'ADDITEMS', 'BUILD')
TUPLES = ('EMPTY_TUPLE', 'TUPLE', 'TUPLE1', 'TUPLE2', 'TUPLE3')
CALLS = ('REDUCE', 'NEWOBJ')
HELD = (*TUPLES, *CALLS, 'NEWOBJ_EX', 'OBJ', 'BINPERSID')  # their ends are those of all that is in them
_MARK = object()


class Foreign(Exception):
    """A pickle holds something that is not plain; its arguments are that thing's name and all texts in the pickle."""


class OfLaterProtocol(Exception):
    """A pickle is plain, but of a protocol that torch does not read weights from; its only argument is the number."""


class _Made:
    """What a step leaves on the stack."""
    __slots__ = ('ends', 'levels', 'text', 'items', 'parts', 'maker', 'forgeable', 'forged', 'content')

    def __init__(self, ends=1, levels=1, text=''):
        self.ends, self.levels, self.text = ends, levels, text
        self.items = 0  # ends of all that has been put into it, or that it was made of
        self.parts = None  # of a tuple
        self.maker = ''  # name of the function that gave it
        self.forgeable = False  # whether many such can be chosen to have one hash, each then compared to all others
        self.forged = 0  # how many of a dict's keys are
        self.content = None  # of a list that has any

    def work(self):
        """Steps it takes to make another thing of it or, for a tuple, of its parts."""
        return self.ends + sum(item.ends + item.items + len(item.text) + item.hashed()**2
                               for item in (self, *(self.parts or ())))

    def hashed(self):
        """How many forgeable keys a dict or set of what is in it would have, be it a dict, or a list, of pairs too."""
        return self.forged + sum(item.forgeable or any(part.forgeable for part in (item.content or ())[:2])
                                 for item in self.content or ())


def check_pickle(stream):
    """Go through one pickle; the stream is behind it afterwards.

    Raises:
        Foreign: it holds objects of other classes or functions than tensors and plain data are made of.
        OfLaterProtocol: its steps are those of protocol 3 to 5.
        ValueError: it is damaged, or takes more work to build than is in it.
    """
    names, texts = [], set()
    try:
        protocol = _walk(stream, names, texts)
    finally:
        foreign = next((name for name in names if not _is_plain(name)), None)
        if foreign is not None:  # more to the point than what else is wrong
            raise Foreign(foreign, texts) from None
    if protocol > 2:
        raise OfLaterProtocol(protocol)


def _walk(stream, names, texts):
    """Go through a pickle and add to the names and texts in it. Returns the latest protocol of its steps."""
    stack, memo, work, protocol = [], {}, 0, 0
    for opcode, arg, position in pickletools.genops(stream):
        name = opcode.name
        protocol = max(protocol, opcode.proto)
        if isinstance(arg, str):
            texts.add(arg)
        if name in ('GLOBAL', 'INST'):
            names.append(arg.replace(' ', '.', 1))
        elif name == 'STACK_GLOBAL':
            names.append('.'.join(item.text for item in stack[-2:] if item is not _MARK))
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT', 'MEMOIZE'):
            memo[len(memo) if name == 'MEMOIZE' else arg] = stack[-1]
            continue
        if name in ('GET', 'BINGET', 'LONG_BINGET'):
            stack.append(memo[arg])
            continue
        taken = _take(stack, opcode)
        if opcode.stack_after == [pickletools.markobject]:
            stack.append(_MARK)
            continue
        if name in GROWING:
            made, *items = taken
            _grow(made, items)
            if name.startswith('SET'):
                forged = sum(key.forgeable for key in items[::2])
                made.forged += forged
                work += forged * made.forged
            elif name.startswith('APPEND'):
                made.content = made.content or []
                made.content += items
            work += sum(item.ends for item in taken) + (items[0].work() if name == 'BUILD' else 0)
        else:
            ends = sum(item.ends for item in taken) if name in HELD else 1
            made = _Made(max(ends, 1), 1 + max((item.levels for item in taken), default=0),
                         arg if isinstance(arg, str) else '')
            made.forgeable = name in TUPLES or isinstance(arg, int) and abs(arg) >= sys.hash_info.modulus
            if name in TUPLES:
                made.parts = taken
            elif name in CALLS:
                made.items, made.maker = _call(*taken), taken[0].text
                made.forgeable = made.maker.endswith((' complex', ' Size'))
                work += made.items
        if made.ends > MOST_ENDS or made.levels > MOST_LEVELS or work > MOST_WORK * (position + 1000):
            raise ValueError('its content is nested, or repeated, beyond all measure')
        stack += [made] * len(opcode.stack_after)
    return protocol


def _grow(made, items):
    """Put items into what is made, which stays the one that was memorised."""
    made.levels = max(made.levels, 1 + max((item.levels for item in items), default=0))
    made.items += sum(item.ends for item in items)


def _call(function, arguments):
    """Check a call; returns how many steps it may take."""
    name, parts = function.text.rpartition(' ')[2], arguments.parts
    if parts is None:
        raise ValueError('its steps do not fit each other')
    latin = len(parts) == 2 and parts[1].text in ('latin1', 'latin-1')
    # Other encodings take more than one byte for a character, and some take time of its square; a number makes a
    # bytearray of that size.
    if name == 'encode' and not latin or name == 'bytearray' and parts and not (
            latin and parts[0].text or parts[0].maker == '_codecs encode'):
        raise ValueError('its steps are not those that make bytes')
    return arguments.work()


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


def _is_plain(name):
    head, _, tail = name.rpartition('.')
    return bool(PLAIN.fullmatch(name)) or head == 'torch' and isinstance(getattr(torch, tail, None), torch.dtype)
