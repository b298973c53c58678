"""Bicubic resizing of a batch equals that of the data set's images."""
import numpy as np
import pytest
import tiny
import torch

from mipkd_model.data.bicubic import imresize, shrink
from mipkd_model.losses.bicubic_resize import bicubic


def to_batch(*images):
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255


def to_images(batch):
    levels = (batch * 255).round()
    assert torch.equal(levels / 255, batch), 'an image of 8 bits'
    return list(levels.permute(0, 2, 3, 1).numpy().astype(np.uint8))


def contrast(height, width, seed):
    """Black and white: what is far beyond both ends of the range after resizing."""
    return np.where(tiny.noise(height, width, seed) < 128, 0, 255).astype(np.uint8)


@pytest.mark.parametrize('make', [tiny.noise, contrast])
@pytest.mark.parametrize('size', [(12, 12), (13, 17), (5, 7), (1, 1), (2, 31), (1, 4)])
@pytest.mark.parametrize('scale', [2, 3, 4])
def test_enlarging_equals_imresize_bit_for_bit(scale, size, make):
    images = [make(*size, seed) for seed in range(3)]
    found = to_images(bicubic(to_batch(*images), scale * size[0], scale * size[1]))
    assert all(np.array_equal(ours, imresize(image, scale)) for ours, image in zip(found, images, strict=True))


@pytest.mark.parametrize('make', [tiny.noise, contrast])
@pytest.mark.parametrize('size', [(24, 24), (36, 60), (12, 12), (4, 9), (25, 31), (48, 50)])
@pytest.mark.parametrize('scale', [2, 3, 4])
def test_shrinking_equals_shrink_bit_for_bit(scale, size, make):
    images = [make(*size, seed) for seed in range(3)]
    height, width = (side // scale for side in size)
    cropped = to_batch(*images)[..., :height * scale, :width * scale]
    found = to_images(bicubic(cropped, height, width))
    assert all(np.array_equal(ours, shrink(image, scale)) for ours, image in zip(found, images, strict=True))


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_a_large_image_of_all_levels_is_resized_bit_for_bit(scale):
    image = tiny.noise(192, 240, 5)
    small = bicubic(to_batch(image), 192 // scale, 240 // scale)
    large = bicubic(to_batch(image), 192 * scale, 240 * scale)
    assert np.array_equal(to_images(small)[0], shrink(image, scale))
    assert np.array_equal(to_images(large)[0], imresize(image, scale))


def test_the_memory_layout_does_not_matter():
    batch = to_batch(tiny.noise(12, 18), tiny.noise(12, 18, 1))
    expected = bicubic(batch.contiguous(), 6, 9)
    assert torch.equal(bicubic(batch.contiguous(memory_format=torch.channels_last), 6, 9), expected)


def test_all_images_are_taken_as_of_8_bits():
    batch = to_batch(tiny.noise(12, 18))
    expected = bicubic(batch, 6, 9)
    for images in (batch.double(), (batch + 0.4 / 255).clamp(0, 1), (batch - 0.4 / 255).clamp(0, 1)):
        assert torch.equal(bicubic(images, 6, 9), expected)
    assert torch.equal(bicubic(2 * torch.ones(1, 3, 4, 4), 2, 2), torch.ones(1, 3, 2, 2))


def test_no_gradient_passes_and_the_input_stays_as_it_is():
    batch = to_batch(tiny.noise(12, 18))
    before = batch.clone()
    assert not bicubic(batch.requires_grad_(), 6, 9).requires_grad
    assert torch.equal(batch, before)


@pytest.mark.parametrize('height, width', [(6, 9), (24, 36), (4, 6), (48, 72)])
def test_bfloat16_autocast_changes_nothing(height, width):
    batch = to_batch(tiny.noise(12, 18))
    expected = bicubic(batch, height, width)
    with torch.autocast('cpu', torch.bfloat16):
        found = bicubic(batch, height, width)
    assert found.dtype == torch.float32 and torch.equal(found, expected)


def test_it_runs_in_inference_mode_and_again_with_gradients_on():
    batch = to_batch(tiny.noise(10, 14))
    with torch.inference_mode():
        first = bicubic(batch, 5, 7).clone()
    weight = torch.ones((), requires_grad=True)
    (bicubic(batch, 5, 7) * weight).sum().backward()
    assert torch.equal(first, bicubic(batch, 5, 7)) and weight.grad > 0
