"""Masks and blending."""
import itertools

import pytest
import torch
from tiny import uniform

from mipkd_arch.masks import MASKS, blend
from mipkd_arch.prior_mixer import STUDENT, TEACHER, FeaturePriorMixer

RATIO = 0.4


def draw(name, z_s, z_t, ratio, source=None):
    return MASKS[name](z_s, z_t, ratio, source or uniform())


@pytest.mark.parametrize('ratio', [0.1, 0.5, 0.8])
def test_a_random3d_mask_has_near_the_asked_share_of_the_student(ratio):
    mask = draw('random3d', torch.zeros(4, 8, 32, 32), None, ratio)
    assert mask.shape == (4, 8, 32, 32) and mask.dtype == torch.bool
    assert mask.float().mean() == pytest.approx(ratio, abs=0.01)


@pytest.mark.parametrize('dim', range(4), ids=['sample', 'channel', 'row', 'column'])
def test_a_random3d_mask_is_drawn_for_every_element_alone(dim):
    mask = draw('random3d', torch.zeros(16, 16, 16, 16), None, RATIO)
    half = mask.shape[dim] // 2
    agree = (mask.narrow(dim, 0, half) == mask.narrow(dim, half, half)).float().mean()
    assert agree == pytest.approx(RATIO**2 + (1 - RATIO)**2, abs=0.02)


def test_a_random3d_mask_is_a_function_of_the_numbers_it_is_given():
    z = torch.zeros(2, 4, 8, 8)
    source = uniform()
    first, second = (draw('random3d', z, None, 0.5, source) for _ in range(2))
    assert torch.equal(draw('random3d', z, None, 0.5), first)
    assert not torch.equal(first, second)


def test_a_random3d_mask_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    draw('random3d', torch.zeros(2, 4, 8, 8), None, 0.5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('ratio', [0.1, 0.25, 0.3, 1 / 3, 0.5, 0.7, 0.9])
def test_a_grid_mask_has_near_the_asked_share_of_the_student(ratio):
    mask = draw('grid', torch.zeros(2, 3, 60, 60), None, ratio)
    assert mask.shape == (1, 1, 60, 60) and mask.dtype == torch.bool
    assert mask.float().mean() == pytest.approx(ratio, abs=0.02)


def test_a_grid_mask_is_the_same_for_all_maps_and_draws():
    masks = [MASKS['grid'](torch.randn(2, 3, 9, 7), torch.randn(2, 3, 9, 7), RATIO, None) for _ in range(2)]
    assert torch.equal(*masks)


def test_a_grid_mask_of_one_half_is_a_checkerboard():
    mask = draw('grid', torch.zeros(1, 1, 7, 8), None, 0.5)[0, 0]
    assert (mask[1:] != mask[:-1]).all()
    assert (mask[:, 1:] != mask[:, :-1]).all()


def test_a_similarity_mask_takes_exactly_the_pixels_that_agree_most():
    z_s, z_t = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5)
    mask = draw('similarity', z_s, z_t, 0.3)
    assert mask.shape == (2, 1, 4, 5) and mask.dtype == torch.bool
    for n in range(2):
        cosine = {}
        for y, x in itertools.product(range(4), range(5)):
            a, b = z_s[n, :, y, x].tolist(), z_t[n, :, y, x].tolist()
            dot = sum(i * j for i, j in zip(a, b, strict=True))
            cosine[y, x] = dot / (sum(i * i for i in a) * sum(j * j for j in b))**0.5
        best = set(sorted(cosine, key=cosine.get, reverse=True)[:6])
        assert {tuple(pixel) for pixel in mask[n, 0].nonzero().tolist()} == best


def test_a_similarity_mask_takes_the_asked_number_of_pixels_of_equal_maps_too():
    z = torch.ones(2, 3, 4, 5)
    assert draw('similarity', z, z, 0.3).flatten(1).sum(1).tolist() == [6, 6]


@pytest.mark.parametrize('name', MASKS)
def test_masks_carry_no_gradient(name):
    z_s, z_t = torch.randn(1, 3, 4, 4, requires_grad=True), torch.randn(1, 3, 4, 4)
    assert not draw(name, z_s, z_t, 0.5).requires_grad


def test_a_mask_of_one_takes_the_student_and_of_zero_the_teacher():
    mask = torch.tensor([True, False]).view(1, 1, 1, 2)
    z_s, z_t = torch.full((1, 3, 1, 2), 1.), torch.full((1, 3, 1, 2), 2.)
    assert blend(mask, z_s, z_t)[0, :, 0].tolist() == [[1., 2.]] * 3


@pytest.mark.parametrize('name', MASKS)
@pytest.mark.parametrize('ratio, role', [(0, TEACHER), (1, STUDENT)])
def test_the_extreme_ratios_take_one_network_whole(name, ratio, role):
    z = {STUDENT: torch.randn(2, 4, 5, 6), TEACHER: torch.randn(2, 4, 5, 6)}
    mixer = FeaturePriorMixer(4, 4, mask=name, ratio=ratio)
    assert torch.equal(mixer.mix(z[STUDENT], z[TEACHER], uniform()), z[role])


@pytest.mark.parametrize('name', MASKS)
def test_a_mixer_blends_by_the_mask_and_ratio_of_its_options(name):
    z_s, z_t = torch.randn(2, 4, 5, 6), torch.randn(2, 4, 5, 6)
    mixer = FeaturePriorMixer(4, 4, mask=name, ratio=0.3)
    mask = draw(name, z_s, z_t, 0.3).float()
    assert torch.equal(mixer.mix(z_s, z_t, uniform()), mask * z_s + (1 - mask) * z_t)
