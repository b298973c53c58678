"""Truncated, damaged, wrong and malicious checkpoints: one line or the right weights, and no code of theirs is run."""
import io
import os
import pickle
import warnings
import zipfile
from functools import partial

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import refusal
from safetensors.torch import save

from mipkd_arch.base.checkpoint import WeightsError, find_state_dict, load_plain

WEIGHTS = {'a.weight': torch.arange(12.).view(3, 4), 'a.bias': torch.full((3, ), 0.5)}
fuzzed = partial(settings, derandomize=True, deadline=None, database=None,
                 suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def saved(content, **how):
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


FILES = {'zip': saved({'params': WEIGHTS}), 'old': saved({'params': WEIGHTS}, _use_new_zipfile_serialization=False),
         'safetensors': save(WEIGHTS)}


def weights_of(content):
    """The weights of a file, or None where it is refused, which takes one line."""
    try:
        return find_state_dict(load_plain(io.BytesIO(content), 'net.pth'), 'net.pth')
    except WeightsError as error:
        assert str(error).startswith('net.pth: ') and str(error).isprintable() and len(str(error)) < 600
        return None


def is_right(found):
    return found.keys() == WEIGHTS.keys() and all(torch.equal(found[key], WEIGHTS[key]) for key in WEIGHTS)


@pytest.mark.parametrize('kind', FILES)
@fuzzed(max_examples=150)
@given(length=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(kind, length):
    assert weights_of(FILES[kind][:int(length * len(FILES[kind]))]) is None


@fuzzed(max_examples=400)
@given(places=st.lists(st.integers(0, 8 * len(FILES['zip']) - 1), min_size=1, max_size=64))
def test_flipped_bits_are_found_by_the_checksums_or_change_no_weight(places):
    content = bytearray(FILES['zip'])
    for place in places:
        content[place // 8] ^= 1 << place % 8
    found = weights_of(bytes(content))
    assert found is None or is_right(found)


@fuzzed(max_examples=200)
@given(start=st.sampled_from([b'', b'PK\x03\x04', b'\x80\x02', b'\x10' + bytes(7) + b'{']),
       rest=st.binary(max_size=200))
def test_a_file_of_something_else_is_refused(start, rest):
    assert weights_of(start + rest) is None


PLAIN = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=9), lambda inner: st.lists(
    inner, max_size=3) | st.dictionaries(st.text(max_size=9) | st.sampled_from(['params', 'model']), inner, max_size=3))


@fuzzed(max_examples=60)
@given(content=PLAIN, zipped=st.booleans())
def test_plain_data_without_weights_is_refused(content, zipped):
    assert weights_of(saved(content, _use_new_zipfile_serialization=zipped)) is None


class Payload:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@fuzzed(max_examples=150)
@given(data=st.data(), protocol=st.integers(0, 5), form=st.sampled_from(['pickle', 'old', 'zip', 'swapped']))
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, data, protocol, form):
    made = tmp_path / 'made'
    code = data.draw(st.sampled_from([Payload(os.mkdir, str(made)), Payload(os.system, f'touch {made}'),
                                      Payload(eval, f'open({str(made)!r}, "w")'), Payload(open, str(made), 'w')]))
    content = data.draw(st.sampled_from([code, [code], {'params': code}, {'params': WEIGHTS, 'more': (1, code)}]))
    if form in ('old', 'zip'):
        file = saved(content, pickle_protocol=max(protocol, 2), _use_new_zipfile_serialization=form == 'zip')
    else:
        file = pickle.dumps(code, protocol)
    if form == 'swapped':  # put into a file of torch's, with the right checksum
        buffer = io.BytesIO(FILES['zip'])
        with zipfile.ZipFile(buffer, 'a') as archive, warnings.catch_warnings():
            warnings.simplefilter('ignore')  # of a doubled name
            archive.writestr(next(name for name in archive.namelist() if name.endswith('data.pkl')), file)
        file = buffer.getvalue()
    try:
        weights_of(file)
    finally:
        assert not made.exists()


def test_what_is_fuzzed_is_read_as_it_is():
    assert all(is_right(weights_of(content)) for content in FILES.values())
    assert 'could run code' in refusal(load_plain, io.BytesIO(saved(Payload(os.mkdir, 'x'))), 'a', kind=WeightsError)
