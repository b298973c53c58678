"""Fetching and unpacking files, against a server on this machine."""
import hashlib
import tarfile
import zipfile
from functools import partial

import pytest
import refusals
from local_server import serving

from mipkd_model.data.benchmarks import MD5
from mipkd_model.data.prepare.download import DownloadError, fetch, unpack, unpack_member

CONTENT = bytes(range(256)) * 100
SUM = hashlib.md5(CONTENT).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WRONG = '0' * 32
refusal = partial(refusals.refusal, kind=DownloadError)


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path / 'served') as server:
        (server.root / 'file').write_bytes(CONTENT)
        yield server


def test_a_file_is_fetched_once(server, tmp_path):
    for _ in range(2):
        assert fetch(f'{server.url}/file', tmp_path / 'got').read_bytes() == CONTENT
    assert server.ranges == [None]


@pytest.mark.parametrize('resumes', [True, False])
def test_an_interrupted_fetch_goes_on_where_it_was_cut_off(server, tmp_path, resumes):
    server.resumes, server.breaks_after = resumes, 10000
    assert '10000 of 25600 bytes' in refusal(fetch, f'{server.url}/file', tmp_path / 'got')
    assert not (tmp_path / 'got').exists()
    server.breaks_after = None
    assert fetch(f'{server.url}/file', tmp_path / 'got').read_bytes() == CONTENT
    assert server.ranges == [None, 'bytes=10000-']


@pytest.mark.parametrize('url', ['/absent', None])
def test_a_server_that_cannot_help_is_one_line(server, tmp_path, url):
    address = f'{server.url}{url}' if url else 'http://127.0.0.1:9/file'
    assert refusal(fetch, address, tmp_path / 'got', timeout=5).startswith(address)


@pytest.mark.parametrize('address', ['nonsense', 'ftp2://host/file', 'http:///file'])
def test_what_is_no_address_is_one_line(tmp_path, address):
    assert address in refusal(fetch, address, tmp_path / 'got')


def test_the_published_file_passes_the_check_of_its_sum(server, tmp_path):
    assert fetch(f'{server.url}/file', tmp_path / 'got', md5=SUM).read_bytes() == CONTENT


def test_another_file_than_the_published_one_is_refused_with_both_sums(server, tmp_path):
    for _ in range(2):  # the second time nothing is left to send
        message = refusal(fetch, f'{server.url}/file', tmp_path / 'got', md5=WRONG)
        assert SUM in message and WRONG in message and str(tmp_path / 'got') in message
        assert not (tmp_path / 'got').exists()


@pytest.mark.parametrize('digits', [8, 64])
def test_a_sha256_or_its_start_is_checked_of_the_whole_resumed_file(server, tmp_path, digits):
    server.breaks_after = 10000
    refusal(fetch, f'{server.url}/file', tmp_path / 'got', sha256=SHA256[:digits])
    server.breaks_after = None
    wrong = WRONG[:8] + SHA256[8:digits]
    message = refusal(fetch, f'{server.url}/file', tmp_path / 'got', sha256=wrong)
    assert f'its SHA256 is {SHA256}, not {wrong}' in message
    assert not (tmp_path / 'got').exists()
    assert fetch(f'{server.url}/file', tmp_path / 'got', sha256=SHA256[:digits]).read_bytes() == CONTENT
    assert server.ranges == [None, 'bytes=10000-', 'bytes=25600-']


@pytest.mark.parametrize('page', [b'<!DOCTYPE html><html><head><title>Sign in</title>', b'\n<HTML>'])
def test_a_web_page_instead_of_the_file_is_refused_and_not_kept(server, tmp_path, page):
    (server.root / 'file').write_bytes(page)
    message = refusal(fetch, f'{server.url}/file', tmp_path / 'got')
    assert f'{server.url}/file: the server sends a web page' in message and str(tmp_path) in message
    assert [file.name for file in tmp_path.iterdir()] == ['served']


def test_a_web_page_does_not_spoil_the_part_that_is_there(server, tmp_path):
    (tmp_path / 'got.part').write_bytes(CONTENT[:10000])
    server.resumes = False
    (server.root / 'file').write_bytes(b'<html>')
    refusal(fetch, f'{server.url}/file', tmp_path / 'got')
    assert (tmp_path / 'got.part').read_bytes() == CONTENT[:10000]


