"""Checkpoints of other code bases: which network they are of, and the names that BasicSR gives to their weights."""
import math
import re
from pathlib import Path

import torch

from mipkd_arch.base.checkpoint import WeightsError, find_state_dict, read_checkpoint, without_trainer
from mipkd_arch.base.errors import UserError
from mipkd_arch.base.network_record import network_record

from ..base.weights import ARE_SIZES_THOSE, save_atomically
from .build import make_network

RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, in [0, 1]; EDSR, RCAN and SwinIR subtract it first and add it last
KNOWN = "EDSR and RCAN with EDSR-PyTorch's names; EDSR, RCAN and SwinIR with BasicSR's"
SPANDREL = ('networks that the spandrel library can open need no conversion: '
            'network_t: {type: SpandrelNetwork, file: ...}')

# Starts of EDSR-PyTorch's names and what they are called in BasicSR. RCAN's authors built on EDSR-PyTorch.
OUTER = {r'head\.0\.': 'conv_first.', r'tail\.0\.': 'upsample.', r'tail\.1\.': 'conv_last.',
         r'body\.\d+\.(?=weight|bias)': 'conv_after_body.'}
BODY = {
    'EDSR': {r'body\.(\d+)\.body\.0\.': r'body.\1.conv1.', r'body\.(\d+)\.body\.2\.': r'body.\1.conv2.'},
    'RCAN': {r'body\.(\d+)\.body\.(\d+)\.body\.([02])\.': r'body.\1.residual_group.\2.rcab.\3.',
             r'body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.0\.': r'body.\1.residual_group.\2.rcab.3.attention.1.',
             r'body\.(\d+)\.body\.(\d+)\.body\.3\.conv_du\.2\.': r'body.\1.residual_group.\2.rcab.3.attention.3.',
             r'body\.(\d+)\.body\.\d+\.(?=weight|bias)': r'body.\1.conv.'},
}
EDSR_PYTORCH_KEYS = {kind: {'head.0.weight', 'tail.0.0.weight', 'tail.1.weight', first} for kind, first in (
    ('EDSR', 'body.0.body.0.weight'), ('RCAN', 'body.0.body.0.body.3.conv_du.0.weight'))}

RCAB = 'body.0.residual_group.0.rcab'
RSTB = 'layers.0.residual_group.blocks.0'
# What each network of BasicSR has, and what its sizes are read from.
OUTER_KEYS = {'conv_first.weight', 'conv_after_body.weight', 'upsample.0.weight', 'conv_last.weight'}
EDSR_KEYS = {*OUTER_KEYS, 'body.0.conv1.weight'}
RCAN_KEYS = {*OUTER_KEYS, f'{RCAB}.0.weight', f'{RCAB}.3.attention.1.weight'}
SWINIR_KEYS = {'conv_first.weight', f'{RSTB}.attn.relative_position_bias_table', f'{RSTB}.mlp.fc1.weight'}


def is_of_edsr_pytorch(state):
    """Whether weights have the names that EDSR-PyTorch gives them, which ``basicsr_names`` changes."""
    return any(keys <= state.keys() for keys in EDSR_PYTORCH_KEYS.values())


def basicsr_names(state, where):
    """Give the weights of an EDSR or RCAN the names they have in BasicSR.

    Args:
        state (dict[str, Tensor]): weights with EDSR-PyTorch's names; those with any other names are left as they are.
        where: their file, for messages.

    Returns:
        tuple[dict[str, Tensor], float | None]: the renamed weights, without the layers that subtract and add the
        mean, which BasicSR does by itself; and the range that the network works in, None where nothing was renamed.

    Raises:
        WeightsError: the mean is another one than BasicSR's.
    """
    kind = next((kind for kind, keys in EDSR_PYTORCH_KEYS.items() if keys <= state.keys()), None)
    if kind is None:
        return state, None
    img_range = _range_of_mean(state, where)
    names, renamed = {**OUTER, **BODY[kind]}, {}
    for key, value in state.items():
        if not key.startswith(('sub_mean.', 'add_mean.')):
            matches = (re.sub(f'^{old}', new, key) for old, new in names.items() if re.match(old, key))
            renamed[next(matches, key)] = value
    return renamed, img_range


