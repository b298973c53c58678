"""Fetching and packing from the command line, against a server on this machine."""
import functools
import http.server
import subprocess
import sys
import tarfile
import threading
import zipfile

import cv2
import pytest
import runs

from mipkd_model.cli import main
from mipkd_model.data.download import DownloadError, fetch, unpack
from mipkd_model.data.raw_lmdb import RawLmdb
from mipkd_model.teachers import OFFICIAL, get_weights


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, from the middle where asked to; notes what it was asked for."""

    def do_GET(self):
        self.server.ranges.append(self.headers.get('Range'))
        file = self.server.root / self.path.lstrip('/')
        if not file.is_file():
            return self.send_error(404)
        content = file.read_bytes()
        asked = self.headers.get('Range')
        start = int(asked.removeprefix('bytes=').removesuffix('-')) if asked and self.server.resumes else 0
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][:self.server.breaks_after])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    served = tmp_path / 'served'
    served.mkdir()
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=served)) as server:
        server.root, server.ranges, server.resumes, server.breaks_after = served, [], True, None
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.url = f'http://127.0.0.1:{server.server_port}'
        yield server
        server.shutdown()


def prepare(*arguments):
    return subprocess.run([sys.executable, runs.ROOT / 'datasets/prepare.py', *map(str, arguments)], text=True,
                          capture_output=True, timeout=120, check=False)


def test_a_file_is_fetched_once(server, tmp_path):
    (server.root / 'file').write_bytes(b'content')
    for _ in range(2):
        assert fetch(f'{server.url}/file', tmp_path / 'got').read_bytes() == b'content'
    assert server.ranges == [None]


@pytest.mark.parametrize('resumes', [True, False])
def test_an_interrupted_fetch_goes_on_where_it_was_cut_off(server, tmp_path, resumes):
    content = bytes(range(256)) * 100
    (server.root / 'file').write_bytes(content)
    server.resumes, server.breaks_after = resumes, 10000
    with pytest.raises(DownloadError, match='10000 of 25600 bytes'):
        fetch(f'{server.url}/file', tmp_path / 'got')
    assert not (tmp_path / 'got').exists()
    server.breaks_after = None
    assert fetch(f'{server.url}/file', tmp_path / 'got').read_bytes() == content
    assert server.ranges == [None, 'bytes=10000-']


@pytest.mark.parametrize('url', ['/absent', None])
def test_a_server_that_cannot_help_is_one_line(server, tmp_path, url):
    address = f'{server.url}{url}' if url else 'http://127.0.0.1:9/file'
    with pytest.raises(DownloadError) as caught:
        fetch(address, tmp_path / 'got', timeout=5)
    assert str(caught.value).startswith(address) and '\n' not in str(caught.value)


def test_a_broken_archive_is_refused_and_leaves_no_folder(tmp_path):
    (tmp_path / 'a.zip').write_bytes(b'PK broken')
    with pytest.raises(DownloadError, match=r'a\.zip: cannot be unpacked'):
        unpack(tmp_path / 'a.zip', tmp_path / 'out')
    assert [file.name for file in tmp_path.iterdir()] == ['a.zip']


def test_an_archive_cannot_write_outside_its_folder(tmp_path):
    evil = tmp_path / 'evil'
    evil.write_text('x')
    with tarfile.open(tmp_path / 'a.tar', 'w') as file:
        file.add(evil, '../escaped')
    with pytest.raises(DownloadError):
        unpack(tmp_path / 'a.tar', tmp_path / 'out')
    assert not (tmp_path / 'escaped').exists()


def test_one_command_fetches_and_packs_div2k(server, tmp_path):
    files = runs.photographs(tmp_path / 'hr', count=2, height=32, width=48)
    with zipfile.ZipFile(server.root / 'DIV2K_train_HR.zip', 'w') as archive:
        for file in files:
            archive.write(file, f'DIV2K_train_HR/{file.name}')
    with zipfile.ZipFile(server.root / 'DIV2K_train_LR_bicubic_X4.zip', 'w') as archive:
        for file in files:
            small = tmp_path / f'{file.stem}x4.png'
            cv2.imwrite(str(small), cv2.imread(str(file))[::4, ::4])
            archive.write(small, f'DIV2K_train_LR_bicubic/X4/{small.name}')
    done = prepare('div2k', '--scale', 4, '--out', tmp_path / 'DIV2K', '--address', server.url)
    assert done.returncode == 0, done.stderr
    assert RawLmdb(tmp_path / 'DIV2K/train_HR.lmdb').shapes == {'0000': (32, 48, 3), '0001': (32, 48, 3)}
    assert RawLmdb(tmp_path / 'DIV2K/train_LRx4.lmdb').shapes == {'0000': (8, 12, 3), '0001': (8, 12, 3)}


def test_one_command_fetches_the_benchmark_sets(server, tmp_path):
    files = runs.photographs(tmp_path / 'hr', count=1)
    with tarfile.open(server.root / 'benchmark.tar', 'w') as archive:
        archive.add(files[0], 'benchmark/Set5/HR/baby.png')
    done = prepare('benchmark', '--out', tmp_path / 'benchmark', '--address', f'{server.url}/benchmark.tar')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'benchmark/Set5/HR/baby.png').exists()


def test_packing_a_folder_that_is_not_there_is_one_line(tmp_path):
    done = prepare('pack', '--hr', tmp_path / 'none', '--scale', 4, '--out', tmp_path / 'out')
    assert done.returncode == 1
    assert done.stderr == f'error: {tmp_path / "none"}: no such folder of images\n'


def published(name, monkeypatch, content):
    """Make ``content`` the published file of a teacher, by giving it the name that its hash asks for."""
    import hashlib

    from mipkd_model import teachers
    file = f'net-{hashlib.sha256(content).hexdigest()[:8]}.pth'
    monkeypatch.setitem(teachers.OFFICIAL, name, teachers.OfficialWeights(file, 'id'))
    return file


def test_official_weights_are_fetched_once_and_their_hash_is_checked(tmp_path, monkeypatch):
    file, calls = published('EDSR_Lx4', monkeypatch, b'weights'), []

    def drive(drive_id, path):
        calls.append(drive_id)
        with open(path, 'wb') as out:
            out.write(b'weights')

    for _ in range(2):
        assert get_weights('EDSR_Lx4', tmp_path, drive) == tmp_path / file
    assert calls == ['id']


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path, monkeypatch):
    published('EDSR_Lx4', monkeypatch, b'weights')
    with pytest.raises(ValueError, match='is not the published file'):
        get_weights('EDSR_Lx4', tmp_path, lambda drive_id, path: open(path, 'wb').close())
    assert not [file for file in tmp_path.iterdir() if file.suffix == '.pth']


def test_the_command_line_reports_a_fetch_that_fails_in_one_line(tmp_path, monkeypatch, capsys):
    def unreachable(drive_id, path):
        raise ConnectionError('no route')

    monkeypatch.setattr('mipkd_model.cli.get_weights', functools.partial(get_weights, fetch=unreachable))
    assert main(['teacher', 'get', 'EDSR_Lx4', '--out', str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith('error: EDSR_Lx4_f256b32_DIV2K_official-76ee1c8f.pth: cannot be fetched')


def test_every_official_file_carries_the_start_of_its_hash():
    assert {name: official.sha256_start for name, official in OFFICIAL.items()} == {
        'EDSR_Lx2': 'be38e77d', 'EDSR_Lx3': '3660f70d', 'EDSR_Lx4': '76ee1c8f'}
