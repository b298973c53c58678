"""Damaged LMDBs: they are refused in one line, or give the right pixels."""
import os
import signal
import struct
from functools import partial

import cv2
import numpy as np
import pytest
import refusals
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import noise, raw_lmdb

from mipkd_model.data import DataError
from mipkd_model.data.raw_lmdb import RawLmdb
from mipkd_model.data.stores import open_store

from basicsr.utils.lmdb_util import make_lmdb_from_imgs

refusal = partial(refusals.refusal, kind=DataError)
IMAGES = {f'{i:04d}': noise(40, 52 + i, i) for i in range(6)}
PAGE, LEAF, BRANCH = 4096, 2, 1
fuzzed = settings(derandomize=True, deadline=None, max_examples=25, database=None,
                  suppress_health_check=[HealthCheck.function_scoped_fixture])


def png_lmdb(path):
    path.with_suffix('.files').mkdir()
    for name, image in IMAGES.items():
        cv2.imwrite(str(path.with_suffix('.files') / f'{name}.png'), image[..., ::-1])
    make_lmdb_from_imgs(str(path.with_suffix('.files')), str(path), [f'{name}.png' for name in IMAGES], list(IMAGES),
                        map_size=2**20)
    return path


@pytest.fixture(scope='module', params=['raw', 'png'])
def database(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp('fuzz')
    path = raw_lmdb(folder / 'a.lmdb', IMAGES) if request.param == 'raw' else png_lmdb(folder / 'a.lmdb')
    return path, (path / 'data.mdb').read_bytes()


def is_of_tree(content, place):
    """Whether a byte is in a page of LMDB's search tree, which has no checksum."""
    page = place // PAGE
    while page > 1:  # to the beginning of a large value, whose pages follow it
        number, _, flags = struct.unpack_from('<QHH', content, page * PAGE)
        if number == page and flags in (LEAF, BRANCH, 4):
            return flags != 4
        page -= 1
    return False


def read_in_child(path):
    """Exit code of a process that reads all images: 0 all right, 1 refused, 2 wrong pixels; negative by a signal."""
    child = os.fork()
    if child == 0:
        try:
            store = open_store(path)
            corrupt = store.corrupt_images() if isinstance(store, RawLmdb) else []
            images = {name: store.read(name) for name in store.shapes if name not in corrupt}
            right = all(np.array_equal(image, IMAGES[name]) for name, image in images.items())
            os._exit(0 if right and store.shapes.keys() == IMAGES.keys() else 2)
        except DataError:
            os._exit(1)
        finally:
            os._exit(3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@fuzzed
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_database_of_any_shorter_length_is_refused(database, share):
    path, content = database
    (path / 'data.mdb').write_bytes(content[:int(share * len(content))])
    message = refusal(open_store, path)
    assert message.startswith(f'{path}: is ') and 'pack it again' in message


@fuzzed
@given(share=st.floats(0, 1, exclude_max=True), noise=st.binary(min_size=1, max_size=64))
def test_overwritten_bytes_are_found_or_do_not_matter(database, share, noise):
    path, content = database
    place = int(share * len(content))
    damaged = bytearray(content)
    damaged[place:place + len(noise)] = noise
    (path / 'data.mdb').write_bytes(damaged[:len(content)])
    code = read_in_child(path)
    # LMDB follows the numbers of its tree; such damage may end the reader, but must not give other pixels.
    assert code in (0, 1) or is_of_tree(content, place) and code == -signal.SIGBUS


@pytest.mark.parametrize('page', [0, 1])
@fuzzed
@given(place=st.integers(0, 160), noise=st.binary(min_size=1, max_size=16))
def test_a_damaged_beginning_is_found_or_does_not_matter(database, page, place, noise):
    path, content = database
    damaged = bytearray(content)
    damaged[page * PAGE + place:page * PAGE + place + len(noise)] = noise
    (path / 'data.mdb').write_bytes(damaged)
    assert read_in_child(path) in (0, 1)
