"""Checkpoint files: read without running code from them, whatever they hold, and the weights in them found."""
import io
import os
import re
import stat
import warnings
import zipfile
from pathlib import Path

import safetensors.torch
import torch

from .errors import UserError, printable, shown
from .pickle_scan import Foreign, OfLaterProtocol, check_pickle

# Ordered: a checkpoint that has several of these holds the better weights under the earlier name.
WRAPPERS = ('params_ema', 'params-ema', 'state_dict_ema', 'model_ema', 'ema', 'params', 'state_dict',
            'model_state_dict', 'model', 'net')
# What other trainers call them, averages first. It may be one of several networks, so param_key has to say so.
OTHER_WRAPPERS = ('ema_model', 'net_g_ema', 'netG_ema', 'generator_ema', 'g_ema', 'net_g', 'netG', 'generator',
                  'network')
PREFIXES = ('module.', '_orig_mod.')
AVERAGE, LIVE = 'ema_model.', 'online_model.'  # prefixes in what holds an average beside the weights themselves
COUNTS = ('n_averaged', 'step', 'initted')  # of what averages weights, beside these
# Some networks' own names start so, see without_trainer.
TRAINERS = ('ema_model.', 'net_g_ema.', 'netG_ema.', 'generator_ema.', 'model.', 'net.', 'net_g.', 'netG.',
            'generator.', 'network.')
MOST_LEVELS = 3  # of dicts in each other, in which weights are looked for
SPECIAL = re.compile(r'torch\._utils\._rebuild_(sparse_\w+|qtensor|meta_tensor\w*|wrapper_subclass|device_tensor\w+|'
                     r'nested_tensor|parameter_with_state)|torch\._tensor\._rebuild_from_type_v2|'
                     r'torch\.serialization\._get_layout|torch\.\w*(Q\w+Storage|_affine|_symmetric)')
SPECIAL_KINDS = 'sparse, quantised, without content (meta), of another class or with attributes'
OLD_PARTS = 5  # pickles of which a file from before torch 1.6 consists: magic number, version, machine, content, keys
INNER = ('.pth', '.pt', '.ckpt', '.safetensors', '.bin', '.tar')  # of files that a zip file may have in it
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
        raise WeightsError(f'{name}: holds {_why_foreign(*error.args)}') from None
    except OfLaterProtocol as error:
        raise WeightsError(f'{name}: is saved with pickle_protocol={error.args[0]}, but torch reads weights from '
                           'protocol 2 alone; save it by torch.save without pickle_protocol') from None
    except _Refused as error:
        raise WeightsError(f'{name}: {error}') from None
    except Exception:  # a damaged file can make the readers fail in any way
        raise WeightsError(f'{name}: cannot be read as a checkpoint, it is damaged or cut short; fetch or save it '
                           'anew') from None
    return content


class _Refused(Exception):
    """What is wrong with a file that can be read, and what to do about it."""


def _why_foreign(found, texts):
    """What a file holds that is not plain, why it is not loaded, and how its owner saves the weights alone."""
    if SPECIAL.fullmatch(found):
        return (f'{found}, not plain tensors alone: one that is {SPECIAL_KINDS}, which no network here takes; save '
                'plain ones')
    why = f'{key_text(found)}, not plain tensors alone, and is not loaded, since that could run code; '
    key = next((key for key in WRAPPERS if key in texts), None)
    if key is None or '_parameters' in texts:  # the second is in every network that is saved as a whole
        return f'{why}save its state_dict() instead'
    return (f'{why}whoever made it saves the weights alone: python -c "import torch; '
            f"torch.save({{'params': torch.load('FILE', 'cpu', weights_only=False)['{key}']}}, 'new.pth')\"")


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
        if not any(part.filename.endswith('/data.pkl') for part in parts):
            _refuse_other_zip([part.filename for part in parts])
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or (
                sum(part.file_size for part in parts) > size) or len(set(archive.namelist())) < len(parts):
            raise _Refused('holds packed, overlapping or doubled parts, which torch never writes; unpack it and save '
                           'it by torch.save')
        if min((part.header_offset for part in parts), default=0):
            raise _Refused('has bytes before its first part, which torch never writes; fetch or save it anew')
        unsummed = not any(part.CRC for part in parts)  # by torch.serialization.set_crc32_options(False)
        for part in parts:
            if unsummed:
                del part.CRC  # zipfile then does not compare it
            if part.filename.endswith('data.pkl'):
                check_pickle(io.BytesIO(archive.read(part)))
        # torch leaves the sums unread: a flipped bit would go on as a slightly other weight.
        if archive.testzip() is not None:
            raise _Refused('is damaged, its checksums (CRC-32) are not those of its content; fetch or save it anew')


def _refuse_other_zip(names):
    """Say what a zip file is that torch did not write."""
    inner = next((name for name in names if name.lower().endswith(INNER)), None)
    if names and all(name.endswith('.npy') for name in names):
        raise _Refused('is an archive of NumPy arrays (.npz), not a checkpoint; save the arrays as '
                       'tensors by torch.save')
    if inner is not None:
        raise _Refused(f'is a zip file that has {key_text(inner)} in it; unpack that and name it')
    raise _Refused(f'is a zip file, but not a checkpoint of torch (it has {key_text(", ".join(names[:3]))}); is it the '
                   'right file?')


