"""Losses that compare feature maps, against float64 sums written out from the formulas of their papers."""
from itertools import product
from types import SimpleNamespace

import pytest
import torch

from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import STUDENT, TEACHER
from mipkd_arch.staged_views import StagedOutput
from mipkd_model.losses import DistillLoss, DistillStep
from mipkd_model.losses.at_loss import ATLoss
from mipkd_model.losses.fakd_loss import FAKDLoss
from mipkd_model.losses.fitnet_loss import FitNetLoss
from mipkd_model.losses.rkd_loss import RKDLoss

from basicsr.losses import build_loss

LOSSES = {
    'fitnet': (FitNetLoss, {'loss_weight': 3.}),
    'fitnet_mse': (FitNetLoss, {'loss_weight': 3., 'criterion': 'mse'}),
    'fitnet_mean': (FitNetLoss, {'loss_weight': 3., 'variant': 'channel_mean'}),
    'fitnet_mean_mse': (FitNetLoss, {'loss_weight': 3., 'variant': 'channel_mean', 'criterion': 'mse'}),
    'at': (ATLoss, {'loss_weight': 3.}),
    'at_mse': (ATLoss, {'loss_weight': 3., 'criterion': 'mse'}),
    'fakd': (FAKDLoss, {'loss_weight': 3.}),
    'rkd': (RKDLoss, {'loss_weight': 3.}),
    'rkd_distances': (RKDLoss, {'loss_weight': 3., 'angle_weight': 0.}),
    'rkd_angles': (RKDLoss, {'loss_weight': 3., 'distance_weight': 0, 'angle_weight': 7}),
}
NO_REGRESSOR = [name for name in LOSSES if name not in ('fitnet', 'fitnet_mse')]
ONE_EACH = ['fitnet', 'fitnet_mean', 'at', 'fakd', 'rkd']


def make_maps(channels, seed=0, count=4, size=(2, 3), scale=1.):
    """Maps of two positions; one sample lies far from the others, so that relations differ by more than 1."""
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.randn(count, channels, *size, generator=generator) + 0.3 for _ in range(2)]
    for feature in maps:
        feature[seed % count] *= 5
    return [scale * feature for feature in maps]


def value_of(loss, maps_s, maps_t):
    """Loss of a step with these maps, and its gradients to the student's."""
    maps_s = [feature.detach().clone().requires_grad_() for feature in maps_s]
    lq, gt = torch.rand(2, len(maps_s[0]), 3, 4, 4)
    passes = {STUDENT: StagedOutput(tuple(maps_s), gt), TEACHER: StagedOutput(tuple(maps_t), gt)}
    losses = loss(DistillStep(lq, gt, {}, passes, [], None))
    (name, value), = losses.items()
    assert value.dtype == torch.float32 and value.shape == () and name.startswith('l_')
    return value.detach(), list(torch.autograd.grad(value, maps_s, retain_graph=True)), value


def make_loss(name, channels=(3, 5), **changes):
    cls, options = LOSSES[name]
    loss = cls(**{**options, **changes})
    loss.bind({role: SimpleNamespace(num_feat=width, num_positions=2)
               for role, width in zip((STUDENT, TEACHER), channels, strict=True)})
    return loss


# ---------------------------------------------------------------- the formulas, entry by entry, in float64

def distance(loss, a, b):
    return (a - b)**2 if loss.distance is torch.nn.functional.mse_loss else (a - b).abs()


def deviation(feature):
    entries = feature.detach().flatten().tolist()
    mean = sum(entries) / len(entries)
    return (sum((entry - mean)**2 for entry in entries) / (len(entries) - 1))**0.5


def pixels_of(feature):
    n, _, h, w = feature.shape
    return [(sample, y, x) for sample, y, x in product(range(n), range(h), range(w))]


