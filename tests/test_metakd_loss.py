"""Meta-KD: its loss against float64 sums by hand, and its meta-gradient against differences of the outer loss."""
from itertools import product

import pytest
import torch
from steps import make_step
from torch import nn

from mipkd_arch.prior_mixer import STUDENT, TEACHER
from mipkd_arch.staged_views import StagedView
from mipkd_model.losses.krnet import KRNet
from mipkd_model.losses.metakd_loss import MetaKDLoss, descent


class Toy(nn.Module):
    """A network of a head, a block and a tail for x2, smooth where ``activation`` is."""

    def __init__(self, num_feat, activation=nn.Tanh):
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(3, num_feat, 3, padding=1), activation())
        self.block = nn.Sequential(nn.Conv2d(num_feat, num_feat, 3, padding=1), activation())
        self.tail = nn.Sequential(nn.Conv2d(num_feat, 12, 3, padding=1), nn.PixelShuffle(2))

    def view(self):
        return StagedView(self, self.head, {'block': self.block}, lambda deep, shallow: self.tail(deep + shallow),
                          self.block[0].in_channels, 2)


def made(samples=4, side=5, dtype=torch.float64, activation=nn.Tanh, **options):
    """A loss bound to two toys, and a step of them that has the teacher's pass; all of one number format."""
    torch.manual_seed(0)
    views = {STUDENT: Toy(3, activation).to(dtype).view(), TEACHER: Toy(5).to(dtype).view()}
    loss = MetaKDLoss(**{'loss_weight': 0.7, 'kernels': 2, 'inner_lr': 1e-2, **options})
    loss.bind(views)
    lq = torch.rand(samples, 3, side, side, dtype=dtype)
    with torch.no_grad():
        passes = {TEACHER: views[TEACHER].forward_features(lq)}
    return loss.to(dtype), make_step(lq, views, passes=passes)


def with_student(step):
    """The step with the student's pass, whose features are leaves."""
    passed = step.views[STUDENT].forward_features(step.lq)
    features = tuple(feature.detach().requires_grad_() for feature in passed.features)
    step.passes = {**step.passes, STUDENT: type(passed)(features, passed.output.detach(), step.lq)}
    return step


# ---------------------------------------------------------------- the loss by hand

def deviation(feature):
    return ((feature - feature.mean())**2).sum().div(feature.numel() - 1).sqrt()


def distance_by_hand(net, f_s, f_t):
    """What a KRNet makes of two features, sample by sample, kernel by kernel and pixel by pixel, in float64."""
    f_s, f_t, terms = f_s.double(), f_t.double(), []
    align, (first, _, second) = net.align.weight.detach().double()[:, :, 0, 0], net.textures
    height, width = f_s.shape[-2:]
    places = list(product(range(height), range(width)))
    for sample_s, sample_t in zip(f_s, f_t, strict=True):
        x = sample_s / deviation(sample_s)
        y = torch.einsum('ct,thw->chw', align, sample_t / deviation(sample_t))
        seen = x.detach()
        gap = {(i, j): 1 - seen[:, i, j] @ y[:, i, j] / (seen[:, i, j].norm() * y[:, i, j].norm()) for i, j in places}
        energy = [sum(seen[:, i, j]**2 for i, j in places), sum(gap[i, j] * seen[:, i, j]**2 for i, j in places)]
        pooled = torch.cat(energy) / len(places)
        hidden = first.weight.double() @ pooled + first.bias.double()
        hidden = hidden / (1 + torch.exp(-hidden))
        described = (second.weight.double() @ hidden + second.bias.double()).detach()
        for part in described.split(11):
            kernel, (importance, slope) = part[:9], part[9:]
            kernel = kernel - kernel.sum() / 9
            kernel = kernel / (kernel**2).sum().sqrt()
            for (i, j), channel in product(places, range(len(x))):
                filtered = 0
                for tap, (di, dj) in enumerate(product((-1, 0, 1), repeat=2)):
                    a, b = min(max(i + di, 0), height - 1), min(max(j + dj, 0), width - 1)
                    filtered = filtered + kernel[tap] * (x[channel, a, b] - y[channel, a, b])
                weight = 2 / (1 + torch.exp(-(importance + slope * gap[i, j])))
                terms.append(weight * (filtered**2 + 1e-4).sqrt())
    return sum(terms) / len(terms)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_value_and_gradient_at_the_features_are_those_of_the_formula(dtype):
    loss, step = made(2, 4, dtype)
    found = loss(with_student(step))['l_metakd']
    features = step.student.features
    gradients = torch.autograd.grad(found, features)
    by_hand = 0.7 * sum(map(distance_by_hand, loss.krnets, features, step.teacher.features))
    # A sum of some hundred terms in each entry: a few of a format's roundings.
    close = {'rtol': 0, 'atol': 100 * torch.finfo(dtype).eps}
    torch.testing.assert_close(found.double(), by_hand, **close)
    for ours, theirs in zip(gradients, torch.autograd.grad(by_hand, features), strict=True):
        torch.testing.assert_close(ours, theirs, **close)
        assert theirs.abs().max() > 1e-3


