"""LMDBs of raw images: refused unless whole, read by slices, in any process."""
import hashlib
import json
import multiprocessing
import os
import pickle
import shutil
from functools import partial

import lmdb
import numpy as np
import pytest
import refusals
from tiny import noise, raw_lmdb

from mipkd_model.data import DataError
from mipkd_model.data.raw_lmdb import INDEX_KEY, RawLmdb, encode_index

refusal = partial(refusals.refusal, kind=DataError)

IMAGES = {'b': noise(27, 29, 1), 'a': noise(5, 4, 2), 'ünicode name': noise(3, 3, 3)}


@pytest.fixture
def database(tmp_path):
    return raw_lmdb(tmp_path / 'images.lmdb', IMAGES)


def rewrite(database, change):
    """Let ``change`` do something in a write transaction of a database."""
    with lmdb.open(str(database)) as env, env.begin(write=True) as txn:
        change(txn)


def flip(database, part):
    """Flip the last bit of the first byte of ``part`` in the file of a database."""
    data = bytearray((database / 'data.mdb').read_bytes())
    assert data.count(part) == 1
    data[data.index(part)] ^= 1
    (database / 'data.mdb').write_bytes(data)


def test_images_come_back_as_they_were_in_the_order_of_packing(database):
    reader = RawLmdb(database)
    assert reader.path == database
    assert list(reader.shapes.items()) == [(name, image.shape) for name, image in IMAGES.items()]
    for name, image in IMAGES.items():
        assert reader.read(name).dtype == np.uint8
        assert np.array_equal(reader.read(name), image)


def test_the_index_tells_shape_type_checksum_and_origin(database):
    assert RawLmdb(database).images == {
        name: {'shape': list(image.shape), 'dtype': 'uint8', 'sha256': hashlib.sha256(image.tobytes()).hexdigest(),
               'source': f'{name}.png', 'stamp': None} for name, image in IMAGES.items()}


def test_a_database_can_be_given_as_text(database):
    assert np.array_equal(RawLmdb(str(database)).read('a'), IMAGES['a'])


@pytest.mark.parametrize('top, left, height, width', [(0, 0, 27, 29), (2, 3, 4, 5), (26, 28, 1, 1), (0, 4, 3, 5)])
def test_crops_are_slices_of_the_image(database, top, left, height, width):
    crop = RawLmdb(database).read('b', top, left, height, width)
    assert np.array_equal(crop, IMAGES['b'][top:top + height, left:left + width])


def test_crops_cannot_be_written_to(database):
    crop = RawLmdb(database).read('b', 0, 0, 3, 3)
    with pytest.raises(ValueError, match='read-only'):
        crop[:] = 0


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


def test_a_database_is_the_same_by_whatever_path(database):
    (database.parent / 'link.lmdb').symlink_to(database)
    readers = RawLmdb(database), RawLmdb(database.parent / 'link.lmdb')
    assert all(np.array_equal(reader.read('b'), IMAGES['b']) for reader in readers)


def test_a_reader_of_a_database_that_was_packed_anew_says_so_and_a_new_reader_reads_it(database):
    old = RawLmdb(database)
    shutil.rmtree(database)
    raw_lmdb(database, {'a': IMAGES['b']})
    assert np.array_equal(RawLmdb(database).read('a'), IMAGES['b'])
    assert 'packed again' in refusal(old.read, 'a')


def test_a_database_that_was_overwritten_in_place_is_not_read_by_what_was_known_of_the_old_one(tmp_path, database):
    old = RawLmdb(database)
    old.read('a')
    other = raw_lmdb(tmp_path / 'other.lmdb', {'a': noise(80, 90)})
    (database / 'data.mdb').write_bytes((other / 'data.mdb').read_bytes())  # the same file for the file system
    assert np.array_equal(RawLmdb(database).read('a'), noise(80, 90))
    assert 'packed again' in refusal(old.read, 'a')


def test_a_database_that_was_only_touched_is_read_on(database):
    old = RawLmdb(database)
    os.utime(database / 'data.mdb', ns=(1, 1))
    assert np.array_equal(RawLmdb(database).read('b'), IMAGES['b'])
    assert np.array_equal(old.read('b'), IMAGES['b'])


@pytest.mark.parametrize('method', ['fork', 'spawn'])
def test_a_reader_in_use_can_cross_into_another_process(database, method):
    reader = RawLmdb(database)
    reader.read('a')
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert np.array_equal(pool.apply_async(reader.read, ('b', )).get(60), IMAGES['b'])
    assert np.array_equal(reader.read('b'), IMAGES['b'])


