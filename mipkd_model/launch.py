"""BasicSR's training and test pipelines, started with what they lack.

``basicsr.train.train_pipeline`` stays the loop. Put in its place are only functions of the same signatures, each
with its reason beside it.
"""
import atexit
import logging
import os
from functools import partial

import basicsr.test
import basicsr.train
from basicsr.utils import init_tb_logger, init_wandb_logger
from basicsr.utils.options import dict2str

from .config.advice import advice
from .config.checks import check_files, check_networks
from .config.command_line import read_command_line
from .distributed.process_group import check_alike, exit_status, together
from .run import environment, folders
from .run.debug import is_debug, told
from .run.disk import check_disk
from .run.logs import ForFile, MessageLogger, get_root_logger
from .run.resuming import read_any_state, resume_from_state
from .run.sampler import Prefetcher, create_train_val_dataloader, samples_of
from .run.signals import stop_on_signals
from .run.states import archive_later_states
from .run.summary import summary
from .training.identity import flat, identity


def parse_options(root_path, is_train=True, args=None):
    """As BasicSR's, after the option file has been read safely, and with the options checked; ``args`` as
    for ``read_command_line``.

    BasicSR's reader builds any Python object that a tag names, and its pipeline fails on a mistake only after the
    experiment's folders are made and an older run of that name was moved away.
    """
    opt, args = read_command_line(root_path, is_train, args)
    with together():
        if is_train:
            resume_from_state(opt)
        check_files(opt)
        check_disk(opt, check_networks(opt, is_train))
    check_alike(_alike(opt, is_train))
    return opt, args


def _alike(opt, is_train):
    """What all processes must have alike; where files lie, each may know by itself."""
    options = {key: value for key, value in opt.items() if key not in ('path', 'plugins', 'option_file', 'rank')}
    found = {path: value for path, value in flat(options) if '.dataroot' not in path}
    return {**found, **identity(opt)} if is_train else found


def describe(opt):
    """As BasicSR's ``dict2str``, for the log's file; the screen has the summary of the run."""
    return ForFile(dict2str(opt), summary(opt))


def create_loaders(opt, logger):
    """As ``create_train_val_dataloader``, of the same images in all processes; first what is odd is said."""
    for line in filter(None, [told(opt['name']), *advice(opt)]):
        logger.warning(line)
    with together():
        result = create_train_val_dataloader(opt, logger)
    train, _, others, *_ = result
    check_alike({f'datasets: images of loader {number}': samples_of(getattr(loader.dataset, 'dataset', loader.dataset))
                 for number, loader in enumerate([train, *others])})
    return result


@together()
def load_resume_state(opt):
    """As BasicSR's, of the state that ``parse_options`` has found; the experiment's folder becomes this process's.

    BasicSR asks for the current CUDA device, which fails where there is none, looks in ``experiments`` of the current
    folder whatever the run's own folder is, runs code from the file, and lets the networks be read from others.
    """
    paths = opt['path']
    if paths['resume_state'] is None:
        return None
    state = read_any_state(opt)
    opt['samples'] = state.get('samples')
    if opt['rank'] == 0:
        folders.make_missing(paths)
        folders.occupy(paths['experiments_root'])
        folders.clear_remains(paths['models'], paths['training_states'])
        if not opt['auto_resume']:
            for file in archive_later_states(paths['training_states'], state['iter']):
                print(f'{file}: was a later state; the run goes on from {paths["resume_state"]}.', flush=True)
    return state


def init_tb_loggers(opt):
    """As BasicSR's; what was written is kept when a run ends early, too.

    BasicSR takes any name with 'debug' in it for that of a run in debug mode, of which TensorBoard gets nothing.
    """
    logger, folder = opt['logger'], os.path.join(opt['root_path'], 'tb_logger', opt['name'])
    if is_debug(opt['name']):
        return None
    if (logger.get('wandb') or {}).get('project') is not None:
        init_wandb_logger(opt)
    if not logger.get('use_tb_logger'):
        return None
    if 'debug' in opt['name'] and not opt['path']['resume_state'] and opt['rank'] == 0:
        folders.mkdir_and_rename(folder)  # which BasicSR has left out
    writer = init_tb_logger(folder)
    if writer is not None:
        atexit.register(writer.close)
    return writer


def _set_up(pipeline, args):
    """Put in place what both pipelines lack."""
    pipeline.parse_options = partial(parse_options, args=args)
    pipeline.get_env_info = lambda: ForFile(environment.report())
    pipeline.get_root_logger = get_root_logger
    pipeline.dict2str = describe
    pipeline.make_exp_dirs = together()(folders.make_exp_dirs)


def _run(pipeline, root):
    logging.raiseExceptions = False  # a full disk is told by whatever cannot be saved, not by each line of the log
    with stop_on_signals():
        pipeline(str(root))


def train(root, args=None):
    """Train as ``read_command_line`` takes it from ``args``; results go below ``root``. Returns the exit status."""
    _set_up(basicsr.train, args)
    basicsr.train.load_resume_state = load_resume_state
    basicsr.train.MessageLogger = MessageLogger
    basicsr.train.mkdir_and_rename = folders.mkdir_and_rename
    basicsr.train.copy_opt_file = folders.copy_opt_file
    basicsr.train.init_tb_loggers = init_tb_loggers
    basicsr.train.create_train_val_dataloader = create_loaders
    basicsr.train.CPUPrefetcher = basicsr.train.CUDAPrefetcher = Prefetcher
    return exit_status(_run, basicsr.train.train_pipeline, root)


def test(root, args=None):
    """Test as ``read_command_line`` takes it from ``args``; results go below ``root``. Returns the exit status."""
    _set_up(basicsr.test, args)
    return exit_status(_run, basicsr.test.test_pipeline, root)
