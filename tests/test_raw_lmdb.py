"""LMDBs of raw images: written whole or not at all, read by slices, in any process."""
import json
import multiprocessing
import pickle
import shutil
from functools import partial

import lmdb
import numpy as np
import pytest
import refusals
from tiny import noise

from mipkd_model.data.raw_lmdb import INDEX_KEY, DataError, RawLmdb, write_raw_lmdb

refusal = partial(refusals.refusal, kind=DataError)


IMAGES = {'b': noise(7, 9, 1), 'a': noise(5, 4, 2), 'ünicode name': noise(3, 3, 3)}


@pytest.fixture
def database(tmp_path):
    write_raw_lmdb(tmp_path / 'images.lmdb', IMAGES.items())
    return tmp_path / 'images.lmdb'


def test_images_come_back_as_they_were_in_the_order_of_packing(database):
    reader = RawLmdb(database)
    assert list(reader.shapes.items()) == [(name, image.shape) for name, image in IMAGES.items()]
    for name, image in IMAGES.items():
        assert reader.read(name).dtype == np.uint8
        assert np.array_equal(reader.read(name), image)


def test_writing_gives_the_number_of_images(tmp_path):
    assert write_raw_lmdb(tmp_path / 'images.lmdb', IMAGES.items()) == 3


@pytest.mark.parametrize('top, left, height, width', [(0, 0, 7, 9), (2, 3, 4, 5), (6, 8, 1, 1), (0, 4, 3, 5)])
def test_crops_are_slices_of_the_image(database, top, left, height, width):
    crop = RawLmdb(database).read('b', top, left, height, width)
    assert np.array_equal(crop, IMAGES['b'][top:top + height, left:left + width])


def test_crops_can_be_written_to(database):
    reader = RawLmdb(database)
    reader.read('b', 0, 0, 3, 3)[:] = 0
    assert np.array_equal(reader.read('b'), IMAGES['b'])


def test_images_need_not_lie_contiguously_in_memory(tmp_path):
    write_raw_lmdb(tmp_path / 'images.lmdb', [('turned', IMAGES['b'].transpose(1, 0, 2)[::-1])])
    assert np.array_equal(RawLmdb(tmp_path / 'images.lmdb').read('turned'), IMAGES['b'].transpose(1, 0, 2)[::-1])


def test_a_reader_can_be_pickled_after_it_was_used(database):
    reader = RawLmdb(database)
    reader.read('a')
    data = pickle.dumps(reader)
    del reader
    assert np.array_equal(pickle.loads(data).read('b'), IMAGES['b'])


def test_two_readers_of_one_database_live_in_one_process(database):
    first = RawLmdb(database)
    first.read('a')
    assert np.array_equal(RawLmdb(database).read('b'), IMAGES['b'])
    assert np.array_equal(first.read('b'), IMAGES['b'])


def test_a_reader_of_a_database_that_was_packed_anew_says_so_and_a_new_reader_reads_it(database):
    old = RawLmdb(database)
    shutil.rmtree(database)
    write_raw_lmdb(database, [('a', IMAGES['b'])])
    assert np.array_equal(RawLmdb(database).read('a'), IMAGES['b'])
    assert 'packed anew' in refusal(old.read, 'a')


def _answer(reader, queue):
    queue.put(reader.read('b').tobytes())


def test_a_reader_in_use_can_cross_a_fork(database):
    reader = RawLmdb(database)
    reader.read('a')
    context = multiprocessing.get_context('fork')
    queue = context.Queue()
    child = context.Process(target=_answer, args=(reader, queue))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert queue.get(timeout=5) == IMAGES['b'].tobytes()
    assert np.array_equal(reader.read('b'), IMAGES['b'])


def test_an_interrupted_write_leaves_nothing_behind(tmp_path):
    def interrupted():
        yield 'a', IMAGES['a']
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_raw_lmdb(tmp_path / 'images.lmdb', interrupted())
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_write_left_is_cleared_away(tmp_path):
    (tmp_path / 'images.lmdb.part').mkdir()
    (tmp_path / 'images.lmdb.part/data.mdb').write_bytes(b'cut short')
    write_raw_lmdb(tmp_path / 'images.lmdb', IMAGES.items())
    assert [file.name for file in tmp_path.iterdir()] == ['images.lmdb']


def test_an_existing_database_is_left_alone(database):
    message = refusal(write_raw_lmdb, database, [('c', IMAGES['a'])])
    assert str(database) in message and 'exists already' in message
    assert list(RawLmdb(database).shapes) == list(IMAGES)


def test_a_database_grows_beyond_its_first_map(tmp_path):
    large = np.zeros((4800, 4800, 3), np.uint8)  # 69 MB; the first map has 67
    large[-1, -1] = 7
    write_raw_lmdb(tmp_path / 'images.lmdb', [('a', IMAGES['a']), ('large', large), ('b', IMAGES['b'])])
    reader = RawLmdb(tmp_path / 'images.lmdb')
    assert reader.read('large', 4799, 4799).tolist() == [[[7, 7, 7]]]
    assert np.array_equal(reader.read('a'), IMAGES['a']) and np.array_equal(reader.read('b'), IMAGES['b'])


@pytest.mark.parametrize('image', [np.zeros((4, 4)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8),
                                   np.zeros((4, 4, 3), np.float32)], ids=lambda image: f'{image.dtype}{image.shape}')
def test_an_image_that_is_not_uint8_rgb_is_refused(tmp_path, image):
    message = refusal(write_raw_lmdb, tmp_path / 'images.lmdb', [('odd', image)])
    assert "'odd'" in message and str(image.dtype) in message and str(image.shape) in message


def test_two_images_of_one_name_are_refused(tmp_path):
    assert "two images are named 'a'" in refusal(write_raw_lmdb, tmp_path / 'images.lmdb',
                                                 [('a', IMAGES['a']), ('a', IMAGES['b'])])


def test_a_folder_without_a_database_is_refused(tmp_path):
    message = refusal(RawLmdb, tmp_path / 'absent.lmdb')
    assert str(tmp_path / 'absent.lmdb') in message and 'no such LMDB' in message


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / 'data.mdb').write_bytes(b'no database' * 1000)
    message = refusal(RawLmdb, tmp_path)
    assert str(tmp_path) in message and 'pack it anew' in message


@pytest.mark.parametrize('content', [{b'0001': b'a PNG'},
                                     {INDEX_KEY: json.dumps({'format': 2, 'images': {}}).encode()}],
                         ids=['of PNG files', 'of a later format'])
def test_a_database_of_another_format_is_refused(tmp_path, content):
    with lmdb.open(str(tmp_path / 'other.lmdb')) as env, env.begin(write=True) as txn:
        for key, value in content.items():
            txn.put(key, value)
    assert str(tmp_path / 'other.lmdb') in refusal(RawLmdb, tmp_path / 'other.lmdb')


def test_an_unknown_image_name_is_refused(database):
    assert refusal(RawLmdb(database).read, 'c') == f"{database}: has no image 'c'"
