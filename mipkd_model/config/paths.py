"""Whether the files that an option file names are there: images and weights."""
from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from mipkd_arch.base.errors import UserError, reason_of

from basicsr.utils.registry import DATASET_REGISTRY

from ..data.basicsr_data import check_data, name_in_another_form
from ..data.hints import how_to_get
from ..data.paired_dataset import PairedSRDataset
from ..evaluation.metrics import OURS
from ..losses.csd_loss import VGG19
from ..networks.zoo import how_to_get_weights, named_weights
from .blocks import class_of
from .findings import Findings

SSIM_WINDOW = 11


def find_in_files(opt: Mapping[str, Any]) -> Findings:
    """What is wrong with the images and weights that options name: missing, not readable, not pairs, too small.

    Messages have the command that gets what is missing; notes tell which files of folders are left out.
    """
    found = Findings()
    for phase, block in opt['datasets'].items():
        with found.catching():
            for key in ('dataroot_gt', 'dataroot_lq'):
                path = block.get(key)
                if path is not None and not _exists(path):
                    raise UserError(f'datasets.{phase}.{key}: {path} is not there. {how_to_get(path, opt["scale"])}')
            found.notes += _open(opt, phase, block)
    perceptual = (opt.get('train') or {}).get('perceptual_opt')
    named = {'train.perceptual_opt': VGG19} if perceptual and opt.get('is_train', True) else {}
    for where, path in {**named_weights(opt), **named}.items():
        with found.catching():
            if not _exists(path, Path.is_file):
                raise UserError(f'{where}: {path} is not there. {how_to_get_weights(path)}')
    return found


def _exists(path: str, test: Callable[[Path], bool] = Path.exists) -> bool:
    try:
        return test(Path(path).expanduser())
    except (OSError, ValueError, RuntimeError):  # too long, not readable, or of a user who is not there
        return False


def _open(opt: Mapping[str, Any], phase: str, block: dict[str, Any]) -> list[str]:
    """Open a dataset and check what it reads. Returns what is left out of its folders."""
    notes: list[str] = []
    kind = class_of(f'datasets.{phase}.type', block['type'], DATASET_REGISTRY)
    try:
        data = kind({**deepcopy(block), 'phase': phase.split('_')[0], 'scale': opt['scale']})
        if len(data) and kind is not PairedSRDataset:  # others find out what is wrong when they read
            if kind.__module__.startswith('basicsr.'):
                notes += check_data(data, f'datasets.{phase}', measured=phase != 'train')
            drawn = random.getstate()
            with torch.random.fork_rng(devices=[]):
                item = data[0]
            random.setstate(drawn)
            if phase == 'train' and opt.get('model_type') == 'MiPKDModel' and 'gt' not in item:
                raise UserError(f'datasets.train.type: {block["type"]} has no gt, which a training needs; take '
                                'PairedSRDataset')
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f'datasets.{phase}.{error.args[0]}: missing, {block["type"]} needs it') from None
    except Exception as error:  # any dataset, any failure
        odd = name_in_another_form(block)
        hint = f'; the name of {odd} is in the Unicode form of macOS: rename it, or take PairedSRDataset' if odd else ''
        raise UserError(f'datasets.{phase}: {block["type"]} refuses these options ({reason_of(error)}){hint}') from None
    if not len(data):
        raise UserError(f'datasets.{phase}: has no images')
    if kind is PairedSRDataset:
        notes += [f'datasets.{phase}.dataroot_{key}: {store.path}: left out: {store.left_out}'
                  for key, store in (('gt', data.gt), ('lq', data.lq)) if store.left_out]
        if phase != 'train':
            _check_borders(opt, phase, min(data.gt.shapes.items(), key=lambda item: min(item[1][:2])))
    return notes


def _check_borders(opt: Mapping[str, Any], phase: str, smallest: tuple[str, tuple[int, ...]]) -> None:
    name, (height, width, _) = smallest
    for metric, block in ((opt.get('val') or {}).get('metrics') or {}).items():
        border = block.get('crop_border', 0)
        needed = 2 * border + (SSIM_WINDOW if block['type'] == 'calculate_ssim' else 1)
        if block['type'] in OURS and min(height, width) < needed:
            raise UserError(f'val.metrics.{metric}.crop_border: {border} leaves too little of image {name!r} of '
                            f'datasets.{phase}, which is {width}x{height}; at least {needed}x{needed} is needed')
