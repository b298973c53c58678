"""Mutated checkpoints and training states, given to trainings and to ``mipkd teacher convert``."""
import os
import shutil
from functools import lru_cache
from pathlib import Path

import torch

import mipkd_model.cli
from mipkd_arch.base.errors import UserError

from . import children
from .checkpoint_mutations import Mutated, archive_mutated, bytes_mutated, code_planted, weights_mutated
from .command_mutations import special_path
from .judge import EITHER, REFUSE, Trouble, accepted, code_ran, hashes, judge, losses, newcomers
from .kills import results, unequal
from .state_mutations import state_mutated
from .world import RCAN, launch, training, write_options

NAME, WITH_RUNS = 'checkpoints', False
LAST, CUT = 6, 4  # iterations of a run, and of its states when it was interrupted
TARGETS = {'auto': 4, 'state': 2, 'g': 3, 't': 3, 'convert': 1}
LEFT_ALONE, DIFFERENT = 0, 3


@lru_cache
def runs(world):
    """Folders of experiments: the run that all cases go on with, and others, by what is different in them."""
    found = {}
    for number, (words, student, change) in enumerate((
            ('the run itself', None, {}), ('of another seed', None, {'manual_seed': 4}), ('of another student', RCAN,
                                                                                          {}),
            ('of another teacher', None, {'other_teacher': True}))):
        root = world.folder / f'run_{number}'
        root.mkdir()
        opt = training(world, student, train={'total_iter': LAST})
        if change.pop('other_teacher', False):
            opt['path']['pretrain_network_t'] = str(world.data / 'student.pth')
        file = write_options({**opt, **change}, world.folder / 'made.yml')
        outcome = children.run(launch('train', root, '-opt', file), world.folder)
        if outcome.status != 0:
            raise UserError(f'an undisturbed training fails: {(outcome.stderr or outcome.stdout).strip()[-600:]}')
        found[words] = root / 'experiments/tiny'
    return found


def prepare(world):
    """Train the runs."""
    runs(world)


def case(world, rng, folder):
    """One mutated file at one of the places where files are read."""
    target = rng.choices(list(TARGETS), TARGETS.values())[0]
    before = hashes(world.data)
    known = [{entry.name for entry in place.iterdir()} for place in (world.folder, world.cases)]
    words, troubles = (_resumed if target in ('auto', 'state') else _taken)(world, rng, folder, target)
    troubles += [*code_ran(world.canary), *losses(before)]
    for place, names in zip((world.folder, world.cases), known, strict=True):
        troubles += newcomers(place, names)
    return f'{target}: {words}', troubles, {}


def _taken(world, rng, folder, target):
    """Weights of student or teacher, or a file to be converted."""
    original = world.data / ('teacher.pth' if target == 't' else 'student.pth')
    file, mutated = folder / 'mutated.pth', None
    kind = rng.choice(['bytes', 'bytes', 'archive', 'code', 'weights', 'weights', 'special'])
    if kind == 'special':
        words, path = special_path(rng, folder)
        mutated, file = Mutated(words, None), Path(path.replace('\x00', ''))
    elif kind == 'weights':
        others = {f'{name}.pth': torch.load(world.data / f'{name}.pth') for name in ('rcan', 'swinir')}
        mutated = weights_mutated(rng, torch.load(original), others)
    else:
        content = original.read_bytes()
        mutated = {'bytes': lambda: bytes_mutated(rng, content), 'archive': lambda: archive_mutated(rng, content),
                   'code': lambda: code_planted(rng, world.canary)}[kind]()
    if mutated.content is not None:
        file.write_bytes(mutated.content)
    must = EITHER if mutated.same else REFUSE
    if kind in ('bytes', 'archive') and not mutated.same:
        check = children.run(lambda: _holds_the_same(file, original), folder)
        must = EITHER if check.status == LEFT_ALONE else REFUSE
    if target == 'convert':
        out = folder / 'out.pth'
        outcome = children.run(lambda: mipkd_model.cli.main(['teacher', 'convert', str(file), '--out', str(out)]),
                               folder)
        # Weights of other networks are what it is for; a missing one need not show.
        troubles = judge(outcome, EITHER if kind == 'weights' else must)
        if not accepted(outcome) and list(folder.glob('out.pth*')):
            troubles.append(Trouble('left_behind', 'it failed, but wrote its result'))
        return mutated.words, troubles
    opt = training(world)
    opt['path'][f'pretrain_network_{target}'] = str(file)
    outcome = children.run(launch('train', folder / 'root', '-opt', write_options(opt, folder / 'options.yml'),
                                  iterations=2), folder)
    return mutated.words, judge(outcome, must)


