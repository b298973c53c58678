"""A student in other formats: equal to the network at other sizes, with nothing of the training in it."""
import errno
import json
import re
import sys

import numpy as np
import pytest
import refusals
import runs
import tiny
import torch

from mipkd_arch.base.errors import UserError
from mipkd_arch.base.network_record import network_record
from mipkd_model.base import files
from mipkd_model.cli import main
from mipkd_model.deploy import onnx_files
from mipkd_model.deploy.export import Export, compare
from mipkd_model.deploy.runtimes import open_model, open_ncnn, open_onnx, open_torch
from mipkd_model.deploy.student import folded, load_student

from basicsr.utils.registry import ARCH_REGISTRY

onnx = pytest.importorskip('onnx', reason='onnx is not installed')
pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
pytest.importorskip('spandrel', reason='spandrel is not installed')
NETWORKS = {
    **tiny.STUDENTS,
    'RealPLKSR': {'type': 'RealPLKSR', 'dim': 16, 'n_blocks': 2, 'kernel_size': 5, 'upscaling_factor': 2},
    'SAFMN': {'type': 'SAFMN', 'dim': 8, 'n_blocks': 2, 'upscaling_factor': 2},
}
BY_NEWER_EXPORTER, NOT_IN_NCNN = {'SAFMN'}, {'SAFMN', 'RealPLKSR', 'SwinIR'}
IMAGE = tiny.noise(90, 90)


@pytest.fixture(scope='module')
def student(tmp_path_factory):
    """A function of a name of ``NETWORKS``: the student, from a checkpoint as a training writes it."""
    folder = tmp_path_factory.mktemp('students')

    def make(name):
        torch.manual_seed(0)
        block = NETWORKS[name]
        network = ARCH_REGISTRY.get(block['type'])(**{key: value for key, value in block.items() if key != 'type'})
        file = folder / f'{name}.pth'
        torch.save({'params': {}, 'params_ema': network.state_dict(), **network_record(block, 2)}, file)
        return load_student(file)

    return make


@pytest.mark.parametrize('name', NETWORKS)
def test_onnx_is_the_network_at_sizes_that_were_not_traced(student, tmp_path, name):
    if name in BY_NEWER_EXPORTER:
        pytest.importorskip('onnxscript', reason='onnxscript is not installed')
    done, = Export(student(name), tmp_path, IMAGE).run(['onnx'])
    assert done.levels < 0.5 and done.psnr > 60, done
    model = onnx.load(done.files[0])
    assert [one.name for one in (*model.graph.input, *model.graph.output)] == ['input', 'output']
    opened = open_onnx(done.files[0])
    assert (opened.scale, opened.size_multiple) == (2, 4 if name == 'SwinIR' else 1)
    assert opened.run(np.zeros((2, 3, 20, 24), np.float32)).shape == (2, 3, 40, 48)


@pytest.mark.parametrize('name', ['EDSR', 'Compact', 'SPAN'])
def test_onnx_in_float16_is_half_as_large_and_near(student, tmp_path, name):
    whole, half = Export(student(name), tmp_path, IMAGE).run(['onnx', 'onnx-fp16'])
    assert half.files[0].stat().st_size < 0.8 * whole.files[0].stat().st_size
    assert half.psnr > 40, half


@pytest.mark.parametrize('name', NETWORKS)
def test_ncnn_is_near_the_network_and_has_the_names_that_programs_expect(student, tmp_path, name):
    pytest.importorskip('pnnx', reason='pnnx is not installed')
    pytest.importorskip('ncnn', reason='ncnn is not installed')
    done, = Export(student(name), tmp_path, IMAGE).run(['ncnn'])
    if name in NOT_IN_NCNN:
        assert done.failure
        return
    assert done.psnr > 40, done
    lines = done.files[0].read_text().splitlines()
    assert any(line.startswith('Input') and line.split()[-1] == 'data' for line in lines)
    assert lines[-1].split()[-1] == 'output' or ' output ' in lines[-1]


