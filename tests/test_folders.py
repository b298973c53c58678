"""The folder of an experiment: one run's at a time, and never overwritten."""
import subprocess
import sys

import pytest
import runs
from refusals import refusal

from mipkd_arch.base.cli import failure_line
from mipkd_arch.base.errors import UserError
from mipkd_model.base import files
from mipkd_model.run import folders


def test_a_folder_that_is_there_keeps_all_it_has_under_another_name(tmp_path):
    for number in range(4):  # within one second, for names have no more
        folders.mkdir_and_rename(tmp_path / 'run')
        (tmp_path / 'run' / 'file').write_text(str(number))
    kept = sorted(folder for folder in tmp_path.iterdir() if folder.name.startswith('run_archived_'))
    assert sorted((folder / 'file').read_text() for folder in kept) == ['0', '1', '2']
    assert (tmp_path / 'run' / 'file').read_text() == '3'


OTHER = '''
import sys
sys.path.append({root!r})
from mipkd_model.run import folders
folders.occupy({folder!r})
print('occupied', flush=True)
sys.stdin.read()
'''


@pytest.fixture
def busy(tmp_path):
    """A folder in which another process is training, and the process."""
    (tmp_path / 'run').mkdir()
    with subprocess.Popen([sys.executable, '-c', OTHER.format(root=str(runs.ROOT), folder=str(tmp_path / 'run'))],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == 'occupied\n'
        yield tmp_path / 'run', process
        process.kill()


def test_a_folder_in_which_a_run_is_going_on_is_neither_taken_nor_renamed(busy):
    folder, process = busy
    for function in (folders.occupy, folders.mkdir_and_rename):
        assert 'another process is training in it' in refusal(function, folder, kind=UserError)
    assert [entry.name for entry in folder.parent.iterdir()] == ['run']
    process.kill()
    process.wait()
    folders.occupy(folder)
    folders.release(folder)


def test_a_place_where_no_folder_can_be_made_is_one_line(tmp_path):
    (tmp_path / 'file').touch()
    opt = {'is_train': True, 'path': {'experiments_root': str(tmp_path / 'file/run')}}
    with pytest.raises(OSError) as error:
        folders.make_exp_dirs(opt)
    assert failure_line(error.value) == f'{tmp_path}/file/run: Not a directory'


def test_the_option_file_is_copied_with_its_command_and_may_be_used_from_there(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', 'a b.yml'])
    (tmp_path / 'a b.yml').write_text('name: ä\n', encoding='utf-8')
    (tmp_path / 'run').mkdir()
    folders.copy_opt_file(tmp_path / 'a b.yml', tmp_path / 'run')
    copy = tmp_path / 'run/a b.yml'
    text = copy.read_text(encoding='utf-8')
    assert "# train.py -opt 'a b.yml'\n" in text and text.endswith('\n\nname: ä\n')
    folders.copy_opt_file(copy, tmp_path / 'run')
    assert copy.read_text(encoding='utf-8') == text


def test_what_a_killed_run_left_half_written_is_cleared_away(tmp_path):
    for name in ('3.state', '6.state.part'):
        (tmp_path / name).touch()
    folders.clear_remains(tmp_path, tmp_path / 'nowhere')
    assert [file.name for file in tmp_path.iterdir()] == ['3.state']


def test_a_killed_run_that_is_moved_away_leaves_nothing_half_written(tmp_path):
    (tmp_path / 'run/models').mkdir(parents=True)
    for name in (folders.LOCK, 'options.yml.part', 'models/net_g_5.pth', 'models/net_g_6.pth.part'):
        (tmp_path / 'run' / name).touch()
    folders.mkdir_and_rename(tmp_path / 'run')
    moved, = tmp_path.glob('run_archived_*')
    assert {file.name for file in moved.rglob('*')} == {folders.LOCK, 'models', 'net_g_5.pth'}


def test_a_run_that_is_moved_away_is_said_to_be_before_it_is(tmp_path, capsys, monkeypatch):
    folder = tmp_path / 'run'
    (folder / 'training_states').mkdir(parents=True)
    (folder / 'training_states/5000.state').touch()
    opt = {'is_train': True, 'path': {'experiments_root': str(folder), 'resume_state': None}}
    assert folders.note_of_move(opt).startswith(f'name: {folder} has a run of 5,000 iterations, which starting again')
    assert '--auto_resume' in folders.note_of_move(opt) and folders.note_of_move(
        {**opt, 'path': {**opt['path'], 'resume_state': 'x'}}) == ''
    monkeypatch.setattr(folders.Path, 'rename', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        folders.mkdir_and_rename(folder)
    assert f'{folder}: has a run of 5,000 iterations and is moved to run_archived_' in capsys.readouterr().out


def test_without_posix_no_folder_is_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(files, 'fcntl', None)
    with open(tmp_path / 'lock', 'a+') as file:
        assert files.lock(file)
