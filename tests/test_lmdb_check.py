"""The check of an LMDB's file against what LMDB itself makes of it."""
import os
import random
import struct
from functools import partial

import lmdb
import pytest
import refusals

from mipkd_model.data import DataError, lmdb_check
from mipkd_model.data.lmdb_check import Unsound, check_file, check_lmdb, is_sound
from mipkd_model.data.lmdb_file import LmdbFile

PAGE = 4096
refusal = partial(refusals.refusal, kind=DataError)


def keys_by_lmdb(folder):
    with lmdb.open(str(folder), readonly=True, lock=False) as env, env.begin() as txn:
        return list(txn.cursor().iternext(values=False))


def keys_by_check(folder, writable=False):
    with open(folder / 'data.mdb', 'rb') as content:
        return check_file(content, os.fstat(content.fileno()).st_size, writable)


def written(folder, rng, transactions, largest, longest):
    """A database with a history: values put, replaced and deleted, in several transactions."""
    with lmdb.open(str(folder), map_size=1 << 28, sync=False) as env:
        for _ in range(transactions):
            with env.begin(write=True) as txn:
                for _ in range(rng.choice([1, 20, 200])):
                    key = (b'%06d' % rng.randrange(10**4)) * 90
                    key = key[:rng.randrange(1, longest)]
                    if rng.random() < 0.25:
                        txn.delete(key)
                    else:
                        txn.put(key, rng.randbytes(rng.randrange(largest)))
    return folder


@pytest.mark.parametrize('longest', [10, 500])
@pytest.mark.parametrize('largest', [10, 2040, 9000])
@pytest.mark.parametrize('transactions', [1, 12])
def test_databases_that_lmdb_wrote_pass_with_the_keys_that_lmdb_reads(tmp_path, transactions, largest, longest):
    for seed in range(4):
        folder = written(tmp_path / f'{seed}.lmdb', random.Random(seed), transactions, largest, longest)
        assert keys_by_check(folder) == keys_by_check(folder, writable=True) == keys_by_lmdb(folder)
        assert is_sound(folder)


def test_a_deep_tree_passes(tmp_path):
    with lmdb.open(str(tmp_path), map_size=1 << 26, sync=False) as env, env.begin(write=True) as txn:
        for number in range(3000):
            txn.put(b'%0500d' % number, b'')
        assert txn.stat()['depth'] >= 4
    assert keys_by_check(tmp_path) == keys_by_lmdb(tmp_path)


def test_an_empty_database_passes(tmp_path):
    lmdb.open(str(tmp_path)).close()
    assert keys_by_check(tmp_path) == keys_by_check(tmp_path, writable=True) == keys_by_lmdb(tmp_path) == []


def by_hand(folder, page_size, keys):
    """A database of one leaf with empty values, byte by byte, in pages of any size."""
    def tree(first, flags, entries, root):
        return struct.pack('<IHHQQQQQ', first, flags, bool(entries), 0, bool(entries), 0, entries, root)

    def meta(number, transaction):
        return struct.pack('<QHHHHIIQQ', number, 0, 8, 0, 0, 0xBEEFC0DE, 1, 0, 1 << 20) + tree(
            page_size, 8, 0, 2**64 - 1) + tree(0, 0, len(keys), 2) + struct.pack('<QQ', 2, transaction)

    nodes = [struct.pack('<HHHH', 0, 0, 0, len(key)) + key + b'\0' * (len(key) % 2) for key in keys]
    places = [page_size - sum(map(len, nodes[:index + 1])) for index in range(len(nodes))]
    leaf = struct.pack(f'<QHHHH{len(keys)}H', 2, 0, 2, 16 + 2 * len(keys), places[-1], *places)
    leaf += bytes(places[-1] - len(leaf)) + b''.join(reversed(nodes))
    (folder / 'data.mdb').write_bytes(b''.join(part.ljust(page_size, b'\0') for part in (meta(0, 2), meta(1, 1), leaf)))


@pytest.mark.parametrize('page_size', [1 << power for power in range(9, 16)])
def test_pages_may_be_of_any_size(tmp_path, page_size):
    keys = [b'a', b'bb', b'ccc', b'd' * 100]
    by_hand(tmp_path, page_size, keys)
    assert keys_by_check(tmp_path) == keys_by_check(tmp_path, writable=True) == keys
    assert keys_by_lmdb(tmp_path) == keys


# ---------------------------------------------------------------- what is not sound


@pytest.fixture
def database(tmp_path):
    """One branch (the root), some leaves, large values; each key once."""
    with lmdb.open(str(tmp_path / 'a.lmdb'), map_size=1 << 26) as env:
        with env.begin(write=True) as txn:
            for number in range(400):
                txn.put(b'%06d' % number, bytes(5000 if number % 50 == 0 else 10))
        with env.begin(write=True) as txn:
            txn.put(b'000000', bytes(9000))
    return tmp_path / 'a.lmdb'


class Bytes:
    """The file of a database, to be changed at places that are told by LMDB's own names."""

    def __init__(self, folder):
        self.file = folder / 'data.mdb'
        self.raw = bytearray(self.file.read_bytes())
        transactions = [self.value('Q', page * PAGE + 144) for page in (0, 1)]
        self.meta = PAGE * transactions.index(max(transactions))
        self.root = PAGE * self.value('Q', self.meta + 128)
        self.leaf = PAGE * self.value('I', self.node(self.root, 1))

    def value(self, kind, place):
        return struct.unpack_from(f'<{kind}', self.raw, place)[0]

    def node(self, page, index):
        return page + self.value('H', page + 16 + 2 * index)

    def put(self, kind, place, value):
        struct.pack_into(f'<{kind}', self.raw, place, value)
        self.file.write_bytes(self.raw)


