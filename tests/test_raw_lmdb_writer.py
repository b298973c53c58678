"""Writing LMDBs of raw images: whole or not at all, and gone on with after an interruption."""
import multiprocessing
import os
import resource
import shutil
import signal
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import refusals
from tiny import noise

from mipkd_model.data import DataError
from mipkd_model.data.prepare.raw_lmdb_writer import Entry, is_packed, write_raw_lmdb
from mipkd_model.data.raw_lmdb import RawLmdb

refusal = partial(refusals.refusal, kind=DataError)
FORK = multiprocessing.get_context('fork')


@pytest.fixture
def path(tmp_path):
    return tmp_path / 'out/images.lmdb'


class Source:
    """Forty small images, read two at a time; the ``stop``-th ends in ``error``."""

    def __init__(self, monkeypatch, count=40):
        monkeypatch.setattr(os, 'cpu_count', lambda: 1)
        self.images = {f'{i:04d}': noise(5 + i % 3, 7, i) for i in range(count)}
        self.loaded, self.stop, self.error = [], None, None

    def _load(self, name):
        if name == self.stop:
            self.error()
        self.loaded.append(name)
        return self.images[name]

    def entries(self, stamp=None):
        return [Entry(name, image.shape, f'{name}.png', partial(self._load, name), stamp)
                for name, image in self.images.items()]


@pytest.fixture
def source(monkeypatch):
    return Source(monkeypatch)


def interrupt():
    raise KeyboardInterrupt


def refuse():
    raise DataError('0021.png: is cut short')


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def entry(name, image):
    return Entry(name, image.shape, f'{name}.png', lambda: image)


def assert_complete(path, images):
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert [file.name for file in path.iterdir()] == ['data.mdb']
    reader = RawLmdb(path)
    assert list(reader.shapes) == list(images)
    assert all(np.array_equal(reader.read(name), image) for name, image in images.items())
    assert reader.corrupt_images() == []


def test_folders_on_the_way_are_made_and_nothing_but_the_database_is_left(path, source):
    write_raw_lmdb(path, source.entries())
    assert_complete(path, source.images)
    assert source.loaded == list(source.images)


def test_images_need_not_lie_contiguously_in_memory(path):
    image = noise(7, 9).transpose(1, 0, 2)[::-1]
    write_raw_lmdb(path, [entry('turned', image)])
    assert np.array_equal(RawLmdb(path).read('turned'), image)


def test_a_database_may_be_large(path):
    large = np.zeros((4800, 4800, 3), np.uint8)  # 69 MB
    large[-1, -1] = 7
    write_raw_lmdb(path, [entry('a', noise(5, 4)), entry('large', large), entry('b', noise(5, 4, 1))])
    reader = RawLmdb(path)
    assert reader.read('large', 4799, 4799).tolist() == [[[7, 7, 7]]]
    assert np.array_equal(reader.read('a'), noise(5, 4)) and np.array_equal(reader.read('b'), noise(5, 4, 1))


def test_an_interrupted_run_says_how_to_go_on_and_the_next_goes_on(path, source):
    source.stop, source.error = '0021', interrupt
    message = refusal(write_raw_lmdb, path, source.entries())
    part = path.with_name('images.lmdb.part')
    assert message.startswith(f'{path}: interrupted') and f'{part}, the same command resumes' in message
    assert not path.exists() and part.is_dir()
    source.stop = None
    source.loaded.clear()
    write_raw_lmdb(path, source.entries())
    assert source.loaded == list(source.images)[20:]
    assert_complete(path, source.images)


def test_a_run_can_be_interrupted_twice(path, source):
    for source.stop in ('0004', '0031'):
        source.error = interrupt
        refusal(write_raw_lmdb, path, source.entries())
    source.stop = None
    source.loaded.clear()
    write_raw_lmdb(path, source.entries())
    assert source.loaded == list(source.images)[30:]
    assert_complete(path, source.images)


@pytest.mark.parametrize('change', ['stamp', 'name', 'source'])
def test_what_an_interruption_left_of_other_images_is_thrown_away(path, source, change):
    source.stop, source.error = '0021', interrupt
    refusal(write_raw_lmdb, path, source.entries(stamp=[1, 2]))
    source.stop = None
    source.loaded.clear()
    entries = source.entries(stamp=[1, 3] if change == 'stamp' else [1, 2])
    if change != 'stamp':
        entries[-1] = entries[-1]._replace(**{change: 'z'})
    write_raw_lmdb(path, entries)
    assert source.loaded == list(source.images)
    assert_complete(path, dict(zip([entry.name for entry in entries], source.images.values(), strict=True)))


@pytest.mark.parametrize('content', [b'', b'no database' * 1000], ids=['nothing', 'something else'])
def test_what_is_left_of_no_use_is_cleared_away(path, source, content):
    part = path.with_name('images.lmdb.part')
    part.mkdir(parents=True)
    (part / 'data.mdb').write_bytes(content)
    write_raw_lmdb(path, source.entries())
    assert_complete(path, source.images)