def fitnet(loss, position, f_s, f_t, weights):
    terms, u_s, u_t = [], deviation(f_s), deviation(f_t)
    for n, y, x in pixels_of(f_s):
        if loss.variant == 'channel_mean':
            means = [sum(feature[n, c, y, x] for c in range(feature.shape[1])) / feature.shape[1]
                     for feature in (f_s, f_t)]
            terms.append((means[0] / u_t, means[1] / u_t))
            continue
        weight, bias = weights[2 * position:2 * position + 2]
        for out in range(f_t.shape[1]):
            regressed = bias[out] + sum(weight[out, c, 0, 0] * f_s[n, c, y, x] / u_s for c in range(f_s.shape[1]))
            terms.append((regressed, f_t[n, out, y, x] / u_t))
    return sum(distance(loss, *pair) for pair in terms) / len(terms)


def attention(loss, position, f_s, f_t, weights):
    places, maps = pixels_of(f_s), []
    for feature in (f_s, f_t):
        energy = {(n, y, x): sum(feature[n, c, y, x]**2 for c in range(feature.shape[1])) for n, y, x in places}
        norms = [sum(value**2 for (n, _, _), value in energy.items() if n == sample).sqrt()
                 for sample in range(len(feature))]
        maps.append({place: value / norms[place[0]] for place, value in energy.items()})
    return sum(distance(loss, maps[0][place], maps[1][place]) for place in places) / len(places)


def affinity(loss, position, f_s, f_t, weights):
    terms = []
    for n, y, x in pixels_of(f_s):
        for y2, x2 in product(range(f_s.shape[2]), range(f_s.shape[3])):
            cosines = []
            for feature in (f_s, f_t):
                a, b = feature[n, :, y, x], feature[n, :, y2, x2]
                cosines.append(sum(p * q for p, q in zip(a, b, strict=True)) / (a**2).sum().sqrt() /
                               (b**2).sum().sqrt())
            terms.append((cosines[0] - cosines[1]).abs())
    return sum(terms) / len(terms)


def huber(a, b):
    d = (a - b).abs()
    return 0.5 * d**2 if d < 1 else d - 0.5


def relation(loss, position, f_s, f_t, weights):
    count, distances, cosines = len(f_s), [], []
    for feature in (f_s, f_t):
        plain = {(i, j): ((feature[i] - feature[j])**2).sum().sqrt()
                 for i, j in product(range(count), repeat=2) if i != j}
        mean = sum(plain.values()) / len(plain)
        distances.append({pair: value / mean for pair, value in plain.items()})
        unit = {(i, j): (feature[j] - feature[i]) / plain[i, j] for i, j in plain}
        cosines.append({(i, j, k): (unit[i, j] * unit[i, k]).sum()
                        for i, j, k in product(range(count), repeat=3) if len({i, j, k}) == 3})
    # Entries on the diagonals are equal for both networks, but they count in the mean.
    far = sum(huber(distances[0][key], distances[1][key]) for key in distances[0]) / count**2
    wide = sum(huber(cosines[0][key], cosines[1][key]) for key in cosines[0]) / count**3
    return loss.distance_weight * far + loss.angle_weight * wide


FORMULAS = {FitNetLoss: fitnet, ATLoss: attention, FAKDLoss: affinity, RKDLoss: relation}


def by_hand(loss, maps_s, maps_t):
    """The loss in float64, its gradients to the student's maps, and those to the loss's own weights."""
    maps_s = [feature.double().requires_grad_() for feature in maps_s]
    weights = [p.detach().double().requires_grad_() for p in loss.parameters()]
    value = loss.loss_weight * sum(FORMULAS[type(loss)](loss, position, f_s, f_t.double(), weights)
                                   for position, (f_s, f_t) in enumerate(zip(maps_s, maps_t, strict=True)))
    gradients = torch.autograd.grad(value, maps_s + weights)
    return value.detach(), list(gradients[:2]), list(gradients[2:])


