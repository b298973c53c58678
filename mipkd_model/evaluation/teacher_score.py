"""How good the teacher is, measured before it teaches: weights that do not fit the network load without a word."""
from copy import deepcopy
from functools import partial

from tqdm import tqdm

from mipkd_arch.staged_view import size_multiple

from basicsr.data import build_dataset
from basicsr.utils import get_root_logger

from .evaluate import compared_means, evaluate, mean_scores
from .validation import memory_remedy, restorer_of

CHECKED = 'check_teacher'


def chosen_metric(metrics):
    """Name of the metric that a teacher is measured by: the first PSNR, else the first; None without any."""
    psnr = [name for name, block in metrics.items() if block['type'] == 'calculate_psnr']
    return next(iter([*psnr, *metrics]), None)


def is_better(value, than, block):
    """Whether a metric's value is better than another; NaN never is.

    Args:
        value, than (float): of the metric.
        block (dict): of ``val.metrics``; 'better' is 'higher', unless it says 'lower'.
    """
    return value < than if block.get('better', 'higher') == 'lower' else value > than


def measure_teacher(opt, teacher, device):
    """Measure the teacher on the first data set of validation, and warn of one that is worse than bicubic.

    Nothing is written but the log. All processes share the images. A resumed run has the scores in its state.

    Args:
        opt (dict): all options; ``val.check_teacher: false`` leaves this out.
        teacher (nn.Module): in float32 and eval mode, on the device.
        device (torch.device): where it is.

    Returns:
        dict[str, dict[str, float]]: values by data set and metric; empty where there is nothing to measure.
    """
    val = opt.get('val') or {}
    name = chosen_metric(val.get('metrics') or {})
    block = next((block for phase, block in opt['datasets'].items() if phase.split('_')[0] == 'val'), None)
    if not val.get(CHECKED, True) or opt['path'].get('resume_state') or name is None or block is None:
        return {}
    dataset = build_dataset({**deepcopy(block), 'phase': 'val', 'scale': opt['scale']})
    metric = {name: val['metrics'][name]}
    logger = get_root_logger()
    logger.info(f'Measuring the teacher on {block["name"]}; val.{CHECKED}: false leaves this out.')
    results = evaluate(
        restorer_of(opt, teacher, size_multiple(teacher)), dataset, metric, opt['scale'], device, check=True,
        rank=opt['rank'], world_size=opt['world_size'], remedy=memory_remedy(val.get('tile')),
        progress=partial(tqdm, desc=f'teacher on {block["name"]}', unit='image', leave=False,
                         disable=opt['rank'] > 0 or None))  # None: only where someone looks
    scores, bicubic = [result.scores for result in results], [result.check.bicubic for result in results]
    value = mean_scores(scores).get(name)
    if value is None:
        logger.warning(f'{block["name"]}: {name} has no value on any image, so the teacher is not measured.')
        return {}
    logger.info(f'Teacher on {block["name"]}: {name} {value:.4f}')
    compared = compared_means(scores, bicubic, name)  # bicubic has PSNR and SSIM alone
    other = unchanged_or_bicubic(opt['scale'])
    if compared and not is_better(*compared[:2], metric[name]):
        file = opt['path'].get('pretrain_network_t') or opt['network_t'].get('file')
        logger.warning(f'{file}: the teacher is no better than {other} on {block["name"]}: '
                       f'{_both(name, other, *compared)}. Are these weights of network_t, of scale {opt["scale"]}, and '
                       'are rgb_mean, img_range and res_scale those it was trained with?')
    elif compared and compared[2]:
        logger.info(f'Teacher on {block["name"]}, beside {other}: {_both(name, other, *compared)}.')
    return {block['name']: {name: compared[0] if compared else value}}


def unchanged_or_bicubic(scale):
    """What a network is compared with: bicubic leaves lq as it is at x1."""
    return 'bicubic' if scale > 1 else 'lq itself'


def _both(name, other, value, bicubic, left_out):
    """A network's figure and that of bicubic, in words."""
    aside = f' (without {left_out} on which one of them is infinite)' if left_out else ''
    return f'{name} {value:.4f}, {other} {bicubic:.4f}{aside}'


def warn_of_bicubic(record):
    """Warn of a trained student that is below bicubic, or just there.

    Args:
        record (Record): of the validation at the end of the run.
    """
    other = unchanged_or_bicubic(record.scale)
    for name, block in record.protocol['metrics'].items():
        images = record.images.values()
        compared = compared_means([image.scores for image in images], [image.bicubic for image in images], name)
        if compared and not is_better(*compared[:2], block):
            get_root_logger().warning(
                f'The student is below {other} on {record.dataset["name"]}: {_both(name, other, *compared)}. A run '
                'that is too short, or whose learning rate is too high or too low, ends so; mipkd check warns of '
                'schedules that do not fit the length.')
            return


def comparable_means(record):
    """A record's means by metric, over the images on which neither the network nor bicubic is infinite.

    So the teacher is measured, too; one black image would else decide who is better.
    """
    images = record.images.values()
    compared = {name: compared_means([image.scores for image in images], [image.bicubic for image in images], name)
                for name in record.mean}
    return {name: compared[name][0] if compared[name] else value for name, value in record.mean.items()}


def warn_of_surpassed(teacher_scores, dataset, means, metrics):
    """Warn of a teacher that its student is better than.

    Args:
        teacher_scores (dict): of ``measure_teacher``.
        dataset (str): name of the data set that the student was measured on.
        means (dict[str, float]): the student's values by metric.
        metrics (dict): block ``val.metrics``.

    Returns:
        bool: whether there was something to warn of.
    """
    for name, value in teacher_scores.get(dataset, {}).items():
        if name in means and is_better(means[name], value, metrics[name]):
            get_root_logger().warning(
                f'The student is better than its teacher on {dataset}: {name} {means[name]:.4f}, teacher {value:.4f}. '
                'The teacher may hold it back: a better one, or lower weights of the losses that follow it, could '
                'help.')
            return True
    return False
