"""Weights of a network: loaded from a checkpoint file, and saved."""
import io

import torch

from mipkd_arch.base.checkpoint import (
    WeightsError,
    find_state_dict,
    key_text,
    read_checkpoint,
    without_trainer,
)
from mipkd_arch.base.errors import command

from .files import atomic_write

ARE_SIZES_THOSE = 'Are the sizes in the option file those the weights were trained with?'

# Buffers that SwinIR computes from its window and img_size. A checkpoint made for another img_size carries others.
DERIVED = ('attn_mask', 'relative_position_index')


def load_weights(network, path, *, strict=True, param_key=None, checkpoint=None):
    """Load a checkpoint file into a network.

    Args:
        network (nn.Module): the bare network.
        path: checkpoint file.
        strict (bool): every key must be there with the right shape; otherwise those of equal name and shape are
            taken, as in starting an x4 student from the x2 one.
        param_key (str | None): see ``find_state_dict``.
        checkpoint: its content, where it has been read already.

    Returns:
        tuple[list[str], list[str]]: keys of the network that were not loaded, keys of the file that were not used
        (both empty when strict).

    Raises:
        WeightsError: nothing of the network is changed then.
    """
    kind = type(network).__name__
    found = find_state_dict(read_checkpoint(path) if checkpoint is None else checkpoint, path, param_key)
    own = network.state_dict()
    found = without_trainer(found, lambda weights: not own.keys().isdisjoint(weights))
    derived = {key: own[key] for key in own if key.rpartition('.')[2] in DERIVED}
    found = {key: value for key, value in found.items() if key.rpartition('.')[2] not in DERIVED}

    missing = [key for key in own if key not in found and key not in derived]
    unknown = [key for key in found if key not in own]
    misfits = [key for key in found if key in own and found[key].shape != own[key].shape]
    if len(missing) == len(own) - len(derived):
        from ..networks.convert import is_of_edsr_pytorch  # which itself loads weights

        holds = ', '.join(map(key_text, list(found)[:4]))
        remedy = f'; rename them by: {command("mipkd", "teacher", "convert", path)}' if is_of_edsr_pytorch(
            without_trainer(found, is_of_edsr_pytorch)) else ''
        raise WeightsError(f'{path}: has no weight of {kind} by name; it holds {holds}, ...; '
                           f'{kind} has {", ".join(list(own)[:4])}, ...{remedy}')
    for key in found:
        if key in own and found[key].is_floating_point() != own[key].is_floating_point():
            raise WeightsError(f'{path}: {key} is of {found[key].dtype}, but of {own[key].dtype} in {kind}; save the '
                               'weights as the network has them')
    if strict and (missing or unknown or misfits):
        parts = []
        if misfits:
            key = misfits[0]
            parts.append(f'{len(misfits)} of another shape (first {key}: {list(found[key].shape)} in the file, '
                         f'{list(own[key].shape)} in the network)')
        parts += [f'{len(keys)} {word} (first {key_text(keys[0])})'
                  for keys, word in ((missing, 'missing in the file'), (unknown, 'unknown to the network')) if keys]
        raise WeightsError(f'{path}: does not fit {kind}: {"; ".join(parts)}. {ARE_SIZES_THOSE}')
    taken = {key: value for key, value in found.items() if key in own and key not in misfits}
    network.load_state_dict({**own, **taken})
    return missing + misfits, unknown + misfits


def save_atomically(content, path):
    """Write a checkpoint under a temporary name and put it in place only when it is complete.

    Raises:
        UserError: it cannot be written; an older file of that name stays as it is.
    """
    buffer = io.BytesIO()  # torch's own writer has no errno for a full disk, only a RuntimeError
    torch.save(content, buffer)
    with atomic_write(path) as temporary, open(temporary, 'wb') as file, buffer.getbuffer() as saved:
        file.write(saved)


def plain_state_dict(network):
    """State dict on the CPU in plain memory layout, as a BasicSR checkpoint holds it."""
    return {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