def test_removing_the_named_file_lets_the_fetch_start_again(server, tmp_path):
    (server.root / 'file').write_bytes(b'an error page')
    named = refusal(fetch, f'{server.url}/file', tmp_path / 'got', md5=SUM).partition(': ')[0]
    (server.root / 'file').write_bytes(CONTENT)
    (tmp_path / 'got').with_name(named.rpartition('/')[2]).unlink()
    assert fetch(f'{server.url}/file', tmp_path / 'got', md5=SUM).read_bytes() == CONTENT


@pytest.mark.parametrize('flaw', [0, 1])
def test_a_resumed_file_is_checked_as_a_whole(server, tmp_path, flaw):
    (tmp_path / 'got.part').write_bytes(bytes([CONTENT[0] ^ flaw]) + CONTENT[1:10000])
    if flaw:
        assert SUM in refusal(fetch, f'{server.url}/file', tmp_path / 'got', md5=SUM)
    else:
        fetch(f'{server.url}/file', tmp_path / 'got', md5=SUM)
    assert server.ranges == ['bytes=10000-']
    assert (tmp_path / 'got').exists() == (not flaw)


def test_the_sums_of_all_published_archives_are_known():
    assert set(MD5) == {'DIV2K_train_HR.zip', 'DIV2K_train_LR_bicubic_X2.zip', 'DIV2K_train_LR_bicubic_X3.zip',
                        'DIV2K_train_LR_bicubic_X4.zip', 'benchmark.tar'}
    for md5 in MD5.values():
        assert len(bytes.fromhex(md5)) == 16


def test_a_broken_archive_is_refused_and_leaves_no_folder(tmp_path):
    (tmp_path / 'a.zip').write_bytes(b'PK broken')
    assert 'a.zip: cannot be unpacked' in refusal(unpack, tmp_path / 'a.zip', tmp_path / 'out')
    assert [file.name for file in tmp_path.iterdir()] == ['a.zip']


@pytest.mark.parametrize('method', [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED], ids=['stored', 'deflated'])
def test_an_archive_damaged_in_the_middle_is_refused_and_leaves_no_folder(tmp_path, method):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w', method) as file:
        file.writestr('text', b''.join(hashlib.md5(bytes([i])).hexdigest().encode() for i in range(256)))
    content = bytearray((tmp_path / 'a.zip').read_bytes())
    content[200:400] = bytes(byte ^ 255 for byte in content[200:400])
    (tmp_path / 'a.zip').write_bytes(content)
    assert 'a.zip: cannot be unpacked' in refusal(unpack, tmp_path / 'a.zip', tmp_path / 'out')
    assert [file.name for file in tmp_path.iterdir()] == ['a.zip']


def test_one_file_of_an_archive_is_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as file:
        file.writestr('folder/member', CONTENT)
    assert unpack_member(tmp_path / 'a.zip', 'folder/member', tmp_path / 'out').read_bytes() == CONTENT
    assert 'folder/other' in refusal(unpack_member, tmp_path / 'a.zip', 'folder/other', tmp_path / 'other')
    assert sorted(file.name for file in tmp_path.iterdir()) == ['a.zip', 'out']


def test_a_damaged_file_of_an_archive_is_refused_and_leaves_nothing(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as file:
        file.writestr('member', CONTENT)
    (tmp_path / 'a.zip').write_bytes((tmp_path / 'a.zip').read_bytes().replace(CONTENT[:100], bytes(100), 1))
    assert 'a.zip: cannot be unpacked' in refusal(unpack_member, tmp_path / 'a.zip', 'member', tmp_path / 'out')
    assert [file.name for file in tmp_path.iterdir()] == ['a.zip']


def test_an_archive_cannot_write_outside_its_folder(tmp_path):
    evil = tmp_path / 'evil'
    evil.write_text('x')
    with tarfile.open(tmp_path / 'a.tar', 'w') as file:
        file.add(evil, '../escaped')
    refusal(unpack, tmp_path / 'a.tar', tmp_path / 'out')
    assert not (tmp_path / 'escaped').exists() and not (tmp_path / 'out').exists()
