"""A part of the benchmark: numbered cases, each decided by the seed and its number alone."""
import random
import shutil
import time
from typing import NamedTuple


class Case(NamedTuple):
    """What came of one case.

    Attributes:
        name (str): '<part>:<number>', which repeats it.
        words (str): what was done.
        troubles (list[Trouble]): empty where all was well.
        seconds (float): how long it took.
        counts (dict[str, int]): whatever a part counts beside.
    """

    name: str
    words: str
    troubles: list
    seconds: float
    counts: dict


def generator(seed, name):
    """The random numbers of a case or part."""
    return random.Random(f'{seed} {name}')


def run_case(part, world, seed, number, keep=None):
    """Run one case of a part.

    Args:
        part: has ``NAME``, and ``case(world, rng, folder) -> (words, troubles, counts)``.
        world (World): prepared for the part.
        seed, number (int): which case.
        keep (Path | None): the files of a bad case are moved there.

    Returns:
        Case: of it.
    """
    start = time.monotonic()
    folder = world.case(f'{part.NAME}_{number}', part.WITH_RUNS)
    words, troubles, counts = part.case(world, generator(seed, f'{part.NAME}:{number}'), folder)
    if troubles and keep is not None:
        target = keep / f'seed{seed}_{folder.name}'
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(folder, target)
    else:
        shutil.rmtree(folder)
    return Case(f'{part.NAME}:{number}', words, troubles, time.monotonic() - start, counts)