CHANGES = {
    'magic': lambda b: b.put('I', 16, 5),
    'a version to come': lambda b: b.put('I', 20, 3),
    'page size of 0': lambda b: b.put('I', 40, 0),
    'page size of 2^31': lambda b: b.put('I', 40, 1 << 31),
    'page sizes that differ': lambda b: b.put('I', PAGE + 40, 8192),
    'last page beyond all': lambda b: b.put('Q', b.meta + 136, 1 << 60),
    'last page before the root': lambda b: b.put('Q', b.meta + 136, 2),
    'keys in reverse order': lambda b: b.put('H', b.meta + 92, 2),
    'values sorted': lambda b: b.put('H', b.meta + 92, 4),
    'a deeper tree': lambda b: b.put('H', b.meta + 94, 3),
    'more entries': lambda b: b.put('Q', b.meta + 120, 401),
    'no root': lambda b: b.put('Q', b.meta + 128, (1 << 64) - 1),
    'the root is a meta page': lambda b: b.put('Q', b.meta + 128, 1),
    'the root is beyond the end': lambda b: b.put('Q', b.meta + 128, 1 << 40),
    'a page of another number': lambda b: b.put('Q', b.leaf, 7),
    'a leaf of sorted values': lambda b: b.put('H', b.leaf + 10, 0x22),
    'a leaf that says it is a branch': lambda b: b.put('H', b.leaf + 10, 1),
    'a leaf without entries': lambda b: b.put('H', b.leaf + 12, 16),
    'more entries than a page has room for': lambda b: b.put('H', b.leaf + 12, 4094),
    'free room beyond the page': lambda b: b.put('H', b.leaf + 14, 5000),
    'an entry beyond the page': lambda b: b.put('H', b.leaf + 18, 4094),
    'an entry in the table': lambda b: b.put('H', b.leaf + 18, 16),
    'a key beyond the page': lambda b: b.put('H', b.node(b.leaf, 1) + 6, 4000),
    'a value beyond the page': lambda b: b.put('H', b.node(b.leaf, 1), 4000),
    'a sub-database': lambda b: b.put('H', b.node(b.leaf, 1) + 4, 2),
    'a large value that is none': lambda b: b.put('H', b.node(b.leaf, 1) + 4, 1),
    'a key out of order': lambda b: b.put('B', b.node(b.leaf, 1) + 8, 0xff),
    'a key twice': lambda b: b.put('H', b.leaf + 18, b.value('H', b.leaf + 16)),
    'a branch of one child': lambda b: b.put('H', b.root + 12, 18),
    'a child that is its parent': lambda b: b.put('I', b.node(b.root, 1), b.root // PAGE),
    'a child twice': lambda b: b.put('I', b.node(b.root, 1), b.value('I', b.node(b.root, 0))),
    'a child beyond the end': lambda b: b.put('I', b.node(b.root, 1), 1 << 20),
    'a child beyond 2^32': lambda b: b.put('H', b.node(b.root, 1) + 4, 1),
    'a branch that leads to the wrong leaf': lambda b: b.put('B', b.node(b.root, 1) + 13, 0xff),
    'children swapped': lambda b: [b.put('H', b.root + 18, b.value('H', b.root + 20)),
                                   b.put('H', b.root + 20, b.value('H', b.root + 18))],
}


@pytest.mark.parametrize('change', CHANGES)
def test_a_file_that_would_mislead_lmdb_is_refused_in_one_line(database, change):
    check_lmdb(str(database), database)
    CHANGES[change](Bytes(database))
    message = refusal(LmdbFile, database)
    assert message.startswith(f'{database}: ') and message.endswith('; remove it and pack it anew')
    assert not is_sound(database)


def test_large_values_that_overlap_are_refused(database):
    changed = Bytes(database)
    first = PAGE * changed.value('I', changed.node(changed.root, 0))
    numbers = [number for number in range(changed.value('H', first + 12) // 2 - 8)
               if changed.value('H', changed.node(first, number) + 4) == 1]
    one, other = (changed.node(first, number) for number in numbers[:2])
    changed.put('Q', one + 14, changed.value('Q', other + 14))
    assert 'for two things' in refusal(LmdbFile, database)


@pytest.mark.parametrize('length', [0, 1, 15, 16, 152, PAGE, PAGE + 100, 2 * PAGE, 2 * PAGE + 1, 5 * PAGE])
def test_a_file_that_is_cut_short_is_refused(database, length):
    os.truncate(database / 'data.mdb', length)
    assert str(database) in refusal(LmdbFile, database)
    assert not is_sound(database)


def test_free_pages_that_are_in_use_are_no_matter_for_reading_but_for_writing(database):
    changed = Bytes(database)
    free = PAGE * changed.value('Q', changed.meta + 80)
    entry = changed.node(free, 0)
    changed.put('Q', entry + 24, changed.root // PAGE)  # behind the entry's key and the number of pages in it
    assert keys_by_check(database) == keys_by_lmdb(database)
    with pytest.raises(Unsound):
        keys_by_check(database, writable=True)
    assert not is_sound(database)


def test_a_pipe_in_place_of_the_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / 'data.mdb')
    assert 'no such LMDB' in refusal(LmdbFile, tmp_path)


def test_a_path_that_cannot_be_is_refused():
    with pytest.raises(DataError):
        LmdbFile('a\0b.lmdb')


def test_a_file_is_checked_once_until_it_changes(database, monkeypatch):
    checked, check = [], lmdb_check.check_file
    monkeypatch.setattr(lmdb_check, 'check_file', lambda *args: checked.append(args) or check(*args))
    for _ in range(3):
        LmdbFile(database)
    assert len(checked) == 1
    os.utime(database / 'data.mdb', ns=(1, 1))
    LmdbFile(database)
    assert len(checked) == 2
