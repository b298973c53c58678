"""Which option files must be refused, told without the checks of the product: only from what the options mean."""
import math
import re

import yaml

WHOLE, NUMBER, SWITCH, TEXT = 'a whole number', 'a number', 'a switch', 'a text'
# By path: what a value must be, and the least it may be. None is left to the product.
TYPES = {
    'name': (TEXT, None), 'model_type': (TEXT, None), 'scale': (WHOLE, 1), 'manual_seed': (WHOLE, 0),
    r'datasets\.\w+\.dataroot_(gt|lq)': (TEXT, None), r'datasets\.\w+\.type': (TEXT, None),
    r'datasets\.train\.(gt_size|batch_size_per_gpu)': (WHOLE, 1), r'datasets\.train\.num_worker_per_gpu': (WHOLE, 0),
    r'datasets\.train\.use_(hflip|rot)': (SWITCH, None), r'network_[gt]\.type': (TEXT, None),
    r'network_[gt]\.(num_feat|num_block|upscale|num_group|squeeze_factor|embed_dim|window_size)': (WHOLE, 1),
    r'network_[gt]\.(res_scale|mlp_ratio|drop_path_rate)': (NUMBER, None),
    r'path\.pretrain_network_[gt]': (TEXT, None), r'path\.strict_load_g': (SWITCH, None),
    r'train\.(total_iter|accumulate)': (WHOLE, 1), r'train\.(ema_decay|optim_g\.lr|mixer_lr)': (NUMBER, 0),
    r'train\.grad_clip': (NUMBER, 0), r'train\.warmup_iter': (WHOLE, None), r'train\.\w+_opt\.type': (TEXT, None),
    r'train\.\w+_opt\.loss_weight': (NUMBER, None), r'train\.mixer_opt\.latent': (WHOLE, 1),
    r'train\.(optim_g|scheduler)\.type': (TEXT, None), r'train\.scheduler\.gamma': (NUMBER, None),
    r'train\.precision': (TEXT, None), r'val\.val_freq': (WHOLE, 1), r'val\.save_img': (SWITCH, None),
    r'val\.metrics\.\w+\.type': (TEXT, None), r'val\.metrics\.\w+\.crop_border': (WHOLE, 0),
    r'val\.metrics\.\w+\.test_y_channel': (SWITCH, None), r'logger\.(print|save_checkpoint)_freq': (WHOLE, 1),
    r'logger\.use_tb_logger': (SWITCH, None),
}
NEEDED = {
    'train': ('name', 'model_type', 'scale', 'datasets', 'network_g', 'train', 'datasets.train', 'train.total_iter',
              'train.optim_g', 'train.optim_g.type', 'datasets.train.type', 'datasets.train.dataroot_gt',
              'datasets.train.dataroot_lq', 'datasets.train.gt_size', 'datasets.train.batch_size_per_gpu',
              'network_g.type', 'path.pretrain_network_t'),
    'test': ('name', 'model_type', 'scale', 'datasets', 'network_g', 'datasets.test_1.type',
             'datasets.test_1.dataroot_gt', 'datasets.test_1.dataroot_lq', 'path.pretrain_network_g'),
}
# Blocks in which every key has a meaning, and the keys that they may have beside those of the base file.
CLOSED = {
    '': {'network_t', 'train', 'logger', 'table', 'dist_params', 'val', 'num_gpu', 'manual_seed', 'path'},
    'path': {'pretrain_network_g', 'pretrain_network_t', 'strict_load_g', 'strict_load_t', 'param_key_g',
             'param_key_t', 'ignore_resume_networks', 'resume_state'},
    'logger': {'wandb', 'keep_states', 'print_freq', 'save_checkpoint_freq', 'use_tb_logger'},
    'val': {'val_freq', 'save_img', 'suffix', 'pbar', 'metrics', 'self_ensemble', 'tile', 'tile_pad', 'check_teacher'},
    'train': {'mixer_lr', 'channels_last', 'compile', 'accumulate', 'grad_clip', 'nonfinite',
              'precision', 'ema_decay', 'cuts_g', 'cuts_t', 'warmup_iter', 'mixer_opt'},
    'network_g': set(), 'network_t': set(), 'datasets.train': {'use_shuffle', 'pin_memory', 'persistent_workers',
                                                               'prefetch_mode', 'num_prefetch_queue', 'name'},
}
TEACHES = ('kd_opt', 'feature_prior_opt', 'block_prior_opt')


def must_refuse(text, base, kind):
    """Why an option file must be refused.

    Args:
        text (bytes): the file.
        base (dict): a valid file's options, from which it was made.
        kind (str): 'train' or 'test'.

    Returns:
        str | None: the reason; None where it may be valid.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        found = yaml.safe_load(text)
    except RecursionError:
        return 'nested too deep'
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError) as error:
        return f'no YAML: {type(error).__name__}'
    if not isinstance(found, dict):
        return 'no mapping'
    twice = _key_given_twice(node)
    if twice is not None:
        return f'{twice} is given twice'
    for path in NEEDED[kind]:
        if path == 'path.pretrain_network_t' and not (_at(found, 'network_t') and _teaches(found)):
            continue
        if _at(found, path) is None:
            return f'{path} is missing'
    for path, known in CLOSED.items():
        block, usual = _at(found, path), _at(base, path)
        if isinstance(block, dict) and isinstance(usual, dict) and block.get('type') == usual.get('type'):
            for key in block:
                if key not in usual and key not in known and not (path == 'train' and str(key).endswith('_opt')):
                    return f'{path}.{key} is not known'.lstrip('.')
    return next((reason for path, value in leaves(found) if (reason := _wrong_value(path, value, base))), None)


def leaves(block, path='', depth=6):
    """Paths and values of all that is in a block, down to a depth; the blocks are among them."""
    for key, value in block.items():
        where = f'{path}.{key}' if path else str(key)
        yield where, value
        if isinstance(value, dict) and depth:
            yield from leaves(value, where, depth - 1)


def _teaches(opt):
    train = _at(opt, 'train')
    return isinstance(train, dict) and any(train.get(name) for name in TEACHES)


def _at(opt, path):
    for key in path.split('.') if path else ():
        opt = opt.get(key) if isinstance(opt, dict) else None
    return opt


def _wrong_value(path, value, base):
    rule = next((rule for pattern, rule in TYPES.items() if re.fullmatch(pattern, path)), None)
    if rule is None or value is None or _at(base, path) is None:
        return None
    kind, least = rule
    number = _number(value)
    right = {WHOLE: number is not None and number == int(number) if number is not None and math.isfinite(number)
             else False, NUMBER: number is not None and math.isfinite(number), SWITCH: isinstance(value, bool),
             TEXT: isinstance(value, str)}[kind]
    if not right:
        return f'{path} is not {kind}'
    return f'{path} is below {least}' if least is not None and number < least else None


def _number(value):
    """A number, also where YAML 1.1 reads it as a text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _key_given_twice(node):
    seen, todo = set(), [node]
    while todo:
        node = todo.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != '<<']
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                return twice
            todo += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            todo += node.value
    return None
