"""Teachers from OpenModelDB, a public list of community models, through the ``openmodeldb`` package."""
from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from mipkd_arch.base.errors import UserError, near_miss, one_line

PREFIX = 'omdb:'
"""What names of models of OpenModelDB begin with, where names of published weights are allowed, too."""


def is_omdb(name: str) -> bool:
    """Whether a name of ``mipkd teacher get`` is one of OpenModelDB."""
    return name.startswith(PREFIX)


def get_model(name: str, folder: str | Path, show: Callable[[str], None] = print) -> Path:
    """Download a model of OpenModelDB and open it once.

    Args:
        name: 'omdb:' and the model's id, as its page has it.
        folder: for the file.
        show: gets the model's author, license and SHA-256 before anything is downloaded.

    Returns:
        The path of the checkpoint, for ``network_t.file`` of a SpandrelNetwork.

    Raises:
        UserError: the package is missing, there is no such model, it is not for RGB images, has no PyTorch file or no
            SHA-256, cannot be downloaded, or cannot be opened.
    """
    try:
        import openmodeldb  # an optional package
    except ModuleNotFoundError:
        raise UserError(f'{name}: needs the openmodeldb package: pip install openmodeldb') from None
    database = openmodeldb.OpenModelDB(download_dir=str(folder))
    try:
        models = {model.id: model for model in database.models}
    except openmodeldb.OpenModelDBError as error:
        raise UserError(f'{name}: the list of models cannot be fetched ({one_line(error)}); try again later') from None
    key = name.removeprefix(PREFIX)
    if key not in models:
        raise UserError(f'{name}: OpenModelDB has no model {key!r}{near_miss(key, models)}; ids are the last part of '
                        'the addresses of its pages')
    model = models[key]
    resource = _resource(name, model)
    show(f'{model.name} by {model.author}: {model.architecture}, x{model.scale}\n'
         f'license: {model.license or "none is stated: ask the author before you use or publish a student of it"}\n'
         f'SHA-256: {resource["sha256"]}')
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with redirect_stdout(sys.stderr):  # its progress; standard output is for the result
            file = Path(database.download(model, format=resource['type']))
    except (openmodeldb.OpenModelDBError, OSError, ValueError) as error:
        raise UserError(f'{name}: cannot be downloaded ({one_line(error)}); try again, or download it from its page '
                        'and name the file') from None
    _check_network(name, file, model.scale)
    return file


def _resource(name: str, model: Any) -> dict[str, Any]:
    """The PyTorch file of a model that takes and gives RGB images."""
    channels = [model.data.get(f'{side}Channels', 3) for side in ('input', 'output')]
    if channels != [3, 3]:
        raise UserError(f'{name}: has {channels[0]} channels in and {channels[1]} out; teachers take and give RGB '
                        'images')
    files = [one for kind in ('safetensors', 'pth') for one in model.resources
             if one.get('type') == kind and one.get('sha256')]
    if not files:
        raise UserError(f'{name}: has no PyTorch file with a SHA-256; take another model')
    return files[0]


def _check_network(name: str, file: Path, scale: int) -> None:
    from mipkd_arch.spandrel_arch import SpandrelNetwork
    try:
        found = SpandrelNetwork(file=str(file)).upscale
    except UserError as error:
        raise UserError(f'{name}: {one_line(error)}') from None
    if found != scale:
        raise UserError(f'{name}: {file} is a network for x{found}, and OpenModelDB lists it as x{scale}; take another '
                        'model')
