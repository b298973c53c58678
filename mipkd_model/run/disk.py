"""Whether the disk has room for the first files of a run."""
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from torch import nn

from mipkd_arch.base.errors import UserError

FACTOR = 3  # a training state has the weights of a checkpoint, mixers, and two numbers of Adam for each weight


def check_disk(opt: dict[str, Any], distiller: nn.Module | None = None) -> None:
    """Raise a UserError if a checkpoint and a training state of what is trained do not fit on the disk."""
    if distiller is None or not opt['is_train'] or opt.get('rank'):
        return
    folder = Path(opt['path']['experiments_root']).absolute()
    copies = 2 if opt['train'].get('ema_decay', 0) > 0 else 1
    needed = FACTOR * copies * sum(x.nbytes for x in distiller.state_dict().values())
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    if needed > free:
        raise UserError(f'{folder}: {free / 1e6:.1f} MB are free, but a checkpoint and a training state need '
                        f'{needed / 1e6:.1f} MB; free space, or run where there is room')
