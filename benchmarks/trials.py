"""Many short trainings that differ in their losses: what the studies of this folder have in common.

A variant is a function that changes the ``train`` block of an option file. Each run is trained and validated by the
training command. Runs that are done are kept in a file, so that a study can be stopped and started again.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import yaml
from tqdm import tqdm

from mipkd_arch.errors import UserError, exit_status, number_in

ROOT = Path(__file__).resolve().parents[1]


def without(*losses):
    """Variant that lacks these losses."""
    return lambda train: [train.pop(f'{loss}_opt') for loss in losses]


def options(variant, change, seed, args, folder):
    """Write the option file of one run below ``folder``."""
    opt = yaml.safe_load((ROOT / args.opt).read_text())
    train = opt['train']
    change(train)
    train['total_iter'] = args.iters
    train['scheduler']['periods'] = [args.iters + 1]
    opt['name'] = f'{folder.name}_{re.sub("[^a-z0-9]+", "_", variant.lower())}_{seed}'
    opt['manual_seed'] = seed
    opt['path']['pretrain_network_g'] = None
    if opt['path']['pretrain_network_t']:
        opt['path']['pretrain_network_t'] = str(ROOT / opt['path']['pretrain_network_t'])
    opt['datasets']['train'].update(dataroot_gt=f'{args.data}/train_HR.lmdb',
                                    dataroot_lq=f'{args.data}/train_LRx4.lmdb')
    opt['datasets']['val'] = {'name': 'val', 'type': 'PairedSRDataset', 'dataroot_gt': f'{args.val}/HR',
                              'dataroot_lq': f'{args.val}/LR_bicubic/X4'}
    opt['val']['val_freq'] = args.iters
    opt['logger']['save_checkpoint_freq'] = args.iters
    file = folder / f'{opt["name"]}.yml'
    file.write_text(yaml.safe_dump(opt, sort_keys=False))
    return file


def run(variant, change, seed, args, folder):
    """Train one variant; returns its record."""
    env = {**os.environ, 'OMP_NUM_THREADS': str(max(1, os.cpu_count() // args.jobs))}
    command = [sys.executable, ROOT / 'basicsr/train.py', '-opt', options(variant, change, seed, args, folder)]
    done = subprocess.run(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    psnr = re.findall(r'# psnr: ([\d.]+)', done.stdout)
    if done.returncode or not psnr:
        line = done.stdout.strip().splitlines()[-1].removeprefix('error: ')
        raise UserError(f'{variant}, seed {seed}: {line}')
    steps = [dict(re.findall(r'(l_\w+): ([\d.e+-]+)', line)) for line in done.stdout.splitlines() if ', iter:' in line]
    late = steps[-max(1, len(steps) // 4):]
    losses = {name: statistics.mean(float(step[name]) for step in late) for name in late[-1]}
    return {'variant': variant, 'seed': seed, 'psnr': float(psnr[-1]), 'losses': losses}


def arguments(description, name, variants, default):
    """Parse the command line of a study."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--opt', default='options/demo/train_MiPKD_x4.yml', metavar='FILE',
                        help='option file that the variants change (default: %(default)s)')
    parser.add_argument('--data', required=True, metavar='DIR', help='folder with train_HR.lmdb and train_LRx4.lmdb')
    parser.add_argument('--val', required=True, metavar='DIR', help='folder with HR and LR_bicubic/X4, such as Set5')
    parser.add_argument('--iters', type=int, default=1000, help='length of a run (default: %(default)s)')
    parser.add_argument('--seeds', type=int, default=2, help='runs of each variant (default: %(default)s)')
    parser.add_argument('--first-seed', type=int, default=0, help='the first of them (default: %(default)s)')
    parser.add_argument('--variants', nargs='+', default=default, choices=list(variants), metavar='NAME',
                        help=f'of {", ".join(variants)} (default: {", ".join(default)})')
    parser.add_argument('--jobs', type=int, default=2, help='runs at a time (default: %(default)s)')
    parser.add_argument('--out', default=f'results/{name}', metavar='DIR',
                        help='where runs are kept; those of the same option file, data and length are not run again '
                             '(default: %(default)s)')
    args = parser.parse_args()
    args.data, args.val = Path(args.data).resolve(), Path(args.val).resolve()
    return args


def study(description, name, variants, default=None):
    """Run a study from the command line; the last line printed is one JSON object.

    Args:
        description (str): for ``--help``.
        name (str): folder of its results.
        variants (dict[str, callable]): by name, each changes a ``train`` block.
        default (list[str] | None): those that are run where the command line names none; None for all.

    Returns:
        int: exit status.
    """
    return exit_status(run_study, arguments(description, name, variants, default or list(variants)), variants)


def run_study(args, variants):
    """Run what is missing of a study and print what came of it."""
    for name in ('iters', 'seeds', 'jobs'):
        number_in(f'--{name}', getattr(args, name), 1, integer=True)
    folder = Path(args.out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f'runs_{args.iters}.jsonl'
    source = {'opt': args.opt, 'data': str(args.data), 'val': str(args.val)}
    records = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    records = [record for record in records if source.items() <= record.items()]
    done = {(record['variant'], record['seed']) for record in records}
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    todo = [(variant, seed) for seed in seeds for variant in args.variants if (variant, seed) not in done]
    os.chdir(ROOT)
    with ThreadPoolExecutor(args.jobs) as pool, kept.open('a') as file:
        runs = [pool.submit(run, variant, variants[variant], seed, args, folder) for variant, seed in todo]
        for future in tqdm(as_completed(runs), 'train', len(runs), unit='run'):
            if future.exception():
                pool.shutdown(cancel_futures=True)  # the others would fail alike, each after its own start
                raise future.exception()
            records.append({**future.result(), **source})
            file.write(json.dumps(records[-1]) + '\n')
            file.flush()
    summary = {variant: summarise([record for record in records if record['variant'] == variant])
               for variant in args.variants}
    for variant, found in summary.items():
        print(f'{variant:22} {found["psnr"]:.3f} dB over {found["seeds"]} seeds')
    print(json.dumps(summary))


def summarise(runs):
    """Mean PSNR in dB, its spread over seeds, and the mean of each component of the loss."""
    psnr = [record['psnr'] for record in runs]
    losses = {name: round(statistics.mean(record['losses'][name] for record in runs), 5)
              for name in runs[0]['losses']}
    return {'psnr': round(statistics.mean(psnr), 3), 'seeds': len(psnr), **losses,
            'spread': round(statistics.stdev(psnr), 3) if len(psnr) > 1 else None}
