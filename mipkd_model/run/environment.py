"""What a run runs in: the head of its log, and what belongs in a report of a bug. Home folders are left out."""
from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path

import cv2
import torch

import basicsr

from ..version import __version__

FOLDER = Path(__file__).resolve().parents[2]
PACKAGES = ('basicsr', 'torchvision', 'numpy', 'opencv-python', 'opencv-python-headless', 'lmdb', 'spandrel', 'triton')
VARIABLES = ('CUDA_', 'CUBLAS_', 'PYTORCH_', 'NVIDIA_TF32', 'NCCL_', 'OMP_', 'GOMP_', 'KMP_', 'MKL_', 'ONEDNN_',
             'DNNL_', 'GLIBC_TUNABLES', 'LD_PRELOAD', 'RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'SLURM_JOB_ID')
"""Beginnings of environment variables that decide about numbers, speed, and the ranks."""


def report() -> str:
    """Describe the environment in several lines, in at most 0.3 s; what cannot be found is said to be unknown."""
    lines: dict[str, Callable[[], object]] = {
        'mipkd': lambda: f'{__version__}, {FOLDER}{commit_of(FOLDER)}', 'BasicSR': lambda: basicsr.__file__,
        'Python': lambda: f'{platform.python_version()}, {sys.executable}', 'platform': platform.platform,
        'torch': lambda: f'{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}',
        'GPUs': lambda: ', '.join(map(torch.cuda.get_device_name, range(torch.cuda.device_count()))) or 'none',
        'CPU': lambda: f'{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, '
                       f'{torch.get_num_threads()} threads of torch, {cv2.getNumThreads()} of OpenCV',
        'packages': lambda: ', '.join(f'{one.name} {one.version}' for name in PACKAGES
                                      for one in distributions(name=name)),
        'command': lambda: shlex.join([Path(sys.argv[0]).name or 'python', *sys.argv[1:]]), 'folder': os.getcwd,
        'variables': lambda: ', '.join(f'{name}={value}' for name, value in sorted(os.environ.items())
                                       if name.startswith(VARIABLES))}
    return 'Environment:\n' + '\n'.join(f'  {name}: {_found(find)}' for name, find in lines.items())


def _found(find: Callable[[], object]) -> str:
    try:
        return anonymous(' '.join(str(find()).split()))
    except Exception as error:  # any driver, any system: the head of a log must not end a run
        return f'unknown ({type(error).__name__})'


def anonymous(text: str) -> str:
    """A text in which home folders are ``~``."""
    home = os.path.expanduser('~').rstrip('/') or '~'
    return re.sub(rf'{re.escape(home)}(?![\w.-])|(?<![\w.])/(?:home|Users)/[^/\s:\'"]+', '~', text)


def commit_of(folder: Path) -> str:
    """', commit 0123456789ab' of a repository, 'with changes' where files differ from it; empty without one."""
    command = ['git', 'describe', '--always', '--exclude=*', '--abbrev=12', '--dirty= with changes']
    try:
        # A copy that was installed may lie inside the repository of another project.
        subprocess.run(['git', 'ls-files', '--error-unmatch', 'mipkd_model/__init__.py'], cwd=folder, check=True,
                       capture_output=True, timeout=5)
        found = subprocess.run(command, cwd=folder, capture_output=True, check=True, text=True, timeout=5)
        return f', commit {found.stdout.strip()}'
    except (OSError, subprocess.SubprocessError):
        return ''
