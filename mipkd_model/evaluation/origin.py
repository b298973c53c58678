"""Where a result comes from: option file, weights, versions, device, and the run that trained the weights."""
import glob
import platform
import shlex
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ..base.files import file_sha256, write_json
from ..version import __version__
from .records import RecordError, read_json, writable
from .training_log import seconds_per_iteration

PACKAGES = ('torch', 'basicsr', 'numpy', 'opencv-python', 'opencv-python-headless')
RUN_FORMAT = 'mipkd run 1'
RUN_FILE = 'run.json'


def option_file_origin(start, file, changed):
    """What is recorded of an option file: ``file``, ``sha256``, ``changed`` and the ``command`` that used it.

    Args:
        start (str): what was started, such as 'basicsr/test.py' or 'mipkd test'.
        file: the option file.
        changed (list[str] | None): entries of --force_yml.
    """
    changed = list(changed or ())
    python = ['python'] if start.endswith('.py') else []
    command = [*python, *start.split(), '-opt', str(file), *(['--force_yml', *changed] if changed else [])]
    return {'file': str(file), 'sha256': file_sha256(file), 'changed': changed, 'command': shlex.join(command)}


def versions(device):
    """Versions by package, of what decides about numbers on a device."""
    found = {'mipkd': __version__, 'python': platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue  # OpenCV comes under one of two names
    if device.type == 'cuda':
        found['cuda'] = torch.version.cuda
    return found


def device_name(device):
    """Name of a GPU; of a CPU, its architecture and the number of threads."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'cpu, {platform.machine()}, {torch.get_num_threads()} threads'


def now():
    """The time in ISO 8601, UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec='seconds')


def write_run(opt, device, has_teacher, options=None, teacher_scores=None):
    """Write ``run.json`` into a training's folder, for the evaluations of its weights.

    A resumed run adds to it: ``resumed`` lists what was written before, without these lists.

    Args:
        opt (dict): all options of the run.
        device (torch.device): what it runs on.
        has_teacher (bool): a loss compares with the teacher of the options.
        options (dict | None): what decides about the weights, by paths of options, as ``run.identity`` gives it.
        teacher_scores (dict | None): the teacher's values by data set and metric, where it was measured.

    Raises:
        UserError: it cannot be written.
    """
    file = Path(opt['path']['log']) / RUN_FILE
    before = None
    if opt['path'].get('resume_state') and file.exists():
        with suppress(RecordError):  # one that is damaged is no reason not to go on
            before = _read(file)
    teacher = None
    if has_teacher:
        teacher = opt['path'].get('pretrain_network_t') or opt['network_t'].get('file')
    batch = opt['datasets']['train'].get('batch_size_per_gpu', 1) * opt['world_size']
    run = {'format': RUN_FORMAT, 'name': opt['name'], 'seed': opt['manual_seed'],
           'total_iter': int(opt['train']['total_iter']), 'batch_size': batch, 'option_file': opt.get('option_file'),
           'teacher': teacher and {'file': str(teacher), 'sha256': file_sha256(teacher),
                                   'scores': writable(teacher_scores or {})},
           'table': opt.get('table'),
           'options': {path: value for path, value in (options or {}).items() if path != 'manual_seed'},
           'versions': versions(device), 'device': device_name(device), 'started': now()}
    if before:
        run['resumed'] = [*before.pop('resumed', []), before]
    write_json(run, file)


def read_run(checkpoint):
    """What ``run.json`` says of the training that saved a checkpoint, with its median ``seconds_per_iteration``.

    Args:
        checkpoint: file of the weights, as ``experiments/<name>/models/net_g_latest.pth``.

    Returns:
        dict | None: None where the weights do not lie in the folder of a run.

    Raises:
        RecordError: there is a run.json, but not one of this package.
    """
    folder = Path(checkpoint).expanduser().absolute().parent.parent
    if not (folder / RUN_FILE).is_file():
        return None
    return {**_read(folder / RUN_FILE), 'seconds_per_iteration': seconds_per_iteration(folder)}


def read_description(folder):
    """What the run.json of a training's folder says; None where there is none, or a damaged one."""
    try:
        return _read(Path(folder, RUN_FILE))
    except RecordError:
        return None


def archived_runs(checkpoint):
    """Runs of the same name that BasicSR has moved away before: folder and run.json of each, the newest first."""
    folder = Path(checkpoint).expanduser().absolute().parent.parent
    for other in sorted(folder.parent.glob(f'{glob.escape(folder.name)}_archived_*'), reverse=True):
        if (run := read_description(other)) is not None:
            yield other, run


def _read(file):
    return read_json(file, RUN_FORMAT, 'description of a run', 'mipkd train writes them')
