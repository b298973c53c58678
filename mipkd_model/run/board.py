"""What TensorBoard shows of a run, and Weights & Biases, to which the same is sent."""
from __future__ import annotations

import atexit
import secrets
from pathlib import Path
from typing import Any

from mipkd_arch.base.errors import UserError, reason_of

from ..base.files import atomic_write
from ..distributed.process_group import collective

RUN_ID = 'wandb_id.txt'
"""File in an experiment's folder with the name of the run at Weights & Biases."""
_writers: list[Any] = []


@collective()
def init_tb_loggers(opt: dict[str, Any]) -> Any:
    """As BasicSR's, but a resumed run goes on from its state, in the same run of Weights & Biases; closed at any end.

    What was logged after the state is not shown any more. BasicSR's asks wandb for a function that it no longer has.
    Returns a SummaryWriter, or None where nothing is logged.

    Raises:
        UserError: Weights & Biases cannot be reached.
    """
    _writers.clear()
    if opt['rank'] or not opt['logger'].get('use_tb_logger') or 'debug' in opt['name']:
        return None
    if (opt['logger'].get('wandb') or {}).get('project') is not None:
        _start_wandb(opt, opt['logger']['wandb'])  # first, for it watches the writers that are made after it
    from torch.utils.tensorboard import SummaryWriter  # takes a second
    resumed = opt['path'].get('resume_state') is not None
    _writers.append(SummaryWriter(str(Path(opt['root_path'], 'tb_logger', opt['name'])),
                                  purge_step=opt['start_iter'] + 1 if resumed else None))
    atexit.register(_writers[0].close)
    return _writers[0]


def writer() -> Any:
    """What ``init_tb_loggers`` has returned in this process."""
    return _writers[0] if _writers else None


def flush() -> None:
    """Write what was logged to the disk; before a state is saved, so that a run that resumes from it lacks nothing."""
    for one in _writers:
        one.flush()


def _start_wandb(opt: dict[str, Any], block: dict[str, Any]) -> None:
    import wandb
    file = Path(opt['path']['experiments_root'], RUN_ID)
    run = block.get('resume_id') or (file.read_text(encoding='utf-8') if file.is_file() else secrets.token_hex(4))
    try:
        wandb.init(id=run, resume='allow', name=opt['name'], config=opt, project=block['project'],
                   sync_tensorboard=True)
    except Exception as error:  # of the network, the account, or a file
        raise UserError(f'logger.wandb.project: Weights & Biases cannot be used ({reason_of(error)}); log in by wandb '
                        'login, set WANDB_MODE=offline, or set the project to null') from None
    with atomic_write(file) as temporary:
        temporary.write_text(run, encoding='utf-8')
