"""Signals: the iteration is finished, saved, and the run left."""
import multiprocessing
import os
import re
import signal
import subprocess
import sys

import pytest
import runs
import torch

HELD = """
from mipkd_model.mipkd_model import MiPKDModel
from mipkd_model.run.signals import asked_to_stop
import time
free = MiPKDModel.optimize_parameters
def held(self, iteration):  # waits for the signal, so that it cannot come too late
    free(self, iteration)
    while iteration > 5 and asked_to_stop() is None:
        time.sleep(0.01)
MiPKDModel.optimize_parameters = held
"""
CODE = ('import sys; sys.path.append({root!r}); import torch; torch.set_num_threads(1)\n'
        '{before}\n'
        'from mipkd_model.launch import train; sys.exit(train({folder!r}))')


def start(folder, file, *more, before=''):
    code = CODE.format(root=str(runs.ROOT), folder=str(folder), before=before)
    return subprocess.Popen([sys.executable, '-c', code, '-opt', str(file), *more], cwd=folder, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                            # A shell may have told its children in the background to ignore it.
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))


def wait_for(process, text):
    """Read a process's output up to a line with the text."""
    output = ''
    for line in process.stdout:
        output += line
        if text in line:
            return output
    raise AssertionError(output)


@pytest.fixture(scope='module')
def stopped(tmp_path_factory):
    """A run whose whole process group got SIGTERM, the one that went on from there, and one that was left alone."""
    root = tmp_path_factory.mktemp('stopping')
    opt = runs.options(root, total_iter=40, losses=['pixel_opt', 'kd_opt'])
    opt['logger'].update(print_freq=1, save_checkpoint_freq=1000)
    opt['val']['val_freq'] = 1000
    file, output = runs.option_file(root, opt), {}
    for name in ('whole', 'cut'):
        (root / name).mkdir()
    output['whole'] = start(root / 'whole', file).communicate(timeout=300)[0]
    process = start(root / 'cut', file, before=HELD)
    begin = wait_for(process, 'iter:       5,')
    os.killpg(process.pid, signal.SIGTERM)
    output['cut'] = begin + process.communicate(timeout=300)[0]
    output['status'] = process.returncode
    output['resumed'] = start(root / 'cut', file, '--auto_resume').communicate(timeout=300)[0]
    return root, output


def test_sigterm_saves_a_state_and_leaves_with_a_message(stopped):
    root, output = stopped
    assert output['status'] == 128 + signal.SIGTERM and 'Traceback' not in output['cut'], output['cut']
    iteration = re.search(r'Stopped after iteration (\d+), which is saved', output['cut'])[1]
    assert f'Resuming training from epoch: 0, iter: {iteration}.' in output['resumed']
    assert (root / f'cut/experiments/tiny/models/net_g_{iteration}.pth').is_file()


def test_a_stopped_run_that_went_on_has_the_bits_of_one_that_was_left_alone(stopped):
    root, _ = stopped
    ours, theirs = (torch.load(root / name / 'experiments/tiny/models/net_g_latest.pth', weights_only=True)
                    for name in ('whole', 'cut'))
    assert ours.keys() == theirs.keys() >= {'params', 'params_ema'} and ours['network'] == theirs['network']
    assert all(torch.equal(ours[kind][key], theirs[kind][key]) for kind in ('params', 'params_ema')
               for key in ours[kind])


def test_ctrl_c_before_the_first_iteration_leaves_nothing_to_save(tmp_path):
    process = start(tmp_path, runs.option_file(tmp_path, runs.options(tmp_path, total_iter=10**5)))
    output = wait_for(process, 'Training on 6 images')
    os.kill(process.pid, signal.SIGINT)
    output += process.communicate(timeout=300)[0]
    assert 'Traceback' not in output, output
    assert process.returncode == 128 + signal.SIGINT


SIGNALLED = '''
import signal, sys
sys.path.append({root!r})
from mipkd_model.run import signals as stopping
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with stopping.stop_on_signals():
    assert stopping.asked_to_stop() is None
    signal.raise_signal(signal.SIGHUP)
    assert stopping.asked_to_stop() is None, 'one that is ignored stays ignored'
    signal.raise_signal(signal.SIGTERM)
    assert stopping.asked_to_stop() == signal.SIGTERM
    signal.raise_signal(signal.SIGINT)  # an echo
    signal.raise_signal(signal.SIGTERM)
    stopping.ECHO = 0
    print('still here', flush=True)
    signal.raise_signal(signal.SIGINT)
    print('not here')
'''


def test_a_second_ctrl_c_leaves_at_once_but_an_echo_does_not():
    done = subprocess.run([sys.executable, '-c', SIGNALLED.format(root=str(runs.ROOT))], text=True,
                          capture_output=True, timeout=300, check=False)
    assert done.stdout.splitlines() == ['still here'] and done.returncode == 128 + signal.SIGINT, done.stderr


WORKER = '''
import multiprocessing, os, signal, sys, time
sys.path.append({root!r})
from mipkd_model.run.signals import outlast_signals
def work(ready):
    outlast_signals()
    ready.set()
    time.sleep(100)
if __name__ == '__main__':
    context = multiprocessing.get_context({method!r})
    ready = context.Event()
    worker = context.Process(target=work, args=(ready, ))
    worker.start()
    ready.wait()
    os.system(f'kill -INT {{worker.pid}}; kill -TERM {{worker.pid}}; kill -HUP {{worker.pid}}')
    worker.join(0.5)
    print(worker.is_alive())
    worker.terminate()
    worker.join(100)
    print(worker.exitcode)
    worker.kill()
'''


@pytest.mark.parametrize('method', multiprocessing.get_all_start_methods())
def test_a_worker_outlasts_signals_but_not_the_end_that_its_process_gives_it(tmp_path, method):
    file = tmp_path / 'main.py'
    file.write_text(WORKER.format(root=str(runs.ROOT), method=method))
    done = subprocess.run([sys.executable, file], text=True, capture_output=True, timeout=300, check=False)
    assert done.stdout.split() == ['True', '0'], done.stderr
