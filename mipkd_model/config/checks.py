"""Checks of an option file, made before a run creates or moves anything.

Each finding is a ``UserError`` of one line: the option's path, what was found, what is allowed, the remedy.
``find_*`` collect all of them, ``check_*`` raise the first.
"""
from mipkd_arch.base.errors import UserError, near_miss, printable, shown

from basicsr.utils.registry import MODEL_REGISTRY

from ..networks.machine import check_machine
from ..run.disk import check_disk
from ..run.resuming import resume_from_state
from . import blocks, schema
from .blocks import check_call
from .dry_run import find_in_networks
from .findings import Findings
from .paths import find_in_files
from .plugins import find_in_plugins
from .reader import read_options
from .rules import TRAINING

__all__ = ['check_blocks', 'check_call', 'check_files', 'check_keys', 'check_machine', 'check_networks',
           'check_options', 'check_script', 'find_everything', 'find_in_options', 'is_training', 'read_options']

READ_BY_BASICSR = ('name', 'model_type', 'scale', 'num_gpu', 'manual_seed', 'datasets', 'network_g', 'path', 'train',
                   'val', 'logger', 'dist_params')  # beside plugins, which is read for all models


def is_training(opt):
    """Whether options are those of a training, and not of a test: they say how and on what to train."""
    datasets = opt.get('datasets')
    return isinstance(datasets, dict) and 'train' in datasets or (
        opt.get('train') is not None and not (isinstance(datasets, dict) and any(
            str(phase).startswith('test') for phase in datasets)))


def check_script(opt, is_train, file, start='basicsr/{}.py'):
    """Check that options are for the script that was started.

    Args:
        opt (dict): what ``read_options`` gave.
        is_train (bool): for a training, else for a test.
        file: the option file, for the message.
        start (str): how either is started, for the message, with {} for 'train' or 'test'.

    Raises:
        UserError: a test is to be run as a training, or the other way round.
    """
    datasets = opt.get('datasets')
    if not isinstance(datasets, dict) or not datasets:
        return
    if is_train and not is_training(opt):
        raise UserError(f'-opt: {printable(str(file))}: is the option file of a test; start {start.format("test")}')
    if not is_train and 'train' in datasets:  # what a test measures on may be val as well, and it may keep train
        raise UserError(f'-opt: {printable(str(file))}: is the option file of a training; start '
                        f'{start.format("train")}')


def find_in_options(opt, is_train):
    """What is wrong with options in themselves: names, kinds and ranges of values, and what does not go together.

    Args:
        opt (dict): what ``read_options`` gave. Whole numbers that are written as ``5e3`` become whole.
        is_train (bool): for ``basicsr/train.py``, else for ``basicsr/test.py``.

    Returns:
        Findings: mistakes.
    """
    found, ours = find_in_plugins(opt.get('plugins')), opt.get('model_type') == 'MiPKDModel'
    if found.errors:
        return found  # what the plugins would have registered is not known, and would be called a mistake, too
    blocks.check_plain(found, opt)
    odd = len(found.errors)
    top = schema.TOP if ours else {name: schema.TOP[name] for name in READ_BY_BASICSR}
    blocks.check_table(found, '', opt, top, is_train, rest=() if ours else opt)
    with found.catching():
        if opt.get('model_type') is not None:
            blocks.class_of('model_type', opt['model_type'], MODEL_REGISTRY)
    for path, table in schema.BLOCKS.items():
        block = _block(opt, path)
        if not path or block is None:
            continue
        rest = [name for name in block if not ours or (path == 'train' and name.endswith('_opt'))]
        if path == 'train' and not is_train:  # a test leaves it alone, but what stands there is to be what it says
            table = {name: option for name, option in table.items() if name in block}
        if not ours:
            table = {name: option for name, option in table.items()
                     if path in ('logger', 'val', 'dist_params') or name in ('total_iter', 'warmup_iter')}
            if path == 'path':  # BasicSR's pipeline expands them
                table = {name: schema.PATH['resume_state'] for name in block
                         if 'pretrain_network' in name or 'resume_state' in name}
        blocks.check_table(found, path, block, table, is_train, rest)
    if isinstance(opt.get('datasets'), dict):
        blocks.check_datasets(found, opt, is_train)
    blocks.check_networks_blocks(found, opt, of_rgb=ours)
    train = opt.get('train')
    if isinstance(train, dict):
        blocks.check_losses(found, train)
        if is_train and ours:
            for name, check in (('optim_g', blocks.check_optimizer_block), ('scheduler', blocks.check_scheduler)):
                if found.spare(f'train.{name}'):
                    check(found, train[name])
    val = opt.get('val')
    if isinstance(val, dict) and val.get('metrics') is not None:
        blocks.check_metrics(found, val['metrics'])
    if is_train and ours:
        for rule, paths in TRAINING:
            if found.spare(*paths):
                with found.catching():
                    rule(opt)
    found.keep_first(odd)
    return found


