"""Mutations of checkpoints and training states, each drawn from a generator of random numbers."""
import argparse
import hashlib
import io
import os
import pickle
import warnings
import zipfile
from collections import OrderedDict
from copy import deepcopy
from pathlib import Path
from typing import NamedTuple

import torch

SEAL = b'\nmipkd state sha256 '


class Mutated(NamedTuple):
    """A file and what is known of it.

    Attributes:
        words (str): what was done.
        content (bytes | None): of the file; None where it is something else and was made.
        same (bool): it may be taken: it holds what the original held, or what nobody can tell from it.
    """

    words: str
    content: bytes | None
    same: bool = False


class _Code:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def bytes_mutated(rng, content):
    """A file whose bytes were changed."""
    found = bytearray(content)
    kind = rng.choice(['flips', 'flips', 'cut', 'cut', 'longer', 'zeros', 'swapped', 'noise', 'empty', 'twice',
                       'one byte less', 'text'])
    at = rng.randrange(len(found))
    length = min(len(found) - at, rng.choice([1, 16, 512, 4096]))
    if kind == 'flips':
        for _ in range(count := rng.choice([1, 1, 3, 64])):
            found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
        kind = f'{count} bits flipped'
    elif kind == 'cut':
        del found[at:]
    elif kind == 'longer':
        found += rng.choice([b'\x00', b'\n', rng.randbytes(1000), b'\x00' * 5000])
    elif kind == 'zeros':
        found[at:at + length] = bytes(length)
    elif kind == 'swapped':
        other = rng.randrange(len(found) - length + 1)
        one, two = found[at:at + length], found[other:other + length]
        found[at:at + length], found[other:other + length] = two, one
    elif kind == 'noise':
        found = bytearray(rng.randbytes(rng.randrange(1, 5000)))
    elif kind == 'empty':
        found.clear()
    elif kind == 'twice':
        found *= 2
    elif kind == 'one byte less':
        del found[-1]
    else:
        found = bytearray(rng.choice([b'404: Not Found', b'version https://git-lfs.github.com/spec/v1\noid sha256:0\n',
                                      b'<html></html>', b'\x80\x02}.', b'PK\x03\x04', b'PK\x05\x06' + bytes(18)]))
    return Mutated(f'bytes: {kind}, at {at}', bytes(found), bytes(found) == content)


