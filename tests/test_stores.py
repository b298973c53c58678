"""Images in folders, PNG LMDBs and raw LMDBs are read in one way."""
import os
import pickle
from functools import partial

import cv2
import numpy as np
import pytest
import refusals
from tiny import noise, raw_lmdb

from mipkd_model.data import DataError
from mipkd_model.data.raw_lmdb import RawLmdb
from mipkd_model.data.stores import ImageFolder, PngLmdb, check_pair, lq_names, open_store

from basicsr.utils.lmdb_util import make_lmdb_from_imgs

refusal = partial(refusals.refusal, kind=DataError)

IMAGES = {'0001': noise(25, 31, 1), '0002': noise(40, 22, 2), 'gray': np.repeat(noise(18, 33, 3)[..., :1], 3, axis=2)}


def folder(path):
    path.mkdir()
    for name, image in IMAGES.items():
        cv2.imwrite(str(path / f'{name}.png'), image[..., 0] if name == 'gray' else image[..., ::-1])
    return path


def png_lmdb(path):
    files = folder(path.with_suffix('.files'))
    make_lmdb_from_imgs(str(files), str(path), [f'{name}.png' for name in IMAGES], list(IMAGES))
    return path


KINDS = {'folder': (folder, 'images', ImageFolder), 'PNG LMDB': (png_lmdb, 'images.lmdb', PngLmdb),
         'raw LMDB': (partial(raw_lmdb, images=IMAGES), 'images.lmdb', RawLmdb)}


@pytest.fixture(params=KINDS)
def store(request, tmp_path):
    write, name, kind = KINDS[request.param]
    store = open_store(write(tmp_path / name))
    assert type(store) is kind and store.path == tmp_path / name
    return store


@pytest.fixture
def pngs(tmp_path):
    return png_lmdb(tmp_path / 'png.lmdb')


def test_every_kind_has_the_shapes(store):
    assert list(store.shapes.items()) == [(name, image.shape) for name, image in IMAGES.items()]


@pytest.mark.parametrize('crop', [(), (0, 0, 18, 22), (3, 4, 5, 6), (17, 21, 1, 1), (2, 3)])
def test_every_kind_gives_the_crops(store, crop):
    top, left, height, width = (*crop, 0, 0, None, None)[:4] if not crop else (*crop, None, None)[:4]
    bottom, right = height and top + height, width and left + width
    for name, image in IMAGES.items():
        assert store.read(name, *crop).dtype == np.uint8
        assert np.array_equal(store.read(name, *crop), image[top:bottom, left:right])


def test_every_kind_can_be_pickled_after_use(store):
    store.read('0001')
    assert np.array_equal(pickle.loads(pickle.dumps(store)).read('0002'), IMAGES['0002'])


def test_a_path_may_begin_at_home(store, monkeypatch):
    monkeypatch.setenv('HOME', str(store.path.parent))
    assert np.array_equal(open_store(f'~/{store.path.name}').read('0001'), IMAGES['0001'])


@pytest.mark.parametrize('name', ['absent', 'absent.lmdb'])
def test_a_path_with_nothing_there_is_refused(tmp_path, name):
    assert refusal(open_store, tmp_path / name).startswith(f'{tmp_path / name}: no such')


def test_a_broken_file_of_a_folder_is_refused_on_opening(tmp_path):
    (folder(tmp_path / 'images') / '0002.png').write_bytes(b'no image')
    assert str(tmp_path / 'images/0002.png') in refusal(open_store, tmp_path / 'images')


def test_a_png_lmdb_without_its_list_is_refused(pngs):
    (pngs / 'meta_info.txt').unlink()
    assert f'{pngs}: is an LMDB, but not one of raw images' in refusal(open_store, pngs)


@pytest.mark.parametrize('line', ['', '0003.png', '0003 (4,4,3) 1', '0003.png (4,four,3) 1'])
def test_a_line_of_the_list_that_says_nothing_is_refused(pngs, line):
    with open(pngs / 'meta_info.txt', 'a') as file:
        file.write(f'{line}\n')
    message = refusal(open_store, pngs)
    assert str(pngs / 'meta_info.txt') in message and f'line 4 is {line!r}' in message


@pytest.mark.parametrize('line, says', [
    ('a/../../b.png (4,4,3) 1', 'is not a valid name for an image'),
    ('../b.png (4,4,3) 1', 'is not a valid name for an image'),
    ('/etc/b.png (4,4,3) 1', 'is not a valid name for an image'),
    ('a/b.png (4,4,3) 1', 'is not a valid name for an image'),
    ('a\x1b[2J.png (4,4,3) 1', 'is not a valid name for an image'),
    ('\0.png (4,4,3) 1', 'is not a valid name for an image'),
    (f'a.png ({"9" * 5000},4,3) 1', 'not of the form')], ids=lambda text: ascii(text)[:30])
