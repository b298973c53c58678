"""The head of a run's log."""
import os
import platform
import subprocess
import sys

import pytest
import torch

import mipkd_model
from mipkd_model.cli import main
from mipkd_model.run.environment import anonymous, commit_of, report


def git(folder, *args):
    who = {f'GIT_{role}_{what}': value for role in ('AUTHOR', 'COMMITTER') for what, value in
           (('NAME', 'a'), ('EMAIL', 'a@example.org'))}
    return subprocess.run(['git', *args], cwd=folder, env={**os.environ, **who}, text=True, capture_output=True,
                          check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    """A repository of this package's code, as far as git sees it."""
    (tmp_path / 'mipkd_model').mkdir()
    (tmp_path / 'mipkd_model/__init__.py').write_text('1')
    git(tmp_path, 'init', '-q')
    git(tmp_path, 'add', '.')
    git(tmp_path, 'commit', '-q', '-m', 'x')
    return tmp_path


@pytest.fixture
def home(monkeypatch):
    monkeypatch.setenv('HOME', '/data/people/ann')


def lines():
    return dict(line.strip().split(': ', 1) for line in report().splitlines()[1:])


def test_versions_are_those_that_run():
    found = lines()
    assert found['mipkd'].startswith(mipkd_model.__version__)
    assert torch.__version__ in found['torch'] and found['BasicSR'].endswith('basicsr/__init__.py')
    assert found['Python'].startswith(platform.python_version())
    assert all(name in found['packages'] for name in ('basicsr 1.4.2', 'torchvision', 'numpy', 'lmdb'))
    assert 'unknown (' not in report()


def test_the_command_line_can_be_used_again(monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['/srv/basicsr/train.py', '-opt', 'my file.yml'])
    assert lines()['command'] == "train.py -opt 'my file.yml'"


def test_variables_that_matter_are_shown_and_others_are_not(monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '2')
    monkeypatch.setenv('SLURM_JOB_ID', '77')
    monkeypatch.setenv('SECRET_TOKEN', 'abc')
    assert 'CUDA_VISIBLE_DEVICES=2' in lines()['variables'] and 'SLURM_JOB_ID=77' in lines()['variables']
    assert 'abc' not in report()


def test_a_commit_is_named_and_changes_are_said(repository):
    commit = git(repository, 'rev-parse', '--short=12', 'HEAD')
    assert commit_of(repository) == f', commit {commit}'
    (repository / 'new.txt').write_text('not tracked')
    assert commit_of(repository) == f', commit {commit}'
    (repository / 'mipkd_model/__init__.py').write_text('2')
    assert commit_of(repository) == f', commit {commit} with changes'


def test_a_copy_inside_the_repository_of_another_project_has_no_commit(repository):
    inside = repository / 'lib'
    (inside / 'mipkd_model').mkdir(parents=True)
    (inside / 'mipkd_model/__init__.py').write_text('1')
    assert commit_of(inside) == ''


def test_without_git_or_a_repository_there_is_no_commit(tmp_path, repository, monkeypatch):
    assert commit_of(tmp_path / 'mipkd_model') == ''
    monkeypatch.setenv('PATH', '')
    assert commit_of(repository) == ''


def test_what_cannot_be_found_is_unknown_and_the_rest_is_there(monkeypatch):
    def fail():
        raise RuntimeError('no driver')

    monkeypatch.setattr(torch.cuda, 'device_count', fail)
    assert lines()['GPUs'] == 'unknown (RuntimeError)' and torch.__version__ in report()


@pytest.mark.parametrize('text, shown', [
    ('/data/people/ann/mipkd', '~/mipkd'), ('/data/people/ann', '~'), ('/data/people/anna/x', '/data/people/anna/x'),
    ('/home/bob/x:/Users/eve', '~/x:~'), ('/srv/home/x', '/srv/home/x')])
def test_home_folders_are_not_shown(home, text, shown):
    assert anonymous(text) == shown


def test_the_home_folder_and_the_machines_name_are_not_in_it(home, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', '/data/people/ann/my.yml'])
    monkeypatch.setenv('LD_PRELOAD', '/data/people/ann/lib.so')
    assert 'ann' not in lines()['command'] + lines()['variables'] and '/my.yml' in lines()['command']
    monkeypatch.setattr(platform, 'node', lambda: 'secret-machine')
    assert 'secret-machine' not in report()


def test_the_command_prints_it_and_what_pytorch_reports(capsys):
    assert main(['environment']) == 0
    said = capsys.readouterr().out
    assert said.startswith('Environment:\n  mipkd: ') and '\nPyTorch version: ' in said


def test_no_line_is_broken_by_what_it_shows(monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '1\n2')
    assert 'OMP_NUM_THREADS=1 2' in report()


def test_a_user_without_a_home_has_all_lines(monkeypatch):
    def fail(number):
        raise KeyError('uid')

    monkeypatch.setattr('pwd.getpwuid', fail)
    monkeypatch.delenv('HOME', raising=False)
    assert 'unknown (' not in report() and anonymous('/home/bob/x') == '~/x'


def test_a_folder_that_is_gone_is_the_only_thing_that_is_unknown(monkeypatch):
    def gone():
        raise FileNotFoundError(2, 'gone')

    monkeypatch.setattr(os, 'getcwd', gone)
    assert [name for name, value in lines().items() if 'unknown (' in value] == ['folder']