def close(found, expected, rtol=1e-4):
    largest = expected.abs().max().item()
    torch.testing.assert_close(found.double(), expected.double(), rtol=rtol, atol=1e-5 * largest)
    assert largest > 0


@pytest.mark.parametrize('name', LOSSES)
@pytest.mark.parametrize('scale', [1., 40.])
def test_value_and_gradients_are_those_of_the_formula(name, scale):
    loss, maps_s, maps_t = make_loss(name), make_maps(3, scale=scale), make_maps(5, seed=1)
    value, gradients, graph = value_of(loss, maps_s, maps_t)
    expected, expected_gradients, expected_weights = by_hand(loss, maps_s, maps_t)
    close(value, expected)
    for found, wanted in zip(gradients, expected_gradients, strict=True):
        close(found, wanted)
    weights = list(loss.parameters())
    assert len(weights) == (4 if 'fitnet' in name and 'mean' not in name else 0)
    for found, wanted in zip(torch.autograd.grad(graph, weights) if weights else [], expected_weights, strict=True):
        close(found, wanted)


# ---------------------------------------------------------------- what they do not look at

def permuted(maps):
    return [feature[:, torch.randperm(feature.shape[1], generator=torch.Generator().manual_seed(1))]
            for feature in maps]


def pixels_rescaled(maps):
    return [feature * (0.5 + 3 * torch.rand(len(feature), 1, *feature.shape[2:])) for feature in maps]


def elements_permuted(maps):
    order = torch.randperm(maps[0][0].numel(), generator=torch.Generator().manual_seed(1))
    return [feature.flatten(1)[:, order].view_as(feature) for feature in maps]


CHANGES = {'channels permuted': permuted, 'pixels rescaled': pixels_rescaled, 'elements permuted': elements_permuted,
           'scaled': lambda maps: [7 * feature for feature in maps],
           'shifted': lambda maps: [feature + 2 for feature in maps]}
BLIND = {'fakd': ('channels permuted', 'pixels rescaled', 'scaled'), 'at': ('channels permuted', 'scaled'),
         'rkd': ('channels permuted', 'elements permuted', 'scaled', 'shifted'), 'fitnet': ('scaled', ),
         'fitnet_mean': ('channels permuted', )}


@pytest.mark.parametrize('change', CHANGES)
@pytest.mark.parametrize('name', BLIND)
def test_a_loss_is_blind_to_just_what_its_formula_takes_out_of_the_students_maps(name, change):
    loss, maps_s, maps_t = make_loss(name), make_maps(3), make_maps(5, seed=1)
    before, after = (value_of(loss, maps, maps_t)[0] for maps in (maps_s, CHANGES[change](maps_s)))
    assert torch.isclose(before, after, rtol=1e-4) == (change in BLIND[name])


@pytest.mark.parametrize('name', ONE_EACH)
def test_the_unit_of_both_networks_and_the_order_of_the_samples_do_not_matter(name):
    loss, both, order = make_loss(name), (make_maps(3), make_maps(5, seed=1)), [2, 0, 3, 1]
    expected = value_of(loss, *both)[0]
    for change in (CHANGES['scaled'], lambda maps: [feature[order] for feature in maps]):
        torch.testing.assert_close(value_of(loss, *map(change, both))[0], expected, rtol=1e-4, atol=0)


# ---------------------------------------------------------------- maps that could divide by zero

@pytest.mark.parametrize('name', NO_REGRESSOR)
def test_a_student_with_the_teachers_maps_has_no_loss(name):
    value, gradients, _ = value_of(make_loss(name, (5, 5)), make_maps(5), make_maps(5))
    assert value < 1e-5
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_fitnet_has_no_loss_once_its_regressors_turn_the_students_maps_into_the_teachers():
    loss = make_loss('fitnet', (5, 5))
    for regressor in loss.regressors:
        torch.nn.init.eye_(regressor.weight.data.flatten(1))
        torch.nn.init.zeros_(regressor.bias)
    assert value_of(loss, make_maps(5), make_maps(5))[0] < 1e-5


