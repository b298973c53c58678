"""DUKD: its changes of images, its crops, and both of its terms from the numbers drawn."""
from copy import deepcopy
from itertools import chain, combinations

import pytest
import refusals
import runs
import tiny
import torch
from steps import levels, make_step, near, resized, rng
from torch.nn import functional as F

from mipkd_arch import staged_view
from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import STUDENT, TEACHER
from mipkd_model.data.bicubic import shrink
from mipkd_model.losses import DistillStep
from mipkd_model.losses.dukd_loss import CHANGES, DUKDLoss, change, random_crops

ALL_CHANGES = list(chain.from_iterable(combinations(CHANGES, n) for n in range(len(CHANGES) + 1)))


@pytest.mark.parametrize('size', [(6, 6), (4, 7)])
@pytest.mark.parametrize('names', ALL_CHANGES, ids='-'.join)
def test_each_composition_of_changes_is_undone_exactly_and_only_in_reverse_order(names, size):
    images = torch.randint(0, 257, (2, 3, *size)) / 256  # of which 1 - x is exact
    changed = change(images, names)
    assert torch.equal(change(changed, names[::-1]), images)
    assert torch.equal(changed, images) == (not names)
    one_flip = len({'hflip', 'vflip'} & set(names)) == 1
    assert torch.equal(change(changed, names), images) == (not ('transpose' in names and one_flip))


def test_changes_are_made_in_the_order_invert_hflip_vflip_transpose():
    image = torch.arange(6.).view(1, 1, 2, 3) / 8
    expected = 1 - torch.tensor([[[[5., 2.], [4., 1.], [3., 0.]]]]) / 8
    assert len(ALL_CHANGES) == 16 and torch.equal(change(image, ALL_CHANGES[-1]), expected)


def test_crops_are_parts_of_each_image_at_places_of_its_own_that_reach_both_ends():
    images = torch.arange(3 * 2 * 6 * 7).view(3, 2, 6, 7)
    places = [set() for _ in images]
    for iteration in range(60):
        numbers = rng(iteration).numbers_of_samples('dukd', len(images))
        for index, crop in enumerate(random_crops(images, 4, 4, numbers)):
            top, left = divmod(crop[0, 0, 0].item() - 84 * index, 7)
            assert torch.equal(crop, images[index, :, top:top + 4, left:left + 4])
            places[index].add((top, left))
    assert all(found == {(top, left) for top in range(3) for left in range(4)} for found in places)
    crops = random_crops(images % 84, 4, 4, rng().numbers_of_samples('x', 3))
    assert len({tuple(crop.flatten().tolist()) for crop in crops}) > 1


