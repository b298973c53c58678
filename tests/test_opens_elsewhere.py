"""A student opens in other programs' libraries, in processes that never import this package, to 1 of 255 levels."""
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import runs
import tiny
import torch
from PIL import Image

from mipkd_arch.base.network_record import network_record
from mipkd_model.cli import main
from mipkd_model.config.checks import read_options
from mipkd_model.deploy.export import Export
from mipkd_model.deploy.runtimes import open_torch
from mipkd_model.deploy.student import load_student

from basicsr.utils.registry import ARCH_REGISTRY

BUILT = {'EDSR': 'from basicsr.archs.edsr_arch import EDSR; '
                 'network = EDSR(3, 3, num_feat=8, num_block=2, upscale=2, res_scale=0.1)',
         'RCAN': 'from basicsr.archs.rcan_arch import RCAN; '
                 'network = RCAN(3, 3, num_feat=16, num_group=2, num_block=2, squeeze_factor=4, upscale=2)',
         'SwinIR': 'from basicsr.archs.swinir_arch import SwinIR; network = SwinIR(img_size=16, embed_dim=12, '
                   'depths=[2], num_heads=[2], window_size=4, mlp_ratio=2., upscale=2, upsampler="pixelshuffle")',
         'Compact': 'from basicsr.archs.srvgg_arch import SRVGGNetCompact; '
                    'network = SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2)'}
START = "import sys, numpy as np; file, lq = sys.argv[1], np.load('lq.npy')\n"
END = """
np.save('out.npy', np.asarray(out))
assert not [name for name in sys.modules if name.split('.')[0] in ('mipkd_model', 'mipkd_arch')]
"""
OF_BASICSR = """
import torch, torchvision.transforms.functional as functional
sys.modules.setdefault('torchvision.transforms.functional_tensor', functional)  # which today's torchvision lacks
BUILT
network.load_state_dict(torch.load(file, weights_only=True)['params_ema'])
with torch.no_grad():
    out = network.eval()(torch.from_numpy(lq))
"""
OF_SPANDREL = """
import spandrel, torch
model = spandrel.ModelLoader(device='cpu').load_from_file(file)
assert model.scale == 2
with torch.no_grad():
    out = model.model.eval()(torch.from_numpy(lq))
"""
OF_ONNXRUNTIME = """
import onnxruntime
session = onnxruntime.InferenceSession(file, providers=['CPUExecutionProvider'])
out, = session.run(['output'], {'input': lq})
"""
OF_OPENVINO = """
import openvino
model = openvino.Core().compile_model(file, 'CPU')
out = model({'input': lq})['output']
"""
OF_NCNN = """
import ncnn
net = ncnn.Net()
assert net.load_param(file) == 0 and net.load_model(file.replace('.param', '.bin')) == 0
with net.create_extractor() as extractor:
    extractor.input('data', ncnn.Mat(lq[0]).clone())
    out = np.array(extractor.extract('output')[1])[None]
"""


@pytest.fixture(scope='module')
def student(tmp_path_factory):
    """A function of a name of ``tiny.STUDENTS`` that writes the checkpoint of a training, and returns its file."""
    folder = tmp_path_factory.mktemp('students')

    def make(name, block=None, scale=2):
        torch.manual_seed(0)
        block = block or tiny.STUDENTS[name]
        network = ARCH_REGISTRY.get(block['type'])(**{key: value for key, value in block.items() if key != 'type'})
        torch.save({'params_ema': network.state_dict(), **network_record(block, scale)}, folder / f'{name}.pth')
        return folder / f'{name}.pth'

    return make


def photograph():
    """A uint8 image (96, 128, 3) of a cat."""
    data = pytest.importorskip('skimage.data', reason='scikit-image is not installed')
    with Image.open(Path(data.__file__).parent / 'chelsea.png') as image:
        return np.asarray(image.convert('RGB'))[60:156, 100:228].copy()


