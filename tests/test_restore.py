"""Whole images through a network: padded, in tiles, and as the mean over flips and turns."""
from itertools import product

import pytest
import tiny
import torch

from mipkd_arch.staged_views import staged_view
from mipkd_model.evaluation.restore import restorer, self_ensembled, tiled


def image(height=21, width=30):
    return torch.rand(1, 3, height, width, generator=tiny.seeded())


@pytest.fixture(autouse=True)
def no_grad():
    torch.manual_seed(0)
    with torch.no_grad():
        yield


def test_padding_gives_what_the_staged_view_gives():
    network = tiny.swinir(2).eval()
    view = staged_view(network)
    assert view.size_multiple > 1
    assert torch.equal(restorer(network, 2, view.size_multiple)(image()), view(image()))


@pytest.mark.parametrize('tile', [7, 8, 21, 64])
def test_tiles_that_see_far_enough_give_the_whole_image(tile):
    network = tiny.edsr(2).eval()
    # What one output pixel sees: ten 3x3 convolutions at most.
    found = restorer(network, 2, tile=tile, tile_pad=10)(image())
    assert torch.allclose(found, network(image()), rtol=0, atol=1e-6)


def test_tiles_that_see_nothing_beyond_their_edges_differ_there_and_nowhere_else():
    network = tiny.edsr(2).eval()
    whole = network(image(24, 24))
    difference = (restorer(network, 2, tile=12, tile_pad=0)(image(24, 24)) - whole).abs().amax((0, 1))
    assert difference[20:28].max() > 1e-6, 'the seam between the tiles'
    assert difference[0, 0] < 1e-6 and difference[-1, -1] < 1e-6


def test_no_tile_is_larger_than_asked_for():
    seen = []

    def run(lq):
        seen.append(lq.shape[-2:])
        return lq.repeat_interleave(2, -1).repeat_interleave(2, -2)

    lq = image()
    assert torch.equal(tiled(run, 8, 3, 2, lq), run(lq))
    assert len(seen) == 3 * 4 + 1 and max(max(shape) for shape in seen[:-1]) == 8 + 2 * 3


def test_self_ensemble_is_the_mean_over_the_eight_symmetries():
    network = tiny.edsr(2).eval()
    outputs = []
    for turns, mirror in product(range(4), (False, True)):  # another way to name the eight
        seen = image().rot90(turns, (-2, -1))
        seen = seen.flip(-1) if mirror else seen
        output = network(seen)
        output = output.flip(-1) if mirror else output
        outputs.append(output.rot90(-turns, (-2, -1)))
    found = restorer(network, 2, self_ensemble=True)(image())
    assert torch.allclose(found, torch.stack(outputs).mean(0), rtol=0, atol=1e-6)
    assert not torch.allclose(found, network(image()), rtol=0, atol=1e-4)


def test_self_ensemble_runs_eight_different_inputs_once():
    seen = []

    def run(lq):
        seen.append(lq.clone())
        return lq

    self_ensembled(run, image(9, 9))
    assert len(seen) == 8 and len({tuple(lq.flatten().tolist()) for lq in seen}) == 8


def test_padding_tiles_and_self_ensemble_work_together():
    network = tiny.swinir(2).eval()
    found = restorer(network, 2, staged_view(network).size_multiple, tile=9, tile_pad=4, self_ensemble=True)(image())
    assert found.shape == (1, 3, 42, 60) and found.isfinite().all()
