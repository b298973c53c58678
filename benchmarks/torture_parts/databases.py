"""Mutated LMDBs, given to trainings and to ``datasets/verify.py``."""
import runpy
import shutil
import sys

import numpy as np

from mipkd_arch.base.errors import UserError
from mipkd_model.data.stores import open_store

from . import children
from .database_mutations import (
    index_mutated,
    length_mutated,
    meta_info_mutated,
    pages_mutated,
    png_mutated,
    raw_image_mutated,
)
from .judge import EITHER, Trouble, accepted, code_ran, hashes, judge, losses, newcomers
from .world import ROOT, SCALE, launch, training, write_options

NAME, WITH_RUNS = 'databases', False
PARTS = ('HR', f'LRx{SCALE}')
EQUAL, DIFFERENT = 0, 3
ITERATIONS = 2


def prepare(world):
    """Nothing: the world has databases."""


def case(world, rng, folder):
    """One mutated database of a pair."""
    kind, part = rng.choice(['train', 'train', 'png']), rng.choice(PARTS)
    data = folder / 'data'
    data.mkdir()
    for name in PARTS:
        shutil.copytree(world.data / f'{kind}_{name}.lmdb', data / f'train_{name}.lmdb')
    words = _mutate(rng, data / f'train_{part}.lmdb', kind)
    before = hashes(world.data, data)
    known = [{entry.name for entry in place.iterdir()} for place in (world.folder, world.cases, data)]
    opt = training(world, losses=('pixel_opt', 'kd_opt'), data={'num_worker_per_gpu': rng.choice([0, 0, 0, 1]),
                                                                'batch_size_per_gpu': 16})
    for block in opt['datasets'].values():
        block.update(dataroot_gt=str(data / 'train_HR.lmdb'), dataroot_lq=str(data / f'train_{PARTS[1]}.lmdb'))
    trained = children.run(launch('train', folder / 'root', '-opt', write_options(opt, folder / 'options.yml'),
                                  iterations=ITERATIONS), folder)
    troubles = [trouble._replace(seen=f'training: {trouble.seen}') for trouble in judge(trained, EITHER)]
    verified = children.run(lambda: _verify(data), folder)
    troubles += [trouble._replace(seen=f'verify: {trouble.seen}') for trouble in judge(verified, EITHER)]
    if accepted(verified):
        troubles += _compare(world, data, folder)
    troubles += [*code_ran(world.canary), *losses(before)]
    for place, names in zip((world.folder, world.cases, data), known, strict=True):
        troubles += newcomers(place, names)
    return f'{kind} {part}: {words}', troubles, {'accepted': int(accepted(verified))}


def _mutate(rng, database, kind):
    """Mutate a database where it lies. Returns what was done."""
    content = rng.choice(['pages', 'pages', 'pages', 'length', 'content', 'content'])
    file = database / 'data.mdb'
    if content == 'content':
        change = rng.choice([index_mutated, raw_image_mutated] if kind == 'train' else [png_mutated, meta_info_mutated])
        return change(rng, database)
    changed, words = (pages_mutated if content == 'pages' else length_mutated)(rng, file.read_bytes())
    file.write_bytes(changed)
    return words


def _verify(folder):
    sys.argv = ['datasets/verify.py', str(folder)]
    runpy.run_path(str(ROOT / 'datasets/verify.py'), run_name='__main__')


def _compare(world, data, folder):
    """Trouble where ``verify.py`` found nothing, but images are read that are not those that were packed."""
    outcome = children.run(lambda: _differs(world, data), folder)
    if outcome.status == EQUAL:
        return []
    return [Trouble('wrongly_accepted', f'verify found nothing, but {outcome.stdout.strip() or outcome.stderr[-200:]}')]


def _differs(world, data):
    """Exit status that says whether all images read are those that were packed; for a child."""
    try:
        stores = [open_store(data / f'train_{name}.lmdb') for name in PARTS]
        for place, store in enumerate(stores):
            if list(store.shapes) != list(world.images):
                print(f'{store.path.name} has other names')
                return DIFFERENT
            for name, pair in world.images.items():
                if not np.array_equal(store.read(name), pair[place]):
                    print(f'image {name} of {store.path.name} is another')
                    return DIFFERENT
    except UserError as error:
        print(error)
        return DIFFERENT
    return EQUAL
