"""The way of a run: command line, options, checks, then the pipeline of BasicSR.

``basicsr.train.train_pipeline`` and ``basicsr.test.test_pipeline`` stay the loops. Functions that they call are
replaced by others of the same signature, each with its reason in its docstring.
"""
from __future__ import annotations

import argparse
import logging
import os
from functools import partial
from types import ModuleType
from typing import Any

import basicsr.test
import basicsr.train
from basicsr.utils.options import dict2str

from .base.progress import closing_bar
from .config.advice import advice
from .config.checks import check_files, check_networks
from .config.command_line import read_command_line
from .distributed.process_group import check_same, collective, exit_status
from .run import environment, folders
from .run.board import init_tb_loggers
from .run.debug import debug_note
from .run.disk import check_disk
from .run.logs import ForFile, MessageLogger, get_root_logger, summary
from .run.resuming import read_any_state, resume_from_state
from .run.sampler import Prefetcher, create_train_val_dataloader
from .run.signals import stop_on_signals
from .run.states import archive_later_states
from .training.identity import flat, identity

Options = dict[str, Any]


def train(root: str | os.PathLike, args: argparse.Namespace | None = None) -> int:
    """Train as ``read_command_line`` takes it from ``args``; results go below ``root``. Returns the exit status."""
    vars(basicsr.train).update(
        load_resume_state=load_resume_state, MessageLogger=MessageLogger, mkdir_and_rename=folders.mkdir_and_rename,
        copy_opt_file=folders.copy_opt_file, init_tb_loggers=init_tb_loggers, CPUPrefetcher=Prefetcher,
        CUDAPrefetcher=Prefetcher, create_train_val_dataloader=create_loaders)
    return _run(basicsr.train, 'train_pipeline', root, args)


def test(root: str | os.PathLike, args: argparse.Namespace | None = None) -> int:
    """As ``train``, of a test."""
    return _run(basicsr.test, 'test_pipeline', root, args)


def _run(module: ModuleType, pipeline: str, root: str | os.PathLike, args: argparse.Namespace | None) -> int:
    vars(module).update(
        parse_options=partial(parse_options, args=args), get_env_info=lambda: ForFile(environment.report()),
        get_root_logger=get_root_logger, dict2str=log_options,
        make_exp_dirs=collective()(folders.make_exp_dirs))
    # On a full disk, logging would print a traceback for each line; saving a checkpoint reports it in one.
    logging.raiseExceptions = False
    # Until the exit status is known: torchrun ends the other ranks while they say that they have lost one.
    with stop_on_signals():
        return exit_status(closing_bar()(getattr(module, pipeline)), str(root))


def parse_options(root_path: str, is_train: bool = True,
                  args: argparse.Namespace | None = None) -> tuple[Options, argparse.Namespace]:
    """As BasicSR's, with all checks before anything is written; ``args`` as for ``read_command_line``.

    BasicSR's reader builds any Python object that a tag names, and its pipeline fails on a mistake only after an older
    run of that name was moved away.
    """
    with collective():
        opt, args = read_command_line(root_path, is_train, args)
        if is_train:
            resume_from_state(opt)
        check_files(opt)
        check_disk(opt, check_networks(opt, is_train))
        # Where files lie may differ between machines.
        options = {key: value for key, value in opt.items() if key not in ('path', 'plugins', 'option_file', 'rank')}
        shared = {path: value for path, value in flat(options) if '.dataroot' not in path}
        shared.update(identity(opt) if is_train else {})
    with collective():
        check_same(shared)
    return opt, args


@collective()
def load_resume_state(opt: Options) -> Options | None:
    """As BasicSR's, of the state that ``parse_options`` has found; the experiment's folder becomes this process's.

    BasicSR's fails without a CUDA device, looks in the current folder, and runs code from the file.
    """
    paths = opt['path']
    if paths['resume_state'] is None:
        return None
    state = read_any_state(opt)
    opt['samples'], opt['formats'] = state.get('samples'), state.get('formats')
    if opt['rank'] == 0:
        folders.make_missing(paths)
        folders.occupy(paths['experiments_root'])
        folders.clear_remains(paths['models'], paths['training_states'])
        if not opt['auto_resume']:
            for file in archive_later_states(paths['training_states'], state['iter']):
                print(f'{file}: was a later state; the run resumes from {paths["resume_state"]}.', flush=True)
    return state


def log_options(opt: Options) -> str:
    """As ``dict2str``, whose text goes to the log's file here; returns the summary that screen and file get."""
    get_root_logger().info(ForFile(dict2str(opt)))
    return summary(opt)


def create_loaders(opt: Options, logger: logging.Logger) -> tuple:
    """As ``create_train_val_dataloader``, of the same images on all ranks; first it logs what is unusual."""
    for line in filter(None, [debug_note(opt['name']), *advice(opt)]):
        logger.warning(line)
    with collective():
        loaders = create_train_val_dataloader(opt, logger)
    with collective():
        check_same({'datasets.train: images': opt['samples']})
    return loaders