def _block(opt, path):
    """The block of that path, None where there is none."""
    for name in path.split('.') if path else ():
        opt = opt.get(name) if isinstance(opt, dict) else None
    return opt if isinstance(opt, dict) else None


def check_blocks(opt, is_train):
    """Check that an option file has the blocks that every run needs.

    Args:
        opt (dict): what ``read_options`` gave.
        is_train (bool): for ``basicsr/train.py``, else for ``basicsr/test.py``.

    Raises:
        UserError: on the first that is missing or no block.
    """
    for key, option in schema.TOP.items():
        if opt.get(key) is None and option.default_of(is_train) is schema.NEEDED:
            raise UserError(f'{key}: missing in the option file{near_miss(key, opt)}')
        if option.kind is schema.BLOCK and opt.get(key) is not None and not isinstance(opt[key], dict):
            raise UserError(f'{key}: {shown(opt[key])} is not a block of options')
    for phase, block in opt['datasets'].items():
        if not isinstance(block, dict) or 'type' not in block:
            raise UserError(f'datasets.{phase}: needs a block with a type')


def check_keys(opt):
    """Check that something reads every option; a misspelt one would leave its default in force.

    Raises:
        UserError: on the first that is unknown.
    """
    errors = find_in_options(opt, is_training(opt)).errors
    for error in errors:
        if ': nothing reads this option' in str(error):
            raise error


def check_options(opt, is_train):
    """Check options in themselves; arguments as for ``find_in_options``.

    Raises:
        UserError: on the first thing that is wrong.
    """
    find_in_options(opt, is_train).stop()


def check_files(opt):
    """Check that the data and the weights that an option file names are there, and that lq and gt are pairs.

    Args:
        opt (dict): parsed options that ``check_options`` has passed.

    Raises:
        UserError: on the first that is missing; the message has the command that gets it.
    """
    found = find_in_files(opt)
    found.stop(**_origin(opt))
    for note in found.notes if not opt.get('rank') else ():
        print(note, flush=True)


def check_networks(opt, is_train):
    """Check that networks, weights and losses fit together, by assembling them once on the CPU.

    Args:
        opt (dict): parsed options that ``check_options`` and ``check_files`` have passed.
        is_train (bool): as for ``check_options``.

    Returns:
        Distiller | None: what a training of MiPKDModel trains.

    Raises:
        UserError: on the first that does not fit.
    """
    found = find_in_networks(opt, is_train)
    found.stop(**_origin(opt))
    return found.distiller


def find_everything(opt, is_train):
    """What is wrong beyond the options themselves: with this machine, the files, and what is made of them.

    Args:
        opt (dict): options that ``check_options`` has passed, complete.
        is_train (bool): as for ``check_blocks``.

    Returns:
        Findings: mistakes.
    """
    found = Findings()
    with found.catching():
        check_machine(opt, is_train)
    with found.catching():
        if is_train:
            resume_from_state(opt)
    files = find_in_files(opt)
    found.errors += files.errors
    found.notes += files.notes
    if not found.errors:
        networks = find_in_networks(opt, is_train)
        found.errors += networks.errors
        with found.catching():
            check_disk(opt, networks.distiller)
    return found


def _origin(opt):
    origin = opt.get('option_file') or {}
    return {'file': origin.get('file'), 'changed': origin.get('changed') or ()}