def test_a_line_of_the_list_that_names_no_image_is_refused(pngs, line, says):
    with open(pngs / 'meta_info.txt', 'a') as file:
        file.write(f'{line}\n')
    message = refusal(open_store, pngs)
    assert says in message and 'line 4' in message and len(message) < 500


def test_a_list_that_cannot_be_read_is_refused(pngs):
    (pngs / 'meta_info.txt').write_bytes(b'\xff\xfe\x80')
    assert 'meta_info.txt: cannot be read' in refusal(open_store, pngs)


def test_an_image_of_another_size_than_the_list_tells_is_refused(pngs):
    meta = pngs / 'meta_info.txt'
    meta.write_text(meta.read_text().replace('(25,31,3)', '(24,31,3)'))
    assert "image '0001' is 31x25, but 31x24 in meta_info.txt" in refusal(open_store(pngs).read, '0001')


def test_an_image_that_only_the_list_knows_is_refused(pngs):
    with open(pngs / 'meta_info.txt', 'a') as file:
        file.write('0003.png (4,4,3) 1\n')
    message = refusal(open_store, pngs)
    assert str(pngs) in message and "has no image '0003'" in message


def test_a_png_lmdb_that_is_cut_short_is_refused(pngs):
    os.truncate(pngs / 'data.mdb', (pngs / 'data.mdb').stat().st_size // 2)
    message = refusal(open_store, pngs)
    assert str(pngs) in message and 'is cut short' in message


def test_a_corrupt_image_of_a_png_lmdb_is_named(pngs):
    data = bytearray((pngs / 'data.mdb').read_bytes())
    last = data.rindex(b'IDAT')
    data[last + 100] ^= 1
    (pngs / 'data.mdb').write_bytes(data)
    store, messages = open_store(pngs), []
    for name in IMAGES:
        try:
            store.read(name)
        except DataError as error:
            messages.append(str(error))
    assert len(messages) == 1
    assert messages[0].startswith(f'{pngs}: image ') and 'is cut short or corrupt' in messages[0]


@pytest.mark.parametrize('behind', ['', 'x4', 'X4'])
def test_lq_images_have_the_names_of_gt_or_the_scale_behind(behind):
    assert lq_names(['b', 'a'], [f'a{behind}', f'b{behind}'], 4, 'here') == {'b': f'b{behind}', 'a': f'a{behind}'}


def test_names_that_end_in_a_scale_are_not_mixed_up():
    assert lq_names(['a', 'ax4'], ['ax4', 'ax4x4'], 4, 'here') == {'a': 'ax4', 'ax4': 'ax4x4'}


def test_two_gt_images_do_not_share_a_partner():
    assert 'are not pairs' in refusal(lq_names, ['a', 'ax4'], ['ax4'], 4, 'here')


def test_a_gt_image_without_a_partner_is_named():
    message = refusal(lq_names, ['a', 'b', 'c'], ['ax4', 'bx2', 'cx4'], 4, 'HR and LR')
    assert message == (
        "HR and LR are not pairs: 1 gt images have no lq image of that name or with x4 behind, such as 'b'")


def test_lq_images_without_a_partner_are_counted_and_one_is_named():
    message = refusal(lq_names, ['a'], ['a', 'c', 'b'], 4, 'HR and LR')
    assert message == "HR and LR are not pairs: 2 lq images have no gt image, such as 'b', 'c'"


@pytest.mark.parametrize('gt', [(8, 12, 3), (11, 15, 3), (8, 15, 3)])
def test_a_pair_fits_if_lq_is_gt_over_the_scale_rounded_down(gt):
    assert check_pair('a', gt, (2, 3, 3), 4, 'LR') is None


@pytest.mark.parametrize('gt', [(7, 16, 3), (12, 12, 3), (8, 16, 3), (12, 8, 3)])
def test_a_pair_that_does_not_fit_is_refused_with_both_sizes(gt):
    assert refusal(check_pair, 'a', gt, (2, 3, 3), 4, 'LR') == (
        f"LR: image 'a' is 3x2, but x4 of its gt {gt[1]}x{gt[0]} would be {gt[1] // 4}x{gt[0] // 4}; "
        'are these the images of another scale?')
