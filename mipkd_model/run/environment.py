"""What a run runs in: the head of its log, and what belongs in a report of a bug. Home folders are left out."""
from __future__ import annotations

import os
import platform
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
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
        'packages': lambda: ', '.join(filter(None, map(_package, PACKAGES))),
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
    home = os.path.expanduser('~').rstrip('/')
    own = rf'{re.escape(home)}(?![\w.-])|' if home not in ('', '~') else ''  # unknown, or the root of all
    return re.sub(rf'{own}(?<![\w.])/(?:home|Users)/[^/\s:\'"]+', '~', text)


def commit_of(folder: Path) -> str:
    """', commit 0123456789ab', 'with changes' where files differ from it; empty without git or a repository of it."""
    def git(*args: str) -> str:
        return subprocess.run(['git', *args], cwd=folder, capture_output=True, check=True, text=True, timeout=5,
                              env={**os.environ, 'GIT_OPTIONAL_LOCKS': '0'}).stdout.strip()
    try:
        # A copy that was installed may lie inside the repository of another project.
        git('ls-files', '--error-unmatch', 'mipkd_model/__init__.py')
        changed = git('status', '--porcelain', '--untracked-files=no')
        return f', commit {git("rev-parse", "--short=12", "HEAD")}{" with changes" if changed else ""}'
    except (OSError, subprocess.SubprocessError):
        return ''


def _package(name: str) -> str:
    try:
        return f'{name} {version(name)}'
    except PackageNotFoundError:
        return ''
