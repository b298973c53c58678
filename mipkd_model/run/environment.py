"""What a run runs in: the head of its log, and what belongs in a report of a bug.

Names of users and machines are left out, as far as paths have them.
"""
import getpass
import os
import platform
import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import cv2
import torch
import torchvision

import basicsr
from basicsr.version import __version__ as basicsr_version

from ..training.precision import has_fast_bf16
from ..version import __version__

FOLDER = Path(__file__).resolve().parents[2]
VARIABLES = ('CUDA_VISIBLE_DEVICES', 'CUDA_LAUNCH_BLOCKING', 'CUBLAS_WORKSPACE_CONFIG', 'PYTORCH_CUDA_ALLOC_CONF',
             'PYTORCH_ALLOC_CONF', 'TORCH_CUDNN_V8_API_DISABLED', 'NVIDIA_TF32_OVERRIDE', 'OMP_NUM_THREADS',
             'OMP_WAIT_POLICY', 'MKL_NUM_THREADS', 'KMP_AFFINITY', 'ONEDNN_MAX_CPU_ISA', 'DNNL_MAX_CPU_ISA',
             'ATEN_CPU_CAPABILITY', 'GLIBC_TUNABLES', 'LD_PRELOAD', 'RANK', 'LOCAL_RANK', 'WORLD_SIZE',
             'SLURM_JOB_ID', 'SLURM_PROCID', 'SLURM_NTASKS', 'NCCL_DEBUG', 'NCCL_P2P_DISABLE', 'NCCL_IB_DISABLE')
"""Of the environment, where they are set: what decides about numbers, speed, and who takes part."""
PACKAGES = ('numpy', 'lmdb', 'pyyaml', 'spandrel', 'triton')
WAIT = 5  # seconds for git, which may be on a disk far away


def report():
    """Describe the environment.

    Never fails: what cannot be found is said to be unknown.

    Returns:
        str: several lines; a drop-in for BasicSR's ``get_env_info``.
    """
    lines = {
        'mipkd': lambda: f'{__version__}, {FOLDER}{commit_of(FOLDER)}',
        'BasicSR': lambda: f'{basicsr_version}, {basicsr.__file__}',
        'Python': lambda: f'{platform.python_version()}, {sys.executable}',
        'platform': platform.platform,
        'torch': lambda: f'{torch.__version__}, torchvision {torchvision.__version__}, {_cuda()}',
        'GPUs': _gpus,
        'CPU': _cpu,
        'OpenCV': lambda: f'{cv2.__version__}, {cv2.getNumThreads()} threads',
        'packages': _packages,
        'command': lambda: shlex.join([Path(sys.argv[0]).name or 'python', *sys.argv[1:]]),
        'folder': os.getcwd,
        'variables': _variables}
    return 'Environment:\n' + '\n'.join(f'  {name}: {_found(find)}' for name, find in lines.items())


def _found(find):
    try:
        return anonymous(' '.join(str(find()).split()))
    except Exception as error:  # any driver, any system: the log's head must not end a run
        return f'unknown ({type(error).__name__})'


def anonymous(text):
    """A text in which home folders are ``~``, and folders of the user's name elsewhere ``USER``."""
    home = os.path.expanduser('~').rstrip('/')
    if home not in ('', '~'):  # none is known, or it is the root of all
        text = re.sub(rf'{re.escape(home)}(?![\w.-])', '~', text)
    text = re.sub(r'(?<![\w.])/(?:home|Users)/[^/\s:\'"]+', '~', text)
    user = user_name()
    return re.sub(rf'(?<=/){re.escape(user)}(?=[/\s:\'"]|$)', 'USER', text) if user else text


def user_name():
    """The user's name; empty where there is none, as in a container that runs as a number."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):  # as Python's versions and systems have it
        return ''


def commit_of(folder):
    """What git knows of the code in a folder: ', commit 0123456789ab', 'with changes' where files differ from it.

    Args:
        folder (Path): that of this package's code.

    Returns:
        str: empty where git, or a repository of these files, is not there.
    """
    try:
        # A copy that was installed may lie inside the repository of another project.
        _git(folder, 'ls-files', '--error-unmatch', 'mipkd_model/__init__.py')
        commit = _git(folder, 'rev-parse', '--short=12', 'HEAD')
        changed = _git(folder, 'status', '--porcelain', '--untracked-files=no')
    except (OSError, subprocess.SubprocessError):
        return ''
    return f', commit {commit}{" with changes" if changed else ""}'


def _git(folder, *args):
    # Without a lock that another git may wait for, or a program that the repository's settings name.
    done = subprocess.run(['git', '-c', 'core.fsmonitor=false', *args], cwd=folder, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True, text=True, timeout=WAIT,
                          env={**os.environ, 'GIT_OPTIONAL_LOCKS': '0'})
    return done.stdout.strip()


def _cuda():
    if torch.version.hip:
        return f'ROCm {torch.version.hip}'
    if not torch.version.cuda:
        return 'built without CUDA'
    return f'CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version() or "unknown"}'


def _gpus():
    if not torch.cuda.is_available():
        return 'none'
    found = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    bf16 = 'bf16' if has_fast_bf16(torch.device('cuda')) else 'no bf16'
    return '; '.join(f'{gpu.name}, {gpu.total_memory / 1024**3:.0f} GiB, compute {gpu.major}.{gpu.minor}'
                     for gpu in found) + f'; {bf16}'


def _cpu():
    bf16 = 'bf16' if has_fast_bf16(torch.device('cpu')) else 'no bf16'
    return f'{_cpu_name()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads of torch, {bf16}'


def _cpu_name():
    try:
        return re.search(r'^model name\s*: (.+)$', Path('/proc/cpuinfo').read_text(), re.MULTILINE)[1]
    except (OSError, TypeError):  # not Linux, or a CPU that it has no name for
        return platform.processor() or platform.machine()


def _packages():
    found = []
    for name in PACKAGES:
        try:
            found.append(f'{name} {version(name)}')
        except PackageNotFoundError:
            continue
    return ', '.join(found)


def _variables():
    return ', '.join(f'{name}={os.environ[name]}' for name in VARIABLES if name in os.environ) or 'none of note'
