"""The teacher of a run: a published one, or one whose weights a user has."""
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mipkd_arch.base.errors import UserError, command, one_line, printable

from .networks import TEACHER_PARAMETERS, teacher_block, teacher_weights

# The functions that open weights import torch when they are called: names and lists do not need it.


@dataclass(frozen=True)
class Teacher:
    """A trained network."""
    about: str
    """What it is, in a few words."""
    block: dict[str, Any]
    """Its option block."""
    weights: str | None
    """Path of the weights to load into it; None where the block names them."""
    parameters: int | None = None
    """How many it has, None where that is not known."""
    label: str | None = None
    """What tables call it; None for the one that the pair has."""
    assumed: tuple[str, ...] = ()
    """Options of the block that the weights do not tell; they have the usual values."""


def published_teacher(name: str, scale: int) -> Teacher:
    """A teacher by its name in ``TEACHERS``."""
    block, weights = teacher_block(name, scale)
    return Teacher(teacher_weights(name, scale).about, block, weights, TEACHER_PARAMETERS.get(name, {}).get(scale))


def read_teacher(file: str, scale: int) -> Teacher:
    """The network that a file has weights of: one whose sizes can be read from them, or one that spandrel opens.

    Raises:
        UserError: the file is missing or not readable, its network is not known, or has another scale.
    """
    from mipkd_arch.base.checkpoint import find_state_dict, read_checkpoint, without_trainer

    from ..networks.convert import is_of_edsr_pytorch, network_of
    path = Path(file).expanduser()
    if not path.is_file():
        found = 'a folder' if path.exists() else 'not there'
        raise UserError(f'--teacher: {printable(file)} is {found}; name the file of its weights. Published ones are '
                        'fetched by: mipkd teacher get NAME')
    try:
        state = without_trainer(find_state_dict(read_checkpoint(path), path),
                                lambda names: is_of_edsr_pytorch(names) or network_of(names) is not None)
    except UserError as error:
        raise UserError(f'--teacher: {one_line(error)}') from None
    if is_of_edsr_pytorch(state):
        out = str(path.with_name(f'{path.stem}_basicsr.pth'))
        raise UserError(f'--teacher: {printable(file)}: has the names of EDSR-PyTorch. Convert it: '
                        f'{command("mipkd", "teacher", "convert", path, "--out", out)} and give '
                        f'{command("--teacher", out)}')
    known = network_of(state)
    if known is None:
        return _of_spandrel(path, scale)
    block, assumed = known
    _check_scale(path, block['type'], block['upscale'], scale)
    return Teacher(f'{block["type"]}, its sizes read from {path.name}', block, str(path), _parameters(block),
                   path.stem, tuple(assumed))


def _of_spandrel(path: Path, scale: int) -> Teacher:
    block = {'type': 'SpandrelNetwork', 'file': str(path)}
    try:
        network = _built(block)
    except UserError as error:
        raise UserError(f'--teacher: {one_line(error)}. Sizes are read from weights of EDSR, RCAN and SwinIR; for any '
                        'other network write network_t and path.pretrain_network_t yourself') from None
    _check_scale(path, 'network', network.upscale, scale)
    return Teacher(f'{type(network.wrapped).__name__}, opened by spandrel', block, None, None, path.stem)


def _parameters(block: dict[str, Any]) -> int:
    return sum(parameter.numel() for parameter in _built(block).parameters())


def _built(block: dict[str, Any]) -> Any:
    from ..networks.build import make_network
    return make_network({'network_t': block, 'path': {}}, 't')[0]


def _check_scale(path: Path, kind: str, found: int, scale: int) -> None:
    if found != scale:
        raise UserError(f'--teacher: {printable(str(path))}: is a {kind} for x{found}, and PAIR is for x{scale}; name '
                        f'a pair that ends in _x{found}, or other weights')
