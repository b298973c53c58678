"""What is tortured: data, weights, option files and complete runs, all made here from a seed."""
import os
import shutil
import sys
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from lmdb import open as open_lmdb

import mipkd_model.launch
from mipkd_arch.base.errors import UserError
from mipkd_model.data.prepare.pack import pack_pairs

from basicsr.archs import build_network

from . import children
from .judge import ENOUGH

ROOT = Path(__file__).resolve().parents[2]
SCALE, HEIGHT, WIDTH, IMAGES = 2, 40, 52, 16
EDSR = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 3, 'res_scale': 0.1,
        'upscale': SCALE}
RCAN = {'type': 'RCAN', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 16, 'num_group': 3, 'num_block': 1,
        'squeeze_factor': 4, 'upscale': SCALE}
SWINIR = {'type': 'SwinIR', 'img_size': 16, 'embed_dim': 12, 'depths': [2, 2, 2], 'num_heads': [2, 2, 2],
          'window_size': 4, 'mlp_ratio': 2, 'drop_path_rate': 0.3, 'upsampler': 'pixelshuffle', 'upscale': SCALE}
LOSSES = {
    'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
    'kd_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
    'feature_prior_opt': {'type': 'FeaturePriorLoss', 'loss_weight': 1.0},
    'block_prior_opt': {'type': 'BlockPriorLoss', 'loss_weight': 0.1},
}


