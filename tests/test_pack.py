"""From image files to pairs of databases."""

from functools import partial

import cv2
import numpy as np
import pytest
import refusals
from tiny import noise

from mipkd_model.data.pack import list_images, pack_pairs, read_image, shrink
from mipkd_model.data.raw_lmdb import DataError, RawLmdb

refusal = partial(refusals.refusal, kind=DataError)


def write_png(file, image):
    file.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(file), image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    return file


@pytest.fixture
def pngs(tmp_path):
    """Three gt files (the last one small) and their x4 lq files, named as in DIV2K."""
    hr = [write_png(tmp_path / f'HR/{name}.png', noise(height, 24, seed))
          for seed, (name, height) in enumerate({'0001': 18, '0002': 32, '0003': 8}.items())]
    lr = [write_png(tmp_path / f'LR/{file.stem}x4.png', read_image(file)[:16:4, ::4]) for file in hr]
    return hr, lr


def test_pairs_are_packed_under_the_names_of_the_gt_files(tmp_path, pngs):
    hr, lr = pngs
    assert pack_pairs(hr, tmp_path / 'gt', tmp_path / 'lq', 4, lr) == (3, 0)
    gt, lq = RawLmdb(tmp_path / 'gt'), RawLmdb(tmp_path / 'lq')
    assert list(gt.shapes) == list(lq.shapes) == ['0001', '0002', '0003']
    for hr_file, lr_file in zip(hr, lr, strict=True):
        assert np.array_equal(lq.read(hr_file.stem), read_image(lr_file))


def test_gt_is_cropped_to_multiples_of_the_scale(tmp_path, pngs):
    pack_pairs(pngs[0], tmp_path / 'gt', tmp_path / 'lq', 4, pngs[1])
    assert np.array_equal(RawLmdb(tmp_path / 'gt').read('0001'), noise(18, 24, 0)[:16])


def test_lq_files_may_be_named_as_gt(tmp_path, pngs):
    lr = [file.rename(file.with_name(file.name.replace('x4', ''))) for file in pngs[1]]
    pack_pairs(pngs[0], tmp_path / 'gt', tmp_path / 'lq', 4, lr)
    assert list(RawLmdb(tmp_path / 'lq').shapes) == ['0001', '0002', '0003']


def test_without_lq_files_gt_is_shrunk(tmp_path, pngs):
    pack_pairs(pngs[0], tmp_path / 'gt', tmp_path / 'lq', 2)
    gt, lq = RawLmdb(tmp_path / 'gt'), RawLmdb(tmp_path / 'lq')
    assert lq.shapes == {'0001': (9, 12, 3), '0002': (16, 12, 3), '0003': (4, 12, 3)}
    assert np.array_equal(lq.read('0002'), shrink(gt.read('0002'), 2))


def test_small_images_are_left_out_of_both(tmp_path, pngs):
    assert pack_pairs(pngs[0], tmp_path / 'gt', tmp_path / 'lq', 4, pngs[1], min_side=16) == (2, 1)
    assert list(RawLmdb(tmp_path / 'gt').shapes) == list(RawLmdb(tmp_path / 'lq').shapes) == ['0001', '0002']


def test_a_missing_lq_file_is_named_before_anything_is_written(tmp_path, pngs):
    message = refusal(pack_pairs, pngs[0], tmp_path / 'gt', tmp_path / 'lq', 4, pngs[1][:1])
    assert "no x4 image for '0002' (2 are missing)" in message
    assert not (tmp_path / 'gt').exists()


def test_an_existing_lq_database_stops_packing_before_gt_is_written(tmp_path, pngs):
    (tmp_path / 'lq').mkdir()
    assert str(tmp_path / 'lq') in refusal(pack_pairs, pngs[0], tmp_path / 'gt', tmp_path / 'lq', 4, pngs[1])
    assert not (tmp_path / 'gt').exists()


def test_packing_can_be_repeated_after_a_broken_lq_file_was_mended(tmp_path, pngs):
    hr, lr = pngs
    good = lr[1].read_bytes()
    lr[1].write_bytes(b'broken')
    assert str(lr[1]) in refusal(pack_pairs, hr, tmp_path / 'gt', tmp_path / 'lq', 4, lr)
    lr[1].write_bytes(good)
    assert pack_pairs(hr, tmp_path / 'gt', tmp_path / 'lq', 4, lr) == (3, 0)


def test_a_gray_image_becomes_three_equal_channels(tmp_path):
    gray = noise(6, 5)[..., 0]
    assert np.array_equal(read_image(write_png(tmp_path / 'gray.png', gray)), np.stack([gray] * 3, 2))


def test_images_are_read_as_rgb(tmp_path):
    image = noise(7, 9)
    assert np.array_equal(read_image(write_png(tmp_path / 'colour.png', image)), image)


def test_a_broken_image_file_is_named(tmp_path):
    (tmp_path / 'broken.png').write_bytes(b'no image')
    assert str(tmp_path / 'broken.png') in refusal(read_image, tmp_path / 'broken.png')


def test_images_of_a_folder_are_listed_by_name(tmp_path):
    for name in ('b.png', 'a.PNG', 'notes.txt', 'c.jpg'):
        (tmp_path / name).touch()
    assert [file.name for file in list_images(tmp_path)] == ['a.PNG', 'b.png', 'c.jpg']


@pytest.mark.parametrize('folder, word', [('absent', 'no such folder'), ('empty', 'holds no images')])
def test_a_folder_without_images_is_refused(tmp_path, folder, word):
    (tmp_path / 'empty').mkdir()
    message = refusal(list_images, tmp_path / folder)
    assert str(tmp_path / folder) in message and word in message


@pytest.mark.parametrize('scale, size', [(2, (10, 15)), (3, (7, 10)), (4, (5, 7))])
def test_shrinking_a_gradient_gives_a_gradient_of_the_right_size(scale, size):
    gradient = np.broadcast_to(np.arange(31, dtype=np.uint8)[None, :, None] * 8, (21, 31, 3))
    lr = shrink(gradient, scale)
    assert lr.dtype == np.uint8 and lr.shape == (*size, 3)
    centres = (np.arange(size[1]) * scale + (scale - 1) / 2) * 8
    assert np.abs(lr[:, 2:-2] - centres[None, 2:-2, None]).max() <= 0.5