def duplicated(maps):
    return [feature[[0, 1, 1, 1]] for feature in maps]


DEGENERATE = {'zero': lambda maps: [0 * feature for feature in maps],
              'constant': lambda maps: [torch.full_like(feature, 3.) for feature in maps],
              'one sample zero': lambda maps: [feature * torch.tensor([0., 1, 1, 1]).view(4, 1, 1, 1)
                                               for feature in maps],
              'duplicated samples': duplicated, 'all samples alike': lambda maps: [f[[1, 1, 1, 1]] for f in maps],
              'tiny': lambda maps: [1e-12 * feature for feature in maps]}


@pytest.mark.parametrize('which', ['student', 'teacher', 'both'])
@pytest.mark.parametrize('case', DEGENERATE)
@pytest.mark.parametrize('name', ONE_EACH)
def test_degenerate_maps_give_finite_losses_and_gradients(name, case, which):
    maps_s, maps_t = make_maps(3), make_maps(5, seed=1)
    maps_s = DEGENERATE[case](maps_s) if which != 'teacher' else maps_s
    maps_t = DEGENERATE[case](maps_t) if which != 'student' else maps_t
    value, gradients, _ = value_of(make_loss(name), maps_s, maps_t)
    assert torch.isfinite(value)
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def one_pixel_zero(maps):
    maps[0][0, :, 0, 0] = 0
    return maps


@pytest.mark.parametrize('name, case', [('rkd', duplicated), ('fakd', one_pixel_zero), ('at', one_pixel_zero)],
                         ids=['rkd', 'fakd', 'at'])
def test_one_sample_or_pixel_without_a_direction_does_not_outweigh_all_others(name, case):
    loss, maps_t = make_loss(name), make_maps(5, seed=1)
    usual, found = (value_of(loss, maps, maps_t)[1] for maps in (make_maps(3), case(make_maps(3))))
    for ours, theirs in zip(found, usual, strict=True):
        assert ours.abs().max() < 10 * theirs.abs().max()


# ---------------------------------------------------------------- options

@pytest.mark.parametrize('name', ONE_EACH)
def test_weights_multiply_the_loss_and_none_is_needed(name):
    maps_s, maps_t, cls = make_maps(3), make_maps(5, seed=1), LOSSES[name][0]
    one, five = make_loss(name, loss_weight=1), make_loss(name, loss_weight=5)
    five.load_state_dict(one.state_dict())
    values = [value_of(loss, maps_s, maps_t)[0] for loss in (one, five)]
    torch.testing.assert_close(values[1], 5 * values[0])
    built = build_loss({'type': cls.__name__})
    assert isinstance(built, DistillLoss) and built.needs_features and not built.needs_mixers


@pytest.mark.parametrize('loss, option, value, hint', [
    (FitNetLoss, 'loss_weight', -1, 'at least 0'), (FitNetLoss, 'variant', 'regresor', "did you mean 'regressor'?"),
    (FitNetLoss, 'criterion', 'l2', "allowed are 'l1', 'mse'"), (ATLoss, 'loss_weight', '1', 'at least 0'),
    (ATLoss, 'criterion', 'msee', "did you mean 'mse'?"), (FAKDLoss, 'loss_weight', None, 'at least 0'),
    (RKDLoss, 'loss_weight', True, 'at least 0'), (RKDLoss, 'distance_weight', -1, 'at least 0'),
    (RKDLoss, 'angle_weight', 'x', 'at least 0')])
def test_a_wrong_option_is_refused_in_one_line_that_names_it(loss, option, value, hint):
    with pytest.raises(UserError) as error:
        loss(**{option: value})
    message = str(error.value)
    assert message.startswith(f'{loss.__name__[:-4].lower()}_opt.{option}: {value!r} is not')
    assert hint in message and message.isprintable()
