"""From the results of an evaluation and the options of its run to the record."""
from pathlib import Path

from .dataset_check import check_dataset
from .evaluate import mean_scores
from .origin import device_name, file_sha256, now, read_run, versions
from .records import ImageRecord, Record


def make_record(opt, dataset, network, results, checks, iteration, device, seconds):
    """The record of an evaluation.

    Args:
        opt (dict): all options.
        dataset (Dataset): what was measured on.
        network (nn.Module): what was measured.
        results (list[ImageResult]): of ``evaluate``, with scores.
        checks (list[ImageCheck]): of the same images.
        iteration (int | None): of the training that is going on.
        device (torch.device): where the network was.
        seconds (float): how long it took.

    Returns:
        Record: of one data set.
    """
    val, table, data = opt['val'], opt.get('table') or {}, dataset.opt
    option_file = dict(opt.get('option_file') or {'file': None, 'sha256': None, 'changed': [], 'command': ''})
    checkpoint, training = _weights(opt, iteration)
    return Record(
        name=opt['name'], pair=table.get('pair', opt['network_g']['type']), method=table.get('method', opt['name']),
        scale=opt['scale'], seed=opt['manual_seed'] if iteration is not None else (training or {}).get('seed'),
        iteration=iteration, command=option_file.pop('command'), option_file=option_file, checkpoint=checkpoint,
        training=training, network=dict(opt['network_g']), parameters=sum(p.numel() for p in network.parameters()),
        dataset={'name': data['name'], 'gt': str(data.get('dataroot_gt')), 'lq': str(data.get('dataroot_lq')),
                 **check_dataset(data['name'], checks, opt['scale'])},
        protocol={'metrics': val['metrics'], 'self_ensemble': val.get('self_ensemble', False), 'tile': val.get('tile'),
                  'tile_pad': val.get('tile_pad', 16) if val.get('tile') else None, 'precision': 'fp32'},
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


def _weights(opt, iteration):
    """Where the weights come from (None: from no file), and the run that trained them (None: not known)."""
    paths = opt['path']
    if iteration is None:
        file = paths.get('pretrain_network_g') or opt['network_g'].get('file')
        key = paths.get('param_key_g')
        training = read_run(file) if file else None
    else:  # saved before it is measured, where this iteration is one that is saved
        file = str(Path(paths.get('models', ''), f'net_g_{iteration}.pth'))
        file = file if Path(file).is_file() else None
        key = 'params_ema' if opt['train'].get('ema_decay', 0) > 0 else 'params'
        training = None
    return file and {'file': str(file), 'sha256': file_sha256(file), 'key': key}, training
