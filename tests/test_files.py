"""Files that are whole or as they were, on a full disk and when the power goes."""
import os
import resource

import pytest
import torch

from mipkd_arch.base.errors import UserError
from mipkd_model.base.files import atomic_write, check_writable, write_json
from mipkd_model.base.weights import save_checkpoint
from mipkd_model.evaluation.records import RecordError, read_json


def on_a_full_disk(function, *args, room=10_000):
    """What a process that cannot write more than ``room`` bytes to a file says in its ``UserError``."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            function(*args)
            message = 'no error'
        except UserError as error:
            message = str(error)
        except BaseException as error:
            message = repr(error)
        os.write(writing, message.encode())
        os._exit(0)
    os.close(writing)
    with open(reading) as pipe:
        message = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return message


def test_a_checkpoint_that_does_not_fit_leaves_the_older_one_and_says_so_in_one_line(tmp_path):
    path = tmp_path / 'net.pth'
    save_checkpoint({'w': torch.ones(3)}, path)
    before = path.read_bytes()
    message = on_a_full_disk(save_checkpoint, {'w': torch.rand(10**5)}, path)
    assert message.startswith(f'{path}: cannot be written (File too large)') and message.isprintable()
    assert path.read_bytes() == before and os.listdir(tmp_path) == ['net.pth']


def test_a_checkpoint_that_fits_is_saved_under_the_same_limit(tmp_path):
    assert on_a_full_disk(save_checkpoint, {'w': torch.ones(3)}, tmp_path / 'net.pth') == 'no error'
    assert torch.load(tmp_path / 'net.pth', weights_only=True)['w'].tolist() == [1, 1, 1]


def test_the_content_is_on_the_disk_before_its_name_is_and_then_the_name_is_too(tmp_path, monkeypatch):
    did, fsync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, 'fsync', lambda fd: did.append(os.readlink(f'/proc/self/fd/{fd}')) or fsync(fd))
    monkeypatch.setattr(os, 'replace', lambda *paths: did.append('replace') or replace(*paths))
    write_json({'a': 1}, tmp_path / 'a.json')
    assert did == [f'{tmp_path}/a.json.part', 'replace', str(tmp_path)]


def test_a_folder_that_cannot_be_synced_is_no_error(tmp_path, monkeypatch):
    fsync = os.fsync

    def only_files(fd):
        if os.path.isdir(f'/proc/self/fd/{fd}'):
            raise OSError(22, 'Invalid argument')
        fsync(fd)

    monkeypatch.setattr(os, 'fsync', only_files)
    assert write_json({'a': 1}, tmp_path / 'a.json').read_text() == '{\n "a": 1\n}\n'


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(UserError, match='cannot be written'), atomic_write(tmp_path / 'a.json'):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('text', ['[' * 10**5, '{"format": "\\u001b[2J' + 'x' * 10**5 + '"}', '9' * 10**5], ids=len)
def test_json_of_any_kind_is_refused_in_one_short_line(tmp_path, text):
    (tmp_path / 'a.json').write_text(text)
    with pytest.raises(RecordError) as error:
        read_json(tmp_path / 'a.json', 'mipkd evaluation 1', 'record', 'it is written by hand')
    assert str(error.value).isprintable() and len(str(error.value)) < 500


def test_what_can_be_written_is_known_before_and_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').touch()
    check_writable(tmp_path / 'new/deep/x.pth', '--out')
    for path, why in ((tmp_path / 'folder', 'it is a folder'),
                      (tmp_path / 'file/x', f'{tmp_path / "file"} is not a writable folder')):
        with pytest.raises(UserError) as caught:
            check_writable(path, '--out')
        assert str(caught.value) == f'{path}: cannot be written, for {why}; set another place by --out'
    monkeypatch.setattr(os, 'access', lambda path, mode: False)
    with pytest.raises(UserError, match=f'{tmp_path} is not a writable folder; set another place by --out'):
        check_writable(tmp_path / 'x', '--out')
    assert sorted(os.listdir(tmp_path)) == ['file', 'folder']
