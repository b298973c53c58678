"""Weights of a network, loaded from a checkpoint file."""
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from .checkpoint import WeightsError, find_state_dict, key_text, read_checkpoint, without_trainer
from .errors import command

# Buffers that SwinIR computes from its window and img_size. A checkpoint made for another img_size carries others.
DERIVED = ('attn_mask', 'relative_position_index')
_OUTER = {'head.0.weight', 'tail.0.0.weight', 'tail.1.weight'}
EDSR_PYTORCH_KEYS = {'EDSR': {*_OUTER, 'body.0.body.0.weight'},
                     'RCAN': {*_OUTER, 'body.0.body.0.body.3.conv_du.0.weight'}}
"""Some names of EDSR and RCAN in EDSR-PyTorch, which ``mipkd teacher convert`` renames."""


def is_of_edsr_pytorch(weights: Mapping[str, object]) -> bool:
    """Whether weights have the names of EDSR-PyTorch."""
    return any(keys <= weights.keys() for keys in EDSR_PYTORCH_KEYS.values())


def load_weights(network: nn.Module, path: str | os.PathLike, *, strict: bool = True, param_key: str | None = None,
                 checkpoint: Any = None) -> tuple[list[str], list[str]]:
    """Load a checkpoint file into a network.

    Args:
        network: the bare network.
        strict: every key must be there with the right shape; otherwise those of equal name and shape are loaded, as in
            starting an x4 student from the x2 one.
        param_key: see ``find_state_dict``.
        checkpoint: the content of the file, where it has been read already.

    Returns:
        Keys of the network that were not loaded, and keys of the file that were not used; both empty when strict.

    Raises:
        WeightsError: the file cannot be read or does not fit; the network is unchanged then.
    """
    kind, own = type(network).__name__, network.state_dict()
    found = find_state_dict(read_checkpoint(path) if checkpoint is None else checkpoint, path, param_key)
    found = without_trainer(found, lambda weights: not own.keys().isdisjoint(weights))
    found = {key: value for key, value in found.items() if key.rpartition('.')[2] not in DERIVED}
    needed = [key for key in own if key.rpartition('.')[2] not in DERIVED]

    missing = [key for key in needed if key not in found]
    unknown = [key for key in found if key not in own]
    misfits = [key for key in found if key in own and found[key].shape != own[key].shape]
    if len(missing) == len(needed):
        remedy = f'; rename them by: {command("mipkd", "teacher", "convert", path)}' if is_of_edsr_pytorch(
            without_trainer(found, is_of_edsr_pytorch)) else ''
        raise WeightsError(f'{path}: has no weight of {kind} by name; it has '
                           f'{", ".join(map(key_text, list(found)[:4]))}, ...; {kind} has {", ".join(list(own)[:4])}, '
                           f'...{remedy}')
    if strict and (missing or unknown or misfits):
        parts = [f'{len(misfits)} of another shape (first {key}: {list(found[key].shape)} in the file, '
                 f'{list(own[key].shape)} in the network)' for key in misfits[:1]]
        parts += [f'{len(keys)} {words} (first {key_text(keys[0])})'
                  for keys, words in ((missing, 'missing in the file'), (unknown, 'unknown to the network')) if keys]
        raise WeightsError(f'{path}: does not fit {kind}: {"; ".join(parts)}; check the sizes of the network')
    fitting = {key: value for key, value in found.items() if key in own and key not in misfits}
    network.load_state_dict({**own, **fitting})
    return missing + misfits, unknown + misfits