def test_a_reader_made_before_a_fork_reads_after_it_without_being_sent(database):
    reader = RawLmdb(database)
    reader.read('a')
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(reader.read('b'), IMAGES['b']) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(reader.read('b'), IMAGES['b'])


def test_a_whole_database_has_no_corrupt_images(database):
    seen = []
    assert RawLmdb(database).corrupt_images(lambda names: seen.extend(names) or names) == []
    assert seen == list(IMAGES)


def test_a_changed_pixel_is_found_by_the_checksums_only(database):
    flip(database, IMAGES['b'].tobytes()[:32])
    reader = RawLmdb(database)
    assert reader.shapes['b'] == IMAGES['b'].shape
    assert reader.corrupt_images() == ['b']


def test_a_changed_index_is_refused(database):
    flip(database, b'"format": 2')
    message = refusal(RawLmdb, database)
    assert str(database) in message and 'damaged index' in message


@pytest.mark.parametrize('size', [0, 100, 4096, 8192, 0.5, 0.8])
def test_a_database_that_is_cut_short_is_refused(tmp_path, size):
    database = raw_lmdb(tmp_path / 'images.lmdb', {'a': noise(80, 90), 'b': noise(100, 90)})
    whole = (database / 'data.mdb').stat().st_size
    os.truncate(database / 'data.mdb', int(whole * size) if isinstance(size, float) else size)
    message = refusal(RawLmdb, database)
    assert str(database) in message and 'pack it again' in message


def test_a_database_that_was_cut_short_while_it_was_open_is_refused(database):
    RawLmdb(database)
    os.truncate(database / 'data.mdb', (database / 'data.mdb').stat().st_size // 2)
    assert 'is cut short' in refusal(RawLmdb, database)


def test_a_missing_image_is_named(database):
    rewrite(database, lambda txn: txn.delete('ünicode name'.encode()))
    message = refusal(RawLmdb, database)
    assert str(database) in message and "'ünicode name' is missing or cut short" in message


def test_an_image_of_another_length_is_named(database):
    rewrite(database, lambda txn: txn.put(b'a', IMAGES['a'].tobytes()[:-1]))
    assert "'a' is missing or cut short" in refusal(RawLmdb, database)


ENTRY = {'shape': [5, 4, 3], 'dtype': 'uint8', 'sha256': '0' * 64, 'source': 'a.png', 'stamp': None}
BAD_NAMES = ['', '.', '..', '/etc/passwd', '../a', 'a/b', 'a\\b', 'a\nb', 'a\0', 'a\x1b[2J', 'x' * 201]


@pytest.mark.parametrize('name', BAD_NAMES, ids=ascii)
def test_a_name_that_could_not_be_a_files_is_refused(database, name):
    rewrite(database, lambda txn: txn.put(INDEX_KEY, encode_index({name: ENTRY})))
    assert 'is not a valid name for an image' in refusal(RawLmdb, database)


def later():
    text = json.dumps({'format': 3, 'images': {}}).encode()
    return hashlib.sha256(text).hexdigest().encode() + b'\n' + text


@pytest.mark.parametrize('key, value, word', [
    (b'0001', b'a PNG', 'not one of raw images'),
    (INDEX_KEY, later(), 'of another version'),
    (INDEX_KEY, b'{"format": 1, "images": {"a": [5, 4, 3]}}', 'of another version'),
    (INDEX_KEY, b'', 'damaged index'),
    (INDEX_KEY, encode_index({})[1:], 'damaged index'),
], ids=['PNG files', 'later format', 'earlier format', 'empty index', 'shifted index'])
def test_a_database_of_another_format_is_refused(tmp_path, key, value, word):
    rewrite(tmp_path / 'other.lmdb', lambda txn: txn.put(key, value))
    message = refusal(RawLmdb, tmp_path / 'other.lmdb')
    assert str(tmp_path / 'other.lmdb') in message and word in message


def test_a_folder_without_a_database_is_refused(tmp_path):
    message = refusal(RawLmdb, tmp_path / 'absent.lmdb')
    assert str(tmp_path / 'absent.lmdb') in message and 'no such LMDB' in message


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / 'data.mdb').write_bytes(b'no database' * 1000)
    message = refusal(RawLmdb, tmp_path)
    assert str(tmp_path) in message and 'pack it again' in message


def test_an_unknown_image_name_is_refused(database):
    assert refusal(RawLmdb(database).read, 'c') == f"{database}: has no image 'c'; pack it again"
