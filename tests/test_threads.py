"""Threads that wait soon sleep, and are no more than the processor time that a container is given."""
import os
import subprocess
import sys

import pytest
import runs

from mipkd_arch.base import threads
from mipkd_arch.base.threads import cpu_quota, set_thread_defaults


@pytest.mark.parametrize('text, quota', [('150000 100000\n', 1.5), ('max 100000\n', None)])
def test_the_quota_is_that_of_the_control_group(tmp_path, text, quota):
    (tmp_path / 'cpu.max').write_text(text)
    assert cpu_quota(tmp_path / 'cpu.max') == quota
    assert cpu_quota(tmp_path / 'none') is None


@pytest.mark.parametrize('quota, cpus, expected', [(None, 8, None), (1.5, 64, '1'), (0.3, 64, '1'), (4.0, 64, '4'),
                                                   (8.0, 8, None), (16.0, 8, None)])
def test_a_quota_below_the_cores_limits_the_threads(monkeypatch, quota, cpus, expected):
    monkeypatch.setattr(threads, 'cpu_quota', lambda: quota)
    monkeypatch.setattr(threads, 'available_cpus', lambda: cpus)
    env = {}
    set_thread_defaults(env)
    assert env.pop('GOMP_SPINCOUNT') == '1000' and env.get('OMP_NUM_THREADS') == expected


@pytest.mark.parametrize('said', [{'OMP_WAIT_POLICY': 'ACTIVE'}, {'GOMP_SPINCOUNT': '1000'}, {'KMP_BLOCKTIME': '1'}])
def test_what_the_environment_says_stays(monkeypatch, said):
    monkeypatch.setattr(threads, 'cpu_quota', lambda: 1.0)
    monkeypatch.setattr(threads, 'available_cpus', lambda: 4)
    env = {**said, 'OMP_NUM_THREADS': '3'}
    set_thread_defaults(env)
    assert env == {**said, 'OMP_NUM_THREADS': '3'}


def test_importing_mipkd_sets_them_before_torch_is_loaded_and_not_after():
    env = {key: value for key, value in os.environ.items() if not key.startswith(('OMP_', 'GOMP_', 'KMP_'))}
    for first, expected in (('', '1000'), ('import torch; ', 'None')):
        done = subprocess.run([sys.executable, '-c', f'{first}import mipkd_arch, os; '
                               'print(os.environ.get("GOMP_SPINCOUNT"))'],
                              cwd=runs.ROOT, env=env, capture_output=True, text=True)
        assert done.stdout.split() == [expected], done.stderr
