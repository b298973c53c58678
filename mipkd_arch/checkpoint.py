"""Checkpoint files: read without running code from them, whatever they hold, and the weights in them found."""
import io
import os
import stat
import warnings
import zipfile
from pathlib import Path

import safetensors.torch
import torch

from .errors import UserError, printable, shown
from .plain_pickle import Foreign, check_pickle

# Ordered: a checkpoint that has several of these holds the better weights under the earlier name.
WRAPPERS = ('params_ema', 'params-ema', 'params', 'state_dict', 'model_state_dict', 'model', 'net')
PREFIXES = ('module.', '_orig_mod.')
OLD_PARTS = 5  # pickles of which a file from before torch 1.6 consists: magic number, version, machine, content, keys
SHARING = 8  # how often the tensors of a file may share the bytes in it: weights, their average, views of them


class WeightsError(UserError):
    """A checkpoint cannot be read or does not fit the network."""


def read_checkpoint(path):
    """Read a checkpoint, of torch's format or of safetensors', onto the CPU; code in it is refused, never run.

    Which format it is, is seen from the content, not from the name.

    Raises:
        WeightsError: no such file, not readable, damaged, or not of plain tensors and plain data alone.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for whoever writes to it
            raise WeightsError(f'{path}: no such checkpoint file')
        with path.open('rb') as file:
            return load_plain(file, path)
    except FileNotFoundError:
        raise WeightsError(f'{path}: no such checkpoint file') from None
    except (OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise WeightsError(f'{path}: cannot be read ({getattr(error, "strerror", None) or error}); is it the right '
                           'path, and may you read it?') from None


def load_plain(stream, name):
    """Read a checkpoint, of either format, from a binary stream onto the CPU.

    Args:
        stream: open for reading, with ``seek``.
        name: what messages call it.

    Raises:
        WeightsError: it is damaged, or not of plain tensors and plain data alone.
    """
    size = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    start = stream.read(9)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of torch's own past formats, which are no concern of who has the file
            if start[8:] == b'{' and int.from_bytes(start[:8], 'little') <= size - 8:
                stream.seek(0)
                content = safetensors.torch.load(stream.read())
            elif start.startswith((b'PK', b'\x80')):
                _check_parts(stream, size)
                stream.seek(0)
                content = torch.load(stream, map_location='cpu', weights_only=True)
            else:
                raise WeightsError(f'{name}: is neither a torch checkpoint nor a safetensors file, or is cut short (it '
                                   f'starts with {start!r}); fetch it anew')
        _check_tensors(content, size)
    except WeightsError:
        raise
    except Foreign as error:
        raise WeightsError(f'{name}: holds {key_text(error.args[0])}, not plain tensors alone, and is not loaded, '
                           'since that could run code; save its state_dict() instead') from None
    except _Refused as error:
        raise WeightsError(f'{name}: {error}') from None
    except Exception:  # a damaged file can make the readers fail in any way
        raise WeightsError(f'{name}: cannot be read as a checkpoint, it is damaged or cut short; fetch or save it '
                           'anew') from None
    return content


class _Refused(Exception):
    """What is wrong with a file that can be read, and what to do about it."""


def _check_parts(stream, size):
    """Check the file of torch's format as such: sums, sizes, and what its pickles are made of."""
    stream.seek(0)
    if stream.read(2) != b'PK':
        stream.seek(0)
        for _ in range(OLD_PARTS):
            check_pickle(stream)
        return
    with zipfile.ZipFile(stream) as archive:
        parts = archive.infolist()
        if any(part.filename.endswith('/constants.pkl') for part in parts):
            raise _Refused('is a TorchScript program, which is code, and is not loaded; save its state_dict() instead')
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or (
                sum(part.file_size for part in parts) > size) or len(set(archive.namelist())) < len(parts):
            raise _Refused('holds packed, overlapping or doubled parts, which torch never writes; unpack it and save '
                           'it by torch.save')
        if min((part.header_offset for part in parts), default=0):
            raise _Refused('has bytes before its first part, which torch never writes; fetch or save it anew')
        for part in parts:
            if part.filename.endswith('data.pkl'):
                check_pickle(io.BytesIO(archive.read(part)))
        # torch leaves the sums unread: a flipped bit would go on as a slightly other weight.
        if archive.testzip() is not None:
            raise _Refused('is damaged, its checksums (CRC-32) are not those of its content; fetch or save it anew')


def _check_tensors(content, size):
    """Check that all tensors are plain and no larger than the bytes that are there for them."""
    todo, seen, total = [content], set(), 0
    while todo:
        item = todo.pop()
        if isinstance(item, torch.Tensor):
            if type(item) not in (torch.Tensor, torch.nn.Parameter) or item.layout != torch.strided or (
                    item.is_quantized or item.device.type != 'cpu'):
                raise _Refused('holds tensors of a special kind (sparse, quantised or of another class); save plain '
                               'ones')
            total += item.numel() * item.element_size()
        elif isinstance(item, (dict, list, tuple, set)) and id(item) not in seen:
            seen.add(id(item))
            todo.extend(item.values() if isinstance(item, dict) else item)
    if total > SHARING * size:
        raise _Refused(f'declares tensors of {total} bytes, but has {size} in all; fetch or save it anew')


def key_text(key):
    """A name out of a file as a message may have it: printable, on one line, of at most 60 characters."""
    text = printable(key) if isinstance(key, str) else shown(key)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _is_state_dict(value):
    return isinstance(value, dict) and bool(value) and all(
        isinstance(key, str) and torch.is_tensor(tensor) for key, tensor in value.items())


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
        WeightsError: there are none, with the keys that were found; or one has values that are not finite, or none.
    """
    key = weights_key(checkpoint) if param_key is None else param_key
    found = checkpoint if key is None else checkpoint.get(key) if isinstance(checkpoint, dict) else None
    if not _is_state_dict(found):
        keys = ', '.join(map(key_text, list(checkpoint)[:12])) if isinstance(checkpoint, dict) else (
            type(checkpoint).__name__)
        asked = f'{param_key!r}' if param_key else f'a bare state dict or one of {", ".join(WRAPPERS)}'
        raise WeightsError(f'{path}: no weights under {asked}; the file has {keys}')
    for key, value in found.items():
        _check_values(value, key, path)
    while prefix := next((p for p in PREFIXES if all(key.startswith(p) for key in found)), None):
        found = {key[len(prefix):]: value for key, value in found.items()}
    return found


def _check_values(value, key, path):
    if not value.numel():  # what takes sizes from shapes would build a network of any size from no bytes
        raise WeightsError(f'{path}: {key_text(key)} has no values (its shape is {list(value.shape)}); fetch or save '
                           'it anew')
    if value.is_floating_point() or value.is_complex():
        # Networks compute in float32, where a large number of float64 is infinite.
        finite = (value if value.is_complex() else value.float()).isfinite()
        if not finite.all():
            raise WeightsError(f'{path}: {key_text(key)} has {int((~finite).sum())} values that are not finite; take a '
                               'checkpoint from before the training diverged, or fetch the file anew')