def test_the_zooms_of_a_share_are_those_of_its_part_of_the_whole_batch():
    lq, seen = levels(4, 3, 6, 8), {}
    whole = make_step(lq, {})
    for share in ((0, 1), (0, 2), (1, 2)):
        index, count = share
        part = slice(index * 4 // count, (index + 1) * 4 // count)
        views = {STUDENT: Spy(), TEACHER: Spy()}
        DUKDLoss()(DistillStep(lq[part], whole.gt[part], views, {}, [], rng(share=share)))
        seen[share] = views[STUDENT].seen + views[TEACHER].seen
    assert len(seen[0, 1]) == 4
    for position, images in enumerate(seen[0, 1]):
        assert torch.equal(images, torch.cat([seen[0, 2][position], seen[1, 2][position]]))


class Spy:
    """A view that keeps what it is given, and enlarges by repeating pixels: whatever is changed, it can be undone."""

    def __init__(self, upscale=2):
        self.upscale, self.seen = upscale, []

    def __call__(self, lq):
        self.seen.append(lq)
        return F.interpolate(lq, scale_factor=self.upscale, mode='nearest')


@pytest.mark.parametrize('size', [(8, 8), (6, 10)])
def test_only_the_students_input_is_changed_and_the_teacher_sees_the_crop_of_gt(size):
    seen = set()
    for iteration in range(40):
        views = {STUDENT: Spy(), TEACHER: Spy()}
        step = make_step(levels(2, 3, *size), views, iteration=iteration)
        loss = DUKDLoss(zoom_out=False)(step)
        places = [(own.randint(0, size[0]), own.randint(0, size[1]))
                  for own in rng(iteration).numbers_of_samples('dukd', 2)]
        numbers = rng(iteration).numbers('dukd')
        names = tuple(name for name in CHANGES if numbers.random() < 0.3)
        crops = torch.stack([gt[:, top:top + size[0], left:left + size[1]]
                             for gt, (top, left) in zip(step.gt, places, strict=True)])
        assert torch.equal(views[TEACHER].seen[0], crops) and len(views[TEACHER].seen) == 1
        assert torch.equal(views[STUDENT].seen[0], change(crops, names)) and len(views[STUDENT].seen) == 1
        assert list(loss) == ['l_zoom_in'] and loss['l_zoom_in'] < 1e-7, 'such a network has nothing to learn from F'
        seen.update(names)
    assert seen == set(CHANGES)


@pytest.mark.parametrize('changes, names', [({'consistency': False}, ()), ({'consistency_prob': 0}, ()),
                                            ({'consistency_prob': 1}, tuple(CHANGES))])
def test_consistency_and_its_probability_decide_on_the_changes(changes, names):
    for iteration in range(5):
        views = {STUDENT: Spy(), TEACHER: Spy()}
        DUKDLoss(zoom_out=False, **changes)(make_step(levels(2, 3, 6, 8), views, iteration=iteration))
        assert torch.equal(views[STUDENT].seen[0], change(views[TEACHER].seen[0], names))


def dukd_by_hand(step, networks):
    """The loss in float64, from the numbers drawn."""
    height, width = step.lq.shape[-2:]
    crops = []
    for gt, own in zip(step.gt.double(), rng().numbers_of_samples('dukd', len(step.gt)), strict=True):
        top, left = own.randint(0, gt.shape[1] - height), own.randint(0, gt.shape[2] - width)
        crops.append(gt[:, top:top + height, left:left + width])
    crops, numbers = torch.stack(crops), rng().numbers('dukd')
    invert, hflip, vflip, transpose = (numbers.random() < 0.9 for _ in range(4))
    x = 1 - crops if invert else crops
    x = torch.flip(x, [3]) if hflip else x
    x = torch.flip(x, [2]) if vflip else x
    y = networks[STUDENT](x.permute(0, 1, 3, 2) if transpose else x)
    y = y.permute(0, 1, 3, 2) if transpose else y
    y = torch.flip(y, [2]) if vflip else y
    y = torch.flip(y, [3]) if hflip else y
    zoom_in = ((1 - y if invert else y) - networks[TEACHER](crops)).abs().mean()
    small = resized(step.lq, lambda image: shrink(image, 2))
    image, gt = networks[STUDENT](small), step.lq.double()[..., :height // 2 * 2, :width // 2 * 2]
    return zoom_in, (image - networks[TEACHER](small)).abs().mean() + (image - gt).abs().mean()


def test_dukd_is_both_zooms_recomputed_from_the_numbers_drawn():
    student, teacher = tiny.edsr(2), tiny.edsr(2, num_feat=12).requires_grad_(False)
    views = {STUDENT: staged_view(student), TEACHER: staged_view(teacher)}
    step = make_step(levels(3, 3, 7, 10), views)
    losses = DUKDLoss(loss_weight=3., consistency_prob=0.9)(step)
    doubles = {STUDENT: deepcopy(student).double(), TEACHER: deepcopy(teacher).double()}
    for name, value, expected in zip(('l_zoom_in', 'l_zoom_out'), losses.values(), dukd_by_hand(step, doubles),
                                     strict=True):
        torch.testing.assert_close(losses[name].double(), 3 * expected, rtol=1e-4, atol=0)
        found = torch.autograd.grad(value, list(student.parameters()))
        for ours, theirs in zip(found, torch.autograd.grad(3 * expected, list(doubles[STUDENT].parameters())),
                                strict=True):
            near(ours, theirs, 5e-3)
    assert all(p.grad is None for p in teacher.parameters())


@pytest.mark.parametrize('upscale', [2, 3, 4])
def test_zooming_out_crops_lq_to_multiples_of_the_scale(upscale):
    views = {STUDENT: Spy(upscale), TEACHER: Spy(upscale)}
    step = make_step(levels(2, 3, 13, 11), views, upscale)
    losses = DUKDLoss(zoom_in=False)(step)
    expected = resized(step.lq, lambda image: shrink(image, upscale)).float()
    assert list(losses) == ['l_zoom_out'] and losses['l_zoom_out'] > 0
    assert all(torch.equal(views[role].seen[0], expected) for role in views)


@pytest.mark.parametrize('side', [6, 4, 3, 2])
def test_zooming_out_below_the_window_of_swinir_gives_finite_losses(side):
    views = {STUDENT: staged_view(tiny.swinir(2)), TEACHER: staged_view(tiny.swinir(2).eval().requires_grad_(False))}
    losses = DUKDLoss()(make_step(levels(2, 3, side, side), views))
    sum(losses.values()).backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert views[STUDENT].network.conv_first.weight.grad.abs().max() > 0


def test_adding_dukd_changes_nothing_of_what_mipkd_draws(tmp_path):
    logs = []
    for changes in ({}, {'dukd_opt': {'type': 'DUKDLoss'}}):
        torch.manual_seed(0)
        model = runs.model(runs.options(tmp_path, **changes))
        torch.manual_seed(1)
        model.feed_data(runs.batch())
        model.optimize_parameters(1)
        logs.append(model.get_current_log())
    assert set(logs[1]) - set(logs[0]) == {'l_zoom_in', 'l_zoom_out'}
    assert all(logs[1][name] == value for name, value in logs[0].items())


@pytest.mark.parametrize('options, hint', [
    ({'loss_weight': None}, 'dukd_opt.loss_weight: None is not a number of at least 0'),
    ({'consistency_prob': 1.5}, 'dukd_opt.consistency_prob: 1.5 is not a number from 0 to 1'),
    ({'zoom_in': 'yes'}, "dukd_opt.zoom_in: 'yes' is neither true nor false"),
    ({'consistency': 1}, 'dukd_opt.consistency: 1 is neither true nor false')])
def test_a_wrong_option_is_one_line_that_names_it(options, hint):
    assert hint in refusals.refusal(DUKDLoss, kind=UserError, **options)
