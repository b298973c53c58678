"""Where weights and results come from: checkpoint, training run, option file, versions, device."""
import platform
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from mipkd_arch.base.checkpoint import read_checkpoint, weights_key

from ..base.files import file_sha256, write_json
from ..version import __version__
from .records import RecordError, read_json, writable
from .training_log import seconds_per_iteration

PACKAGES = ('torch', 'basicsr', 'numpy', 'opencv-python', 'opencv-python-headless')
RUN_FORMAT = 'mipkd run 1'
RUN = RUN_FORMAT, 'description of a run', 'mipkd train writes them'
RUN_FILE = 'run.json'
Origin = tuple[dict[str, Any] | None, dict[str, Any] | None]
"""Where weights come from: the fields ``checkpoint`` and ``training`` of ``Record``."""


def origin_of_test(opt: dict[str, Any]) -> Origin:
    """Origin of the weights that a test loads.

    Raises:
        UserError: the run.json next to the weights is not readable.
    """
    file, key = opt['path'].get('pretrain_network_g'), opt['path'].get('param_key_g')
    if file is None:
        file = opt['network_g'].get('file')
        return _checkpoint(file, None) if file else None, None
    return _checkpoint(file, key or weights_key(read_checkpoint(file))), read_run(file)


def origin_of_training(opt: dict[str, Any], iteration: int) -> Origin:
    """Origin of the weights of the current training: their file, if this iteration is saved. Empty on ranks above 0."""
    if opt.get('rank'):
        return None, None
    last = ['net_g_latest.pth'] if iteration == int(opt['train']['total_iter']) else []
    files = [Path(opt['path'].get('models', ''), name) for name in (f'net_g_{iteration}.pth', *last)]
    key = 'params_ema' if opt['train'].get('ema_decay', 0) > 0 else 'params'
    return (next((_checkpoint(file, key) for file in files if file.is_file()), None),
            read_description(opt['path'].get('log', '')))


def doubts(opt: dict[str, Any], run: dict[str, Any] | None) -> Iterator[str]:
    """Options ``table`` that are not those of the run that made the weights, a line each."""
    table, file = opt.get('table') or {}, opt['path'].get('pretrain_network_g')
    for name, value in ((run or {}).get('table') or {}).items():
        if name in table and table[name] != value:
            yield (f'table.{name}: found {table[name]}, but {file} is of a run with table.{name}: {value}; '
                   f'its results will be in the row of {table[name]}')


def _checkpoint(file: str | Path, key: str | None) -> dict[str, Any]:
    return {'file': relative(str(file)), 'sha256': file_sha256(file), 'key': key}


def relative(file: str) -> str:
    """A path relative to the working directory, if it is inside."""
    return str(Path(file).relative_to(Path.cwd())) if Path.cwd() in Path(file).parents else file


def versions(device: torch.device) -> dict[str, str | None]:
    """Versions of the packages that determine numerical results on a device."""
    found: dict[str, str | None] = {'mipkd': __version__, 'python': platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):  # OpenCV has one of two names
            found[package] = version(package)
    if device.type == 'cuda':
        found['cuda'] = torch.version.cuda
    return found


def device_name(device: torch.device) -> str:
    """Name of a GPU; architecture of a CPU, with the number of threads."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'cpu, {platform.machine()}, {torch.get_num_threads()} threads'


def now() -> str:
    """The time in ISO 8601, UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


def write_run(opt: dict[str, Any], device: torch.device, has_teacher: bool, options: dict[str, Any] | None = None,
              teacher_scores: dict[str, dict[str, float]] | None = None) -> None:
    """Write ``run.json`` into a training's folder; a resumed run moves the previous content to its list ``resumed``.

    ``has_teacher`` says whether a loss uses the teacher; ``options`` determine the weights (``training.identity``).
    """
    folder = Path(opt['path']['log'])
    before = read_description(folder) if opt['path'].get('resume_state') else None
    file = has_teacher and (opt['path'].get('pretrain_network_t') or opt['network_t'].get('file'))
    teacher = file and {'file': str(file), 'sha256': file_sha256(file), 'scores': writable(teacher_scores or {})}
    batch = opt['datasets']['train'].get('batch_size_per_gpu', 1) * opt['world_size']
    run = {'format': RUN_FORMAT, 'name': opt['name'], 'seed': opt['manual_seed'],
           'total_iter': int(opt['train']['total_iter']), 'batch_size': batch, 'option_file': opt.get('option_file'),
           'teacher': teacher or None, 'table': opt.get('table'),
           'options': {path: value for path, value in (options or {}).items() if path != 'manual_seed'},
           'versions': versions(device), 'device': device_name(device), 'started': now()}
    if before:
        run['resumed'] = [*before.pop('resumed', []), before]
    write_json(run, folder / RUN_FILE)


def read_run(checkpoint: str | Path) -> dict[str, Any] | None:
    """run.json of the training of a checkpoint ``<run>/models/*.pth``, with its ``seconds_per_iteration``, or None.

    Raises:
        RecordError: run.json is not of this package.
    """
    folder = Path(checkpoint).expanduser().absolute().parent.parent
    if not (folder / RUN_FILE).is_file():
        return None
    return {**read_json(folder / RUN_FILE, *RUN), 'seconds_per_iteration': seconds_per_iteration(folder)}


def read_description(folder: str | Path) -> dict[str, Any] | None:
    """run.json of a training's folder; None if it is missing or damaged."""
    with suppress(RecordError):
        return read_json(Path(folder, RUN_FILE), *RUN)
    return None
