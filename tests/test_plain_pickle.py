"""Pickles made to do harm, by code or by what they take to build: refused at once."""
import os
import pickle
import struct
import zipfile
from functools import partial

import pytest
import refusals
import torch

from mipkd_arch.base.checkpoint import WeightsError, read_checkpoint

refusal = partial(refusals.refusal, kind=WeightsError)


def with_pickle(path, code):
    """A file of torch's format whose pickle is ``code``, with the right checksum."""
    torch.save({}, path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in parts.items():
            archive.writestr(name, code if name.endswith('data.pkl') else content)
    return path


class Payload:
    def __reduce__(self):
        return os.system, ('true', )


@pytest.mark.parametrize('protocol', range(6))
def test_code_is_named_whatever_protocol_it_was_pickled_by(tmp_path, protocol):
    path = with_pickle(tmp_path / 'net.pth', pickle.dumps(Payload(), protocol))
    assert 'holds posix.system, not plain tensors' in refusal(read_checkpoint, path)
    if protocol >= 2:
        path.write_bytes(pickle.dumps(Payload(), protocol))
        assert 'holds posix.system, not plain tensors' in refusal(read_checkpoint, path)


BOMB = b'\x80\x02}K\x01K\x01\x86q\x00' + b'0h\x00h\x00\x86q\x00' * 60 + b'K\x01s.'
DEEP = b'\x80\x02}K\x01' + b'\x85' * 200_000 + b'K\x01s.'


@pytest.mark.parametrize('code', [BOMB, DEEP], ids=['2^60 ends', '200,000 levels'])
def test_tuples_that_would_be_hashed_for_ever_are_refused_at_once(tmp_path, code):
    # Python hashes a tuple by all that is in it, each time, and runs out of stack where it is deep.
    assert 'damaged' in refusal(read_checkpoint, with_pickle(tmp_path / 'net.pth', code))


def many(items, code, times=3000):
    """A pickle of a list: first of another list of items, then of what the code makes of that, each time anew."""
    return b'\x80\x02]q\x01(]q\x00(' + b''.join(items) + b'e' + code * times + b'e.'


NUMBERS = [b'M' + struct.pack('<H', i) for i in range(3000)]
BIG = [pickle.dumps(i * (2**61 - 1), 2)[2:-1] for i in range(1, 3000)]  # hash(i * (2^61 - 1)) == 0
SIGNS = [b''.join(b'J' + struct.pack('<i', -1 - int(bit)) for bit in f'{i:013b}') for i in range(3000)]
# Of all these tuples the hash is one, as hash(-1) == hash(-2).
TEXT = b'X' + struct.pack('<I', 10**4) + b'1' * 10**4
BOMBS = {
    'sets': many(NUMBERS, b'c__builtin__\nset\nh\x00\x85R'),
    'counters': many(NUMBERS, b'ccollections\nCounter\nh\x00\x85R'),
    'attributes': b'\x80\x02]q\x01(}q\x00(' + b''.join(n + b'N' for n in NUMBERS) + b'u' + (
        b'ccollections\nOrderedDict\n)Rh\x00b') * 3000 + b'e.',
    'equal hashes': b'\x80\x02}(' + b''.join(n + b'N' for n in BIG) + b'u.',
    'equal hashes of tuples': b'\x80\x02}(' + b''.join(b'(' + n + b'tN' for n in SIGNS) + b'u.',
    'equal hashes in a set': b'\x80\x02c__builtin__\nset\n](' + b''.join(BIG) + b'e\x85R.',
    'equal hashes in pairs': b'\x80\x02ccollections\nOrderedDict\n](' + b''.join(
        b'](' + n + b'Ne' for n in BIG) + b'e\x85R.',
    'bytes': many([TEXT + b'q\x02'], b'c_codecs\nencode\nh\x02X\x06\0\0\0latin1\x86R'),
    'wide bytes': b'\x80\x02c_codecs\nencode\n' + TEXT + b'X\x06\0\0\0utf-32\x86R.',
    'a bytearray by its size': b'\x80\x02c__builtin__\nbytearray\nJ\0\0\0\x70\x85R.',
    'numbers': many([TEXT + b'q\x02'], b'c__builtin__\ncomplex\nh\x02\x85R'),
}


@pytest.mark.parametrize('code', BOMBS.values(), ids=BOMBS)
def test_what_takes_far_more_work_than_the_file_is_long_is_refused(tmp_path, code):
    assert 'damaged' in refusal(read_checkpoint, with_pickle(tmp_path / 'net.pth', code))
