"""Small but complete training runs: data, a teacher, an option file."""
import subprocess
import sys
from copy import deepcopy
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import tiny
import torch
import yaml

from mipkd_model.data.prepare.pack import pack_pairs

from basicsr.utils.matlab_functions import imresize  # noqa: F401  (BasicSR is imported before OpenCV's threads start)

ROOT = Path(__file__).resolve().parents[1]
FAMILIES = {
    'EDSR': {'type': 'EDSR', **tiny.EDSR_SIZES, 'upscale': 2},
    'RCAN': {'type': 'RCAN', **tiny.RCAN_SIZES, 'upscale': 2},
    'SwinIR': {'type': 'SwinIR', **{k: list(v) if isinstance(v, tuple) else v for k, v in tiny.SWINIR_SIZES.items()},
               'upscale': 2},
}
LOSSES = {
    'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
    'kd_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
    'feature_prior_opt': {'type': 'FeaturePriorLoss', 'loss_weight': 1.0},
    'block_prior_opt': {'type': 'BlockPriorLoss', 'loss_weight': 0.1},
}


@cache
def _tracked():
    """Files that git has, None where it has none of this folder's, as of sources that were unpacked."""
    try:
        done = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return {ROOT / name for name in done.stdout.decode().split('\0') if name} or None


def ours(folder, pattern):
    """The repository's own files in a folder of it, sorted; what its user has put there is no matter of tests."""
    files = (file for file in (ROOT / folder).glob(pattern) if file.is_file())
    return sorted(file for file in files if _tracked() is None or file in _tracked())


def photographs(folder, count=6, height=40, width=52):
    """Write images with edges and smooth parts, as photographs have them. Returns their files."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    files = []
    for i in range(count):
        coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.line(image, (0, int(rng.integers(height))), (width, int(rng.integers(height))), (255, 255, 255), 2)
        files.append(folder / f'{i:04d}.png')
        cv2.imwrite(str(files[-1]), image)
    return files


def options(folder, family='EDSR', student=None, losses=tuple(LOSSES), **train):
    """Make data and a teacher below ``folder`` and return the options of a run over them."""
    folder = Path(folder)
    if not (folder / 'hr').exists():
        pack_pairs(photographs(folder / 'hr'), folder, [2])
    network_t = deepcopy(FAMILIES[family])
    network_g = deepcopy(student or FAMILIES[family])
    teacher = tiny.NETWORKS[network_t['type']](2)
    torch.save({'params': teacher.state_dict()}, folder / 'teacher.pth')
    data = {'type': 'PairedSRDataset', 'dataroot_gt': str(folder / 'train_HR.lmdb'),
            'dataroot_lq': str(folder / 'train_LRx2.lmdb')}
    return {
        'name': 'tiny', 'model_type': 'MiPKDModel', 'scale': 2, 'num_gpu': 0, 'manual_seed': 3,
        'datasets': {
            'train': {'name': 'made', **data, 'gt_size': 32, 'use_hflip': True, 'use_rot': True,
                      'num_worker_per_gpu': 1, 'batch_size_per_gpu': 2},
            'val': {'name': 'made', **data}},
        'network_g': network_g, 'network_t': network_t,
        'path': {'pretrain_network_g': None, 'strict_load_g': True,
                 'pretrain_network_t': str(folder / 'teacher.pth'), 'ignore_resume_networks': 'network_t',
                 'resume_state': None},
        'train': {'ema_decay': 0.999, 'precision': 'fp32', 'cuts_g': 2, 'cuts_t': 2,
                  'optim_g': {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99]},
                  'scheduler': {'type': 'MultiStepLR', 'milestones': [100], 'gamma': 0.1},
                  'total_iter': 4, 'warmup_iter': -1, 'mixer_opt': {'latent': 6},
                  **{name: dict(LOSSES[name]) for name in losses}, **train},
        'val': {'val_freq': 4, 'save_img': False, 'check_teacher': False,  # a teacher at random is no better
                'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True}}},
        'logger': {'print_freq': 2, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
    }


def smooth(opt):
    """Options whose steps change as little as their inputs do, for tests that compare steps of different kernels.

    The gradient of an L1 loss is a sign, which a rounding turns where two images are alike, and a step of Adam goes by
    the sign of a gradient that is nothing but rounding. With a square instead, and Adam's quotient damped for gradients
    below a hundredth of the usual ones here, both follow roundings in proportion.
    """
    opt = deepcopy(opt)
    for name in {'pixel_opt', 'kd_opt'} & opt['train'].keys():
        opt['train'][name]['type'] = 'MSELoss'
    opt['train']['optim_g']['eps'] = 1e-5
    return opt


def option_file(folder, opt):
    """Write options to ``folder`` and return the file."""
    file = Path(folder) / 'options.yml'
    file.write_text(yaml.safe_dump(opt, sort_keys=False))
    return file


def model(opt):
    """Build the model of ``options``, as BasicSR's pipeline does after it has added what it knows."""
    from basicsr.models import build_model
    return build_model({**opt, 'rank': 0, 'world_size': 1, 'dist': False, 'is_train': True})


def batch(count=2, side=16, scale=2):
    """A batch as the dataset gives it."""
    return {'lq': torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8),
            'gt': torch.randint(0, 256, (count, 3, scale * side, scale * side), dtype=torch.uint8)}


def stock_command(root, file, *more):
    """Command that runs BasicSR's own pipeline after importing the package, and nothing else."""
    code = (f'import sys; sys.path.append({str(ROOT)!r}); import mipkd_model; '
            f'from basicsr.train import train_pipeline; train_pipeline({str(root)!r})')
    return [sys.executable, '-c', code, '-opt', str(file), *more]
