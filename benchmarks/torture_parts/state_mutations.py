"""Mutations of what a training state says: sealed as a right one, but not what the run has saved."""
import io
import re
from copy import deepcopy

import torch

from .checkpoint_mutations import Mutated, bytes_mutated, code_planted, saved, sealed, tensor_mutated, unsealed

ENTRY = re.compile(r'optimizers/\d+/state/\d+')
VALUES = [None, -1, 10**9, 'x', 3.5, float('nan'), [], {}, True, torch.zeros(3), 'a' * 10000]


def state_mutated(rng, content, others, canary):
    """A training state that is not the one that was saved.

    Args:
        rng (random.Random): decides.
        content (bytes): of a valid one.
        others (dict[str, bytes]): valid ones of other runs, by what they are.
        canary (Path): file that code in it would make.
    """
    kind = rng.choice(['bytes', 'bytes', 'bytes', 'content', 'content', 'code', 'seal', 'other'])
    if kind == 'bytes':
        return bytes_mutated(rng, content)
    if kind == 'code':
        found = code_planted(rng, canary)
        return found._replace(words=f'sealed, {found.words}', content=sealed(found.content))
    if kind == 'seal':
        found = bytes_mutated(rng, unsealed(content))
        if rng.random() < 0.3:
            return Mutated('without its seal', unsealed(content))
        return found._replace(words=f'sealed anew after {found.words}', content=sealed(found.content))
    if kind == 'other':
        words, other = rng.choice(list(others.items()))
        return Mutated(words, other)
    return _content_mutated(rng, content)


def _content_mutated(rng, content):
    state = torch.load(io.BytesIO(unsealed(content)), weights_only=True)
    state = deepcopy(state)
    places = list(_places(state))
    path, block, key = rng.choice(places)
    kind = rng.choice(['deleted', 'replaced', 'top', 'tensor', 'of BasicSR'])
    if kind == 'top':
        key = rng.choice(list(state))
        path, state[key] = f'{key}', (new := rng.choice(VALUES))
        words = f'{path}: {new!r}'[:120]
    elif kind == 'tensor':
        path, block, key = rng.choice([place for place in places if torch.is_tensor(place[1][place[2]])
                                       and place[1][place[2]].dim()])
        words, block[key] = tensor_mutated(rng, block[key])
        # Whoever seals other finite numbers of the same kind cannot be found out.
        return Mutated(f'{path}: {words}', sealed(saved(state)), words in ('float64', 'whole numbers',
                                                                           'one number seen as all'))
    elif kind == 'of BasicSR':
        state = {key: state[key] for key in ('epoch', 'iter', 'optimizers', 'schedulers')}
        return Mutated('as BasicSR saves it', saved(state))
    elif kind == 'deleted':
        del block[key]
        # A weight that no step has reached has no entry, so an optimizer may have any of them or not.
        return Mutated(f'{path}: deleted', sealed(saved(state)), bool(ENTRY.fullmatch(path)))
    else:
        new = rng.choice(VALUES)
        same = isinstance(new, (int, float)) and isinstance(block[key], (int, float)) and new == new
        block[key] = new
        return Mutated(f'{path}: {new!r}'[:160], sealed(saved(state)), same)
    return Mutated(words, sealed(saved(state)))


def _places(block, path=''):
    """All keys within nested mappings and lists: path, what they are in, and themselves."""
    for key, value in list(block.items() if isinstance(block, dict) else enumerate(block)):
        where = f'{path}/{key}'.lstrip('/')
        yield where, block, key
        if isinstance(value, (dict, list)):
            yield from _places(value, where)
