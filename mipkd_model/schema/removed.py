"""Options that nothing reads: BasicSR's that cannot work here, and removed ones."""
from __future__ import annotations

import re

REMOVED = {
    'find_unused_parameters': 'distributed training finds by itself which weights an iteration leaves out',
    'train.cuda_graphs': 'support of CUDA graphs was removed',
    'datasets.train.dataset_enlarge_ratio': 'samples are one endless sequence, without epochs',
    'datasets.train.use_flip': 'flips are use_hflip, and those up and down and transposes use_rot',
    **{f'datasets.{phase}.{name}': why for phase in ('train', 'val') for name, why in (
        ('io_backend', 'PairedSRDataset sees by itself whether a path is a folder or an LMDB'),
        ('meta_info_file', 'PairedSRDataset takes all images of the folders'),
        ('filename_tmpl', 'PairedSRDataset finds lq images by the name of gt, with or without x and scale behind'),
        ('phase', 'it follows from the name of the block'))},
    'val.window_size': 'images are padded by what the network needs in any case',
}
"""Why nothing reads an option, by its path."""
UNFIT_DATA = {
    'color': 'gives images of one channel, but networks take RGB; remove it (metrics are on Y by test_y_channel: true)',
    'mean': 'networks take images in [0, 1], and outputs are compared with gt in it; remove it',
    'std': 'networks take images in [0, 1], and outputs are compared with gt in it; remove it',
}
"""Options of BasicSR's datasets that cannot be right here, and why."""


def why_removed(path: str) -> str | None:
    """Why nothing reads an option, None for any other; what holds of ``datasets.val`` does of all that are measured."""
    return REMOVED.get(path) or REMOVED.get(re.sub(r'^datasets\.(val|test)(_[^.]*)?\.', 'datasets.val.', path))
