"""What a checkpoint records of the network that its weights are of, so that nobody has to repeat its sizes.

Next to the weights a checkpoint of this package has ``network``, an option block with all arguments, and ``scale``.
Readers that take weights by their key, as BasicSR and spandrel do, ignore both.
"""
from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from basicsr.utils.registry import ARCH_REGISTRY

from .checkpoint import find_state_dict
from .errors import UserError, reason_of, shown
from .registry_names import registered_name

OF_TRAINING = re.compile(r'img_size|use_checkpoint|\w*drop\w*|file|features_of')
"""Arguments by which networks of the same weights may differ: masks are prepared for one size and serve all, and the
files of networks inside of a network are known by their content."""


def network_record(block: Mapping[str, Any], scale: int) -> dict[str, Any]:
    """The entries ``network`` and ``scale`` of a checkpoint; none for a network that brings its weights."""
    if brings_weights(block):
        return {}
    return {'network': {'type': block['type'], **_arguments(block)}, 'scale': scale}


def recorded_network(checkpoint: object) -> dict[str, Any] | None:
    """The option block that a checkpoint has of its network; None where it has none that can be built here."""
    block = checkpoint.get('network') if isinstance(checkpoint, dict) and 'scale' in checkpoint else None
    if not isinstance(block, dict) or not isinstance(block.get('type'), str) or (
            registered_name(ARCH_REGISTRY, block['type']) not in ARCH_REGISTRY):
        return None
    return None if brings_weights(block) else block


def load_recorded(checkpoint: object, file: object, param_key: str | None = None) -> nn.Module | None:
    """The network that a checkpoint of this package records, with its weights; None without a record.

    Arguments are those of ``find_state_dict``. Where the weights do not fit, that is a ``UserError``.
    """
    block = recorded_network(checkpoint)
    if block is None:
        return None
    try:
        network = ARCH_REGISTRY.get(block['type'])(**{key: value for key, value in block.items() if key != 'type'})
        network.load_state_dict(find_state_dict(checkpoint, file, param_key))
    except UserError:
        raise
    except Exception as error:  # any class, any failure
        raise UserError(f'{file}: the {block["type"]} that it records does not take its weights ({reason_of(error)}); '
                        'save it again') from None
    return network


def check_record(where: str, block: Mapping[str, Any], checkpoint: object, path: object) -> None:
    """Check that an option block at ``where`` describes the network that a checkpoint records, if it records one."""
    record = recorded_network(checkpoint)
    if record is None:
        return
    own, theirs = (ARCH_REGISTRY.get(one['type']) for one in (block, record))
    if not (issubclass(own, theirs) or issubclass(theirs, own)):
        raise UserError(f'{where}.type: {block["type"]}, but {path} holds weights of {record["type"]}; set that type, '
                        'or name other weights')
    for name, ours, known in _differences(_arguments(block), _arguments(record)):
        raise UserError(f'{where}.{name}: {shown(ours)}, but the weights of {path} are those of a network of '
                        f'{name.rpartition(".")[2]}: {shown(known)}; set that, or name other weights')


def _differences(ours: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Arguments by which networks of the same weights may not differ: paths and both values.

    Networks inside of a network, a mapping of blocks, are compared in their order, whatever they are called.
    """
    for name in ours.keys() & known.keys():
        own, other = ours[name], known[name]
        if not (isinstance(own, dict) and isinstance(other, dict)):
            if own != other and not OF_TRAINING.fullmatch(name):
                yield name, own, other
            continue
        types, others = ([block['type'] for block in blocks.values()] for blocks in (own, other))
        if types != others:
            yield name, types, others
            continue
        for (label, block), theirs in zip(own.items(), other.values(), strict=True):
            yield from ((f'{name}.{label}.{path}', *values) for path, *values in _differences(
                _arguments(block), _arguments(theirs)))


def brings_weights(block: Mapping[str, Any]) -> bool:
    """Whether the network of an option block is read from a file of its own, and no weights are loaded into it."""
    return getattr(ARCH_REGISTRY.get(block['type']), 'brings_weights', False)


def _arguments(block: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a block that are plain data, its class's defaults among them, in the class's order."""
    parameters = inspect.signature(ARCH_REGISTRY.get(block['type'])).parameters
    defaults = {name: p.default for name, p in parameters.items()}  # no default is no plain data
    return {name: _listed(value) for name, value in {**defaults, **block}.items()
            if name != 'type' and _is_plain(value)}


def _listed(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _listed(item) for name, item in value.items()}
    return [_listed(item) for item in value] if isinstance(value, (list, tuple)) else value


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) for name in value) and all(map(_is_plain, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)