def check(folder, program, file, of):
    """Run a program of ``OF_...`` on a file in a process without this package; compare with the network of ``of``."""
    lq = photograph().transpose(2, 0, 1)[None].astype(np.float32) / 255
    np.save(folder / 'lq.npy', lq)
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    done = subprocess.run([sys.executable, '-c', START + program + END, str(file)], cwd=folder, env=env,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    levels = [np.rint(image.clip(0, 1) * 255) for image in (np.load(folder / 'out.npy'), open_torch(of).run(lq))]
    assert np.abs(levels[0] - levels[1]).max() <= 1


def exported(folder, file, name):
    for package in {'onnx': ('onnx', 'onnxruntime'), 'ncnn': ('pnnx', 'ncnn')}.get(name, ()):
        pytest.importorskip(package, reason=f'{package} is not installed')
    done, = Export(load_student(file), folder, tiny.noise(90, 90)).run([name])
    assert not done.failure
    return done.files[0]


def needs(package):
    """Skip where a package is not installed, without importing it."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f'{package} is not installed')


@pytest.mark.parametrize('name', BUILT)
def test_basicsr_loads_the_checkpoint(tmp_path, student, name):
    file = exported(tmp_path, student(name), 'pth')
    check(tmp_path, OF_BASICSR.replace('BUILT', BUILT[name]), file, student(name))


@pytest.mark.parametrize('name, kind', [('SwinIR', 'pth'), ('Compact', 'safetensors'), ('SPAN', 'pth')])
def test_spandrel_recognizes_the_weights(tmp_path, student, name, kind):
    needs('spandrel')
    check(tmp_path, OF_SPANDREL, exported(tmp_path, student(name), kind), student(name))


@pytest.mark.parametrize('name', ['EDSR', 'SwinIR'])
@pytest.mark.parametrize('package, program', [('onnxruntime', OF_ONNXRUNTIME), ('openvino', OF_OPENVINO)])
def test_runtimes_open_the_onnx_file(tmp_path, student, name, package, program):
    needs(package)
    check(tmp_path, program, exported(tmp_path, student(name), 'onnx'), student(name))


@pytest.mark.parametrize('name', ['EDSR', 'RCAN'])
def test_ncnn_opens_its_pair_of_files(tmp_path, student, name):
    check(tmp_path, OF_NCNN, exported(tmp_path, student(name), 'ncnn'), student(name))


def test_the_demos_student_upscales_a_photograph_equally_from_each_format_and_has_a_card(tmp_path, student, capsys):
    for package in ('onnx', 'onnxruntime', 'pnnx', 'ncnn'):
        needs(package)
    opt = read_options(runs.ROOT / 'options/demo/train_MiPKD_x4.yml')
    models = tmp_path / 'experiments/demo/models'
    models.mkdir(parents=True)
    student('demo', opt['network_g'], opt['scale']).rename(models / 'net_g_latest.pth')
    Image.fromarray(photograph()).save(tmp_path / 'cat.png')

    assert main(['export', str(models.parent), '--image', str(tmp_path / 'cat.png')]) == 0
    files = [Path(line) for line in capsys.readouterr().out.split('\n\n')[0].splitlines()]
    assert [file.name for file in files] == ['demo.pth', 'demo.safetensors', 'demo.onnx', 'demo_fp16.onnx',
                                             'demo.param', 'demo.bin']
    outputs = []
    for number, model in enumerate([models.parent, *files]):
        out = tmp_path / f'out{number}'
        assert main(['upscale', str(tmp_path / 'cat.png'), '--model', str(model), '--out', str(out), '--device',
                     'cpu']) == 0
        outputs.append(np.asarray(Image.open(out / 'cat.png'), np.int16))
    assert outputs[0].shape == (384, 512, 3)
    assert max(np.abs(output - outputs[0]).max() for output in outputs) <= 1

    assert main(['card', str(models.parent), '--out', str(tmp_path / 'card'), '--image', str(tmp_path / 'cat.png'),
                 '--no-time']) == 0
    card = (tmp_path / 'card/README.md').read_text()
    assert all(f'| {file.name} |' in card for file in files)
