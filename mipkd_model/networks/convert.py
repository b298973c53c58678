"""Checkpoints of other code bases: which network they are of, and their weights by BasicSR's names."""
from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import Any

import torch

from mipkd_arch.base.checkpoint import Weights, WeightsError, find_state_dict, read_checkpoint, without_trainer
from mipkd_arch.base.errors import UserError
from mipkd_arch.base.network_record import network_record

from ..base.files import atomic_write
from ..base.weights import EDSR_PYTORCH_KEYS, is_of_edsr_pytorch, save_checkpoint
from .build import make_network
from .catalog import RGB_MEAN

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
RCAB = 'body.0.residual_group.0.rcab'
RSTB = 'layers.0.residual_group.blocks.0'
# What each network of BasicSR has, and what its sizes are read from.
OUTER_KEYS = {'conv_first.weight', 'conv_after_body.weight', 'upsample.0.weight', 'conv_last.weight'}
EDSR_KEYS = {*OUTER_KEYS, 'body.0.conv1.weight'}
RCAN_KEYS = {*OUTER_KEYS, f'{RCAB}.0.weight', f'{RCAB}.3.attention.1.weight'}
SWINIR_KEYS = {'conv_first.weight', f'{RSTB}.attn.relative_position_bias_table', f'{RSTB}.mlp.fc1.weight'}


def basicsr_names(state: Weights, where: object) -> tuple[Weights, float | None]:
    """Give the weights of an EDSR or RCAN of EDSR-PyTorch the names they have in BasicSR.

    Args:
        state: weights; those with any other names are returned as they are.
        where: their file, for messages.

    Returns:
        The weights without the layers that subtract and add the mean, which BasicSR does by itself; and the range that
        the network works in, None where nothing was renamed.

    Raises:
        WeightsError: the mean is not BasicSR's.
    """
    kind = next((kind for kind, keys in EDSR_PYTORCH_KEYS.items() if keys <= state.keys()), None)
    if kind is None:
        return state, None
    renamed = {}
    for key, value in state.items():
        if not key.startswith(('sub_mean.', 'add_mean.')):
            matches = (re.sub(f'^{old}', new, key) for old, new in {**OUTER, **BODY[kind]}.items()
                       if re.match(old, key))
            renamed[next(matches, key)] = value
    return renamed, _range_of_mean(state, where)


def _range_of_mean(state: Weights, where: object) -> float:
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
                       f'range of 255 or 1, the only ones that are converted (bias of sub_mean: {found}); {SPANDREL}')


def network_of(state: Weights) -> tuple[dict[str, Any], list[str]] | None:
    """Read a network's sizes off its weights.

    Args:
        state: weights with BasicSR's names.

    Returns:
        The block for ``network_t``, and which of its options are not in the weights but assumed as usual; None for an
        unknown network.
    """
    try:
        if SWINIR_KEYS <= state.keys():
            return _swinir(state), ['img_range']
        for kind, keys in (('EDSR', EDSR_KEYS), ('RCAN', RCAN_KEYS)):
            if keys <= state.keys():
                return _residual_cnn(kind, state), ['res_scale', 'img_range', 'rgb_mean']
    except (ValueError, IndexError, ZeroDivisionError, AttributeError):  # the names of a known one, other shapes
        pass
    return None