def _check_tensors(content, size):
    """Check that all tensors are plain and no larger than the bytes that are there for them."""
    todo, seen, total = [content], set(), 0
    while todo:
        item = todo.pop()
        if isinstance(item, torch.Tensor):
            if type(item) not in (torch.Tensor, torch.nn.Parameter) or item.layout != torch.strided or (
                    item.is_quantized or item.device.type != 'cpu'):
                raise _Refused(f'holds a tensor that is {SPECIAL_KINDS}; save plain ones')
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
    """The first of ``WRAPPERS`` under which a checkpoint has weights; None where it has none, or is bare weights.

    Where they are wrapped twice, as ``{'model': {'state_dict': ...}}``, it is ``'model.state_dict'``.
    """
    places = {} if _is_state_dict(checkpoint) else _places(checkpoint)
    known = [key for key in places if set(key.split('.')) <= set(WRAPPERS)]
    return min(known, key=lambda key: (key.count('.'), *map(WRAPPERS.index, key.split('.'))), default=None)


def _places(checkpoint, levels=MOST_LEVELS):
    """All state dicts inside a checkpoint by their keys, with dots between those of dicts in each other."""
    found = {}
    for key, value in checkpoint.items() if isinstance(checkpoint, dict) else ():
        if not isinstance(key, str):
            continue
        if _is_state_dict(value):
            found[key] = value
        elif levels > 1:
            found.update({f'{key}.{inner}': state for inner, state in _places(value, levels - 1).items()})
    return found


def find_state_dict(checkpoint, path, param_key=None):
    """Find the state dict inside a checkpoint and return it without wrapper prefixes.

    Args:
        checkpoint: what ``read_checkpoint`` gave.
        path: its file, for messages.
        param_key (str | None): the key that must hold it, with dots between those of dicts in each other; None takes
            the first of ``WRAPPERS``, or the bare dict.

    Raises:
        WeightsError: there are none, with the keys that were found; or one has values that are not finite, or none.
    """
    key = weights_key(checkpoint) if param_key is None else param_key
    found = checkpoint if key is None else _places(checkpoint).get(key)
    if not _is_state_dict(found):
        asked = f'{param_key!r}' if param_key else f'a bare state dict or one of {", ".join(WRAPPERS)}'
        raise WeightsError(f'{path}: no weights under {asked}; {_what_there_is(checkpoint, key)}')
    for key, value in found.items():
        _check_values(value, key, path)
    return _unwrapped(_averaged(found))


def _averaged(weights):
    """Leave out what stands beside averaged weights: counts, and the weights that they are the average of."""
    names = [key for key in weights if key not in COUNTS]
    for prefix, others in (('module.', ('module.', )), (AVERAGE, (AVERAGE, LIVE))):
        if any(key.startswith(prefix) for key in names) and all(key.startswith(others) for key in names):
            return {key: weights[key] for key in names if key.startswith(prefix)}
    return weights


def _unwrapped(weights):
    while prefix := next((p for p in (*PREFIXES, AVERAGE) if all(key.startswith(p) for key in weights)), None):
        weights = {key[len(prefix):]: value for key, value in weights.items()}
    return weights


def _what_there_is(checkpoint, asked):
    """What a checkpoint has where weights were looked for, and where there are some after all."""
    if not isinstance(checkpoint, dict):
        return f'the file has {type(checkpoint).__name__}'
    places = sorted(_places(checkpoint), key=lambda key: (key not in OTHER_WRAPPERS, ))
    usual = any(key.split('.')[0] in OTHER_WRAPPERS for key in places)
    for key in (asked, ) if asked is not None else (None, *WRAPPERS):
        place = checkpoint if key is None else checkpoint.get(key)
        if not isinstance(place, dict) or (key is None and usual):
            continue
        # Beside weights under a key there may be numbers that are tensors, such as a step.
        if any(torch.is_tensor(value) and (value.dim() > 1 or not places) for value in place.values()):
            name, value = next((name, value) for name, value in place.items() if not _is_state_dict({name: value}))
            wrong = f'no tensor but of type {type(value).__name__}' if isinstance(name, str) else 'not named by a text'
            return f'the entry {key_text(name)} beside tensors is {wrong}; save the tensors alone'
    has = f'the file has {", ".join(map(key_text, list(checkpoint)[:12]))}'
    if not places:
        return has
    return (f'{has}; name {" or ".join(map(key_text, places[:8]))} by path.param_key_g (of a teacher: param_key_t), or '
            "save it alone as 'params'")


def without_trainer(weights, fits):
    """Take off one of ``TRAINERS``, where names fit a network only without it; leave out those that start otherwise.

    Args:
        weights (dict[str, Tensor]): as ``find_state_dict`` gives them.
        fits: function of such a dict, whether a network has these names.

    Returns:
        dict[str, Tensor]: the weights.
    """
    if fits(weights):
        return weights
    for prefix in TRAINERS:
        bare = {key[len(prefix):]: value for key, value in weights.items() if key.startswith(prefix)}
        if bare and fits(bare := _unwrapped(bare)):
            return bare
    return weights


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
