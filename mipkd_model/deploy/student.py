"""The student that is exported: the weights of a run or a checkpoint, with the network that the file records."""
from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mipkd_arch.base.checkpoint import read_checkpoint
from mipkd_arch.base.errors import UserError
from mipkd_arch.base.network_record import load_recorded, recorded_network
from mipkd_arch.staged_views import size_multiple

from ..evaluation.provenance import read_run

LATEST = 'net_g_latest.pth'
NETWORK = 'network'
"""Where the metadata of an exported file have the network, as JSON."""


@dataclass(frozen=True)
class Student:
    """A trained network and where it comes from."""
    network: nn.Module
    """In eval mode, on the CPU; takes RGB (N, 3, H, W) in [0, 1]."""
    file: Path
    """The checkpoint."""
    name: str
    """Of the exported files, without ending."""
    block: dict[str, Any]
    """``type`` and all arguments of the network."""
    scale: int
    """Factor between lq and output."""
    size_multiple: int
    """What H and W of lq must be multiples of."""
    training: dict[str, Any] | None
    """What ``run.json`` says of the training; None without one."""


def checkpoint_of(where: str | Path) -> Path:
    """The checkpoint of a run's folder, ``experiments/<name>``, or of a file that is one.

    Raises:
        UserError: there is none.
    """
    path = Path(where).expanduser()
    if path.is_dir():
        path = next((file for file in (path / 'models' / LATEST, path / LATEST) if file.is_file()), path)
        if path.is_dir():
            raise UserError(f'{where}: has no models/{LATEST}; name the folder of a finished run, experiments/<name>, '
                            'or a checkpoint')
    if not path.is_file():
        raise UserError(f'{where}: is not there; name the folder of a run, experiments/<name>, or a checkpoint')
    return path


def load_student(where: str | Path, name: str | None = None) -> Student:
    """The student of a run or checkpoint.

    Args:
        name: of the exported files; None: that of the run, or of the file.

    Raises:
        UserError: there is no checkpoint, or it does not record its network, as those of mixers and of teachers that
            other code has trained.
    """
    file = checkpoint_of(where)
    checkpoint = read_checkpoint(file)
    if file.suffix == '.safetensors':
        checkpoint = {'params': checkpoint, **_network_in_metadata(file)}
    block, network = recorded_network(checkpoint), load_recorded(checkpoint, file)
    if block is None or network is None or not isinstance(checkpoint, dict):
        raise UserError(f'{file}: does not record of which network its weights are; name a checkpoint of a training, '
                        'models/net_g_<iteration>.pth, or a file of mipkd export')
    if name is None:
        name = file.parents[1].name if file.parent.name == 'models' else file.stem
    return Student(network.eval(), file, name, block, checkpoint['scale'], size_multiple(network), read_run(str(file)))


def _network_in_metadata(file: Path) -> dict[str, Any]:
    """The entries ``network`` and ``scale`` of a safetensors file that ``mipkd export`` wrote; else none."""
    from safetensors import safe_open
    with safe_open(file, 'pt') as content:
        found = content.metadata() or {}
    try:
        return {'network': json.loads(found[NETWORK]), 'scale': int(found['scale'])}
    except (KeyError, ValueError):
        return {}


def folded(network: nn.Module) -> nn.Module:
    """A copy of a network in eval mode, whose re-parameterized convolutions are plain ones, as of SPAN."""
    network = deepcopy(network).eval().requires_grad_(False)
    for name, module in list(network.named_modules()):
        if hasattr(module, 'update_params') and hasattr(module, 'eval_conv'):
            module.update_params()
            plain = nn.Sequential(module.eval_conv, nn.LeakyReLU(0.05)) if module.has_relu else module.eval_conv
            parent, _, child = name.rpartition('.')
            setattr(network.get_submodule(parent), child, plain)
    return network
