"""What a checkpoint says of the network that its weights are of, so that nobody has to type its sizes again.

Beside the weights a checkpoint of this package has ``network``, an option block with all arguments, and ``scale``.
Whatever reads weights by their key, as BasicSR and spandrel do, sees neither.
"""
import inspect
import re

from basicsr.utils.registry import ARCH_REGISTRY

from .errors import UserError, shown

OF_TRAINING = re.compile(r'img_size|use_checkpoint|\w*drop\w*')
"""Arguments by which networks of the same weights may differ: masks are prepared for one size and serve all."""


def network_record(block, scale):
    """What a checkpoint of a network is to have beside its weights.

    Args:
        block (dict): the network's option block.
        scale (int): factor between lq and output.

    Returns:
        dict: plain data, ``network`` and ``scale``; empty for a network that is opened from a file of its own.
    """
    if getattr(ARCH_REGISTRY.get(block['type']), 'brings_weights', False):
        return {}
    return {'network': {'type': block['type'], **_arguments(block)}, 'scale': scale}


def recorded_network(checkpoint):
    """The option block that a checkpoint has of its network; None where it has none that can be built here."""
    block = checkpoint.get('network') if isinstance(checkpoint, dict) else None
    if not isinstance(block, dict) or not isinstance(block.get('type'), str) or block['type'] not in ARCH_REGISTRY:
        return None
    sound = type(checkpoint.get('scale')) is int and all(
        isinstance(name, str) and _is_plain(value) for name, value in block.items())
    return block if sound and not getattr(ARCH_REGISTRY.get(block['type']), 'brings_weights', False) else None


def check_record(where, block, checkpoint, path):
    """Check that an option block is of the network that a checkpoint says its weights are of.

    Args:
        where (str): path of the block.
        block (dict): ``type`` and arguments.
        checkpoint: what ``read_checkpoint`` gave; one without a record passes.
        path: its file, for the message.

    Raises:
        UserError: an argument is another one.
    """
    record = recorded_network(checkpoint)
    if record is None:
        return
    own, theirs = (ARCH_REGISTRY.get(one['type']) for one in (block, record))
    if not (issubclass(own, theirs) or issubclass(theirs, own)):
        raise UserError(f'{where}.type: {block["type"]}, but {path} holds weights of {record["type"]}; set that type, '
                        'or name other weights')
    ours, known = _arguments(block), _arguments(record)
    for name in ours.keys() & known.keys():
        if ours[name] != known[name] and not OF_TRAINING.fullmatch(name):
            raise UserError(f'{where}.{name}: {shown(ours[name])}, but the weights of {path} are those of a network of '
                            f'{name}: {shown(known[name])}; set that, or name other weights')


def _arguments(block):
    """All arguments of a block that are plain data, those left to their defaults among them, in the class's order."""
    parameters = inspect.signature(ARCH_REGISTRY.get(block['type'])).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}
    given = {name: value for name, value in {**defaults, **block}.items() if name != 'type' and _is_plain(value)}
    order = [*(name for name in parameters if name in given), *(name for name in given if name not in parameters)]
    return {name: _listed(given[name]) for name in order}


def _listed(value):
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value


def _is_plain(value):
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)