@pytest.mark.parametrize('name', ['EDSR', 'SPAN'])
def test_checkpoint_and_safetensors_have_the_students_weights_alone(student, tmp_path, name):
    from safetensors import safe_open
    one = student(name)
    made = Export(one, tmp_path, IMAGE, 'cc-by-4.0').run(['pth', 'safetensors'])
    checkpoint, tensors = (done.files[0] for done in made)
    content = torch.load(checkpoint, weights_only=True)
    assert set(content) == {'params_ema', 'network', 'scale'}
    with safe_open(tensors, 'pt') as opened:
        assert set(opened.keys()) == set(content['params_ema']) == set(one.network.state_dict())
        metadata = opened.metadata()
    assert metadata['license'] == 'cc-by-4.0' and metadata['scale'] == '2'
    assert json.loads(metadata['network'])['type'] == NETWORKS[name]['type']
    lq = np.random.default_rng(0).random((1, 3, 12, 16), np.float32)
    expected = open_torch(one.file).run(lq)
    assert all(np.array_equal(open_model(file).run(lq), expected) for file in (checkpoint, tensors))


def test_re_parameterized_convolutions_are_folded(student):
    one, lq = student('SPAN'), torch.rand(1, 3, 12, 12)
    plain = folded(one.network)
    assert sum(p.numel() for p in plain.parameters()) < 0.4 * sum(p.numel() for p in one.network.parameters())
    with torch.no_grad():
        assert torch.equal(plain(lq), one.network(lq))


def test_a_file_that_differs_from_the_network_shows_it(student, tmp_path):
    one = student('EDSR')
    done, = Export(one, tmp_path, IMAGE).run(['onnx'])
    other = folded(one.network)
    other.conv_last.bias.data += 10
    levels, psnr = compare(open_onnx(done.files[0]), other, IMAGE, [(40, 48)])
    assert levels > 5 and psnr < 40


def test_the_command_exports_a_run_and_says_what_cannot_be_had(tmp_path, capsys, student):
    pytest.importorskip('pnnx', reason='pnnx is not installed')
    folder = tmp_path / 'experiments/mine/models'
    folder.mkdir(parents=True)
    (folder / 'net_g_latest.pth').write_bytes(student('SAFMN').file.read_bytes())
    assert main(['export', str(folder.parent), '--format', 'pth', 'ncnn']) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(folder.parent / 'export/mine.pth')]
    assert said.err.startswith('error: ncnn: SAFMN cannot be had in it') and len(said.err.splitlines()) == 1


@pytest.mark.parametrize('make, message', [
    (lambda path: None, 'is not there; name the folder of a run'),
    (lambda path: path.mkdir(), 'has no models/net_g_latest.pth'),
    (lambda path: torch.save({'params': {'a.weight': torch.ones(2)}}, path), 'does not record of which network'),
    (lambda path: path.write_text('text'), 'cannot be read as a checkpoint of torch or safetensors')])
def test_what_is_no_student_is_refused(tmp_path, make, message):
    make(tmp_path / 'it')
    assert message in refusals.refusal(load_student, tmp_path / 'it', kind=UserError)


def test_an_onnx_file_of_something_else_is_refused(tmp_path):
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node('Relu', ['x'], ['y'])
    graph = onnx.helper.make_graph([node], 'g', [value('x', 1, [1, 10])], [value('y', 1, [1, 10])])
    onnx.save(onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid('', 17)]),
              str(tmp_path / 'x.onnx'))
    assert 'a super-resolution network has one of each' in refusals.refusal(open_onnx, tmp_path / 'x.onnx',
                                                                            kind=UserError)
    (tmp_path / 'y.onnx').write_bytes(b'nothing')
    assert 'onnxruntime cannot open it' in refusals.refusal(open_onnx, tmp_path / 'y.onnx', kind=UserError)


