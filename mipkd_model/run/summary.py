"""What the screen shows of a run that starts, instead of all its options, which are in its log."""
from __future__ import annotations

from typing import Any

import torch

from ..evaluation.provenance import device_name
from ..training.precision import uses_bf16


def summary(opt: dict[str, Any]) -> str:
    """Name, folder, losses, length, schedule and device of a run, a line each.

    Args:
        opt: all options, complete; those of BasicSR's other models may lack any of them.
    """
    table, device = opt.get('table') or {}, torch.device('cuda' if opt['num_gpu'] else 'cpu')
    method = ', '.join(str(table[name]) for name in ('method', 'pair') if name in table)
    kind = ('training' if opt['is_train'] else 'test') + (f' ({method}, x{opt["scale"]})' if method else '')
    lines = [f'{opt["name"]}: {kind} in {opt["path"]["log"]}, whose log has all options and the environment']
    precision = 'fp32'
    if opt['is_train']:
        lines += _training_lines(opt)
        precision = opt['train'].get('precision', 'auto')
        if precision == 'auto':
            precision = 'bf16' if uses_bf16(precision, device) else 'fp32'
    return '\n'.join([*lines, f'  device: {device_name(device)}, {precision}'])


def _training_lines(opt: dict[str, Any]) -> list[str]:
    train, data = opt['train'], opt['datasets']['train']
    losses = [f'{name.removesuffix("_opt")} {block.get("type")} x {block.get("loss_weight", 1)}'
              for name, block in train.items() if name.endswith('_opt') and name != 'mixer_opt'
              and isinstance(block, dict) and block.get('loss_weight') != 0]
    side = data.get('gt_size')
    start = f', from iteration {opt["start_iter"]:,} on' if opt.get('start_iter') else ''
    size = f' of {side}x{side}' if side else ''
    ranks = f' on each of {opt["world_size"]} ranks' if opt['world_size'] > 1 else ''
    length = f'{int(train["total_iter"]):,} iterations{start} of {data.get("batch_size_per_gpu")} crops{size}{ranks}'
    lines = [f'  losses: {", ".join(losses)}', f'  length: {length}']
    if train.get('optim_g') and train.get('scheduler'):
        optimizer = f'{train["optim_g"].get("type")}, lr {train["optim_g"].get("lr")}'
        schedule = ', '.join(str(value) if name == 'type' else f'{name} {value}'
                             for name, value in train['scheduler'].items())
        warmup = f', warm-up {train["warmup_iter"]:,}' if train.get('warmup_iter', -1) > 0 else ''
        ema = f', EMA {train["ema_decay"]}' if train.get('ema_decay') else ''
        lines.append(f'  schedule: {optimizer}, {schedule}{warmup}{ema}')
    return lines
