"""The command lines of trainings and tests, read into checked options."""
from __future__ import annotations

import argparse
import random
from contextlib import suppress
from os import path as osp
from typing import Any

import torch

from mipkd_arch.base.errors import UserError

from basicsr.utils import set_random_seed

from ..distributed import process_group as distributed
from ..evaluation.records import option_file_origin
from ..run.debug import is_debug, set_up_debug
from . import plugins
from .checks import check_machine, check_script, find_in_options, read_options
from .cli_arguments import add_arguments
from .reader import override


def read_command_line(root_path: str, is_train: bool,
                      args: argparse.Namespace | None = None) -> tuple[dict[str, Any], argparse.Namespace]:
    """Read options and arguments, check what the options say, and meet the other processes.

    Replaces BasicSR's ``parse_options``, which fails on a mistake only after an older run of that name was moved
    away, runs code that an option file or ``--force_yml`` names, and reads all values of ``--force_yml`` as strings.

    Args:
        root_path: where the results go.
        is_train: for a training, else for a test.
        args: of ``mipkd train`` or ``mipkd test``; None: those of ``sys.argv``.
    """
    start, args = ('basicsr/{}.py', _parser(is_train).parse_args()) if args is None else ('mipkd {}', args)
    distributed.init(args.launcher, _dist_params(args))
    opt = read_options(args.opt)
    override(opt, args.force_yml)
    changed = plugins.entries(opt, args.plugins)
    override(opt, changed)
    changed = [*args.force_yml, *changed]
    check_script(opt, is_train, args.opt, start)
    found = find_in_options(opt, is_train)
    found.stop(args.opt, changed)
    if args.debug and not is_debug(opt['name']):
        opt['name'] = f'debug_{opt["name"]}'
    check_machine(opt, is_train)
    opt['seed_drawn'] = opt.get('manual_seed') is None
    distributed.set_up(opt)
    opt['option_file'] = option_file_origin(start.format('train' if is_train else 'test'), args.opt, changed)
    for note in found.notes if opt['rank'] == 0 else ():
        print(note, flush=True)
    opt['auto_resume'], opt['is_train'] = args.auto_resume, is_train
    _seed(opt)
    complete(opt, root_path, is_train)
    return opt, args


def _dist_params(args: argparse.Namespace) -> dict[str, Any]:
    """``dist_params`` of the option file; empty if the file is wrong, which is reported after the ranks have met."""
    with suppress(UserError):
        opt = read_options(args.opt)
        override(opt, args.force_yml)
        if isinstance(opt.get('dist_params'), dict):
            return opt['dist_params']
    return {}


def _parser(is_train: bool) -> argparse.ArgumentParser:
    kind = 'train' if is_train else 'test'
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=f'{kind.title()} from an option file.',
        epilog=f'example: python basicsr/{kind}.py -opt options/{kind}_MiPKD_x4.yml'
               f'{" --auto_resume" if is_train else ""}')
    add_arguments(parser)
    return parser


def _seed(opt: dict[str, Any]) -> None:
    if opt.get('manual_seed') is None:
        opt['manual_seed'] = random.randint(1, 10000)
    highest = 2**32 - opt['world_size']
    if opt['manual_seed'] > highest:
        raise UserError(f'manual_seed: {opt["manual_seed"]} is too large for {opt["world_size"]} processes; give at '
                        f'most {highest}')
    set_random_seed(opt['manual_seed'] + opt['rank'])


def complete(opt: dict[str, Any], root_path: str, is_train: bool) -> None:
    """Fill in what a run reads and an option file need not say: device, phases, folders of results below the root."""
    count = torch.cuda.device_count()
    if opt['num_gpu'] == 'auto':
        opt['num_gpu'] = count
    if opt['num_gpu'] > 1 and not opt['dist']:
        if count > 1:
            print(f'num_gpu: using 1 of {count} GPUs; for more of them start with torchrun.', flush=True)
        opt['num_gpu'] = 1
    path = opt['path']
    for block in (path, *opt['datasets'].values()):
        for key, value in block.items():
            if isinstance(value, str) and key.startswith(('dataroot_', 'resume_state', 'pretrain_network')):
                block[key] = osp.expanduser(value)
    for phase, block in opt['datasets'].items():
        block.update(phase=phase.split('_')[0], scale=opt['scale'])
    # What the pipelines read without asking whether it is there.
    for name, defaults in (('logger', {'use_tb_logger': False}), ('val', {'save_img': False, 'suffix': None})):
        if isinstance(opt.get(name), dict):
            opt[name] = {**defaults, **opt[name]}
    if is_train:
        _complete_training(opt)
    folder = osp.join(str(root_path), 'experiments' if is_train else 'results', opt['name'])
    names = ('models', 'training_states', 'visualization') if is_train else ('visualization', )
    path.update({'experiments_root' if is_train else 'results_root': folder, 'log': folder,
                 **{name: osp.join(folder, name) for name in names}})


def _complete_training(opt: dict[str, Any]) -> None:
    path, data = opt['path'], opt['datasets']['train']
    if data.get('prefetch_mode') == 'cuda':  # batches are copied ahead in any case
        data['prefetch_mode'] = None
    path.setdefault('resume_state', None)
    if opt.get('network_t') is not None:
        # On resume BasicSR would look for the teacher among this run's own checkpoints.
        kept = path.get('ignore_resume_networks') or []
        path['ignore_resume_networks'] = sorted({*([kept] if isinstance(kept, str) else kept), 'network_t'})
    set_up_debug(opt)
