"""Checkpoint files of either format, sound, damaged or made to do harm: weights, or one line."""
import io
import os
import struct
import warnings
from functools import partial

import pytest
import refusals
import tiny
import torch
from safetensors.torch import save_file

from mipkd_arch.base.checkpoint import WeightsError, load_plain, read_checkpoint
from mipkd_arch.base.weights import load_weights

refusal = partial(refusals.refusal, kind=WeightsError)


def saved(path, content, **how):
    torch.save(content, path, **how)
    return path


def plain(network):
    return {key: value.contiguous() for key, value in network.state_dict().items()}


def same(network, weights):
    return all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())


# ---------------------------------------------------------------- safetensors


@pytest.mark.parametrize('name', ['net.safetensors', 'net.pth', 'net'])
def test_safetensors_are_read_under_any_name(tmp_path, name):
    network, source = tiny.edsr(), plain(tiny.edsr())
    save_file(source, tmp_path / name, {'format': 'pt', 'author': 'someone'})
    assert load_weights(network, tmp_path / name) == ([], [])
    assert same(network, source)


def test_torchs_format_is_read_under_the_name_of_safetensors(tmp_path):
    network, source = tiny.edsr(), plain(tiny.edsr())
    load_weights(network, saved(tmp_path / 'net.safetensors', source))
    assert same(network, source)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16, torch.float64])
def test_safetensors_of_other_floats_are_read(tmp_path, dtype):
    network, source = tiny.edsr(), {key: value.to(dtype) for key, value in plain(tiny.edsr()).items()}
    save_file(source, tmp_path / 'net.safetensors')
    load_weights(network, tmp_path / 'net.safetensors')
    assert same(network, {key: value.float() for key, value in source.items()})


def header(text, data=b'', length=None):
    text = text.encode()
    return struct.pack('<Q', len(text) if length is None else length) + text + data


@pytest.mark.parametrize('content', [
    header('{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'),
    header('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', b'1234'),
    header('{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', b'1234'),
    header('{"a":{"dtype":"X99","shape":[1],"data_offsets":[0,4]}}', b'1234'),
    header('{"a":{"dtype":"F32","shape":' + '[' * 999 + ']' * 999 + ',"data_offsets":[0,4]}}', b'1234'),
    header('{"a": 5}'), header('{not json'), header('{}', length=2**63), header('{}', length=1)],
    ids=['huge', 'short', 'negative', 'dtype', 'deep', 'number', 'no JSON', 'long', 'cut'])
def test_damaged_safetensors_are_one_line(tmp_path, content):
    (tmp_path / 'net.safetensors').write_bytes(content)
    assert str(tmp_path / 'net.safetensors') in refusal(read_checkpoint, tmp_path / 'net.safetensors')


def test_safetensors_that_are_cut_short_are_refused_wherever_they_are_cut(tmp_path):
    path = tmp_path / 'net.safetensors'
    save_file(plain(tiny.edsr(num_feat=4, num_block=1)), path)
    whole = path.read_bytes()
    for length in [*range(0, 1500, 13), *range(1500, len(whole), 499), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refusal(read_checkpoint, path)


# ---------------------------------------------------------------- files made to do harm


def test_a_torchscript_program_is_refused(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / 'net.pt'))
    assert 'a TorchScript program, which is neither' in refusal(read_checkpoint, tmp_path / 'net.pt')


def test_a_flipped_bit_in_a_weight_is_found(tmp_path):
    source = torch.arange(1000.)
    path = saved(tmp_path / 'net.pth', {'w': source})
    content = bytearray(path.read_bytes())
    content[content.index(source.numpy().tobytes()) + 2000] ^= 1
    path.write_bytes(content)
    assert 'checksums (CRC-32)' in refusal(read_checkpoint, path)


def test_a_pipe_is_refused_without_waiting_for_who_writes_to_it(tmp_path):
    os.mkfifo(tmp_path / 'net.pth')
    assert 'no such checkpoint file' in refusal(read_checkpoint, tmp_path / 'net.pth')


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read anything')
def test_a_file_that_may_not_be_read_is_refused(tmp_path):
    saved(tmp_path / 'net.pth', {}).chmod(0)
    assert 'Permission denied' in refusal(read_checkpoint, tmp_path / 'net.pth')