def _residual_cnn(kind: str, state: Weights) -> dict[str, Any]:
    num_feat, num_in_ch = state['conv_first.weight'].shape[:2]
    block = {'type': kind, 'num_in_ch': num_in_ch, 'num_out_ch': len(state['conv_last.weight']), 'num_feat': num_feat}
    if kind == 'EDSR':
        block['num_block'] = _count(state, 'body')
    else:
        block |= {'num_group': _count(state, 'body'), 'num_block': _count(state, 'body.0.residual_group'),
                  'squeeze_factor': num_feat // len(state[f'{RCAB}.3.attention.1.weight'])}
    # EDSR's authors scale by 0.1 at 256 channels, for a stable training, and by 1 in smaller ones; RCAN's by 1.
    return block | {'upscale': _upscale(state), 'res_scale': 0.1 if kind == 'EDSR' and num_feat == 256 else 1,
                    'img_range': 255., 'rgb_mean': list(RGB_MEAN)}


def _swinir(state: Weights) -> dict[str, Any]:
    embed_dim, in_chans = state['conv_first.weight'].shape[:2]
    groups = range(_count(state, 'layers'))
    table = 'layers.{}.residual_group.blocks.0.attn.relative_position_bias_table'
    window = (math.isqrt(len(state[table.format(0)])) + 1) // 2  # the table has (2 * window - 1)^2 rows
    upsampler, upscale = _swinir_upsampler(state, in_chans)
    block = {'type': 'SwinIR', 'upscale': upscale, 'in_chans': in_chans, 'embed_dim': embed_dim,
             'depths': [_count(state, f'layers.{i}.residual_group.blocks') for i in groups],
             'num_heads': [state[table.format(i)].shape[1] for i in groups], 'window_size': window,
             # Its authors' networks for JPEG artifacts have windows of 7 pixels, and work in another range.
             'mlp_ratio': len(state[f'{RSTB}.mlp.fc1.weight']) / embed_dim,
             'img_range': 255. if not upsampler and window == 7 else 1., 'upsampler': upsampler,
             'resi_connection': '1conv' if 'conv_after_body.weight' in state else '3conv'}
    if 'layers.0.residual_group.blocks.1.attn_mask' in state:  # (windows, window^2, window^2), of shifted windows
        block['img_size'] = math.isqrt(len(state['layers.0.residual_group.blocks.1.attn_mask'])) * window
    if 'absolute_pos_embed' in state:  # (1, img_size^2, embed_dim)
        block |= {'img_size': math.isqrt(state['absolute_pos_embed'].shape[1]), 'ape': True}
    return block


def _swinir_upsampler(state: Weights, in_chans: int) -> tuple[str, int]:
    """Upsampler and upscale of a SwinIR."""
    if 'conv_up1.weight' in state:
        return 'nearest+conv', 2**len([key for key in state if re.fullmatch(r'conv_up\d\.weight', key)])
    if 'conv_before_upsample.0.weight' in state and 'upsample.0.weight' in state:
        return 'pixelshuffle', _upscale(state)
    if 'upsample.0.weight' in state:
        return 'pixelshuffledirect', math.isqrt(len(state['upsample.0.weight']) // in_chans)
    return '', 1  # against noise or JPEG artifacts


def _count(state: Weights, prefix: str) -> int:
    """How many numbered modules there are below ``prefix``."""
    return len({key[len(prefix) + 1:].partition('.')[0] for key in state if key.startswith(f'{prefix}.')})


def _upscale(state: Weights) -> int:
    """Factor of the pixel shuffles of ``upsample``, each behind a convolution to factor^2 as many channels."""
    shapes = [value.shape for key, value in state.items() if re.fullmatch(r'upsample\.\d+\.weight', key)]
    return math.prod(math.isqrt(shape[0] // shape[1]) for shape in shapes)


def convert_file(file: str | os.PathLike, out: str | os.PathLike,
                 res_scale: float | None = None) -> tuple[dict[str, Any], list[str]]:
    """Write a checkpoint as BasicSR has it, ``{'params': ...}`` with its names, and the record of its network.

    Args:
        file: a checkpoint of a known network.
        out: where it goes; nothing may be there.
        res_scale: the network's, since it cannot be read off the weights; None takes the usual one.

    Returns:
        As ``network_of``.

    Raises:
        UserError: the network is unknown, or ``out`` exists. Nothing is written then.
    """
    out = Path(out)
    if out.exists():
        raise UserError(f'{out}: exists already and is not overwritten; name another with --out, or remove it')
    state = without_trainer(find_state_dict(read_checkpoint(file), file),
                            lambda weights: is_of_edsr_pytorch(weights) or network_of(weights) is not None)
    state, img_range = basicsr_names(state, file)
    found = network_of(state)
    if found is None:
        raise WeightsError(f'{file}: is of no known network (it has {", ".join(list(state)[:3])}, ...); known are '
                           f'{KNOWN}; {SPANDREL}')
    block, assumed = found
    _check_variant(block, file)
    if img_range is not None:
        block, assumed = {**block, 'img_range': img_range}, ['res_scale']
    if res_scale is not None:
        if 'res_scale' not in block:
            raise UserError(f'--res-scale: {block["type"]} has no res_scale; leave it out')
        block, assumed = {**block, 'res_scale': res_scale}, [key for key in assumed if key != 'res_scale']
    with atomic_write(out) as unchecked:
        save_checkpoint({'params': state, **network_record(block, block['upscale'])}, unchecked)
        try:
            make_network({'network_t': block, 'path': {'pretrain_network_t': unchecked}}, 't')
        except UserError as error:
            reason = str(error).removeprefix(f'{unchecked}: ')
            raise WeightsError(f'{file}: seems to be of a variant of {block["type"]} that BasicSR does not have '
                               f'({reason}); {SPANDREL}') from None
    return block, assumed


def _check_variant(block: dict[str, Any], file: object) -> None:
    """Check that BasicSR has a SwinIR of that kind, and that it takes RGB images."""
    if block.get('upsampler') == 'nearest+conv' and block['upscale'] != 4:
        raise WeightsError(f'{file}: is of a SwinIR with upsampler: nearest+conv at x{block["upscale"]}, which BasicSR '
                           f'has only at x4; {SPANDREL}')
    if block.get('upsampler') == '' and block['in_chans'] != 3:
        raise WeightsError(f'{file}: is of a SwinIR for images of {block["in_chans"]} channels, and networks here take '
                           'RGB; take the one for color images')
