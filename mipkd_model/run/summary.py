"""What the screen shows of a run that starts, in place of all its options, which are in its log."""
import torch

from ..evaluation.provenance import device_name
from ..training.precision import uses_bf16


def summary(opt: dict) -> str:
    """Name, folder, losses, length, schedule and device of a run, a line each.

    Args:
        opt: all options, complete; those of BasicSR's other models may lack any of them.
    """
    table, paths = opt.get('table') or {}, opt['path']
    of = ', '.join(str(table[name]) for name in ('method', 'pair') if name in table)
    what = ('training' if opt['is_train'] else 'test') + (f' ({of}, x{opt["scale"]})' if of else '')
    lines = [f'{opt["name"]}: {what} in {paths["log"]}, whose log has all options and the environment']
    if opt['is_train']:
        lines += _of_training(opt)
    lines.append(f'  device: {device_name(_device(opt))}{_precision(opt)}')
    return '\n'.join(lines)


def _device(opt: dict) -> torch.device:
    return torch.device('cuda' if opt['num_gpu'] else 'cpu')


def _precision(opt: dict) -> str:
    if not opt['is_train']:
        return ', fp32'
    asked = opt['train'].get('precision', 'auto')
    return f', {"bf16" if uses_bf16(asked, _device(opt)) else "fp32"}' if asked == 'auto' else f', {asked}'


def _of_training(opt: dict) -> list[str]:
    train, data, processes = opt['train'], opt['datasets']['train'], opt['world_size']
    losses = [f'{name.removesuffix("_opt")} {block.get("type")} x {block.get("loss_weight", 1)}'
              for name, block in train.items() if name.endswith('_opt') and name != 'mixer_opt'
              and isinstance(block, dict) and block.get('loss_weight') != 0]
    batch, side = data.get('batch_size_per_gpu'), data.get('gt_size')
    shared = f' in each of {processes} processes' if processes > 1 else ''
    start = f', from iteration {opt["start_iter"]:,} on' if opt.get('start_iter') else ''
    length = (f'{int(train["total_iter"]):,} iterations{start} of {batch} crops'
              f'{f" of {side}x{side}" if side else ""}{shared}')
    if not train.get('optim_g') or not train.get('scheduler'):
        return [f'  losses: {", ".join(losses)}', f'  length: {length}']
    schedule = dict(train['scheduler'])
    kind = schedule.pop('type', '')
    warm_up = f', warm-up {train["warmup_iter"]:,}' if train.get('warmup_iter', -1) > 0 else ''
    average = f', average of weights {train["ema_decay"]}' if train.get('ema_decay') else ''
    return [f'  losses: {", ".join(losses)}', f'  length: {length}',
            f'  schedule: {train["optim_g"].get("type")}, lr {train["optim_g"].get("lr")}, {kind} '
            f'{", ".join(f"{name} {value}" for name, value in schedule.items())}{warm_up}{average}']
