"""A training that is killed at any moment, also while it saves, and resumed comes to the weights of one left alone.

The trainings run in forks of one process that has imported everything: a start takes less than a second.
"""
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

if __name__ == '__main__':
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    import mipkd_model  # noqa: F401  (first: it makes BasicSR importable)

import runs
import torch

from mipkd_model import launch

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
AT_CHANGES, AT_MOMENTS = 8, 3
"""Campaigns whose kills come at a change to a file, and at a moment of a start."""


def train(root, file, change=None, moment=None):
    """Train with ``--auto_resume`` in a fork, which SIGKILL ends at the n-th change to a file or after some seconds.

    Returns its exit status, negative where a signal ended it, and writes the number of changes to ``changes``.
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    status, changes = 1, []

    def hook(event, args):
        if event in ('os.rename', 'os.remove', 'os.mkdir') or event == 'open' and args[2] & WRITES:
            if str(args[0]).startswith(str(root)):
                if len(changes) == change:
                    os.kill(os.getpid(), signal.SIGKILL)
                changes.append(str(args[0]))

    try:
        output = os.open(root.parent / f'output_{root.name}', os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = ['train.py', '-opt', str(file), '--auto_resume']
        sys.addaudithook(hook)
        if moment is not None:
            threading.Timer(moment, os.kill, (os.getpid(), signal.SIGKILL)).start()
        status = launch.train(root)
        (root / 'changes').write_text(str(len(changes)))
    finally:
        os._exit(status)


def results(root):
    """Tensors and numbers of the last weights and of the newest training state, by file and path within it."""
    folder = root / 'experiments/tiny'
    states = sorted((folder / 'training_states').glob('*.state'), key=lambda file: int(file.stem))
    return {file.name: torch.load(file, weights_only=True) for file in (folder / 'models/net_g_latest.pth', states[-1])}


def same(one, other):
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if torch.is_tensor(one) else one == other


def campaigns(folder):
    """Kill and resume trainings. Returns what was found of each: how it was killed, its status, what is wrong."""
    torch.set_num_threads(1)
    rng = random.Random(0)
    opt = runs.options(folder, losses=['pixel_opt', 'feature_prior_opt', 'block_prior_opt'], total_iter=5,
                       scheduler={'type': 'MultiStepLR', 'milestones': [3], 'gamma': 0.5})
    opt['datasets']['train']['num_worker_per_gpu'] = 0
    opt['val']['val_freq'], opt['logger']['save_checkpoint_freq'] = 3, 2
    file = runs.option_file(folder, opt)
    roots = [folder / name for name in ('alone', *map(str, range(AT_CHANGES + AT_MOMENTS)))]
    for root in roots:
        root.mkdir()
    start = time.monotonic()
    assert train(roots[0], file) == 0, (folder / 'output_alone').read_text()
    seconds, changes = time.monotonic() - start, int((roots[0] / 'changes').read_text())
    found = []
    for number, root in enumerate(roots[1:]):
        if number < AT_CHANGES:
            kills = [{'change': rng.randrange(changes)} for _ in range(rng.choice([1, 2]))]
        else:
            kills = [{'moment': rng.uniform(0.2, 0.9) * seconds}]
        statuses = [train(root, file, **kill) for kill in [*kills, {}]]
        left = [str(part) for part in root.rglob('*.part')]
        equal = statuses[-1] == 0 and same(results(roots[0]), results(root))
        found.append({'kills': kills, 'statuses': statuses, 'left': left, 'equal': equal})
    return found


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='starts are forks')
def test_a_killed_training_that_is_resumed_comes_to_the_same_weights(tmp_path):
    # In a process of its own: forks can compute gradients only if their parent never has.
    done = subprocess.run([sys.executable, __file__, str(tmp_path)], text=True, capture_output=True, timeout=500)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    killed = sum(status == -signal.SIGKILL for one in found for status in one['statuses'])
    assert len(found) == AT_CHANGES + AT_MOMENTS and killed > AT_CHANGES
    for one in found:
        assert one['equal'] and not one['left'], one


if __name__ == '__main__':
    print(json.dumps(campaigns(Path(sys.argv[1]))))