def test_the_networks_that_compare_get_no_gradient_from_the_loss():
    loss, step = made()
    loss(with_student(step))['l_metakd'].backward()
    assert all(weight.grad is None and weight.requires_grad for weight in loss.parameters())


def test_a_loss_is_the_mean_of_those_of_its_samples():
    loss, step = made()
    whole, step = loss(with_student(step))['l_metakd'], step
    parts = []
    for sample in range(4):
        one = slice(sample, sample + 1)
        alone = make_step(step.lq[one], step.views)
        alone.passes = {role: step.views[role].forward_features(step.lq[one]) for role in (STUDENT, TEACHER)}
        parts.append(loss(alone)['l_metakd'])
    torch.testing.assert_close(whole, torch.stack(parts).mean())


def test_smaller_features_are_no_way_to_a_smaller_distance():
    loss, step = made()
    step = with_student(step)
    value = loss(step)['l_metakd']
    gradients = torch.autograd.grad(value, step.student.features)
    for feature, gradient in zip(step.student.features, gradients, strict=True):
        for f, g in zip(feature, gradient, strict=True):  # of each sample
            assert abs((f * g).sum()) < 1e-12 * f.norm() * g.norm()


def test_kernels_are_blind_to_constants_and_of_unit_norm_and_weights_are_between_0_and_2():
    net, seen = KRNet(3, 5, 4).double(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    kernels, importance, slope = net.describe(seen, torch.rand(2, 1, 6, 6, dtype=torch.float64))
    assert kernels.shape == (2, 4, 3, 3) and importance.shape == slope.shape == (2, 4, 1, 1)
    torch.testing.assert_close(kernels.sum((2, 3)), torch.zeros(2, 4, dtype=torch.float64))
    torch.testing.assert_close(kernels.square().sum((2, 3)), torch.ones(2, 4, dtype=torch.float64))
    assert not torch.allclose(kernels[0], kernels[1]), 'each sample has kernels of its own'


@pytest.mark.parametrize('value', [0., 3.])
def test_features_that_are_constant_give_finite_losses_and_gradients(value):
    net, f_t = KRNet(3, 5, 2), torch.randn(2, 5, 4, 4)
    for f_s in (torch.full((2, 3, 4, 4), value), torch.randn(2, 3, 4, 4)):
        f_s.requires_grad_()
        for target in (f_t, torch.full_like(f_t, value)):
            net(f_s, target, f_s.detach()).backward()
            assert f_s.grad.isfinite().all() and all(p.grad.isfinite().all() for p in net.parameters())


# ---------------------------------------------------------------- the meta-gradient

def outer_loss(loss, step):
    """The reconstruction of half b after the virtual step on half a, by the definition: no second derivatives."""
    view, lq, gt = step.views[STUDENT], step.lq, step.gt
    weights = list(view.network.parameters())
    passed = view.forward_features(lq[::2])
    phi = dict(loss.krnets.named_parameters())
    inner = (passed.output - gt[::2]).abs().mean() + 0.7 * loss.distance(
        phi, passed, [feature[::2] for feature in step.teacher.features])
    gradients = torch.autograd.grad(inner, weights, allow_unused=True, materialize_grads=True)
    size = sum(weight.numel() for weight in weights)
    norm = sum((gradient**2).sum() for gradient in gradients).sqrt()
    before = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            weight -= 1e-2 * size**0.5 * gradient / norm
        outer = (view.forward_features(lq[1::2]).output - gt[1::2]).abs().mean()
        for weight, value in zip(weights, before, strict=True):
            weight.copy_(value)
    return outer.item()


def differences(loss, step, h=3e-7):
    """Central differences of the outer loss at all weights of the KRNets, flat."""
    found = []
    for weight in loss.krnets.parameters():
        flat = weight.data.view(-1)
        for index in range(flat.numel()):
            value = flat[index].item()
            ends = []
            for sign in (1, -1):
                flat[index] = value + sign * h
                ends.append(outer_loss(loss, step))
            flat[index] = value
            found.append((ends[0] - ends[1]) / (2 * h))
    return torch.tensor(found, dtype=torch.float64)


def meta_gradient(loss, step):
    loss.inner_step(step, 1.)
    return torch.cat([weight.grad.flatten() for weight in loss.krnets.parameters()]).double()


@pytest.mark.parametrize('second_order', [True, False])
def test_the_meta_gradient_is_that_of_central_differences_of_the_outer_loss(second_order):
    loss, step = made(second_order=second_order)
    found, expected = meta_gradient(loss, step), differences(loss, step)
    # A rounding of the outer loss, at most 2**-53, over 2 h is 2e-10 in each of some 300 entries: 1e-7 of their norm.
    # The first-order gradients' difference, in turn, is right to (2**-52)**(2/3), 4e-11, times what bends it.
    assert (found - expected).norm() / expected.norm() < 1e-6
    assert expected.norm() > 1e-2 and (expected.abs() > 1e-6).double().mean() > 0.9


@pytest.mark.parametrize('activation', [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize('second_order, bound', [(True, 1e-4), (False, 1e-2)])
def test_in_float32_it_is_as_near_as_that_format_allows(second_order, bound, activation):
    """Exact, it loses some of float32's 7 digits; a difference, with 2/3 of them, some of 5."""
    exact, single = made(side=16, activation=activation), made(side=16, activation=activation,
                                                               second_order=second_order)
    loss, step = single[0].float(), single[1]
    for view in step.views.values():
        view.network.float()
    lq = step.lq.float()
    with torch.no_grad():
        passes = {TEACHER: step.views[TEACHER].forward_features(lq)}
    step.lq, step.gt, step.passes = lq, step.gt.float(), passes
    found, expected = meta_gradient(loss, step), meta_gradient(*exact)
    assert (found - expected).norm() / expected.norm() < bound


def test_the_inner_step_leaves_weights_and_random_numbers_as_they_were():
    loss, step = made()
    student = step.views[STUDENT].network
    before, generator = {name: value.clone() for name, value in student.state_dict().items()}, torch.get_rng_state()
    student.block.append(nn.Dropout(0.5))
    meta_gradient(loss, step)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert all(weight.grad is None for weight in student.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


def test_what_is_dropped_at_random_is_dropped_alike_in_all_passes_of_an_inner_step():
    found = []
    for second_order in (True, False):
        loss, step = made(second_order=second_order, side=16)
        step.views[STUDENT].network.block.append(nn.Dropout(0.5))
        torch.manual_seed(5)
        found.append(meta_gradient(loss, step))
    assert (found[0] - found[1]).norm() / found[0].norm() < 1e-6


def test_a_step_against_gradients_has_its_length_and_a_gradient_of_zero_is_none():
    gradients = [torch.randn(3, 4), torch.randn(20)]
    steps = descent(gradients, 1e-3)
    flat, back = (torch.cat([part.flatten() for part in parts]) for parts in (steps, gradients))
    assert flat.square().mean().sqrt().item() == pytest.approx(1e-3)
    assert torch.cosine_similarity(flat, back, 0).item() == pytest.approx(-1)
    assert descent([torch.zeros(3)], 1e-3)[0].tolist() == [0, 0, 0]
