"""``benchmarks/torture.py``: that it notices what must not be, and runs."""
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import runs
import torch

sys.path.append(str(runs.ROOT / 'benchmarks'))

from torture_parts import children, judge, kills, part

pytestmark = pytest.mark.skipif(sys.platform != 'linux', reason='the benchmark needs Linux')


def kinds(function, folder, must=judge.EITHER, **more):
    """Kinds of the troubles of a child."""
    return [trouble.kind for trouble in judge.judge(children.run(function, folder, **more), must)]


def refuse(text='error: one line', status=1):
    print(text, file=sys.stderr)
    return status


def leave_a_process():
    if not os.fork():
        time.sleep(60)


@pytest.mark.parametrize('function, expected', [
    (lambda: 0, []),
    (refuse, []),
    (lambda: refuse('usage: x\nx.py: error: unrecognized arguments', 2), []),
    (lambda: 1 / 0, ['tracebacks']),
    (lambda: print('Traceback (most recent call last):'), ['tracebacks']),
    (lambda: 1, ['silent']),
    (lambda: refuse('error: one\nerror: two'), ['silent']),
    (lambda: refuse('error: \x1b]a bell\x07'), ['silent']),
    (lambda: os.kill(os.getpid(), signal.SIGSEGV), ['signals']),
    (lambda: os.abort(), ['signals']),
    (leave_a_process, ['left_behind']),
])
def test_what_a_child_must_not_do_is_noticed(tmp_path, monkeypatch, function, expected):
    monkeypatch.setattr(children, 'GRACE', 0.3)
    assert kinds(function, tmp_path) == expected


def test_a_child_that_does_not_end_is_ended_and_noticed_with_where_it_was(tmp_path):
    assert kinds(lambda: time.sleep(60), tmp_path, limit=1.6) == ['hangs']
    assert 'time.sleep' in (tmp_path / 'stack').read_text() or 'lambda' in (tmp_path / 'stack').read_text()


def test_a_child_that_asks_for_too_much_memory_fails_and_takes_none_of_the_machines(tmp_path):
    assert kinds(lambda: bytearray(1 << 34) and 0, tmp_path, memory=1 << 31) == ['tracebacks']


def test_taken_bad_input_and_refused_good_input_are_noticed(tmp_path):
    assert kinds(lambda: 0, tmp_path, judge.REFUSE) == ['wrongly_accepted']
    assert kinds(refuse, tmp_path, judge.ACCEPT) == ['wrongly_refused']
    assert kinds(refuse, tmp_path, judge.REFUSE) == kinds(lambda: 0, tmp_path, judge.ACCEPT) == []


def test_a_signal_that_was_sent_is_an_end_as_expected_and_any_other_is_not(tmp_path):
    def ended_by(number, expected):
        return judge.judge(children.run(lambda: os.kill(os.getpid(), number), tmp_path), expected_signal=expected)
    assert not ended_by(signal.SIGKILL, signal.SIGKILL)
    assert [trouble.kind for trouble in ended_by(signal.SIGBUS, signal.SIGKILL)] == ['signals']
    outcome = children.run(lambda: time.sleep(600), tmp_path, kill=children.Kill(signal.SIGTERM, 0.2))
    assert outcome.killed and outcome.signal == signal.SIGTERM and outcome.seconds < 300


def test_code_that_ran_is_noticed(tmp_path):
    canary = tmp_path / 'canary'
    assert not judge.code_ran(canary)
    children.run(lambda: os.system(f'touch {canary}'), tmp_path)
    assert [trouble.kind for trouble in judge.code_ran(canary)] == ['code_run'] and not canary.exists()


def test_changed_and_vanished_files_are_losses_and_archived_ones_are_not(tmp_path):
    run = tmp_path / 'run'
    run.mkdir()
    (run / '2.state').write_text('all of it')
    before = judge.hashes(run)
    assert not judge.losses(before)
    run.rename(tmp_path / 'run_archived_1')
    assert not judge.losses(before)
    (tmp_path / 'run_archived_1/2.state').write_text('half of it')
    assert [trouble.kind for trouble in judge.losses(before)] == ['lost']


def test_files_outside_their_folder_are_noticed(tmp_path):
    (tmp_path / 'known').touch()
    assert not judge.newcomers(tmp_path, {'known'})
    (tmp_path / 'x').touch()
    assert [trouble.kind for trouble in judge.newcomers(tmp_path, {'known'})] == ['escaped']


def test_one_bit_of_one_weight_makes_runs_unequal(tmp_path):
    found = []
    for weight in (1., 1., 1. + 2**-23):
        folder = tmp_path / str(len(found))
        (folder / 'models').mkdir(parents=True)
        (folder / 'training_states').mkdir()
        torch.save({'params': {'a': torch.tensor([0.5, weight])}}, folder / 'models/net_g_latest.pth')
        torch.save({'iter': 4, 'loss': float('nan')}, folder / 'training_states/4.state')
        found.append(kills.results(folder))
    assert kills.unequal(found[0], found[1]) is None
    assert 'net_g_latest.pth/params/a' in kills.unequal(found[0], found[2])
    assert kills.unequal(found[0], {}) is not None


def test_a_run_that_goes_on_from_an_older_state_is_noticed():
    def output(text):
        return [trouble.kind for trouble in kills.progress_lost(f'{text}\nStart training from epoch: 0', 4)]
    assert output('Resuming training from epoch: 0, iter: 4') == []
    assert output('Resuming training from epoch: 0, iter: 2') == output('') == ['lost']


def test_the_files_of_a_bad_case_are_kept_and_those_of_a_good_one_are_not(tmp_path):
    def case(world, rng, folder):
        (folder / 'x').touch()
        return 'nothing', [judge.Trouble('hangs', 'it slept')] if rng.random() < 2 and bad else [], {}

    fake = SimpleNamespace(case=lambda name, with_runs: (tmp_path / name).mkdir() or tmp_path / name)
    for bad in (False, True):
        part.run_case(SimpleNamespace(NAME='fake', WITH_RUNS=False, case=case), fake, 3, 7, tmp_path / 'kept')
        assert not (tmp_path / 'fake_7').exists()
        assert (tmp_path / 'kept/seed3_fake_7/x').exists() == bad


@pytest.fixture(scope='module')
def campaigns(tmp_path_factory):
    """Counts and kinds of troubles of two campaigns of kills: as it is, and resuming wrongly."""
    done = subprocess.run([sys.executable, runs.ROOT / 'tests/torture_campaign.py', tmp_path_factory.mktemp('torture')],
                          text=True, capture_output=True, timeout=300, check=False,
                          env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_killed_training_ends_with_the_weights_of_one_left_alone(campaigns):
    counts, troubles = campaigns[0]
    assert counts['kills'] > 0 and counts['bit_equal'] == 1 and not troubles


def test_a_resume_that_gets_one_weight_wrong_is_noticed(campaigns):
    counts, troubles = campaigns[1]
    assert 'unequal' in troubles and not counts['bit_equal']