def _holds_the_same(file, original):
    """Exit status that says whether two checkpoints have equal tensors, by torch alone; for a child."""
    try:
        found, expected = (torch.load(path, weights_only=True, map_location='cpu') for path in (file, original))
        same = all(list(found[key]) == list(expected[key]) and all(
            torch.equal(found[key][name], expected[key][name]) for name in expected[key]) for key in expected)
        return LEFT_ALONE if same else DIFFERENT
    except Exception:  # whatever a damaged file leads to
        return DIFFERENT


def _resumed(world, rng, folder, target):
    """A state: the newest one of an interrupted run, or one that is named."""
    run = runs(world)['the run itself']
    experiment = folder / 'root/experiments/tiny'
    shutil.copytree(run, experiment)
    for file in [*experiment.glob(f'models/*_{LAST}.pth'), *experiment.glob('models/*_latest.pth'),
                 *experiment.glob(f'training_states/{LAST}.state')]:
        file.unlink()
    newest = experiment / f'training_states/{CUT}.state'
    others = {words: (other / f'training_states/{CUT}.state').read_bytes() for words, other in runs(world).items()
              if other != run}
    others |= {'of an earlier iteration': (run / 'training_states/2.state').read_bytes(),
               'a checkpoint': (run / f'models/net_g_{CUT}.pth').read_bytes()}
    original = newest.read_bytes()
    mutated = state_mutated(rng, original, others, world.canary)
    arguments, must = ['--auto_resume'], EITHER
    if rng.random() < 0.08:
        words, path = special_path(rng, folder)
        mutated = Mutated(words, None)
    if target == 'auto':
        newest.unlink()
        if mutated.content is None:
            if os.path.lexists(path):
                newest.symlink_to(path)
        else:
            newest.write_bytes(mutated.content)
    opt = training(world, train={'total_iter': LAST})
    if target == 'state':
        file = folder / 'mutated.state'
        if mutated.content is not None:
            file.write_bytes(mutated.content)
        opt['path']['resume_state'] = str(file) if mutated.content is not None else path.replace('\x00', '')
        must = EITHER if mutated.same or mutated.words == 'of an earlier iteration' else REFUSE
        arguments = []
    kept = hashes(experiment)
    outcome = children.run(launch('train', folder / 'root', '-opt', write_options(opt, folder / 'options.yml'),
                                  *arguments), folder)
    # Zeros may have been written over zeros.
    damaged = mutated.words.startswith(('bytes', 'without')) and mutated.content != original
    difference = accepted(outcome) and unequal(results(run), results(experiment))
    if accepted(outcome) and not difference and not damaged:
        must = EITHER  # what was changed in it is not taken from a state
    troubles = judge(outcome, must)
    if accepted(outcome):
        if difference and not mutated.same:
            troubles.append(Trouble('unequal', difference))
        elif target == 'auto' and damaged and 'state before it' not in outcome.stdout + outcome.stderr:
            troubles.append(Trouble('silent', 'it went on from another state and did not say so'))
    else:
        troubles += losses(kept)
    if target == 'auto' and not accepted(outcome) and damaged:
        troubles.append(Trouble('wrongly_refused', f'a damaged newest state, and a good one before it: '
                                                   f'{outcome.stderr.strip()[-200:]}'))
    return mutated.words, troubles
