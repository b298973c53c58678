"""Checkpoint files: read without running code from them, and the weights in them found under trainers' names."""
from __future__ import annotations

import os
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
import torch

from .errors import UserError, printable, shown

Weights = dict[str, torch.Tensor]

# Ordered: a checkpoint that has several of these holds the better weights under the earlier name.
WRAPPERS = ('params_ema', 'params-ema', 'state_dict_ema', 'model_ema', 'ema', 'params', 'state_dict',
            'model_state_dict', 'model', 'net')
# Before all names of a network that was saved inside of a wrapper, next to which there may be OTHERS.
PREFIXES = ('module.', '_orig_mod.', 'ema_model.')
OTHERS = re.compile(r'n_averaged|step|initted|online_model\..*')  # counters of averages, and what they average
# Before the names of one network among those of a trainer; some networks' own names start so, too.
TRAINERS = ('ema_model.', 'net_g_ema.', 'netG_ema.', 'generator_ema.', 'model.', 'net.', 'net_g.', 'netG.',
            'generator.', 'network.')
MOST_LEVELS = 3  # of nested mappings in which weights are searched
MOST_LISTED = 8


class WeightsError(UserError):
    """A checkpoint cannot be read or does not fit the network."""


def read_checkpoint(path: str | os.PathLike) -> Any:
    """As ``load_plain``, of a file; a ``WeightsError`` also where it is not there or may not be read."""
    path = Path(path)
    try:
        if not path.is_file():  # opening a pipe would wait for a writer
            raise WeightsError(f'{path}: no such checkpoint file')
        with path.open('rb') as file:
            return load_plain(file, path)
    except OSError as error:
        raise WeightsError(f'{path}: cannot be read ({error.strerror or error}); check the path and its '
                           'permissions') from None


def load_plain(stream: BinaryIO, name: object) -> Any:
    """Read a checkpoint of torch's or safetensors' format, which its content shows, onto the CPU.

    Args:
        stream: seekable.
        name: names the file in messages.

    Raises:
        WeightsError: it is damaged, or holds something other than tensors and plain data, which is not run.
    """
    stream.seek(0)
    start = stream.read(9)
    stream.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # torch warns of its own past formats
            if start[8:] == b'{':  # of the JSON that follows its length
                return safetensors.torch.load(stream.read())
            # torch does not read the checksums of its zip files; where it saved without any, they are all 0.
            if start.startswith(b'PK'):
                with zipfile.ZipFile(stream) as archive:
                    if any(info.CRC for info in archive.infolist()) and archive.testzip() is not None:
                        raise WeightsError(f'{name}: is damaged, its checksums (CRC-32) are not those of its content; '
                                           'download or save it again')
                stream.seek(0)
            return torch.load(stream, map_location='cpu', weights_only=True)
    except UserError:
        raise
    except Exception as error:  # a damaged file can make the readers fail in any way
        foreign = re.search(r'GLOBAL ([\w.]+)|TorchScript', str(error))  # of the messages of torch 2.6 and later
        if foreign:
            raise WeightsError(f'{name}: holds {key_text(foreign[1] or "a TorchScript program")}, which is neither a '
                               'tensor nor plain data, and loading it could run code; whoever made the file should '
                               "save only the weights: torch.save({'params': network.state_dict()}, 'new.pth')"
                               ) from None
        raise WeightsError(f'{name}: cannot be read as a checkpoint of torch or safetensors; it is damaged, truncated '
                           'or something else, or was saved with a pickle_protocol other than 2; download or save it '
                           'again') from None


def key_text(key: object) -> str:
    """A name from a file for a message: printable, on one line, of at most 60 characters."""
    text = printable(key) if isinstance(key, str) else shown(key)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _is_state_dict(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(
        isinstance(key, str) and torch.is_tensor(tensor) for key, tensor in value.items())


def _nested_weights(checkpoint: object, levels: int = MOST_LEVELS) -> dict[str, Weights]:
    """All state dicts inside a checkpoint by their keys, with dots between those of nested mappings."""
    found: dict[str, Weights] = {}
    for key, value in checkpoint.items() if isinstance(checkpoint, dict) else ():
        if isinstance(key, str) and _is_state_dict(value):
            found[key] = value
        elif isinstance(key, str) and levels > 1:
            found.update({f'{key}.{inner}': state for inner, state in _nested_weights(value, levels - 1).items()})
    return found


def weights_key(checkpoint: object) -> str | None:
    """The first of ``WRAPPERS`` under which a checkpoint has weights; None where it has none, or is bare weights.

    Where they are wrapped twice, as ``{'model': {'state_dict': ...}}``, it is ``'model.state_dict'``.
    """
    keys = () if _is_state_dict(checkpoint) else _nested_weights(checkpoint)
    known = [key for key in keys if set(key.split('.')) <= set(WRAPPERS)]
    return min(known, key=lambda key: (key.count('.'), *map(WRAPPERS.index, key.split('.'))), default=None)


def find_state_dict(checkpoint: object, path: object, param_key: str | None = None) -> Weights:
    """Find the state dict inside a checkpoint and return it without wrapper prefixes.

    Args:
        checkpoint: what ``read_checkpoint`` returned.
        path: its file, for messages.
        param_key: the key that must hold it, with dots between those of nested mappings; None takes the first of
            ``WRAPPERS``, or the bare dict.

    Raises:
        WeightsError: there is none, with the keys that were found; or a value is not finite.
    """
    key = weights_key(checkpoint) if param_key is None else param_key
    found: Any = checkpoint if key is None else _nested_weights(checkpoint).get(key)
    if not _is_state_dict(found):
        wanted = f'{param_key!r}' if param_key else f'a bare state dict or one of {", ".join(WRAPPERS)}'
        names = list(checkpoint)[:MOST_LISTED] if isinstance(checkpoint, dict) else [type(checkpoint).__name__]
        keys = ' or '.join(map(key_text, list(_nested_weights(checkpoint))[:MOST_LISTED]))
        remedy = (f'name {keys} by path.param_key_g (of a teacher: param_key_t)' if keys else
                  'weights are tensors alone by their names')
        raise WeightsError(f'{path}: no weights under {wanted}; the file has '
                           f'{", ".join(map(key_text, names))}; {remedy}')
    for name, tensor in found.items():
        # Networks compute in float32, where a large float64 is infinite.
        values = tensor.float() if tensor.is_floating_point() else tensor
        if wrong := int((~values.isfinite()).sum()):
            raise WeightsError(f'{path}: {key_text(name)} has {wrong} values that are not finite; take a checkpoint '
                               'from before the training diverged, or download the file again')
    return _without_prefixes(found)


def _without_prefixes(weights: Weights) -> Weights:
    for prefix in PREFIXES:
        bare = {key[len(prefix):]: value for key, value in weights.items() if key.startswith(prefix)}
        if bare and all(key.startswith(prefix) or OTHERS.fullmatch(key) for key in weights):
            return _without_prefixes(bare)
    return weights


def without_trainer(weights: Weights, fits: Callable[[Weights], bool]) -> Weights:
    """Take off one of ``TRAINERS``, where names fit a network only without it; other networks' weights are left out."""
    if fits(weights):
        return weights
    for prefix in TRAINERS:
        bare = {key[len(prefix):]: value for key, value in weights.items() if key.startswith(prefix)}
        if bare and fits(bare := _without_prefixes(bare)):
            return bare
    return weights
