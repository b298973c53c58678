"""Tries to lose a training, to get code run, and to get damaged input taken.

Four parts, whose cases follow from the seed:

  kills        trainings, one of them of two processes, are killed at random moments and right at changes of files, by
               SIGKILL of all their processes, SIGTERM and SIGINT, and started again with --auto_resume until they end;
               all final weights must be those of the undisturbed run, bit by bit
  checkpoints  mutated weights and training states are given to trainings and to mipkd teacher convert
  databases    mutated LMDBs are given to trainings and to datasets/verify.py

Input that is bad must be refused by one line and an exit status other than 0, whatever it is: no traceback, no hang, no
code run, no process left behind, and nothing that was there changed. What is bad is known from how a case was made, not
from what the product says of it.

The last line is one JSON object: the cases of each part ("kills" counts the kills that hit a running training), numbers
of each kind of trouble, and seconds. Bad cases are listed, their files kept; the exit status is 1 if there were any.

example:
  python benchmarks/torture.py --case kills:17
"""
import argparse
import gc
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.append(str(Path(__file__).resolve().parents[1]))

import mipkd_model  # noqa: F401  (first: it says how torch's threads wait, and makes BasicSR importable)

# isort: split
import torch
from torture_parts import checkpoints, databases, kills
from torture_parts.judge import KINDS
from torture_parts.part import run_case
from torture_parts.world import ROOT, World
from tqdm import tqdm

from mipkd_arch.base.errors import UserError, exit_status, number_in, one_of

PARTS = {part.NAME: part for part in (kills, checkpoints, databases)}


def run_part(part, world, args, wanted):
    """Run cases of a part until there are as many as wanted.

    Args:
        part (module): of ``PARTS``.
        world (World): where.
        args (Namespace): the command line.
        wanted (int): cases; kills for the part of that name.

    Returns:
        list[Case]: of all that were run.
    """
    part.prepare(world)
    gc.collect()
    gc.freeze()  # else the collector of each child would copy the memory that it shares with this process
    found, number, done = [], 0, 0
    with tqdm(total=wanted, desc=part.NAME, unit=part.NAME.removesuffix('s')) as progress:
        while done < wanted:
            found.append(case := run_case(part, world, args.seed, number, args.keep))
            for trouble in case.troubles:
                progress.write(f'{case.name} {trouble.kind}: {case.words}: {trouble.seen}', file=sys.stderr)
            step = min(case.counts.get('kills', 1), wanted - done)
            number, done = number + 1, done + step
            progress.update(step)
            if number > 3 * wanted + 3:
                raise UserError(f'{part.NAME}: {number} cases gave only {done} of {wanted}')
    return found


def summary(cases, seed, seconds):
    """What the last line says.

    Args:
        cases (dict[str, list[Case]]): by part.
        seed (int): of the run.
        seconds (float): of all.
    """
    troubles = Counter(trouble.kind for found in cases.values() for case in found for trouble in case.troubles)
    counts = Counter()
    for found in cases.values():
        for case in found:
            counts.update(case.counts)
    return {
        'kills': counts['kills'], 'bit_equal': counts['bit_equal'], 'compared': counts['compared'],
        **{name: len(cases.get(name, ())) for name in PARTS if name != 'kills'},
        **{kind: troubles[kind] for kind in KINDS},
        'accepted': counts['accepted'], 'bad_cases': sum(bool(case.troubles) for found in cases.values()
                                                         for case in found),
        'seed': seed, 'seconds': round(seconds), 'part_seconds': {
            name: round(sum(case.seconds for case in found), 1) for name, found in cases.items()},
        'slowest_case_seconds': round(max((case.seconds for found in cases.values() for case in found), default=0), 1)}


def torture(args):
    """The whole benchmark."""
    if sys.platform != 'linux':
        raise UserError(f'{sys.platform}: this benchmark needs Linux, for its limits of memory and its forks')
    for name in PARTS:
        number_in(f'--{name}', getattr(args, name), 0, integer=True)
    names = args.only.split(',') if args.only else list(PARTS)
    for name in names:
        one_of('--only', name, PARTS)
    torch.set_num_threads(1)
    tqdm.monitor_interval = 0  # its thread would not survive a fork, but a lock that it holds would
    start = time.monotonic()
    args.keep = args.keep.resolve()
    folder = Path(tempfile.mkdtemp(prefix='torture_', dir=args.work))
    try:
        world = World(folder / 'world')
        if args.case:
            cases = one_case(args, world)
        else:
            cases = {name: run_part(PARTS[name], world, args, getattr(args, name)) for name in names
                     if getattr(args, name)}
    finally:
        gc.unfreeze()
        shutil.rmtree(folder, ignore_errors=True)
    bad = [case for found in cases.values() for case in found if case.troubles]
    for case in bad:
        print(f'{case.name}: {case.words}')
        for trouble in case.troubles:
            print(f'  {KINDS[trouble.kind]}: {trouble.seen}')
    result = summary(cases, args.seed, time.monotonic() - start)
    print(json.dumps(result), flush=True)
    if bad:
        raise UserError(f'{len(bad)} cases were bad; their files are in {args.keep}')


def one_case(args, world):
    """Run the case that the command line names."""
    name, _, number = args.case.partition(':')
    part = PARTS[one_of('--case', name, PARTS)]
    if not number.isdecimal():
        raise UserError(f'--case: {args.case!r} is not the name of a part, a colon and a number, such as kills:17')
    part.prepare(world)
    return {name: [run_case(part, world, args.seed, int(number), args.keep)]}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seed', type=int, default=0, help='decides all cases (default: %(default)s)')
    for name, default, what in (('kills', 30, 'kills of a training'),
                                ('checkpoints', 300, 'checkpoints and states'), ('databases', 300, 'LMDBs')):
        parser.add_argument(f'--{name}', type=int, default=default, metavar='N',
                            help=f'number of {what} (default: %(default)s)')
    parser.add_argument('--only', metavar='PART,...', help=f'only these parts, of {", ".join(PARTS)}')
    parser.add_argument('--case', metavar='PART:N', help='only this case, once more')
    parser.add_argument('--keep', type=Path, default=ROOT / 'results/torture', metavar='DIR',
                        help='where the files of bad cases are kept (default: results/torture)')
    parser.add_argument('--work', metavar='DIR', help='where all is made; default: the temporary folder')
    return exit_status(torture, parser.parse_args(argv))


if __name__ == '__main__':
    sys.exit(main())
