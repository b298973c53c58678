"""A training that is killed again and again, against the same training left alone.

A case is a campaign: one to four starts that are killed, and one that may end. Every start has ``--auto_resume``. Kills
come at random moments of the whole life of a start, or right before or shortly after one of its changes to files: an
audit hook of Python numbers all of these, and one is drawn.
"""
import json
import re
import shutil
import signal
from functools import lru_cache

import torch

from mipkd_arch.base.errors import UserError

from . import children
from .judge import ACCEPT, Trouble, hashes, judge, losses
from .starts import start
from .world import RCAN, SWINIR, training, write_options

NAME, WITH_RUNS = 'kills', False
TOGETHER = 'EDSR by two processes'
FRESH = 0.1  # part of the campaigns whose starts are interpreters of their own


def variants(world):
    """Options of the trainings by name: all losses, EMA, mixers, validation between saves."""
    val = {'val_freq': 3, 'save_img': False,
           'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True}}}
    logger = {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False}
    schedule = {'type': 'MultiStepLR', 'milestones': [5], 'gamma': 0.5}
    found = {
        'EDSR, accumulated': training(world, train={'total_iter': 9, 'accumulate': 2, 'warmup_iter': 3,
                                                    'scheduler': schedule}),
        'SwinIR with drop_path, one worker': training(
            world, student=SWINIR, train={'total_iter': 8, 'grad_clip': 1.0, 'scheduler': schedule},
            data={'num_worker_per_gpu': 1}),
        'RCAN from RCAN, cosine': training(
            world, student=RCAN, teacher=RCAN,
            train={'total_iter': 8, 'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [9],
                                                  'restart_weights': [1], 'eta_min': 1e-7}}),
        TOGETHER: training(world, train={'total_iter': 8, 'scheduler': schedule})}
    for opt in found.values():
        opt.update(val=val, logger=logger)
    return found


def _processes(name):
    return 2 if name == TOGETHER else 1


@lru_cache
def references(world):
    """The undisturbed runs: by name of the variant, what they leave, seconds, and their numbered changes of files."""
    found = {}
    for number, (name, opt) in enumerate(variants(world).items()):
        folder = world.folder / f'reference_{number}'
        (folder / 'root').mkdir(parents=True)
        file = write_options(opt, folder / 'options.yml')
        outcome = children.run(start(folder, file, count=folder / 'changes', processes=_processes(name)), folder)
        if outcome.status != 0:
            raise UserError(f'an undisturbed training fails: {(outcome.stderr or outcome.stdout).strip()[-600:]}')
        found[name] = (results(folder / 'root/experiments/tiny'), outcome.seconds,
                       json.loads((folder / 'changes').read_text()))
        shutil.rmtree(folder)
    return found


def prepare(world):
    """Train the undisturbed runs, and others that must stay as they are."""
    references(world)
    if not (world.template / 'experiments').exists():
        world.make_runs(training(world))


def results(folder):
    """All tensors and numbers that a run leaves: final weights, and the newest state.

    Args:
        folder (Path): of the experiment.

    Returns:
        dict[str, Tensor | object]: by file and path within it.
    """
    found = {}
    files = sorted((folder / 'models').glob('*_latest.pth'))
    states = sorted((folder / 'training_states').glob('*.state'), key=lambda file: int(file.stem))
    for file in [*files, *states[-1:]]:
        found.update(_flat(file.name, torch.load(file, map_location='cpu', weights_only=True)))
    return found