class World:
    """Folders of the benchmark.

    Attributes:
        folder (Path): all of it.
        data (Path): LMDBs and weights that all cases read and none may change.
        template (Path): results root with two complete runs, copied for the cases that look for losses.
        canary (Path): a file that only code from the input makes.
        images (dict[str, tuple[ndarray, ndarray]]): uint8 RGB gt and lq images (H, W, 3) by name.
    """

    def __init__(self, folder):
        self.folder = Path(folder).resolve()
        self.data, self.template = self.folder / 'data', self.folder / 'template'
        self.cases, self.canary = self.folder / 'cases', self.folder / 'canary'
        for made in (self.data, self.template, self.cases):
            made.mkdir(parents=True)
        self._make_data()
        outcome = children.run(self._make_weights, self.folder)
        if outcome.status != 0:
            raise UserError(f'weights cannot be made: {outcome.stderr.strip()[-300:]}')

    def _make_data(self):
        """Images with edges and smooth parts, as photographs have them, in raw and in PNG LMDBs."""
        cv2.setNumThreads(0)
        rng = np.random.default_rng(0)
        (self.data / 'hr').mkdir()
        files = []
        for i in range(IMAGES):
            image = cv2.resize(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8), (WIDTH, HEIGHT),
                               interpolation=cv2.INTER_CUBIC)
            cv2.line(image, (0, int(rng.integers(HEIGHT))), (WIDTH, int(rng.integers(HEIGHT))), (255, 255, 255), 2)
            files.append(self.data / f'hr/{i:04d}.png')
            cv2.imwrite(str(files[-1]), image)
        pack_pairs(files, self.data, [SCALE])
        self.images = {}
        with open_lmdb(str(self.data / f'train_LRx{SCALE}.lmdb'), lock=False, readonly=True) as env, env.begin() as txn:
            for file in files:
                small = np.frombuffer(txn.get(file.stem.encode()), np.uint8)
                self.images[file.stem] = (cv2.imread(str(file))[..., ::-1].copy(),
                                          small.reshape(HEIGHT // SCALE, WIDTH // SCALE, 3))
        for part, name in enumerate(('png_HR.lmdb', f'png_LRx{SCALE}.lmdb')):
            write_png_lmdb(self.data / name, {key: pair[part] for key, pair in self.images.items()})

    def _make_weights(self):
        torch.manual_seed(1)
        for name, network in (('teacher', EDSR), ('student', EDSR), ('rcan', RCAN), ('swinir', SWINIR)):
            state = build_network(deepcopy(network)).state_dict()
            torch.save({'params': state, **({'params_ema': state} if name == 'student' else {})},
                       self.data / f'{name}.pth')

    def case(self, name, with_runs=False):
        """A fresh folder for a case, with a results root in it; optionally with the template's runs."""
        folder = self.cases / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if with_runs:
            shutil.copytree(self.template, folder / 'root')
        else:
            (folder / 'root').mkdir()
        return folder

    def make_runs(self, opt, names=('other', 'tiny'), arguments=()):
        """Train complete runs of these names in the template."""
        for name in names:
            file = write_options({**opt, 'name': name}, self.folder / 'made.yml')
            outcome = children.run(launch('train', self.template, '-opt', file, *arguments), self.folder)
            if outcome.status != 0:
                raise UserError(f'an undisturbed training fails: {(outcome.stderr or outcome.stdout).strip()[-600:]}')


def write_png_lmdb(folder, images):
    """Write a database as BasicSR's ``make_lmdb_from_imgs`` does.

    Args:
        folder (Path): of the new database.
        images (dict[str, ndarray]): uint8 RGB (H, W, 3) by name.
    """
    with open_lmdb(str(folder), map_size=1 << 24) as env, env.begin(write=True) as txn:
        for name, image in images.items():
            txn.put(name.encode(), cv2.imencode('.png', image[..., ::-1])[1].tobytes())
    (folder / 'lock.mdb').unlink()
    (folder / 'meta_info.txt').write_text(''.join(
        f'{name}.png ({image.shape[0]},{image.shape[1]},3) 1\n' for name, image in images.items()))


def training(world, student=None, teacher=None, losses=tuple(LOSSES), train=None, data=None):
    """Options of a training of four iterations over the world's data.

    Args:
        world (World): whose data.
        student, teacher (dict | None): network blocks; EDSR where None.
        losses (iterable[str]): of ``LOSSES``.
        train, data (dict | None): more of ``train`` and of ``datasets.train``.
    """
    roots = {'dataroot_gt': str(world.data / 'train_HR.lmdb'),
             'dataroot_lq': str(world.data / f'train_LRx{SCALE}.lmdb')}
    teacher = deepcopy(teacher or EDSR)
    weights = {'EDSR': 'teacher', 'RCAN': 'rcan', 'SwinIR': 'swinir'}[teacher['type']]
    return deepcopy({
        'name': 'tiny', 'model_type': 'MiPKDModel', 'scale': SCALE, 'num_gpu': 0, 'manual_seed': 3,
        'datasets': {
            'train': {'name': 'made', 'type': 'PairedSRDataset', **roots, 'gt_size': 16, 'use_hflip': True,
                      'use_rot': True, 'num_worker_per_gpu': 0, 'batch_size_per_gpu': 2, **(data or {})},
            'val': {'name': 'made', 'type': 'PairedSRDataset', **roots}},
        'network_g': student or EDSR, 'network_t': teacher,
        'path': {'pretrain_network_g': None, 'strict_load_g': True,
                 'pretrain_network_t': str(world.data / f'{weights}.pth'), 'resume_state': None},
        'train': {'ema_decay': 0.999, 'precision': 'fp32', 'cuts_g': 2, 'cuts_t': 2,
                  'optim_g': {'type': 'Adam', 'lr': 0.001, 'betas': [0.9, 0.99]},
                  'scheduler': {'type': 'MultiStepLR', 'milestones': [3], 'gamma': 0.5},
                  'total_iter': 4, 'warmup_iter': -1, 'mixer_opt': {'latent': 6},
                  **{name: LOSSES[name] for name in losses}, **(train or {})},
        'val': {'val_freq': 100, 'save_img': False,
                'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True}}},
        'logger': {'print_freq': 2, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
    })


def testing(world):
    """Options of a test of the world's student."""
    opt = training(world)
    test = {key: opt[key] for key in ('model_type', 'scale', 'num_gpu', 'manual_seed', 'network_g', 'val')}
    del test['val']['val_freq']
    return {**test, 'name': 'tested', 'datasets': {'test_1': opt['datasets']['val']},
            'path': {'pretrain_network_g': str(world.data / 'student.pth'), 'param_key_g': 'params_ema',
                     'strict_load_g': True}}


def write_options(opt, file):
    """Write options as YAML. Returns the file."""
    file.write_text(yaml.safe_dump(opt, sort_keys=False))
    return file


def launch(kind, root, *arguments, iterations=None):
    """A function for ``children.run``: the launcher of ``basicsr/<kind>.py`` with its results below ``root``.

    Args:
        kind (str): 'train' or 'test'.
        root (Path): results root.
        *arguments: the command line.
        iterations (int | None): end well after so many, as a run that works.
    """
    def start():
        sys.argv = [f'basicsr/{kind}.py', *map(str, arguments)]
        if iterations is not None:
            _stop_after(iterations)
        return getattr(mipkd_model.launch, kind)(root)
    return start


def _stop_after(iterations):
    """Mutated options may ask for a million iterations; that a run starts to learn is all that is asked of it."""
    from mipkd_model.mipkd_model import MiPKDModel
    step, count = MiPKDModel.optimize_parameters, 0

    def counted(self, current_iter):
        nonlocal count
        if count == iterations:
            print(ENOUGH, flush=True)
            os._exit(0)
        count += 1
        return step(self, current_iter)

    MiPKDModel.optimize_parameters = counted
