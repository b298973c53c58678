"""Checkpoints: read without running code from them, matched to the network, written whole or not at all."""
import pickle
import re
from pathlib import Path

import torch

from mipkd_arch.errors import UserError

from .files import put_in_place

# Ordered: a checkpoint that has several of these holds the better weights under the earlier name.
WRAPPERS = ('params_ema', 'params', 'state_dict', 'model_state_dict', 'model')
PREFIXES = ('module.', '_orig_mod.')
MAGIC = (b'PK', b'\x80')  # a zip file, or a pickle as torch wrote it before version 1.6
# Buffers that SwinIR computes from its window and img_size. A checkpoint made for another img_size carries others.
DERIVED = ('attn_mask', 'relative_position_index')


class WeightsError(UserError):
    """A checkpoint cannot be read or does not fit the network."""


def read_checkpoint(path):
    """Read a checkpoint file onto the CPU; pickled code in it is refused, never run.

    Raises:
        WeightsError: no such file, or not a checkpoint of plain tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f'{path}: no such checkpoint file')
    with path.open('rb') as file:
        start = file.read(2)
    if not start.startswith(MAGIC):
        raise WeightsError(f'{path}: is not a torch checkpoint (it starts with {start!r}); fetch it anew')
    try:
        return torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # a damaged file can make the unpickler fail in any way
        foreign = re.search(r'GLOBAL ([\w.]+)', str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if foreign:
            raise WeightsError(f'{path}: holds {foreign[1]}, not plain tensors alone, and is not loaded, since that '
                               'could run code; save its state_dict() instead') from None
        raise WeightsError(f'{path}: cannot be read as a torch checkpoint, it is damaged or cut short; fetch or save '
                           'it anew') from None


def _is_state_dict(value):
    return isinstance(value, dict) and bool(value) and all(torch.is_tensor(v) for v in value.values())


def weights_key(checkpoint):
    """The first of ``WRAPPERS`` under which a checkpoint has weights; None where it has none, or is bare weights."""
    if _is_state_dict(checkpoint) or not isinstance(checkpoint, dict):
        return None
    return next((key for key in WRAPPERS if _is_state_dict(checkpoint.get(key))), None)


def find_state_dict(checkpoint, path, param_key=None):
    """Find the state dict inside a checkpoint and return it without wrapper prefixes.

    Args:
        checkpoint: what ``read_checkpoint`` gave.
        path: its file, for messages.
        param_key (str | None): the key that must hold it; None takes the first of ``WRAPPERS``, or the bare dict.

    Raises:
        WeightsError: lists the keys that were found.
    """
    key = weights_key(checkpoint) if param_key is None else param_key
    found = checkpoint if key is None else checkpoint.get(key) if isinstance(checkpoint, dict) else None
    if not _is_state_dict(found):
        keys = ', '.join(map(str, list(checkpoint)[:12])) if isinstance(checkpoint, dict) else type(checkpoint).__name__
        asked = f'{param_key!r}' if param_key else f'a bare state dict or one of {", ".join(WRAPPERS)}'
        raise WeightsError(f'{path}: no weights under {asked}; the file has {keys}')
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in found)), None):
        found = {key[len(prefix):]: value for key, value in found.items()}
    return found


def load_weights(network, path, *, strict=True, param_key=None):
    """Load a checkpoint file into a network.

    Args:
        network (nn.Module): the bare network.
        path: checkpoint file.
        strict (bool): every key must be there with the right shape; otherwise those of equal name and shape are
            taken, as in starting an x4 student from the x2 one.
        param_key (str | None): see ``find_state_dict``.

    Returns:
        tuple[list[str], list[str]]: keys of the network that were not loaded, keys of the file that were not used
        (both empty when strict).

    Raises:
        WeightsError: nothing of the network is changed then.
    """
    kind = type(network).__name__
    found = find_state_dict(read_checkpoint(path), path, param_key)
    own = network.state_dict()
    derived = {key: own[key] for key in own if key.rpartition('.')[2] in DERIVED}
    found = {key: value for key, value in found.items() if key.rpartition('.')[2] not in DERIVED}

    missing = [key for key in own if key not in found and key not in derived]
    unknown = [key for key in found if key not in own]
    misfits = [key for key in found if key in own and found[key].shape != own[key].shape]
    if len(missing) == len(own) - len(derived):
        raise WeightsError(f'{path}: has no weight of {kind} by name; it holds {", ".join(list(found)[:4])}, ...; '
                           f'{kind} has {", ".join(list(own)[:4])}, ...')
    if strict and (missing or unknown or misfits):
        parts = []
        if misfits:
            key = misfits[0]
            parts.append(f'{len(misfits)} of another shape (first {key}: {list(found[key].shape)} in the file, '
                         f'{list(own[key].shape)} in the network)')
        parts += [f'{len(keys)} {word} (first {keys[0]})'
                  for keys, word in ((missing, 'missing in the file'), (unknown, 'unknown to the network')) if keys]
        raise WeightsError(f'{path}: does not fit {kind}: {"; ".join(parts)}. Are the sizes in the option file those '
                           'the weights were trained with?')
    taken = {key: value for key, value in found.items() if key in own and key not in misfits}
    network.load_state_dict({**own, **taken})
    return missing + misfits, unknown + misfits


def save_atomically(content, path):
    """Write a checkpoint under a temporary name and put it in place only when it is complete."""
    with put_in_place(path) as temporary:
        torch.save(content, temporary)


def plain_state_dict(network):
    """State dict on the CPU in plain memory layout, as a BasicSR checkpoint holds it."""
    return {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