def test_a_run_that_was_killed_leaves_no_database_and_the_next_completes_it(path, source):
    source.stop, source.error = '0021', kill
    child = FORK.Process(target=write_raw_lmdb, args=(path, source.entries()))
    child.start()
    child.join(300)
    assert child.exitcode == -signal.SIGKILL
    assert not path.exists()
    source.stop = None
    write_raw_lmdb(path, source.entries())
    assert source.loaded == list(source.images)[20:]
    assert_complete(path, source.images)


def test_what_a_killed_run_left_may_be_cut_short(path, source):
    source.stop, source.error = '0021', interrupt
    refusal(write_raw_lmdb, path, source.entries())
    data = path.with_name('images.lmdb.part') / 'data.mdb'
    os.truncate(data, data.stat().st_size // 2)
    source.stop = None
    child = FORK.Process(target=write_raw_lmdb, args=(path, source.entries()))
    child.start()
    child.join(300)
    assert child.exitcode == 0
    assert_complete(path, source.images)


def test_an_image_that_cannot_be_read_leaves_no_database(path, source):
    source.stop, source.error = '0021', refuse
    assert refusal(write_raw_lmdb, path, source.entries()) == '0021.png: is cut short'
    assert not path.exists()


@pytest.mark.parametrize('image', [np.zeros((4, 4)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8),
                                   np.zeros((4, 4, 3), np.float32), np.zeros((4, 5, 3), np.uint8)],
                         ids=lambda image: f'{image.dtype}{image.shape}')
def test_an_image_that_is_not_what_its_entry_says_is_refused(path, image):
    message = refusal(write_raw_lmdb, path, [Entry('odd', (4, 4, 3), 'odd.png', lambda: image)])
    assert message.startswith('odd.png: ') and str(image.dtype) in message and str(image.shape) in message
    assert not path.exists()


def test_an_existing_database_is_left_alone(path, source):
    write_raw_lmdb(path, source.entries())
    before = (path / 'data.mdb').read_bytes()
    message = refusal(write_raw_lmdb, path, [entry('c', noise(5, 4))])
    assert str(path) in message and 'exists already' in message
    assert (path / 'data.mdb').read_bytes() == before


def test_a_disk_that_is_too_full_is_noticed_before_anything_is_written(path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: SimpleNamespace(free=1_500_000_000))
    huge = Entry('huge', (30000, 40000, 3), 'huge.png', interrupt)
    message = refusal(write_raw_lmdb, path, [huge])
    assert str(path) in message and 'needs 3.6 GB more, 1.5 GB are free' in message
    assert list(path.parent.iterdir()) == []


def test_what_is_packed_already_needs_no_room_again(path, source, monkeypatch):
    source.stop, source.error = '0039', interrupt
    refusal(write_raw_lmdb, path, source.entries())
    source.stop = None
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: SimpleNamespace(free=30 * 4096))
    write_raw_lmdb(path, source.entries())
    assert_complete(path, source.images)


def _write_with_little_room(path, entries, queue):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    queue.put(refusal(write_raw_lmdb, path, entries))


def test_a_disk_that_fills_up_on_the_way_is_one_line_and_leaves_nothing(path):
    queue = FORK.Queue()
    images = [entry(f'{i:04d}', noise(50, 50, i)) for i in range(40)]
    child = FORK.Process(target=_write_with_little_room, args=(path, images, queue))
    child.start()
    message = queue.get(timeout=300)
    child.join(300)
    assert message.startswith(f'{path}: cannot be written') and 'make room' in message
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize('place', ['file/images.lmdb', 'file/below/images.lmdb', 'x' * 300 + '.lmdb'],
                         ids=['below a file', 'far below a file', 'name too long'])
def test_a_place_that_cannot_be_written_to_is_refused(tmp_path, place):
    (tmp_path / 'file').touch()
    message = refusal(write_raw_lmdb, tmp_path / place, [entry('a', noise(5, 4))])
    assert message.startswith(f'{tmp_path / place}: cannot be written')
    assert [file.name for file in tmp_path.iterdir()] == ['file']


@pytest.mark.skipif(os.geteuid() == 0, reason='nothing is read-only for root')
def test_a_folder_that_is_read_only_is_refused(path):
    path.parent.mkdir(mode=0o500)
    assert f'{path}: cannot be written (Permission denied)' in refusal(write_raw_lmdb, path,
                                                                       [entry('a', noise(5, 4))])


def test_a_database_counts_as_packed_only_with_the_very_entries(path, source):
    entries = source.entries()
    assert is_packed(path, entries) is False
    write_raw_lmdb(path, entries)
    assert is_packed(path, entries) is True
    for others in (entries[1:], [*entries, entry('c', noise(4, 4))], [*entries[:-1], entries[-1]._replace(source='x')],
                   [*entries[:-1], entries[-1]._replace(shape=(9, 9, 3))],
                   [entries[0]._replace(stamp=1), *entries[1:]]):
        message = refusal(is_packed, path, others)
        assert str(path) in message and 'with other images' in message and 'is left alone' in message


def test_a_broken_database_does_not_count_as_packed(path, source):
    write_raw_lmdb(path, source.entries())
    os.truncate(path / 'data.mdb', 20000)
    assert 'is cut short' in refusal(is_packed, path, source.entries())
