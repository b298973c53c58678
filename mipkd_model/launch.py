"""BasicSR's training and test pipelines, started with what they lack.

``basicsr.train.train_pipeline`` stays the loop. Put in its place are only functions of the same signatures, each
with its reason beside it.
"""
import argparse
import os
import sys
from os import path as osp

import torch

from mipkd_arch.errors import UserError, exit_status, number_in

import basicsr.test
import basicsr.train
from basicsr.utils import check_resume, set_random_seed
from basicsr.utils.options import parse_options as basicsr_parse_options

from .checks import check_blocks, check_files, check_keys, check_networks, check_options, read_options
from .data.order import Prefetcher, create_train_val_dataloader
from .evaluation.origin import option_file_origin
from .weights import read_checkpoint


def parse_options(root_path, is_train=True):
    """As BasicSR's, after the option file has been read safely, and with the options checked.

    BasicSR's reader builds any Python object that a tag names, and its pipeline fails on a mistake only after the
    experiment's folders are made and an older run of that name was moved away.
    """
    if {'-h', '--help'} & set(sys.argv[1:]):
        print('example: python basicsr/train.py -opt options/train_MiPKD_x4.yml --auto_resume\n' if is_train else
              'example: python basicsr/test.py -opt options/test_MiPKD_x4.yml\n')
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument('-opt')
    file = early.parse_known_args()[0].opt
    if file is not None:  # without one, and for --help, BasicSR's own parser has the word
        found = read_options(file)
        check_blocks(found, is_train)
        check_keys(found)
    opt, args = basicsr_parse_options(root_path, is_train)
    number_in('manual_seed', opt['manual_seed'], 0, 2**32 - 1 - opt['rank'], integer=True)
    set_random_seed(opt['manual_seed'] + opt['rank'])  # BasicSR does so before --force_yml is read
    opt['option_file'] = option_file_origin(f'basicsr/{"train" if is_train else "test"}.py', args.opt, args.force_yml)
    if opt.get('num_gpu') and opt['num_gpu'] > 1 and not opt['dist']:
        print(f'num_gpu: using 1 of {opt["num_gpu"]} GPUs; for all of them start with torchrun and --launcher pytorch.',
              flush=True)
        opt['num_gpu'] = 1
    if opt['num_gpu'] and not torch.cuda.is_available():
        raise UserError(f'num_gpu: {opt["num_gpu"]}, but torch sees no GPU; set num_gpu: auto, or 0 for the CPU')
    if is_train and opt.get('path') is not None:
        opt['path'].setdefault('resume_state', None)
        if opt.get('network_t') is not None:
            # On resume BasicSR would look for the teacher among this run's own checkpoints.
            kept = opt['path'].get('ignore_resume_networks') or []
            opt['path']['ignore_resume_networks'] = sorted({*([kept] if isinstance(kept, str) else kept), 'network_t'})
    # BasicSR reads these without asking whether they are there.
    for block, defaults in (('logger', {'use_tb_logger': False}), ('val', {'save_img': False, 'suffix': None})):
        for key, value in defaults.items():
            if isinstance(opt.get(block), dict):
                opt[block].setdefault(key, value)
    check_options(opt, is_train)
    check_files(opt)
    check_networks(opt, is_train)
    return opt, args


def load_resume_state(opt):
    """As BasicSR's, on a CPU too, from the folder the experiment is in, and without running code from the file.

    BasicSR asks for the current CUDA device, which fails where there is none, and looks in ``experiments`` of the
    current folder whatever the run's own folder is.
    """
    if opt['auto_resume']:
        folder = opt['path']['training_states']
        states = [name for name in os.listdir(folder) if name.endswith('.state')] if osp.isdir(folder) else []
        if states:
            opt['path']['resume_state'] = osp.join(folder, max(states, key=lambda name: int(name.split('.')[0])))
        else:
            print(f'--auto_resume: no state in {folder}, starting from the beginning.', flush=True)
    path = opt['path'].get('resume_state')
    if not path:
        return None
    state = read_checkpoint(path)
    check_resume(opt, state['iter'])
    opt['start_iter'] = state['iter']  # the order of samples goes on from there
    state['epoch'] = 0  # the only one, whatever loop saved the state
    return state


def train(root):
    """Train from the command line's option file; results go below ``root``. Returns the exit status."""
    basicsr.train.parse_options = parse_options
    basicsr.train.load_resume_state = load_resume_state
    basicsr.train.create_train_val_dataloader = create_train_val_dataloader
    basicsr.train.CPUPrefetcher = Prefetcher
    return exit_status(basicsr.train.train_pipeline, str(root))


def test(root):
    """Validate from the command line's option file; results go below ``root``. Returns the exit status."""
    basicsr.test.parse_options = parse_options
    return exit_status(basicsr.test.test_pipeline, str(root))
