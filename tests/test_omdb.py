"""Teachers from OpenModelDB, by its package, from a list and a server on this machine."""
import hashlib
import json
import sys

import local_server
import pytest
import refusals
import torch

from mipkd_arch.base.errors import UserError
from mipkd_arch.spandrel_arch import SpandrelNetwork
from mipkd_model.networks.omdb import get_model

pytest.importorskip('spandrel', reason='spandrel is not installed')
client = pytest.importorskip('openmodeldb.client', reason='openmodeldb is not installed')

from spandrel.architectures.Compact import Compact  # noqa: E402


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """A function that lists one model with changes; its id is 2x-Tiny, its file a Compact for x2."""
    monkeypatch.setattr(client, 'DEFAULT_CACHE_DIR', str(tmp_path / 'cache'))
    (tmp_path / 'cache').mkdir()
    with local_server.serving(tmp_path / 'served') as server:
        file = tmp_path / 'served' / '2x-Tiny.pth'
        torch.save(Compact(num_feat=8, num_conv=1, upscale=2).state_dict(), file)

        def make(resource=None, **changes):
            model = {'name': 'Tiny', 'author': 'someone', 'architecture': 'compact', 'scale': 2, 'license': 'MIT',
                     'inputChannels': 3, 'outputChannels': 3, **changes}
            model['resources'] = [{'type': 'pth', 'platform': 'pytorch', 'urls': [f'{server.url}/2x-Tiny.pth'],
                                   'size': file.stat().st_size,
                                   'sha256': hashlib.sha256(file.read_bytes()).hexdigest(), **(resource or {})}]
            (tmp_path / 'cache' / 'models.json').write_text(json.dumps({'2x-Tiny': model}))

        make()
        yield make


def test_a_model_is_downloaded_after_its_license_and_hash_are_shown(tmp_path, listed):
    shown = []
    file = get_model('omdb:2x-Tiny', tmp_path / 'out', show=shown.append)
    assert file.parent == tmp_path / 'out' and SpandrelNetwork(file=str(file)).upscale == 2
    assert 'license: MIT' in shown[0] and hashlib.sha256(file.read_bytes()).hexdigest() in shown[0]


def test_the_command_prints_the_block_of_the_option_file(tmp_path, listed, capsys):
    from mipkd_model.cli import main
    assert not main(['teacher', 'get', 'omdb:2x-Tiny', '--out', str(tmp_path / 'out')])
    out, err = capsys.readouterr()
    assert out.startswith('network_t:\n  type: SpandrelNetwork\n  file: ') and 'license: MIT' in err


@pytest.mark.parametrize('name, changes, message', [
    ('omdb:2x-Tini', {}, "has no model '2x-Tini' (did you mean '2x-Tiny'?)"),
    ('omdb:2x-Tiny', {'inputChannels': 1}, 'has 1 channels in and 3 out'),
    ('omdb:2x-Tiny', {'scale': 4}, 'is a network for x2, and OpenModelDB lists it as x4'),
    ('omdb:2x-Tiny', {'resource': {'type': 'onnx'}}, 'has no PyTorch file with a SHA-256'),
    ('omdb:2x-Tiny', {'resource': {'sha256': None}}, 'has no PyTorch file with a SHA-256'),
    ('omdb:2x-Tiny', {'resource': {'sha256': '0' * 64}}, 'cannot be downloaded'),
    ('omdb:2x-Tiny', {'license': None, 'resource': {'sha256': '0' * 64}}, 'cannot be downloaded')])
def test_what_cannot_be_a_teacher_is_refused_in_one_line(tmp_path, listed, name, changes, message):
    listed(**changes)
    found = refusals.refusal(get_model, name, tmp_path / 'out', kind=UserError)
    assert found.startswith(f'{name}: ') and message in found


def test_a_model_that_spandrel_does_not_know_is_refused(tmp_path, listed):
    torch.save({'params': {'some.weight': torch.ones(2)}}, tmp_path / 'served' / '2x-Tiny.pth')
    listed()
    assert 'spandrel' in refusals.refusal(get_model, 'omdb:2x-Tiny', tmp_path / 'out', kind=UserError)


def test_without_the_package_one_line_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'openmodeldb', None)
    message = refusals.refusal(get_model, 'omdb:2x-Tiny', tmp_path, kind=UserError)
    assert message == 'omdb:2x-Tiny: needs the openmodeldb package: pip install openmodeldb'
