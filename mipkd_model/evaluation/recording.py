"""From the results of an evaluation and the options of its run to the record."""
from pathlib import Path
from typing import NamedTuple

from mipkd_arch.base.checkpoint import read_checkpoint, weights_key

from ..training.identity import differences
from .dataset_check import check_dataset
from .evaluate import mean_scores
from .origin import archived_runs, device_name, file_sha256, now, read_description, read_run, versions
from .records import ImageRecord, Record
from .restore import pad_of


class Origin(NamedTuple):
    """Where the weights that are measured come from."""

    checkpoint: dict | None
    """``Record.checkpoint``."""
    training: dict | None
    """``Record.training``."""


def tested_origin(opt):
    """Origin of the weights that a test loads.

    Args:
        opt (dict): all options.

    Raises:
        UserError: the folder of the weights describes no run, but something else.
    """
    paths, file = opt['path'], opt['path'].get('pretrain_network_g')
    if file is None:
        file = opt['network_g'].get('file')
        return Origin(file and _checkpoint(file, None), None)
    key = paths.get('param_key_g') or weights_key(read_checkpoint(file))
    return Origin(_checkpoint(file, key), read_run(file))


def doubts(opt, origin):
    """Why the weights that a test measures may not be those that are meant, a line each.

    Args:
        opt (dict): all options of the test.
        origin (Origin): as ``tested_origin`` gives it.
    """
    run, table, file = origin.training, opt.get('table') or {}, opt['path'].get('pretrain_network_g')
    if run is None:
        return
    for name, value in (run.get('table') or {}).items():
        if name in table and table[name] != value:
            yield (f'table.{name}: {table[name]}, but {file} is of the run {run["name"]} with table.{name}: {value}; '
                   f'its figures will stand in the row of {table[name]}')
    for folder, other in archived_runs(file):
        changed = {path: (then, now) for path, then, now in differences(_decisive(other), _decisive(run))}
        if changed:
            path, (then, now) = next(iter(changed.items()))
            yield (f'{file}: is of the newest of the runs of that name, with {path}: {now}; {folder} has an older one, '
                   f'with {path}: {then}. Is it this one that is meant?')
            return


def _decisive(run):
    """What decides about the weights of a run, the seed included, by paths of options."""
    return {'train.total_iter': run.get('total_iter'), 'manual_seed': run.get('seed'), **(run.get('options') or {})}


def trained_origin(opt, iteration):
    """Origin of the weights of a training that is going on: their file, where this iteration has been saved.

    Args:
        opt (dict): all options.
        iteration (int): of the training.

    Returns:
        Origin: empty in all processes but the first, which alone writes the record.
    """
    if opt.get('rank'):
        return Origin(None, None)
    names = [f'net_g_{iteration}.pth', *(['net_g_latest.pth'] if iteration == int(opt['train']['total_iter']) else [])]
    files = [file for name in names if (file := Path(opt['path'].get('models', ''), name)).is_file()]
    key = 'params_ema' if opt['train'].get('ema_decay', 0) > 0 else 'params'
    return Origin(_checkpoint(files[0], key) if files else None, read_description(opt['path'].get('log', '')))


def _checkpoint(file, key):
    return {'file': _short(str(file)), 'sha256': file_sha256(file), 'key': key}


def make_record(opt, dataset, network, results, checks, origin, iteration, device, seconds):
    """The record of an evaluation.

    Args:
        opt (dict): all options.
        dataset (Dataset): what was measured on.
        network (nn.Module): what was measured.
        results (list[ImageResult]): of ``evaluate``, with scores.
        checks (list[ImageCheck]): of the same images.
        origin (Origin): of the weights.
        iteration (int | None): of the training that is going on.
        device (torch.device): where the network was.
        seconds (float): how long it took.

    Returns:
        Record: of one data set.
    """
    val, table, data = opt['val'], opt.get('table') or {}, dataset.opt
    option_file = dict(opt.get('option_file') or {'file': None, 'sha256': None, 'changed': [], 'command': ''})
    return Record(
        name=opt['name'], pair=table.get('pair', opt['network_g']['type']), method=table.get('method', opt['name']),
        scale=opt['scale'], seed=opt['manual_seed'] if iteration is not None else (origin.training or {}).get('seed'),
        iteration=iteration, command=option_file.pop('command'), option_file=option_file,
        checkpoint=origin.checkpoint, training=origin.training, network=dict(opt['network_g']),
        parameters=sum(p.numel() for p in network.parameters()),
        dataset={'name': data['name'], 'gt': data.get('dataroot_gt') and str(data['dataroot_gt']),
                 'lq': str(data.get('dataroot_lq')), **check_dataset(data['name'], checks, opt['scale'])},
        protocol={'metrics': val['metrics'], 'self_ensemble': val.get('self_ensemble', False), 'tile': val.get('tile'),
                  'tile_pad': pad_of(val.get('tile_pad')) if val.get('tile') else None, 'precision': 'fp32'},
        mean=mean_scores([result.scores for result in results]),
        bicubic=mean_scores([check.bicubic for check in checks]),
        images={result.name: ImageRecord(scores=result.scores, bicubic=check.bicubic, lq=result.lq,
                                         output=_short(result.output))
                for result, check in zip(results, checks, strict=True)},
        versions=versions(device), device=device_name(device), finished=now(), seconds=round(seconds, 3))


def _short(file):
    """A path from the current folder, as options name theirs, where it lies inside."""
    here = Path.cwd()
    return str(Path(file).relative_to(here)) if file and here in Path(file).parents else file
