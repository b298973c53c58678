"""DCTSwin: its transform, its sizes, and what it makes of images."""
import ensembles
import pytest
import torch

from mipkd_arch.dctswin import WINDOW, DCTSwin, DCTSwinLayer, dct_basis, transform_windows


def windows(count=3, channels=2, dtype=torch.float64):
    return torch.rand(count, WINDOW, WINDOW, channels, dtype=dtype, generator=torch.Generator().manual_seed(0))


def test_the_transform_is_the_orthonormal_dct_of_scipy():
    fft = pytest.importorskip('scipy.fft')
    x = windows()
    expected = torch.from_numpy(fft.dctn(x.numpy(), axes=(1, 2), norm='ortho'))
    torch.testing.assert_close(transform_windows(x, dct_basis()), expected, rtol=0, atol=1e-14)


def test_the_transform_keeps_energy_and_is_undone_by_its_transpose():
    x, basis = windows(), dct_basis()
    frequencies = transform_windows(x, basis)
    torch.testing.assert_close(frequencies.square().sum(), x.square().sum(), rtol=1e-14, atol=0)
    torch.testing.assert_close(transform_windows(frequencies, basis.T), x, rtol=0, atol=1e-14)


def test_the_lowest_frequency_is_the_mean_of_a_window():
    x = windows()
    assert torch.allclose(transform_windows(x, dct_basis())[:, 0, 0], WINDOW * x.mean((1, 2)))


@pytest.mark.parametrize('scale, released', [(2, 1.10), (3, 1.32), (4, 1.34)])
def test_for_three_teachers_it_has_the_released_size(scale, released):
    count = sum(p.numel() for p in DCTSwin(3, scale).parameters())
    assert {2: 1_094_579, 3: 1_318_099, 4: 1_335_603}[scale] == count
    assert abs(count / 1e6 - released) < 0.006  # of 1.10M, 0.005 are missing


@pytest.mark.parametrize('size', [(8, 8), (16, 24), (9, 13), (1, 3)])
@pytest.mark.parametrize('scale', [2, 3, 4])
def test_images_of_any_size_become_one_of_that_size(scale, size):
    network = DCTSwin(2, scale, **ensembles.SIZES)
    images = torch.rand(2, 6, *(scale * side for side in size))
    assert network(images).shape == (2, 3, *images.shape[-2:])


def test_a_skip_adds_a_weighted_mean_of_the_images_whose_weights_begin_alike():
    network = DCTSwin(2, 2, **ensembles.SIZES, skip=True)
    images = torch.rand(1, 6, 16, 16)
    image, network.skip_weights = network(images), None
    assert torch.allclose(image - network(images), (images[:, :3] + images[:, 3:]) / 2, atol=1e-6)
    network.skip_weights = torch.nn.Parameter(torch.tensor([0.25, 0.75]).log())
    with_skip, network.skip_weights = network(images), None
    assert torch.allclose(with_skip - network(images), (images[:, :3] + 3 * images[:, 3:]) / 4, atol=1e-6)


def test_a_layer_without_shift_mixes_the_pixels_of_a_window_and_no_others():
    layer = DCTSwinLayer(4, 2, 2., shift=0).double().eval()
    x = torch.rand(1, 16, 16, 4, dtype=torch.float64, requires_grad=True)
    layer(x)[0, 3, 3].sum().backward()
    reached = x.grad[0].abs().sum(-1) > 0
    assert reached[:8, :8].all() and not reached[8:].any() and not reached[:, 8:].any()


def test_shifted_layers_reach_the_windows_beside():
    layer = DCTSwinLayer(4, 2, 2., shift=4).double().eval()
    x = torch.rand(1, 16, 16, 4, dtype=torch.float64, requires_grad=True)
    layer(x)[0, 7, 7].sum().backward()
    assert (x.grad[0].abs().sum(-1) > 0)[4:12, 4:12].all()


def test_every_weight_has_a_gradient():
    network = DCTSwin(2, 2, **ensembles.SIZES, skip=True)
    network(torch.rand(1, 6, 16, 16)).square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
