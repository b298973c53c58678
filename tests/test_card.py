"""The folder of a student's card says what its run and its records say, and nothing else; its app upscales."""
import hashlib
import json
import os
import re
import runpy
import subprocess
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import runs
import yaml
from PIL import Image

from mipkd_model.base.files import file_sha256
from mipkd_model.cli import main
from mipkd_model.deploy.card import for_others
from mipkd_model.deploy.runtimes import open_torch
from mipkd_model.deploy.upscale import upscale_array
from mipkd_model.evaluation.records import find_records, write_record

for package in ('onnx', 'onnxruntime'):
    pytest.importorskip(package, reason=f'{package} is not installed')

TRAIN = 'import sys; from mipkd_model.launch import train; sys.exit(train("."))'
RUN = 'experiments/train_tiny'
FORMATS = ['--format', 'pth', 'safetensors', 'onnx', '--no-time']


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A folder in which a tiny student was trained, validated, and its teacher tested."""
    folder = tmp_path_factory.mktemp('card')
    opt = runs.options(folder)
    opt.update(name='train_tiny', table={'pair': 'tiny', 'method': 'MiPKD'})
    opt['datasets']['train']['name'] = 'GARDEN'
    runs.option_file(folder, opt)
    done = subprocess.run([sys.executable, '-c', TRAIN, '-opt', 'options.yml'], cwd=folder, capture_output=True,
                          text=True, env={**os.environ, 'PYTHONPATH': str(runs.ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr
    record = next(iter(find_records([folder / RUN]).values()))
    teacher = replace(record, method='Teacher', iteration=None, mean={'psnr': 33.25},
                      checkpoint={'sha256': file_sha256(folder / 'teacher.pth')})
    write_record(teacher, folder / 'results/teacher/records/made.json')
    other = replace(record, mean={'psnr': 99.0}, checkpoint={**record.checkpoint, 'sha256': 'a' * 64})
    write_record(other, folder / 'results/other/records/made.json')
    return folder


@pytest.fixture(scope='module')
def card(trained):
    """The folder of the card."""
    before = os.getcwd()
    os.chdir(trained)
    try:
        assert main(['card', RUN, '--out', 'card', '--license', 'CC-BY-4.0', '--author', 'someone', *FORMATS[:-1]]) == 0
    finally:
        os.chdir(before)
    return trained / 'card'


def test_the_folder_has_all_files_and_their_sums(card):
    lines = [line.split('  ') for line in (card / 'SHA256SUMS').read_text().splitlines()]
    assert {name: digest for digest, name in lines} == {
        file.relative_to(card).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in card.rglob('*') if file.is_file() and file.name != 'SHA256SUMS'}
    assert {name for _, name in lines} == {
        'README.md', 'openmodeldb.json', 'comparison.png', 'train.yml', 'train_tiny.pth', 'train_tiny.safetensors',
        'train_tiny.onnx', 'space/README.md', 'space/app.py', 'space/requirements.txt', 'space/train_tiny.onnx'}
    assert Image.open(card / 'comparison.png').size[0] > 100


def test_the_head_is_that_of_the_hub(card, trained):
    head = yaml.safe_load((card / 'README.md').read_text().split('---\n')[1])
    assert (head['license'], head['library_name'], head['pipeline_tag']) == ('cc-by-4.0', 'mipkd', 'image-to-image')
    assert head['datasets'] == ['GARDEN'] and {'super-resolution', 'knowledge-distillation', 'onnx'} <= {*head['tags']}
    record = next(iter(find_records([trained / RUN]).values()))
    assert head['metrics'] == ['psnr']
    results, = head['model-index'][0]['results']
    assert results['dataset']['name'] == 'made'
    assert results['metrics'][0]['value'] == pytest.approx(record.mean['psnr'], abs=1e-4)


def test_the_text_has_the_figures_of_these_weights_beside_the_teachers(card, trained):
    text, record = (card / 'README.md').read_text(), next(iter(find_records([trained / RUN]).values()))
    assert f'| made | 6 | {record.bicubic["psnr"]:.2f} | {record.mean["psnr"]:.2f} | 33.25 |' in text
    assert '99.0' not in text and '\nPSNR in dB, x2, on Y of YCbCr, 2 pixels of border left out' in text
    assert str(trained) not in text, 'a card shows no folders of the machine'
    assert re.search(r'\| student \| 0\.\d\dM \| \d+\.\d\d G \| \d+\.\d \|\n\| teacher \|', text)
    assert 'distilled from EDSR' in text and 'by MiPKD' in text and 'Author: someone' in text
    assert '- iterations: 4\n' in text and '[train.yml](train.yml)' in text and '-opt train.yml' in text
    for file in card.glob('train_tiny.*'):
        assert f'| {file.name} |' in text and file_sha256(file) in text


def test_the_option_file_is_there_without_the_folders_of_this_machine(card, trained):
    text, original = (card / 'train.yml').read_text(), (trained / 'options.yml').read_text()
    assert str(trained) in original and str(trained) not in text and len(text.splitlines()) == len(
        original.splitlines())
    assert for_others('a: /home/me/x/gt.lmdb  # packed\nb: [~/y/z.pth, c/d/e]\nf: /g\n') == (
        'a: x/gt.lmdb  # packed\nb: [y/z.pth, c/d/e]\nf: g\n')


def test_the_fields_of_openmodeldb_are_filled_in(card):
    found = json.loads((card / 'openmodeldb.json').read_text())
    assert {name: found[name] for name in ('name', 'author', 'license', 'architecture', 'size', 'scale')} == {
        'name': 'train_tiny', 'author': 'someone', 'license': 'CC-BY-4.0', 'architecture': 'edsr',
        'size': ['8nf', '3nb'], 'scale': 2}
    assert (found['inputChannels'], found['outputChannels'], found['trainingIterations']) == (3, 3, 4)
    assert (found['trainingBatchSize'], found['trainingHRSize'], found['dataset']) == (2, 32, 'GARDEN')
    assert re.fullmatch(r'\d{4}-\d\d-\d\d', found['date'])
    for one in found['resources']:
        file, = card.glob(f'*.{one["type"]}')
        assert (one['sha256'], one['size']) == (file_sha256(file), file.stat().st_size)
    assert {one['platform'] for one in found['resources']} == {'pytorch', 'onnx'}


def test_the_snippets_of_the_card_run(card):
    code = '\n'.join(re.findall(r'```python\n(.*?)```', (card / 'README.md').read_text(), re.S))
    done = subprocess.run([sys.executable, '-c', f'{code}\nassert sr.shape == (1, 3, 96, 96)'], cwd=card,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Stub(types.ModuleType):
    """Enough of gradio for the app to be built without it."""

    class Error(Exception):
        """As gradio's, which the page shows."""

    class Blocks:
        def __init__(self, **_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    class _Component:
        def __init__(self, *_, **__):
            pass

        def click(self, function, inputs, outputs):
            Stub.clicked = function

    Image = Button = ImageSlider = Markdown = _Component


def test_the_app_upscales_as_the_network_does(card, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', Stub('gradio'))
    app = runpy.run_path(str(card / 'space/app.py'))
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (290, 301, 3), np.uint8))
    bicubic, upscaled = Stub.clicked(image)
    assert bicubic.size == upscaled.size == (602, 580)
    model = open_torch(trained / RUN)
    expected = np.rint(upscale_array(np.asarray(image, np.float32) / 255, model) * 255)
    assert np.abs(np.asarray(upscaled, np.float32) - expected).max() <= 1
    for wrong in (None, Image.new('RGB', (2000, 1000))):
        with pytest.raises(Stub.Error):
            app['upscale'](wrong)
    assert yaml.safe_load((card / 'space/README.md').read_text().split('---\n')[1])['sdk'] == 'gradio'
    assert 'gradio' in (card / 'space/requirements.txt').read_text()


