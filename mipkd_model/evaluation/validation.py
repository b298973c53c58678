"""A validation as BasicSR's pipelines ask for it: options in, record out."""
import math
import time
from functools import partial
from os import path as osp

from tqdm import tqdm

from basicsr.utils import get_root_logger

from ..data.names import check_name
from .evaluate import evaluate
from .recording import make_record
from .records import FOLDER, write_record
from .restore import restorer

TILE = 256
"""That is proposed where an image does not fit into memory; smaller than what most networks take on any machine."""


def restorer_of(opt, network, multiple):
    """The function that super-resolves whole images as ``val`` says.

    Args:
        opt (dict): all options.
        network (nn.Module): in eval mode.
        multiple (int): what sides of lq must be multiples of.
    """
    val = opt.get('val') or {}
    return restorer(network, opt['scale'], multiple, val.get('tile'), val.get('tile_pad'),
                    val.get('self_ensemble', False))


def memory_remedy(tile):
    """What helps where an image does not fit into memory.

    Args:
        tile (int | None): ``val.tile``.
    """
    return f'set val.tile lower than {tile}' if tile else f'set val.tile: {TILE}, which cuts images into such tiles'


def left_out(results, metrics):
    """What is not measured, or not on all images, and why: a line for each.

    Args:
        results (list[ImageResult]): of all images.
        metrics (dict): block ``val.metrics``.
    """
    if not metrics:
        return ['nothing is measured, for there are no val.metrics.']
    lines = []
    # Which images have no gt is not recorded; a metric that needs it has neither a value on them nor a failure.
    without_gt = [name for name in metrics if any(name not in {**result.scores, **result.failed} for result in results)]
    if without_gt:
        every = len(without_gt) == len(metrics) and not any(result.scores for result in results)
        lines.append('nothing is measured, for it has no gt.' if every else
                     f'{", ".join(without_gt)}: not measured, for it has no gt.')
    for name in metrics:
        failed = [result for result in results if name in result.failed]
        if failed:
            lines.append(f'{name}: no value for {len(failed)} of {len(results)} images, the first {failed[0].name} '
                         f'({failed[0].failed[name]}); the mean is that of the others.')
    return lines


def validate(opt, network, multiple, dataset, device, checks, origin, iteration=None, save_img=False):
    """Measure a network on a data set, all processes sharing the images, and write the record.

    Args:
        opt (dict): all options.
        network (nn.Module): the bare network, in eval mode.
        multiple (int): what sides of lq must be multiples of.
        dataset (Dataset): for validation; see ``evaluate``.
        device (torch.device): where the network is.
        checks (dict): what was found of data sets by their names; one that is not in it is checked and added.
        origin (Origin): of the weights.
        iteration (int | None): of the training that is going on, None in a test.
        save_img (bool): save the outputs.

    Returns:
        Record | None: the same in all processes; None where nothing can be measured.
    """
    start, val, name = time.perf_counter(), opt['val'], dataset.opt['name']
    suffix = val.get('suffix') or opt['name'] if iteration is None else iteration
    folder = opt['path'].get('visualization', '')
    check_name(str(name), 'datasets', 'a data set')
    check_name(str(suffix), 'val.suffix', 'an ending')
    # Unless asked for, a bar only where someone looks, which is tqdm's None: in a log file it is many lines.
    hidden = None if val.get('pbar') is None else not val['pbar']
    results = evaluate(
        restorer_of(opt, network, multiple), dataset, val.get('metrics') or {}, opt['scale'], device,
        check=name not in checks, remedy=memory_remedy(val.get('tile')), rank=opt['rank'], world_size=opt['world_size'],
        # BasicSR leaves the data set out while training, where images of the same name would overwrite each other.
        save_as=(lambda image: osp.join(folder, name, f'{image}_{suffix}.png')) if save_img else None,
        progress=partial(tqdm, desc=name, unit='image', disable=opt['rank'] > 0 or hidden))
    if name not in checks:
        for line in left_out(results, val.get('metrics') or {}):
            get_root_logger().warning(f'{name}: {line}')
        checks[name] = [result.check for result in results]
    if not any(result.scores for result in results):
        return None
    record = make_record(opt, dataset, network, results, checks[name], origin, iteration, device,
                         time.perf_counter() - start)
    keep_record(opt, record)
    return record


def keep_record(opt, record):
    """Write a record into the folder of its run; the first process does so, and only in a run that has a folder."""
    if opt['rank'] == 0 and 'log' in opt['path']:
        name = record.dataset['name']
        label = name if record.iteration is None else f'{name}_{record.iteration}'
        write_record(record, osp.join(opt['path']['log'], FOLDER, f'{label}.json'))


def counted(record, metric):
    """How many images of a record the mean of a metric is of."""
    values = [image.scores[metric] for image in record.images.values() if metric in image.scores]
    return sum(not math.isinf(value) for value in values) or len(values)