def test_half_of_a_pair_of_ncnn_files_is_refused(tmp_path):
    pytest.importorskip('ncnn', reason='ncnn is not installed')
    (tmp_path / 'x.param').write_text('7767517\n')
    assert 'ncnn needs both' in refusals.refusal(open_ncnn, tmp_path / 'x.param', kind=UserError)


def test_without_its_package_a_format_says_what_to_install(monkeypatch, tmp_path, student):
    one = student('EDSR')
    monkeypatch.setitem(sys.modules, 'onnx', None)
    done, = Export(one, tmp_path, IMAGE).run(['onnx'])
    assert done.failure == 'needs a package that is not installed: pip install onnx'


def test_int8_is_calibrated_on_photographs_and_says_what_it_loses_and_wins(tmp_path, capsys, student):
    runs.photographs(tmp_path / 'photos', 5, 220, 230)
    file = student('Compact').file
    assert main(['export', str(file), '--out', str(tmp_path / 'out'), '--format', 'onnx', 'onnx-int8', '--calibrate',
                 str(tmp_path / 'photos')]) == 0
    out = capsys.readouterr().out
    assert re.search(r'int8 loses -?\d+\.\d\d dB \(\d+\.\d\d instead of \d+\.\d\d dB on Y, 2 photographs\) and is '
                     r'\d+\.\d\d times as fast', out), out
    model = onnx.load(tmp_path / 'out/Compact_int8.onnx')
    weights = [one for one in model.graph.initializer if one.data_type == onnx.TensorProto.INT8 and len(one.dims) == 4]
    assert len(weights) == 4 and open_onnx(tmp_path / 'out/Compact_int8.onnx').scale == 2


@pytest.mark.parametrize('arguments, message', [
    (['--format', 'onnx-int8'], '--calibrate: --format onnx-int8 and a folder'),
    (['--format', 'onnx', '--calibrate', 'photos'], '--calibrate: --format onnx-int8 and a folder'),
    (['--calibrate', 'nothing'], 'nothing: is not there'), (['--calibrate', 'bad'], 'text.png'),
    (['--format', 'onxx'], "did you mean 'onnx'?"), (['--image', 'nothing.png'], 'nothing.png')])
def test_mistakes_are_one_line_before_anything_is_written(tmp_path, capsys, student, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad/text.png').write_text('no image')
    assert main(['export', str(student('EDSR').file), '--out', 'out', *arguments]) == 1
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and message in err[0] and not (tmp_path / 'out').exists()


def test_a_file_that_is_no_copy_of_the_network_is_not_written(tmp_path, student, monkeypatch):
    one = student('EDSR')
    monkeypatch.setattr(onnx_files, 'half_of', lambda model: with_other_weights(model))
    done, = Export(one, tmp_path, IMAGE).run(['onnx-fp16'])
    assert 'its images differ from those of the network' in done.failure and not list(tmp_path.iterdir())


def with_other_weights(model):
    for weight in model.graph.initializer:
        weight.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(weight), weight.name))
    return model


def test_an_exporter_that_does_not_end_is_stopped(tmp_path, student, monkeypatch):
    def fails(network, traced):
        raise RuntimeError('not traced')

    monkeypatch.setattr(onnx_files, 'export_older', fails)
    monkeypatch.setattr(onnx_files, 'TIME_LIMIT', 0.01)
    done, = Export(student('EDSR'), tmp_path, IMAGE).run(['onnx'])
    assert done.failure.endswith('(not traced; by the newer exporter: not ready after 0.01 s)')
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line_and_nothing_half_written_stays(tmp_path, student, monkeypatch, capsys):
    def full(path):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(files, 'fsync', full)
    assert main(['export', str(student('EDSR').file), '--out', str(tmp_path / 'out'), '--format', 'safetensors']) == 1
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and 'EDSR.safetensors: cannot be written (No space left on device)' in err[0]
    assert not list((tmp_path / 'out').iterdir())