def test_a_stream_is_read_as_a_file_is(tmp_path):
    buffer = io.BytesIO()
    torch.save({'weights': {'w': torch.ones(2)}, 'betas': (0.9, 0.99), 'names': {'a'}, 'iter': 3}, buffer)
    read = load_plain(buffer, 'some.state')
    assert read['betas'] == (0.9, 0.99) and read['names'] == {'a'} and read['weights']['w'].tolist() == [1, 1]
    assert refusal(load_plain, io.BytesIO(buffer.getvalue()[:-9]), 'some.state').startswith('some.state: ')


@pytest.mark.parametrize('zipped', [True, False])
def test_reading_warns_of_nothing(tmp_path, zipped, recwarn):
    read_checkpoint(saved(tmp_path / 'net.pth', plain(tiny.edsr()), _use_new_zipfile_serialization=zipped))
    assert not recwarn.list


def test_optimizers_and_schedulers_are_plain_data(tmp_path):
    network = tiny.edsr()
    optimizer = torch.optim.Adam(network.parameters(), fused=False)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 3, 5])  # keeps a Counter
    network(torch.rand(1, 3, 4, 4)).sum().backward()
    optimizer.step()
    path = saved(tmp_path / '1.state', {'optimizers': [optimizer.state_dict()], 'schedulers': [scheduler.state_dict()]})
    read = read_checkpoint(path)
    assert read['schedulers'][0]['milestones'] == {3: 2, 5: 1}
    assert len(read['optimizers'][0]['state']) == len(list(network.parameters()))


@pytest.mark.parametrize('value', [b'ab\xff\n', 1 - 2j, bytearray(b'xy'), bytearray(), {'a': b'1', 'b': b'1'}], ids=str)
@pytest.mark.parametrize('zipped', [True, False])
def test_bytes_and_complex_numbers_beside_the_weights_are_plain_data(tmp_path, value, zipped):
    path = saved(tmp_path / 'net.pth', {'params': {'w': torch.ones(2)}, 'value': value},
                 _use_new_zipfile_serialization=zipped)
    assert read_checkpoint(path)['value'] == value


@pytest.mark.parametrize('protocol', [4, 5])
@pytest.mark.parametrize('zipped', [True, False])
def test_a_pickle_protocol_that_torch_does_not_read_is_named(tmp_path, protocol, zipped):
    path = saved(tmp_path / 'net.pth', {'w': torch.ones(2)}, pickle_protocol=protocol,
                 _use_new_zipfile_serialization=zipped)
    assert 'saved with a pickle_protocol other than 2' in refusal(read_checkpoint, path)


def test_a_file_without_checksums_is_read(tmp_path):
    before = torch.serialization.get_crc32_options()
    try:
        torch.serialization.set_crc32_options(False)
        path = saved(tmp_path / 'net.pth', {'w': torch.arange(5.)})
    finally:
        torch.serialization.set_crc32_options(before)
    assert read_checkpoint(path)['w'].tolist() == [0, 1, 2, 3, 4]


# ---------------------------------------------------------------- values and names


@pytest.mark.parametrize('value, dtype', [(float('nan'), torch.float32), (float('-inf'), torch.float16),
                                          (1e300, torch.float64)])
def test_weights_that_are_not_finite_are_counted_and_refused(tmp_path, value, dtype):
    weights = {key: tensor.to(dtype) for key, tensor in plain(tiny.edsr()).items()}
    weights['body.0.conv1.weight'][0, 0, 0, :2] = value
    network = tiny.edsr()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    message = refusal(load_weights, network, saved(tmp_path / 'net.pth', weights))
    assert message.startswith(f'{tmp_path / "net.pth"}: body.0.conv1.weight has 2 values that are not finite;')
    assert same(network, before)


@pytest.mark.parametrize('key', ['a\x1b[2J\nb', 'x' * 10**5, 5, ('a', 'b')], ids=['control', 'long', 'int', 'tuple'])
def test_names_from_a_file_cannot_break_a_message(tmp_path, key):
    for content in ({key: torch.ones(1)}, {'params': {key: torch.ones(1)}}, {key: 1}):
        assert len(refusal(load_weights, tiny.edsr(), saved(tmp_path / 'net.pth', content))) < 500
