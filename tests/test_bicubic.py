"""MATLAB's bicubic resizing: against the formula written out, and against images that MATLAB made."""
import math

import numpy as np
import pytest
import runs
from PIL import Image
from tiny import noise

from mipkd_model.data import bicubic
from mipkd_model.data.bicubic import imresize, shrink

from basicsr.utils.matlab_functions import imresize as basicsr_imresize

DATA = runs.ROOT.parent / 'shared/data'
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f'{DATA} with images made by MATLAB is not here')
ARANGE = {side: np.arange(side * side, dtype=np.float64).reshape(side, side) for side in (4, 8, 15)}
CORNER = np.array([[100, 1, 0, 100], [10, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.float64)


def cubic(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0


def inside(position, length, border):
    if border == 'clamp':
        return min(max(position, 0), length - 1)
    while not 0 <= position < length:
        position = -1 - position if position < 0 else 2 * length - 1 - position
    return position


def one_pass(image, size, scale, antialiasing, border):
    """Resize the first dimension."""
    stretch = min(scale, 1) if antialiasing else 1
    rows = []
    for number in range(1, size + 1):
        centre = number / scale + 0.5 * (1 - 1 / scale)
        left = math.floor(centre - 4 / stretch / 2)
        positions = range(left, left + math.ceil(4 / stretch) + 2)
        weights = np.array([stretch * cubic(stretch * (centre - position)) for position in positions])
        weights /= weights.sum()
        row = np.zeros(image.shape[1:])
        for position, weight in zip(positions, weights, strict=True):
            row = row + weight * image[inside(position - 1, len(image), border)]
        rows.append(row)
    out = np.stack(rows)
    return np.floor(out + 0.5).clip(0, 255).astype(np.uint8) if image.dtype == np.uint8 else out


def reference(image, size, scales=None, antialiasing=True, border='mirror', dims=None):
    """What the formula gives for a size (H, W)."""
    scales = scales or [out / length for out, length in zip(size, image.shape, strict=False)]
    for dim in dims or ((0, 1) if scales[0] <= scales[1] else (1, 0)):
        image = one_pass(image.swapaxes(0, dim), size[dim], scales[dim], antialiasing, border).swapaxes(0, dim)
    return image


def picture(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def read(file):
    return np.array(Image.open(file))


SHAPES = [(24, 36), (24, 36, 3), (37, 41, 1), (7, 131, 3), (131, 7), (5, 4, 3), (1, 9), (1, 1, 3), (33, 29, 4)]
SIZES = [(11, 13), (50, 20), (20, 90), (3, 100), (1, 1), (64, 71)]


@pytest.mark.parametrize('border', ['mirror', 'clamp'])
@pytest.mark.parametrize('scale', [1 / 2, 1 / 3, 1 / 4, 0.3, 1, 2, 3, 4, 1.7])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_scaled_images_are_bit_equal_to_the_formula(shape, scale, border):
    image = picture(*shape)
    size = [math.ceil(round(scale * side, 9)) for side in shape[:2]]
    out = imresize(image, scale, border=border)
    assert out.dtype == np.uint8 and out.shape == (*size, *shape[2:])
    assert np.array_equal(out, reference(image, size, (scale, scale), border=border))


@pytest.mark.parametrize('antialiasing', [True, False])
@pytest.mark.parametrize('border', ['mirror', 'clamp'])
@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('shape', [(30, 44, 3), (31, 27), (2, 3, 3)], ids=str)
def test_images_of_a_given_size_are_bit_equal_to_the_formula(shape, size, border, antialiasing):
    image = picture(*shape)
    out = imresize(image, size=size, border=border, antialiasing=antialiasing)
    assert np.array_equal(out, reference(image, size, None, antialiasing, border))


@pytest.mark.parametrize('antialiasing', [True, False])
@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('shape', [(30, 44, 3), (31, 27), (5, 6, 1)], ids=str)
def test_floats_follow_the_formula_and_are_neither_rounded_nor_clipped(shape, size, antialiasing):
    image = np.random.default_rng(0).random(shape)
    out = imresize(image, size=size, antialiasing=antialiasing)
    assert out.dtype == np.float64
    assert np.abs(out - reference(image, size, None, antialiasing)).max() <= 1e-12
    edge = imresize(np.repeat([[0., 1.]], 8, axis=1), scale=2)
    assert edge.min() < 0 and edge.max() > 1


@pytest.mark.parametrize('scale', [1 / 2, 1 / 4, 3 / 2, 3 / 4, 2])
@pytest.mark.parametrize('border', ['mirror', 'clamp'])
def test_exact_halves_are_rounded_as_the_formula_rounds_them(scale, border):
    image = noise(400, 300)
    size = [int(scale * side) for side in image.shape[:2]]
    first = one_pass(image.astype(np.float64), size[0], scale, True, border)
    assert (np.abs(first % 1 - 0.5) < 1e-9).sum() >= 20  # they are met
    assert np.array_equal(imresize(image, scale, border=border), reference(image, size, (scale, scale), border=border))


@pytest.mark.parametrize('scale', [3, 1 / 3])
def test_a_factor_of_3_meets_no_exact_halves(scale):
    image = noise(402, 300)
    size = [round(scale * side) for side in image.shape[:2]]
    first = one_pass(image.astype(np.float64), size[0], scale, True, 'mirror')
    assert np.abs(first % 1 - 0.5).min() > 1 / 163
    assert np.array_equal(imresize(image, scale), reference(image, size, (scale, scale)))


def test_black_and_white_are_not_exceeded():
    image = np.where(noise(60, 60) > 127, 255, 0).astype(np.uint8)
    for size in ((120, 120), (45, 45), (20, 20)):
        assert np.array_equal(imresize(image, size=size), reference(image, size))


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('value', [0, 1, 77, 255])
def test_shrinking_keeps_a_constant_image(value, scale):
    assert (shrink(np.full((36, 48, 3), value, np.uint8), scale) == value).all()


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_shrinking_keeps_a_ramp_linear_in_the_interior(scale):
    out = imresize(np.tile(np.arange(48.), (48, 1)), 1 / scale)
    inner = slice(2, -2)
    middle = scale * np.arange(48 // scale) + (scale - 1) / 2
    assert np.abs(out - middle)[inner, inner].max() < 1e-12


@pytest.mark.parametrize('scale', [1 / 2, 1 / 4, 2])
def test_floats_agree_with_basicsr(scale):
    image = noise(64, 48) / 255
    theirs = basicsr_imresize(image.astype(np.float32), scale)
    assert np.abs(imresize(image, scale) - theirs).max() < 1e-5


@pytest.mark.parametrize('size, dims', [((16, 24), (0, 1)), ((32, 12), (1, 0)), ((16, 12), (0, 1))])
def test_the_dimension_that_shrinks_most_goes_first_and_rows_where_both_shrink_alike(size, dims):
    image = noise(64, 48)
    out = imresize(image, size=size)
    assert np.array_equal(out, reference(image, size, dims=dims))
    assert not np.array_equal(out, reference(image, size, dims=dims[::-1]))


@pytest.mark.parametrize('length, scale, size', [(1017, 1 / 3, 339), (1018, 1 / 3, 340), (10, 0.25, 3), (10, 0.7, 7),
                                                 (7, 1.5, 11), (1, 0.1, 1)])
def test_a_scaled_length_is_rounded_up(length, scale, size):
    assert imresize(picture(length, 4), scale).shape[0] == size
    assert imresize(picture(4, length), scale).shape[1] == size


@pytest.mark.parametrize('shape', [(50, 71, 3), (49, 70)], ids=str)
@pytest.mark.parametrize('scale', [2, 3, 4])
def test_shrinking_crops_to_multiples_from_the_top_left_corner(shape, scale):
    image = picture(*shape)
    height, width = (side // scale for side in shape[:2])
    cropped = image[:height * scale, :width * scale]
    assert shrink(image, scale).shape == (height, width, *shape[2:])
    assert np.array_equal(shrink(image, scale), reference(cropped, (height, width)))


def test_images_need_not_lie_contiguously_in_memory_and_stay_as_they_were():
    image = noise(40, 60)
    turned = image.transpose(1, 0, 2)[::-1]
    before = image.copy()
    assert np.array_equal(shrink(turned, 3), shrink(turned.copy(), 3))
    assert np.array_equal(imresize(turned / 255, 0.5), imresize(turned.copy() / 255, 0.5))
    assert np.array_equal(image, before)


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_a_large_image_equals_its_parts_computed_alone(scale):
    image = noise(600, 1200)
    out, margin = shrink(image, scale), 8
    part = shrink(image[:, 600 - scale * margin:], scale)
    assert np.array_equal(part[:, margin:], out[:, 600 // scale:])


@pytest.mark.parametrize('scale', [1 / 2, 1 / 3, 1 / 4, 3])
@pytest.mark.parametrize('rows', [1, 4, 7, 1000])
def test_how_many_rows_are_computed_at_once_changes_nothing(rows, scale, monkeypatch):
    image = noise(60, 48)
    before = imresize(image, scale)
    monkeypatch.setattr(bicubic, 'ROWS', rows)
    assert np.array_equal(imresize(image, scale), before)


@pytest.mark.parametrize('kind', [np.float32, np.uint16, np.int64, bool])
def test_other_types_are_refused(kind):
    with pytest.raises(ValueError, match=f'{np.dtype(kind)}.*is not uint8 or float64'):
        imresize(np.zeros((4, 4), kind), 0.5)


@pytest.mark.parametrize('shape', [(4,), (1, 4, 4, 3)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ValueError, match=r'is not uint8 or float64 of \(H, W\)'):
        imresize(np.zeros(shape, np.uint8), 0.5)


@pytest.mark.parametrize('ask', [{}, {'scale': 0.5, 'size': (2, 2)}])
def test_neither_or_both_of_scale_and_size_are_refused(ask):
    with pytest.raises(ValueError, match='either a scale or a size'):
        imresize(np.zeros((4, 4), np.uint8), **ask)


def test_an_unknown_border_is_refused():
    with pytest.raises(ValueError, match="'wrap' is neither"):
        imresize(np.zeros((4, 4), np.uint8), 0.5, border='wrap')


@needs_data
@pytest.mark.parametrize('name, scale, count, border', [
    *[('Set5', scale, 5, 'mirror') for scale in (2, 3, 4)], *[('Set14', scale, 14, 'mirror') for scale in (2, 3, 4)],
    *[('BSD100', scale, 100, 'clamp') for scale in (2, 4)]])
def test_lr_images_of_the_benchmarks_are_reproduced_to_the_last_bit(name, scale, count, border):
    folder = DATA / 'benchmark' / name
    files = sorted((folder / 'HR').iterdir())
    equal = [np.array_equal(shrink(read(file), scale, border),
                            read(folder / f'LR_bicubic/X{scale}/{file.stem}x{scale}.png')) for file in files]
    assert sum(equal) == len(equal) == count


@needs_data
def test_matlabs_results_for_one_image_as_uint8_and_as_double_are_reproduced():
    folder = DATA / 'reference/matlab_fatheral/test'
    image = read(folder / 'lena_512x512.png')
    assert np.array_equal(imresize(image, size=(123, 234)), read(folder / 'lena_123x234_uint8.png'))
    double = imresize(image / 255, size=(123, 234)).clip(0, 1) * 255
    assert np.array_equal(np.floor(double + 0.5).astype(np.uint8), read(folder / 'lena_123x234_double.png'))


@needs_data
@pytest.mark.parametrize('name, image', [
    ('down_down_aa', ARANGE[8]), ('down_down_noaa', ARANGE[8]),
    ('down_down_irregular_aa', ARANGE[8]), ('down_down_irregular_noaa', ARANGE[8]),
    ('down_down_small_aa', ARANGE[4]), ('down_down_small_noaa', ARANGE[4]),
    ('down_down_x2_aa', ARANGE[8]), ('down_down_x3_aa', ARANGE[15]),
    ('down_down_x4_aa', ARANGE[8]), ('down_down_x5_aa', ARANGE[15]),
    ('up_up_irregular_aa', ARANGE[8]), ('up_up_irregular_noaa', ARANGE[8]),
    ('up_up_topleft_noaa', CORNER), ('up_up_bottomright_noaa', CORNER[::-1, ::-1]),
    ('down_down_butterfly_irregular_aa', None), ('down_down_butterfly_irregular_noaa', None),
], ids=lambda value: value if isinstance(value, str) else '')
def test_answers_of_matlab_r2019b_are_reproduced(name, image):
    loadmat = pytest.importorskip('scipy.io').loadmat
    folder = DATA / 'reference/matlab_r2019b'
    answer = loadmat(folder / f'test_answer/{name}.mat')[name]
    if image is None:
        image = read(folder / 'example/butterfly.png') / 255
    out = imresize(image, size=answer.shape[:2], antialiasing=not name.endswith('noaa'))
    assert out.shape == answer.shape
    assert np.abs(out - answer).max() <= 1e-12 * np.abs(answer).max()
