"""Whether what a run will write has room on the disk: a run of two days shall not find out at its end."""
import math
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import torch

from mipkd_arch.base.errors import UserError

from ..data.stores import open_store
from ..training.optimizer import make_optimizer
from .saver import KEEP_STATES
from .states import states_in

OF_TENSOR = 300  # bytes that a file has for each tensor beside its numbers
LINE = 400  # bytes of a line in the log, or of its numbers in TensorBoard's
PNG = 0.6  # of the bytes of its pixels, as photographs have it; noise takes all of them
PROBE = 4096  # numbers of a weight that an optimizer is tried on


class Share(NamedTuple):
    """Files of one kind that a run will write."""

    count: int
    what: str
    """In the plural, for messages."""
    size: float
    """Bytes of each."""
    remedy: str
    """What makes it less."""


def check_disk(opt, distiller=None):
    """Check that what a run will still write fits on the file system of its folder.

    Quotas cannot be seen from here, nor what others will write meanwhile. Nothing is counted twice on resuming: files
    that are there are there. TensorBoard's files are taken to lie on the same file system.

    Args:
        opt (dict): all options; ``start_iter`` of a run that goes on.
        distiller (Distiller | None): what a training trains, as the networks' check has assembled it; without one only
            images are counted.

    Raises:
        UserError: it does not fit.
    """
    if opt.get('rank'):
        return  # the first process writes
    folder = Path(opt['path']['experiments_root' if opt['is_train'] else 'results_root'])
    shares = [share for share in (_of_training(opt, distiller) if opt['is_train'] else _of_test(opt)) if share.count]
    needed = sum(share.count * share.size for share in shares)
    try:
        free = shutil.disk_usage(_existing(folder)).free
    except OSError:
        return  # that it cannot be written to is said where it is made
    if needed <= free:
        return
    listed = ', '.join(f'{share.count} {share.what} of {in_units(share.size)}' for share in
                       sorted(shares, key=lambda share: -share.count * share.size)[:3])
    remedies = [share.remedy for share in shares if share.count * share.size > needed / 10]
    raise UserError(f'{folder}: has {in_units(free)} free, but this run will write about {in_units(needed)} '
                    f'({listed}); {", ".join(dict.fromkeys(filter(None, remedies)))}, or free space')


def _of_training(opt, distiller):
    train, logger, val = opt['train'], opt['logger'], opt.get('val') or {}
    start, end = opt.get('start_iter', 0), int(train['total_iter'])

    def times(freq):
        return end // int(freq) - start // int(freq)

    if distiller is not None:
        network, others = size_of(distiller.student), sum(map(size_of, distiller.parts.values()))
        with_average = network * (2 if train.get('ema_decay', 0) > 0 else 1)
        trained = [weight.numel() for weight in distiller.parameters() if weight.requires_grad]
        state = with_average + others + sum(trained) * optimizer_bytes(train['optim_g']) + OF_TENSOR * len(trained)
        saved, kept = times(logger['save_checkpoint_freq']), logger.get('keep_states', KEEP_STATES)
        yield Share(saved + 1, 'checkpoints', with_average, 'raise logger.save_checkpoint_freq')
        there = len(states_in(opt['path']['training_states'])) if opt['path'].get('resume_state') else 0
        # One more than are kept, for the oldest goes when the newest is there.
        yield Share(max(1, min(saved + 1, kept + 1) - there), 'states', state, 'lower logger.keep_states')
    yield Share(times(logger['print_freq']), 'lines of the log', LINE * (2 if logger.get('use_tb_logger') else 1),
                'raise logger.print_freq')
    if val.get('save_img') and val.get('val_freq'):
        yield _of_images(opt, 'val', times(val['val_freq']) + 1)


def _of_test(opt):
    if (opt.get('val') or {}).get('save_img'):
        yield _of_images(opt, '', 1)


def _of_images(opt, phase, times):
    """Images of the data sets of a phase, saved that many times."""
    sizes = [size for name, block in opt['datasets'].items() if name.startswith(phase) for size in
             image_bytes(block, opt['scale'])]
    return Share(times * len(sizes), 'images', PNG * sum(sizes) / max(1, len(sizes)), 'set val.save_img: false')


def size_of(module):
    """Bytes that a module's weights and buffers take in a file."""
    return sum(value.numel() * value.element_size() + OF_TENSOR for value in module.state_dict().values())


def optimizer_bytes(block):
    """Bytes that an optimizer keeps for each number that it trains, found by a step of it.

    Args:
        block (dict): ``train.optim_g``.
    """
    weight = torch.zeros(PROBE, requires_grad=True)
    weight.grad = torch.zeros(PROBE)
    optimizer = make_optimizer(block, [weight])
    optimizer.step()
    kept = [value for value in optimizer.state[weight].values() if torch.is_tensor(value) and value.numel() == PROBE]
    return sum(value.element_size() for value in kept)


def image_bytes(block, scale):
    """Bytes of the pixels of each image that a network will make of a data set; none where that is not known.

    Args:
        block (dict): of the data set.
        scale (int): of the network.
    """
    root, zoom = (block['dataroot_gt'], 1) if block.get('dataroot_gt') else (block.get('dataroot_lq'), scale)
    if not isinstance(root, str):
        return []
    try:
        return [3 * height * width * zoom * zoom for height, width, _ in open_store(root).shapes.values()]
    except UserError:  # another kind of data set, whose own words on it come later
        return []


def in_units(size):
    """Bytes as text, such as '1.5 GB'."""
    unit = min(3, max(0, int(math.log10(size) // 3))) if size >= 1 else 0
    return f'{size / 1000**unit:.{1 if unit else 0}f} {("bytes", "kB", "MB", "GB")[unit]}'


def _existing(folder):
    """The folder, or the nearest above it that is there."""
    folder = Path(os.path.abspath(folder))
    return next(path for path in (folder, *folder.parents) if path.exists())