def _range_of_mean(state, where):
    """Range that the layers ``sub_mean`` and ``add_mean`` work in: weight (3, 3, 1, 1) identity, bias (3) -+mean."""
    mean, identity = torch.tensor(RGB_MEAN), torch.eye(3).view(3, 3, 1, 1)
    shifts = [state.get(f'{layer}_mean.{part}', torch.zeros(0)).float()
              for layer in ('sub', 'add') for part in ('weight', 'bias')]
    for img_range in (255., 1.):
        usual = (identity, -img_range * mean, identity, img_range * mean)
        if all(a.shape == b.shape and torch.allclose(a, b, rtol=1e-3, atol=1e-5)
               for a, b in zip(shifts, usual, strict=True)):
            return img_range
    found = [round(x, 4) for x in shifts[1].flatten().tolist()] or 'absent'
    raise WeightsError(f'{where}: its layers sub_mean and add_mean are not those of the mean {list(RGB_MEAN)} in a '
                       f'range of 255 or 1, which alone is converted (bias of sub_mean: {found}); {SPANDREL}')


def network_of(state):
    """Read a network's sizes off its weights.

    Args:
        state (dict[str, Tensor]): weights with BasicSR's names.

    Returns:
        tuple[dict, list[str]] | None: the block for ``network_t`` and which of its options are not in the weights, but
        taken as they usually are; None for a network that is not known.
    """
    try:
        return _sizes(state)
    except (ValueError, IndexError, ZeroDivisionError, AttributeError):  # the names of a known one, other shapes
        return None


