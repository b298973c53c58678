"""Pairs of lq and gt images for BasicSR's DATASET_REGISTRY."""
import hashlib
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch.utils import data

from mipkd_arch.base.errors import UserError, near_miss

from basicsr.utils.registry import DATASET_REGISTRY

from . import DataError
from .stores import check_pair, lq_names, open_store

OWN = ('dataroot_gt', 'dataroot_lq', 'gt_size', 'use_hflip', 'use_rot')
BASICSRS = ('name', 'type', 'phase', 'scale', 'batch_size_per_gpu', 'num_worker_per_gpu',
            'use_shuffle', 'pin_memory', 'persistent_workers', 'prefetch_mode', 'num_prefetch_queue')


class Sample(NamedTuple):
    """Key of an item: which image, and what decides its crop, flips and turn.

    Attributes:
        index (int): of the image.
        seed (int): the run's ``manual_seed``.
        position (int): of the sample in the whole training, over all processes.
    """

    index: int
    seed: int
    position: int


class Crop(NamedTuple):
    """A crop in lq pixels and what is done to it, in this order."""

    top: int
    left: int
    hflip: bool
    vflip: bool
    transpose: bool


def draw_crop(number, height, width, side, use_hflip=True, use_rot=True):
    """Read a crop off the digits of a large random number.

    Args:
        number (int): random, of 128 bits: far more than the digits need, so none is preferred measurably.
        height, width, side (int): of the lq image, and of the square crop.
        use_hflip, use_rot (bool): as in BasicSR: mirror left and right; mirror up and down, and transpose.
    """
    number, top = divmod(number, height - side + 1)
    number, left = divmod(number, width - side + 1)
    flips = number % 8
    return Crop(top, left, use_hflip and bool(flips & 1), use_rot and bool(flips & 2), use_rot and bool(flips & 4))


@DATASET_REGISTRY.register()
class PairedSRDataset(data.Dataset):
    """Pairs of uint8 images; MiPKDModel brings them to [0, 1] on the device.

    For training, item ``Sample(index, seed, position)`` is a function of just these, whichever process reads it; see
    ``mipkd_model.run.sampler``. A plain index, as BasicSR's own sampler gives it, has its crop drawn from torch's seed
    of the process, which is new in every epoch and worker. For validation an item is a whole image.

    Args:
        opt (dict): the option file's block for this dataset:
            dataroot_gt, dataroot_lq (str): raw LMDBs, PNG LMDBs of BasicSR, or folders of images, in any combination;
                lq images are named as their gt images or with ``x<scale>`` behind.
            scale (int): gt size over lq size, set by BasicSR from the top level.
            phase (str): 'train', 'val' or 'test', set by BasicSR.
            gt_size (int): side of the gt crop in pixels, a multiple of scale (training only).
            use_hflip (bool): flip at random. Default: True.
            use_rot (bool): rotate by multiples of 90 degrees at random. Default: True.

    Items are dicts: ``lq`` uint8 (3, h, w), ``gt`` uint8 (3, h * scale, w * scale), ``lq_path``, ``gt_path``.

    Raises:
        UserError: an option is wrong.
        DataError: the stores are not whole, not pairs, or have an image smaller than a crop.
    """

    def __init__(self, opt):
        super().__init__()
        if 'dataset_enlarge_ratio' in opt:
            raise UserError('datasets.train.dataset_enlarge_ratio: is not read, for samples are one endless sequence; '
                            'take it out')
        for key in opt:
            if key not in OWN + BASICSRS:
                raise UserError(f'datasets: {opt["type"]} has no option {key!r}{near_miss(key, OWN + BASICSRS)}; '
                                f'allowed are {", ".join(OWN + BASICSRS)}')
        self.opt = opt
        self.scale, self.train = opt['scale'], opt['phase'] == 'train'
        if self.train:
            size = opt.get('gt_size')
            if not isinstance(size, int) or size <= 0 or size % self.scale:
                raise UserError(f'datasets.train.gt_size: {size!r} is not a multiple of scale {self.scale}')
        self.gt, self.lq = open_store(opt['dataroot_gt']), open_store(opt['dataroot_lq'])
        self.pairs = list(lq_names(self.gt.shapes, self.lq.shapes, self.scale,
                                   f'{self.gt.path} and {self.lq.path}').items())
        for gt_name, lq_name in self.pairs:
            shape = self.gt.shapes[gt_name]
            check_pair(lq_name, shape, self.lq.shapes[lq_name], self.scale, self.lq.path)
            if self.train and min(self.lq.shapes[lq_name][:2]) * self.scale < size:
                raise DataError(f'{self.gt.path}: image {gt_name!r} is {shape[1]}x{shape[0]}, smaller than gt_size '
                                f'{size}; set a smaller one, or pack with --min-side {size} to leave such images out')
        self._rng, self._rng_seed = None, None

    def __len__(self):
        return len(self.pairs)

    def _number(self, key):
        if isinstance(key, Sample):
            seed = f'{key.seed} {key.position}'.encode()
            return int.from_bytes(hashlib.blake2b(seed, digest_size=16).digest(), 'little')
        if self._rng_seed != torch.initial_seed():
            self._rng_seed = torch.initial_seed()
            self._rng = np.random.default_rng(self._rng_seed % 2**63)
        return int.from_bytes(self._rng.bytes(16), 'little')

    def crop_of(self, key):
        """The crop that item ``key`` shows, in lq pixels."""
        _, lq_name = self.pairs[key.index if isinstance(key, Sample) else key]
        height, width, _ = self.lq.shapes[lq_name]
        return draw_crop(self._number(key), height, width, self.opt['gt_size'] // self.scale,
                         self.opt.get('use_hflip', True), self.opt.get('use_rot', True))

    def __getitem__(self, key):
        gt_name, lq_name = self.pairs[key.index if isinstance(key, Sample) else key]
        height, width, _ = self.lq.shapes[lq_name]
        crop = Crop(0, 0, False, False, False)
        if self.train:
            crop = self.crop_of(key)
            height = width = self.opt['gt_size'] // self.scale
        lq, gt = (
            _planes(store.read(name, crop.top * zoom, crop.left * zoom, height * zoom, width * zoom), crop)
            for store, name, zoom in ((self.lq, lq_name, 1), (self.gt, gt_name, self.scale)))
        return {'lq': lq, 'gt': gt, 'lq_path': f'{lq_name}.png', 'gt_path': f'{gt_name}.png'}


def _planes(image, crop):
    """(H, W, 3) to a fresh tensor (3, H, W), flipped and transposed. OpenCV does this fast, torch and numpy don't."""
    if crop.hflip or crop.vflip:
        image = cv2.flip(image, -1 if crop.hflip and crop.vflip else int(crop.hflip))
    if crop.transpose:
        image = cv2.transpose(image)
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes))
    return torch.from_numpy(planes)