def archive_mutated(rng, content):
    """A zip archive whose records were exchanged, left out, renamed, or given twice, with right checksums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records = [(info.filename, archive.read(info)) for info in archive.infolist()]
    data = [i for i, (name, _) in enumerate(records) if '/data/' in name]
    kind = rng.choice(['exchanged', 'left out', 'twice', 'shorter', 'escaping', 'compressed', 'pickle cut'])
    at = rng.choice(data)
    name, value = records[at]
    same = kind in ('compressed', 'escaping')
    if kind == 'exchanged':
        other = rng.choice(data)
        same = len(value) == len(records[other][1])  # two weights of one size: nobody can tell
        records[at], records[other] = (name, records[other][1]), (records[other][0], value)
    elif kind == 'left out':
        del records[at]
    elif kind == 'twice':
        records.append((name, bytes(len(value))))
    elif kind == 'shorter':
        records[at] = name, value[:len(value) // 2]
    elif kind == 'escaping':
        records.append((f'{name.partition("/")[0]}/../../../escaped', b'x'))
    elif kind == 'pickle cut':
        records = [(n, v[:rng.randrange(len(v))] if n.endswith('data.pkl') else v) for n, v in records]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED if kind == 'compressed' else zipfile.ZIP_STORED) as archive:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # a name that is there twice
            for n, v in records:
                archive.writestr(n, v)
    return Mutated(f'archive: {kind}, {name}', buffer.getvalue(), same)


def code_planted(rng, canary):
    """Pickles that run code, and those of classes that are no tensors."""
    value = rng.choice([
        _Code(os.system, f'touch {canary}'), _Code(os.mkdir, str(canary)),
        _Code(eval, f'__import__("os").system("touch {canary}")'), _Code(open, str(canary), 'w'),
        argparse.Namespace(a=1), torch.nn.Conv2d(3, 3, 3), Path('x'), OrderedDict, print, range(3)])
    content = {'params': value} if rng.random() < 0.5 else value
    words = f'holds {type(value).__name__} {getattr(value, "call", ("", ))[0]!r}'
    if rng.random() < 0.3:
        return Mutated(f'raw pickle, {words}', pickle.dumps(content))
    return Mutated(words, saved(content, rng.random() < 0.8))


def saved(content, zipped=True):
    """Bytes of ``torch.save``."""
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def sealed(content):
    """A state with the seal of its content, as whoever means harm would write it."""
    return content + SEAL + hashlib.sha256(content).hexdigest().encode() + b'\n'


def unsealed(content):
    """A state without its seal."""
    return content.rpartition(SEAL)[0] or content


def tensor_mutated(rng, value):
    """Another tensor in place of one, and what it is in words."""
    kind = rng.choice(['NaN', 'one NaN', 'infinite', 'another shape', 'whole numbers', 'complex', 'sparse', 'empty',
                       'a list', 'a text', 'None', 'float64', 'one dimension more', 'one number seen as all',
                       'huge', 'quantized', 'meta'])
    flat = value.float()
    if kind == 'one NaN':
        new = flat.clone().contiguous()
        new.view(-1)[rng.randrange(max(1, new.numel()))] = float('nan')
    else:
        new = {'NaN': lambda: torch.full_like(flat, float('nan')),
               'infinite': lambda: torch.full_like(flat, float('inf')),
               'another shape': lambda: torch.zeros(*[side + 1 for side in value.shape]),
               'whole numbers': lambda: (flat * 1000).long(), 'complex': lambda: flat.to(torch.complex64),
               'sparse': flat.to_sparse, 'empty': lambda: torch.zeros(0), 'a list': value.tolist,
               'a text': lambda: 'weights', 'None': lambda: None, 'float64': flat.double,
               'one dimension more': lambda: flat[None],
               'one number seen as all': lambda: torch.zeros(1).expand(value.shape),
               'huge': lambda: torch.zeros(1).expand(1 << 40),
               'quantized': lambda: torch.quantize_per_tensor(flat, 0.1, 0, torch.qint8),
               'meta': lambda: torch.empty(value.shape, device='meta')}[kind]()
    return kind, new


def weights_mutated(rng, content, others):
    """A checkpoint whose weights are others.

    Args:
        rng (random.Random): decides.
        content (dict): of a valid checkpoint.
        others (dict[str, dict]): contents of checkpoints of other networks by name.
    """
    content = deepcopy(content)
    kind = rng.choice(['tensor', 'tensor', 'tensor', 'missing', 'unknown', 'other', 'key', 'kind', 'nested', 'old'])
    params = content['params']
    name = rng.choice([key for key, value in params.items() if value.is_floating_point() and value.numel()])
    same = False
    if kind == 'tensor':
        words, params[name] = tensor_mutated(rng, params[name])
        # A weight of zeros, of float64 or without the fraction is a weight.
        same = words in ('float64', 'one number seen as all', 'whole numbers')
        words = f'{name}: {words}'
    elif kind == 'missing':
        del params[name]
        words = f'{name}: missing'
    elif kind == 'unknown':
        params[f'{name}_x'] = params[name]
        words = f'{name}_x: added'
    elif kind == 'other':
        words, content = rng.choice(list(others.items()))
    elif kind == 'key':
        content = {rng.choice(['weights', 3, None, ('a', )]): params}
        words = f'under {next(iter(content))!r}'
    elif kind == 'kind':
        content = rng.choice([[], {}, 'text', 3, None, [params], {'params': [1]}, {'params': {}}, torch.zeros(3),
                              {'params': {3: torch.zeros(3)}}, {'params': {'a': {'b': torch.zeros(3)}}}])
        words = f'{type(content).__name__} in place of a checkpoint'
    elif kind == 'nested':
        for _ in range(depth := rng.choice([1, 50, 150])):
            content = {'params': content}
        words = f'{depth} mappings deeper'
    else:
        return Mutated('in the format of old torch', saved(content, zipped=False), True)
    if kind != 'other' and isinstance(content, dict) and rng.random() < 0.5:
        content.pop('params_ema', None)
    return Mutated(words, saved(content), same)
