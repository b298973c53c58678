"""``benchmarks/sharing.py``: processes that start together, end together, and fail as one."""
import importlib.util
import os
import sys
from functools import partial
from types import SimpleNamespace

import meetings
import pytest
import runs
from refusals import refusal

from mipkd_arch.base.errors import UserError

FOLDER = runs.ROOT / 'benchmarks'
refused = partial(refusal, kind=UserError)


@pytest.fixture(scope='module')
def sharing():
    sys.path.append(str(FOLDER))  # for what it imports from beside it
    spec = importlib.util.spec_from_file_location('sharing', FOLDER / 'sharing.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(FOLDER))


def test_processes_start_together(sharing):
    since, until, processes = zip(*sharing.together(2, meetings.meet), strict=True)
    assert len({*processes, os.getpid()}) == 3
    assert max(since) <= min(until), 'none goes on before the last one is there'


@pytest.mark.parametrize('how, message', [
    (meetings.send_a_line, '--pair: no such pair'),
    (meetings.die, '--runs: one of the trainings was killed; is there memory for all of them?')])
def test_one_that_fails_ends_all(sharing, how, message):
    assert refused(sharing.together, 2, meetings.fail, how) == message


@pytest.mark.parametrize('seconds, expected', [(0, [1]), (0.25, [1]), (1, [1, 2, 3, 4])])
def test_a_rate_is_that_of_at_least_one_step(sharing, monkeypatch, seconds, expected):
    steps = []
    monkeypatch.setattr(sharing, 'time', SimpleNamespace(perf_counter=lambda: len(steps) / 4))  # of a clock of its own
    assert sharing.rate(steps.append, seconds, sharing.torch.device('cpu')) == 4
    assert steps == expected


def test_rates_add_up_and_memory_is_that_of_each(sharing):
    assert sharing.summary([(1.5, None), (2., None)], 4) == {'threads': 4, 'steps_per_second': 3.5, 'each': [1.5, 2.]}
    assert sharing.summary([(1., 3 * 2**20), (1., 2**21)], 1)['peak_mib'] == [3, 2]


def test_a_wrong_pair_is_one_line(sharing, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['sharing.py', '--pair', 'EDRS_x4'])
    assert sharing.main() == 1
    error = capsys.readouterr().err
    assert "'EDRS_x4' is not known (did you mean 'EDSR_x4'?)" in error and error.count('\n') == 1
