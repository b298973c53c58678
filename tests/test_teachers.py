"""Getting the official weights of the teachers."""
import functools
import hashlib

import pytest

from mipkd_model import teachers
from mipkd_model.cli import main
from mipkd_model.teachers import OFFICIAL, get_weights


def published(name, monkeypatch, content):
    """Make ``content`` the published file of a teacher, by giving it the name that its hash asks for."""
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
