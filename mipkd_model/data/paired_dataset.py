"""Pairs of lq and gt images for BasicSR's DATASET_REGISTRY."""
import hashlib
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch.utils import data

from basicsr.utils.registry import DATASET_REGISTRY

from . import DataError
from .stores import open_store, paired


class Sample(NamedTuple):
    """Key of an item: which image, and what decides its crop, flips and rotation."""

    index: int  # type: ignore[assignment]  # of the image; hides tuple.index
    seed: int  # the run's manual_seed
    position: int  # of the sample in the whole training, over all processes


class Crop(NamedTuple):
    """A crop in lq pixels and how it is augmented, in this order."""

    top: int
    left: int
    hflip: bool
    vflip: bool
    transpose: bool


def draw_crop(number: int, height: int, width: int, side: int, use_hflip: bool = True, use_rot: bool = True) -> Crop:
    """Read a crop off the digits of a large random number.

    The number has 128 bits, far more than the digits need, so that none is preferred measurably. ``height``, ``width``
    and ``side`` are of the lq image, and of the square crop, in pixels; ``use_hflip`` and ``use_rot`` as in BasicSR.
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

    Items are dicts: ``lq`` uint8 (3, h, w), ``gt`` uint8 (3, h * scale, w * scale), ``lq_path``, ``gt_path``.

    Args:
        opt: the option file's block for this dataset (``schema.data``), with scale and phase, which BasicSR adds.
            dataroot_gt and dataroot_lq may be raw LMDBs, PNG LMDBs of BasicSR, or folders of images, in any
            combination; lq images are named as their gt images or with ``x<scale>`` behind.

    Raises:
        DataError: the stores are not complete, not pairs, or have an image smaller than a crop.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__()
        self.opt, self.scale, self.train = opt, opt['scale'], opt['phase'] == 'train'
        self.gt, self.lq = open_store(opt['dataroot_gt']), open_store(opt['dataroot_lq'])
        self.pairs = paired(self.gt, self.lq, self.scale)
        for name, _ in self.pairs if self.train else ():
            height, width, _ = self.gt.shapes[name]
            if min(height, width) // self.scale * self.scale < opt['gt_size']:
                raise DataError(f'{self.gt.path}: image {name!r} is {width}x{height}, smaller than gt_size '
                                f'{opt["gt_size"]}; set a smaller one, or leave such images out by --min-side '
                                f'{opt["gt_size"]} of mipkd data pack')
        self._rng: np.random.Generator | None = None
        self._rng_seed: int | None = None

    def __len__(self) -> int:
        return len(self.pairs)

    def _number(self, key: Sample | int) -> int:
        if isinstance(key, Sample):
            seed = f'{key.seed} {key.position}'.encode()
            return int.from_bytes(hashlib.blake2b(seed, digest_size=16).digest(), 'little')
        if self._rng is None or self._rng_seed != torch.initial_seed():
            self._rng_seed = torch.initial_seed()
            self._rng = np.random.default_rng(self._rng_seed % 2**63)
        return int.from_bytes(self._rng.bytes(16), 'little')

    def crop_of(self, key: Sample | int) -> Crop:
        """The crop that item ``key`` shows, in lq pixels."""
        _, lq_name = self.pairs[key.index if isinstance(key, Sample) else key]
        height, width, _ = self.lq.shapes[lq_name]
        return draw_crop(self._number(key), height, width, self.opt['gt_size'] // self.scale,
                         self.opt.get('use_hflip', True), self.opt.get('use_rot', True))

    def __getitem__(self, key: Sample | int) -> dict[str, torch.Tensor | str]:
        gt_name, lq_name = self.pairs[key.index if isinstance(key, Sample) else key]
        height, width, _ = self.lq.shapes[lq_name]
        crop = Crop(0, 0, False, False, False)
        if self.train:
            crop = self.crop_of(key)
            height = width = self.opt['gt_size'] // self.scale
        lq, gt = (
            _to_tensor(store.read(name, crop.top * zoom, crop.left * zoom, height * zoom, width * zoom), crop)
            for store, name, zoom in ((self.lq, lq_name, 1), (self.gt, gt_name, self.scale)))
        return {'lq': lq, 'gt': gt, 'lq_path': f'{lq_name}.png', 'gt_path': f'{gt_name}.png'}


def _to_tensor(image: np.ndarray, crop: Crop) -> torch.Tensor:
    """(H, W, 3) to a new tensor (3, H, W), flipped and transposed. OpenCV is faster at this than torch and numpy."""
    if crop.hflip or crop.vflip:
        image = cv2.flip(image, -1 if crop.hflip and crop.vflip else int(crop.hflip))
    if crop.transpose:
        image = cv2.transpose(image)
    planes = np.empty((3, *image.shape[:2]), np.uint8)
    cv2.split(image, list(planes))
    return torch.from_numpy(planes)