def _flat(path, value):
    if isinstance(value, (dict, list, tuple)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _flat(f'{path}/{key}', inner)
    else:
        yield path, value


def unequal(expected, found):
    """Where two results differ: a sentence, or None."""
    if expected.keys() != found.keys():
        other = sorted(expected.keys() ^ found.keys())
        return f'{len(other)} entries are in one run alone, such as {other[0]}'
    wrong = [key for key, value in expected.items() if not _same(value, found[key])]
    return f'{len(wrong)} of {len(expected)} entries differ, such as {wrong[0]}' if wrong else None


def _same(one, other):
    if torch.is_tensor(one) and torch.is_tensor(other):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(one, other)
    return type(one) is type(other) and (one == other or one != one and other != other)


def case(world, rng, folder):
    """One campaign."""
    name, opt = rng.choice(list(variants(world).items()))
    expected, seconds, changes = references(world)[name]
    processes = _processes(name)
    fresh = rng.random() < FRESH and processes == 1
    shutil.copytree(world.template / 'experiments/other', folder / 'root/experiments/other')
    before = hashes(world.data, folder / 'root/experiments/other')
    file, states = write_options(opt, folder / 'options.yml'), folder / 'root/experiments/tiny/training_states'
    troubles, words, counts = [], [], {'kills': 0}
    starts = rng.choice([1, 2, 3, 4])
    for number in range(starts + 1):
        newest = max((int(state.stem) for state in states.glob('*.state')), default=0)
        kill, at, delay = plan(rng, seconds + 5 * fresh, len(changes), fresh) if number < starts else (None, None, 0)
        outcome = children.run(start(folder, file, fresh, at, delay, processes=processes), folder, kill=kill)
        sent = kill.signal if kill else signal.SIGKILL if at is not None else None
        hit = outcome.killed or sent is not None and outcome.signal == sent
        counts['kills'] += hit
        words.append(_words(kill, at, delay))
        troubles += judge(outcome, ACCEPT, expected_signal=sent if hit else None)
        troubles += progress_lost(outcome.stdout + outcome.stderr, newest)
        if hit and sent != signal.SIGKILL:
            troubles += left_well(outcome, states, sent)
        if outcome.status == 0 or troubles:
            break
    if outcome.status == 0:
        counts['compared'] = 1
        difference = unequal(expected, results(folder / 'root/experiments/tiny'))
        counts['bit_equal'] = int(difference is None)
        if difference:
            troubles.append(Trouble('unequal', difference))
        troubles += [Trouble('left_behind', file.name) for file in states.parents[0].rglob('*.part')]
    return f'{name}{", fresh" if fresh else ""}: {", ".join(words)}', [*troubles, *losses(before)], counts


def _words(kill, at, delay):
    if kill:
        return f'{signal.Signals(kill.signal).name} after {kill.after:.2f} s'
    return 'left alone' if at is None else f'SIGKILL {delay * 1000:g} ms after the beginning of change {at}'


def plan(rng, seconds, changes, fresh=False):
    """Draw a kill: a ``Kill``, or the change of files at which the child kills itself, and seconds of delay."""
    kind = rng.choice(['moment', 'change', 'change', 'asked'])
    if kind == 'change' and not fresh:
        return None, rng.randrange(changes), rng.choice([0, 0, 0.0005, 0.002, 0.01])
    number = rng.choice([signal.SIGTERM, signal.SIGINT]) if kind == 'asked' else signal.SIGKILL
    return children.Kill(number, rng.uniform(0, seconds)), None, 0


def progress_lost(output, newest):
    """Trouble where a start went on from an older state than the newest that was there."""
    resumed = re.search(r'Resuming training from epoch: \d+, iter: (\d+)', output)
    if 'Start training from' in output and newest and (resumed is None or int(resumed[1]) < newest):
        return [Trouble('lost', f'a state of iteration {newest} was there, and it went on from '
                                f'{resumed[1] if resumed else 0}')]
    return []


def left_well(outcome, states, number):
    """Troubles of a training that was asked to stop in the midst: it says so, and saves where it is."""
    output = outcome.stdout + outcome.stderr
    done = [int(found) for found in re.findall(r'epoch: +\d+, iter: +(\d+)', output)]
    if 'Start training from' not in output or 'End of training' in output:
        return []  # not yet at work, or done
    if outcome.status != 128 + number:
        return [Trouble('silent', f'it was asked to stop by {signal.Signals(number).name} and left with status '
                                  f'{outcome.status}, signal {outcome.signal}')]
    newest = max((int(state.stem) for state in states.glob('*.state')), default=0)
    if done and newest < max(done):
        return [Trouble('lost', f'asked to stop, it saved iteration {newest} and not {max(done)}')]
    return []
