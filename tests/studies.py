"""Studies for tests: what the command line asks for, and records without trainings."""
import sys
from argparse import Namespace

import runs

sys.path.append(str(runs.ROOT / 'benchmarks'))

import study_file
from study_file import Method, Study
from study_records import Results

STUDY = Study(
    'x', {'width': {}}, {'scratch': Method({'scratch': {}}), 'A': Method({'A 1': {}, 'A 3': {}}),
                         'B': Method({'B': {}}), 'ours': Method({'ours': {}})},
    lengths=(10, 30), seeds=(0, 1), data='', watch={}, test={}, watch_freq=5, ours=('ours', ),
    longer=('scratch', 'ours'), rivals=1)
"""Of two rivals, of which A has two trials, a method of ours, and two lengths."""
STEPS = [{'kind': 'width', 'method': name, 'seconds': seconds, 'threads': 2, 'device': 'x'}
         for name, seconds in (('scratch', [1, 1]), ('A', [3, 1]), ('B', [2, 2]))]
WEIGHTS = runs.ROOT / 'benchmarks/studies/weights.yml'
"""The file of a study of one option file."""


def asked(file=None, **changed):
    """A study as the command line asks for it."""
    return study_file.read_study(Namespace(**{
        'study': file, 'preset': None, 'opt': 'options/demo/train_MiPKD_x4.yml', 'kinds': None, 'variants': None,
        **changed}))


def record(variant, seed, psnr, heldout=None, iters=10, **more):
    """Of a run that ended with these PSNRs on Set5 and on what is held out."""
    heldout = psnr - 2 if heldout is None else heldout
    return {'variant': variant, 'seed': seed, 'iters': iters, 'test': {'Set5': {'psnr': psnr, 'ssim': 0.8}},
            'watched': {'heldout': {str(iters // 2): 20., str(iters): heldout}}, **more}


def results(*records):
    """Of records, and of times of steps."""
    found = Results()
    for line in records:
        found.add(line)
    return found