def _sizes(state):
    if SWINIR_KEYS <= state.keys():
        return _swinir(state)
    kind = 'EDSR' if EDSR_KEYS <= state.keys() else 'RCAN' if RCAN_KEYS <= state.keys() else None
    if kind is None:
        return None
    num_feat, num_in_ch = state['conv_first.weight'].shape[:2]
    block = {'type': kind, 'num_in_ch': num_in_ch, 'num_out_ch': len(state['conv_last.weight']), 'num_feat': num_feat}
    if kind == 'EDSR':
        block['num_block'] = _count(state, 'body')
    else:
        block |= {'num_group': _count(state, 'body'), 'num_block': _count(state, 'body.0.residual_group'),
                  'squeeze_factor': num_feat // len(state[f'{RCAB}.3.attention.1.weight'])}
    # EDSR's authors scale by 0.1 at 256 channels, for training to be stable, and by 1 in smaller ones; RCAN's by 1.
    block |= {'upscale': _upscale(state), 'res_scale': 0.1 if kind == 'EDSR' and num_feat == 256 else 1,
              'img_range': 255., 'rgb_mean': list(RGB_MEAN)}
    return block, ['res_scale', 'img_range', 'rgb_mean']


def _swinir(state):
    embed_dim, in_chans = state['conv_first.weight'].shape[:2]
    groups = range(_count(state, 'layers'))
    table = 'layers.{}.residual_group.blocks.0.attn.relative_position_bias_table'
    window = (math.isqrt(len(state[table.format(0)])) + 1) // 2  # the table has (2 * window - 1)^2 rows
    # Blocks of odd index shift their windows; the mask for it is (windows, window^2, window^2).
    mask = state.get('layers.0.residual_group.blocks.1.attn_mask')
    img_size = None if mask is None else math.isqrt(len(mask)) * window
    position = state.get('absolute_pos_embed')  # (1, img_size^2, embed_dim)
    if position is not None:
        img_size = math.isqrt(position.shape[1])
    if 'conv_up1.weight' in state:
        upsampler, upscale = 'nearest+conv', 2**len([key for key in state if re.fullmatch(r'conv_up\d\.weight', key)])
    elif 'conv_before_upsample.0.weight' in state and 'upsample.0.weight' in state:
        upsampler, upscale = 'pixelshuffle', _upscale(state)
    elif 'upsample.0.weight' in state:
        upsampler, upscale = 'pixelshuffledirect', math.isqrt(len(state['upsample.0.weight']) // in_chans)
    else:  # one that takes noise or JPEG artifacts out
        upsampler, upscale = '', 1
    block = {'type': 'SwinIR', 'upscale': upscale, 'img_size': img_size, 'in_chans': in_chans, 'embed_dim': embed_dim,
             'depths': [_count(state, f'layers.{i}.residual_group.blocks') for i in groups],
             'num_heads': [state[table.format(i)].shape[1] for i in groups], 'window_size': window,
             # Its authors' networks for JPEG artifacts have windows of 7 pixels, and work in another range.
             'mlp_ratio': len(state[f'{RSTB}.mlp.fc1.weight']) / embed_dim,
             'img_range': 255. if not upsampler and window == 7 else 1., 'upsampler': upsampler,
             'resi_connection': '1conv' if 'conv_after_body.weight' in state else '3conv'}
    if position is not None:
        block['ape'] = True
    if img_size is None:
        del block['img_size']
    return block, ['img_range']


def _count(state, prefix):
    """How many numbered modules there are below ``prefix``."""
    return len({key[len(prefix) + 1:].partition('.')[0] for key in state if key.startswith(f'{prefix}.')})


def _upscale(state):
    """Factor of the pixel shuffles of ``upsample``, each behind a convolution to factor^2 as many channels."""
    shapes = [value.shape for key, value in state.items() if re.fullmatch(r'upsample\.\d+\.weight', key)]
    return math.prod(math.isqrt(shape[0] // shape[1]) for shape in shapes)


def unchecked_name(target):
    """Make the folder of ``target`` and give the name beside it under which its content lies until it is checked.

    Raises:
        UserError: the folder cannot be made.
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{target}: its folder cannot be made ({error.strerror}); choose another by --out') from None
    return target.with_name(f'{target.stem}.unchecked{target.suffix}')


def convert_file(file, out, res_scale=None):
    """Write a checkpoint anew as BasicSR has it, ``{'params': ...}`` with its names.

    Args:
        file: a checkpoint of a known network.
        out: where it goes; nothing may be there.
        res_scale (float | None): the network's, since it cannot be read off the weights; None takes the usual one.

    Returns:
        tuple[dict, list[str]]: as ``network_of``.

    Raises:
        UserError: the network is not known, or ``out`` is there already. Nothing is written then.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f'{out}: is there already and is not overwritten; name another with --out, or remove it')
    state = without_trainer(find_state_dict(read_checkpoint(file), file),
                            lambda weights: is_of_edsr_pytorch(weights) or network_of(weights) is not None)
    state, img_range = basicsr_names(state, file)
    found = network_of(state)
    if found is None:
        raise WeightsError(f'{file}: is of no network that is known here (it holds {", ".join(list(state)[:3])}, ...); '
                           f'known are {KNOWN}; {SPANDREL}')
    block, assumed = found
    _check_variant(block, file)
    if img_range is not None:
        block, assumed = {**block, 'img_range': img_range}, ['res_scale']
    if res_scale is not None:
        if 'res_scale' not in block:
            raise UserError(f'--res-scale: {block["type"]} has no res_scale; leave it out')
        block, assumed = {**block, 'res_scale': res_scale}, [key for key in assumed if key != 'res_scale']
    unchecked = unchecked_name(out)
    try:
        save_atomically({'params': state, **network_record(block, block['upscale'])}, unchecked)
        make_network({'network_t': block, 'path': {'pretrain_network_t': unchecked}}, 't')
        unchecked.replace(out)
    except WeightsError as error:
        reason = str(error).removeprefix(f'{unchecked}: ').removesuffix(ARE_SIZES_THOSE).rstrip('. ')
        raise WeightsError(f'{file}: {reason}; it may be a variant of {block["type"]} that BasicSR does not have: '
                           f'{SPANDREL}') from None
    except UserError as error:
        raise WeightsError(f'{file}: holds weights of a {block["type"]} that cannot be built here ({error}); '
                           f'{SPANDREL}') from None
    finally:
        unchecked.unlink(missing_ok=True)
    return block, assumed


def _check_variant(block, file):
    """Check that BasicSR has a SwinIR of that kind, and that it takes RGB images."""
    if block.get('upsampler') == 'nearest+conv' and block['upscale'] != 4:
        raise WeightsError(f'{file}: is of a SwinIR with upsampler: nearest+conv at x{block["upscale"]}, which BasicSR '
                           f'has at x4 alone; {SPANDREL}')
    if block.get('upsampler') == '' and block['in_chans'] != 3:
        raise WeightsError(f'{file}: is of a SwinIR for images of {block["in_chans"]} channels, and networks here take '
                           'RGB; take the one for colour images')
