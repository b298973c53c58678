"""Paired lq/gt images from two raw LMDBs, for BasicSR's DATASET_REGISTRY."""
import numpy as np
import torch
from torch.utils import data

from mipkd_arch.errors import UserError

from basicsr.utils.registry import DATASET_REGISTRY

from .raw_lmdb import DataError, RawLmdb

KEYS = {'name', 'type', 'phase', 'scale', 'dataroot_gt', 'dataroot_lq', 'gt_size', 'use_hflip', 'use_rot',
        'dataset_enlarge_ratio', 'batch_size_per_gpu', 'num_worker_per_gpu', 'use_shuffle', 'pin_memory',
        'persistent_workers', 'prefetch_mode', 'num_prefetch_queue'}


@DATASET_REGISTRY.register()
class PairedRawLMDBDataset(data.Dataset):
    """Pairs of uint8 images; MiPKDModel brings them to [0, 1] on the device.

    While training each item is a random crop, flipped and rotated; the draws differ in every epoch and worker. For
    validation an item is a whole image.

    Args:
        opt (dict): the option file's block for this dataset:
            dataroot_gt, dataroot_lq (str): raw LMDBs with the same names in both.
            scale (int): gt size over lq size, set by BasicSR from the top level.
            phase (str): 'train', 'val' or 'test', set by BasicSR.
            gt_size (int): side of the gt crop in pixels, a multiple of scale (training only).
            use_hflip (bool): flip at random. Default: True.
            use_rot (bool): rotate by multiples of 90 degrees at random. Default: True.

    Items are dicts: ``lq`` uint8 (3, h, w), ``gt`` uint8 (3, h * scale, w * scale), ``lq_path``, ``gt_path``.
    """

    def __init__(self, opt):
        super().__init__()
        unknown = sorted(set(opt) - KEYS)
        if unknown:
            raise UserError(f'datasets: {opt["type"]} has no option {unknown[0]!r}; allowed are '
                            f'{", ".join(sorted(KEYS))}')
        self.opt = opt
        self.scale, self.train = opt['scale'], opt['phase'] == 'train'
        self.gt, self.lq = RawLmdb(opt['dataroot_gt']), RawLmdb(opt['dataroot_lq'])
        self.names = list(self.gt.shapes)
        if self.train:
            size = opt.get('gt_size')
            if not isinstance(size, int) or size <= 0 or size % self.scale:
                raise UserError(f'datasets.train.gt_size: {size!r} is not a multiple of scale {self.scale}')
        self._check_pairs()
        self._rng, self._rng_seed = None, None

    def _check_pairs(self):
        if set(self.names) != set(self.lq.shapes):
            odd = sorted(set(self.names) ^ set(self.lq.shapes))[0]
            raise DataError(f'{self.gt.path} and {self.lq.path} do not hold the same images: {odd!r} is in one only')
        for name in self.names:
            (gt_h, gt_w, _), (lq_h, lq_w, _) = self.gt.shapes[name], self.lq.shapes[name]
            if (gt_h // self.scale, gt_w // self.scale) != (lq_h, lq_w):
                raise DataError(f'{self.lq.path}: image {name!r} is {lq_w}x{lq_h}, but x{self.scale} of its gt '
                                f'{gt_w}x{gt_h} would be {gt_w // self.scale}x{gt_h // self.scale}')
            if self.train and min(lq_h, lq_w) * self.scale < self.opt['gt_size']:
                raise DataError(f'{self.gt.path}: image {name!r} is {gt_w}x{gt_h}, smaller than '
                                f'gt_size {self.opt["gt_size"]}')

    def __len__(self):
        return len(self.names)

    def _random(self):
        # torch gives every worker of every epoch its own initial seed. BasicSR's worker_init_fn seeds numpy and
        # random alike in each epoch, which would repeat the same crops.
        if self._rng_seed != torch.initial_seed():
            self._rng_seed = torch.initial_seed()
            self._rng = np.random.default_rng(self._rng_seed % 2**63)
        return self._rng

    def _train_pair(self, name):
        rng, scale = self._random(), self.scale
        side = self.opt['gt_size'] // scale
        height, width, _ = self.lq.shapes[name]
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        lq = self.lq.read(name, top, left, side, side)
        gt = self.gt.read(name, top * scale, left * scale, side * scale, side * scale)
        flip = self.opt.get('use_hflip', True) and rng.random() < 0.5
        turns = rng.integers(4) if self.opt.get('use_rot', True) else 0
        return [np.rot90(image[:, ::-1] if flip else image, turns) for image in (lq, gt)]

    def __getitem__(self, index):
        name = self.names[index]
        if self.train:
            lq, gt = self._train_pair(name)
        else:
            lq = self.lq.read(name)
            gt = self.gt.read(name, 0, 0, lq.shape[0] * self.scale, lq.shape[1] * self.scale)
        lq, gt = (torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1))) for x in (lq, gt))
        return {'lq': lq, 'gt': gt, 'lq_path': f'{name}.png', 'gt_path': f'{name}.png'}
