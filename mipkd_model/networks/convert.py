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
from mipkd_arch.base.weights import EDSR_PYTORCH_KEYS, is_of_edsr_pytorch

from ..base.files import atomic_write
from ..base.weights import save_checkpoint
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
SWINIR_TABLE = 'layers.{}.residual_group.blocks.0.attn.relative_position_bias_table'


def basicsr_names(state: Weights, where: object) -> tuple[Weights, float | None]:
    """Give the weights of an EDSR or RCAN of EDSR-PyTorch, found in the file ``where``, the names they have in BasicSR.

    Returns:
        The weights without the layers that subtract and add the mean, which BasicSR does by itself; and the range that
        the network works in. Weights with any other names are returned as they are, with None.

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
    """Range that the layers ``sub_mean`` and ``add_mean`` work in, from the bias -mean (3) of the first."""
    shifts = [state.get(f'{layer}_mean.bias', torch.zeros(0)).float() for layer in ('sub', 'add')]
    for img_range in (255., 1.):
        mean = img_range * torch.tensor(RGB_MEAN)
        if all(shift.shape == mean.shape and torch.allclose(shift, sign * mean, rtol=1e-3)
               for sign, shift in zip((-1, 1), shifts, strict=True)):
            return img_range
    raise WeightsError(f'{where}: its layers sub_mean and add_mean are absent, or not those of the mean '
                       f'{list(RGB_MEAN)} in a range of 255 or 1, the only ones that are converted; {SPANDREL}')


def network_of(state: Weights) -> tuple[dict[str, Any], list[str]] | None:
    """Read a network's sizes off its weights, which have BasicSR's names.

    Returns:
        The block for ``network_t``, and which of its options are not in the weights but assumed as usual; None for an
        unknown network.
    """
    for read, assumed in ((_swinir, ['img_range']), (_rcan, ['res_scale', 'img_range', 'rgb_mean']),
                          (_edsr, ['res_scale', 'img_range', 'rgb_mean'])):
        try:
            return read(state), assumed
        except (KeyError, ValueError, IndexError, ZeroDivisionError):  # another network, or other shapes
            continue
    return None


def _residual_cnn(kind: str, state: Weights, sizes: dict[str, Any], res_scale: float) -> dict[str, Any]:
    if 'conv_after_body.weight' not in state or 'upsample.0.weight' not in state:
        raise KeyError  # MSRResNet's blocks have the names of EDSR's
    num_feat, num_in_ch = state['conv_first.weight'].shape[:2]
    return {'type': kind, 'num_in_ch': num_in_ch, 'num_out_ch': len(state['conv_last.weight']), 'num_feat': num_feat,
            **sizes, 'upscale': _upscale(state), 'res_scale': res_scale, 'img_range': 255., 'rgb_mean': list(RGB_MEAN)}


def _edsr(state: Weights) -> dict[str, Any]:
    num_feat = len(state['body.0.conv1.weight'])
    # EDSR's authors scale by 0.1 at 256 channels, for a stable training, and by 1 in smaller ones.
    return _residual_cnn('EDSR', state, {'num_block': _count(state, 'body')}, 0.1 if num_feat == 256 else 1)


def _rcan(state: Weights) -> dict[str, Any]:
    squeezed, num_feat = state['body.0.residual_group.0.rcab.3.attention.1.weight'].shape[:2]
    sizes = {'num_group': _count(state, 'body'), 'num_block': _count(state, 'body.0.residual_group'),
             'squeeze_factor': num_feat // squeezed}
    return _residual_cnn('RCAN', state, sizes, 1)


def _swinir(state: Weights) -> dict[str, Any]:
    embed_dim, in_chans = state['conv_first.weight'].shape[:2]
    groups = range(_count(state, 'layers'))
    window = (math.isqrt(len(state[SWINIR_TABLE.format(0)])) + 1) // 2  # the table has (2 * window - 1)^2 rows
    upsampler, upscale = _swinir_upsampler(state, in_chans)
    block = {'type': 'SwinIR', 'upscale': upscale, 'in_chans': in_chans, 'embed_dim': embed_dim,
             'depths': [_count(state, f'layers.{i}.residual_group.blocks') for i in groups],
             'num_heads': [state[SWINIR_TABLE.format(i)].shape[1] for i in groups], 'window_size': window,
             'mlp_ratio': len(state['layers.0.residual_group.blocks.0.mlp.fc1.weight']) / embed_dim,
             # Its authors' networks for JPEG artifacts have windows of 7 pixels, and work in another range.
             'img_range': 255. if not upsampler and window == 7 else 1., 'upsampler': upsampler,
             'resi_connection': '1conv' if 'conv_after_body.weight' in state else '3conv'}
    mask = 'layers.0.residual_group.blocks.1.attn_mask'
    if mask in state:  # (windows, window^2, window^2), of shifted windows
        block['img_size'] = math.isqrt(len(state[mask])) * window
    if 'absolute_pos_embed' in state:  # (1, img_size^2, embed_dim)
        block |= {'img_size': math.isqrt(state['absolute_pos_embed'].shape[1]), 'ape': True}
    return block


def _swinir_upsampler(state: Weights, in_chans: int) -> tuple[str, int]:
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