def test_what_is_not_known_is_left_out(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.pth').write_bytes((trained / RUN / 'models/net_g_latest.pth').read_bytes())
    assert main(['card', 'mine.pth', '--out', 'card', *FORMATS]) == 0
    out, text = capsys.readouterr().out, (tmp_path / 'card/README.md').read_text()
    for option in ('--license', '--author', '--data', '--records', '--image'):
        assert f'left out, for nothing is known of it: {option}' in out
    head = yaml.safe_load(text.split('---\n')[1])
    assert not {'license', 'datasets', 'model-index', 'metrics'} & head.keys()
    assert 'No license is stated' in text and 'Nothing is recorded of the training' in text and 'Author' not in text
    assert 'No evaluation of these weights is recorded' in text and ' ms ' not in text
    found = json.loads((tmp_path / 'card/openmodeldb.json').read_text())
    assert found['author'] is None and found['license'] is None
    assert not (tmp_path / 'card/comparison.png').exists() and not (tmp_path / 'card/train.yml').exists()


def test_a_photograph_is_shown_and_int8_is_among_the_files_when_asked(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photographs = runs.photographs(tmp_path / 'photos', 2, 61, 75)
    assert main(['card', str(trained / RUN), '--out', 'card', '--image', str(photographs[0]), '--name', 'flower',
                 '--format', 'onnx', 'onnx-int8', '--calibrate', 'photos', '--no-time']) == 0
    assert {'flower.onnx', 'flower_int8.onnx', 'comparison.png'} <= {*os.listdir('card')}
    assert [*(tmp_path / 'card/space').glob('*.onnx')] == [tmp_path / 'card/space/flower.onnx']


def test_a_folder_in_use_is_refused_and_nothing_half_written_stays(trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'card').mkdir()
    (tmp_path / 'card/mine').write_text('mine')
    assert main(['card', str(trained / RUN), '--out', 'card', *FORMATS]) == 1
    assert 'not an empty folder' in capsys.readouterr().err and os.listdir('card') == ['mine']

    def fails(*_):
        raise OSError(28, 'No space left on device', 'README.md')

    monkeypatch.setattr('mipkd_model.deploy.card.write_card', fails)
    assert main(['card', str(trained / RUN), '--out', 'other', *FORMATS]) == 1
    err = capsys.readouterr().err.splitlines()[-1]
    assert err == 'error: README.md: No space left on device' and os.listdir() == ['card']
