"""Losses, their schedules and staged views, built from the options of a training.

The launchers build everything once before a run starts, to find mistakes; MiPKDModel builds it to train.
"""
from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.size_probe import probe_network
from mipkd_arch.staged_view import NoStagedView, StagedViewError, has_view, staged_view, whole_view

from basicsr.utils.registry import LOSS_REGISTRY

from ..losses import DistillLoss
from ..losses.schedule import WeightSchedule, without_schedule
from ..networks.build import build_from_options, check_upscale

IMAGE_LOSSES = ('pixel_opt', 'kd_opt', 'perceptual_opt')  # BasicSR's own loss types; the others are DistillLoss


def make_losses(train_opt):
    """Build the losses of ``train.*_opt``; returns a dict by name, without the ending. Weight 0 leaves one out."""
    losses = {}
    for key, loss_opt in train_opt.items():
        if not key.endswith('_opt') or key == 'mixer_opt' or loss_opt is None or loss_opt.get('loss_weight') == 0:
            continue
        loss = build_from_options(f'train.{key}', without_schedule(loss_opt), LOSS_REGISTRY)
        if (key in IMAGE_LOSSES) == isinstance(loss, DistillLoss):
            takes = ('compares two images' if key in IMAGE_LOSSES else
                     f'distils, as ATLoss does, and those of images are {", ".join(IMAGE_LOSSES)}')
            raise UserError(f'train.{key}.type: {loss_opt["type"]!r} does not fit; this option takes a loss that '
                            f'{takes}')
        losses[key.removesuffix('_opt')] = loss
    if not losses:
        raise UserError('train: has no loss of a weight above 0; give at least one of pixel_opt, kd_opt, '
                        'feature_prior_opt, block_prior_opt')
    kinds = [type(loss) for loss in losses.values() if isinstance(loss, DistillLoss)]
    for name, loss in losses.items():
        if kinds.count(type(loss)) > 1:
            raise UserError(f'train.{name}_opt.type: {type(loss).__name__} is the type of another loss too; each can '
                            'be given once')
    return losses


def make_schedules(train_opt, losses):
    """The schedules of those losses, named without ``_opt``, that have one; by their names."""
    blocks = {name: train_opt[f'{name}_opt'].get('schedule') for name in losses}
    return {name: WeightSchedule.of(block, f'train.{name}_opt.schedule', train_opt['total_iter'])
            for name, block in blocks.items() if block is not None}


def needs_teacher(opt, losses):
    """Whether a loss compares with a teacher.

    Raises:
        UserError: one does, and the options have no ``network_t``.
    """
    names = [name for name, loss in losses.items() if name == 'kd' or isinstance(loss, DistillLoss)]
    if names and opt.get('network_t') is None:
        raise UserError(f'network_t: missing, but train.{names[0]}_opt needs a teacher')
    return bool(names)


def make_views(opt, student, teacher, losses):
    """Views of student and teacher (None without one), cut where a loss looks inside."""
    looking = [name for name, loss in losses.items() if isinstance(loss, DistillLoss) and loss.needs_features]
    views = [None if network is None else _make_view(opt, label, network, looking)
             for label, network in (('g', student), ('t', teacher))]
    counts = [len(view.stages) for view in views if view is not None]
    if len(set(counts)) > 1:
        raise UserError(f'train.cuts_g and train.cuts_t: cut student and teacher into {counts[0]} and {counts[1]} '
                        'stages; the numbers must be equal')
    return views


def _make_view(opt, label, network, looking):
    try:
        if not looking and not has_view(network):
            found = probe_network(network)
            view = whole_view(network, found.upscale, found.size_multiple)
        else:
            view = staged_view(network, opt['train'].get(f'cuts_{label}', 3) if looking else 1)
    except NoStagedView as error:
        raise NoStagedView(f'network_{label}: train.{looking[0]}_opt looks at feature maps, but {error}. Losses '
                           'that compare images alone serve any network') from None
    except StagedViewError as error:
        raise StagedViewError(f'train.cuts_{label}: {error}') from None
    except UserError as error:
        raise UserError(f'network_{label}: {error}') from None
    except Exception as error:  # any view, any failure
        raise StagedViewError(f'network_{label}: the staged view of {type(network).__name__} cannot be made '
                              f'({reason_of(error)}); mend the function that makes it') from None
    check_upscale(opt, label, network, view.upscale)
    return view
