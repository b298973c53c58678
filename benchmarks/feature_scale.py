"""How the scale of the feature loss decides whether MiPKD helps: many short trainings, differing in one option.

Each run trains the demo's student (EDSR, 32 channels, 4 blocks) from the demo's teacher by the training command and
validates it. Runs that are done are kept in a file, so that the study can be stopped and started again. The last line
is one JSON object: for each variant the mean PSNR, the spread over seeds, and the mean of each component of the loss.

example:
  python benchmarks/feature_scale.py --data datasets/demo_teacher --val datasets/benchmark/Set5 --iters 1000 --seeds 2
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

import yaml
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ROOT / 'options/demo/train_MiPKD_x4.yml'


def without(*losses):
    """Variant that lacks these losses."""
    return lambda train: [train.pop(f'{loss}_opt') for loss in losses]


def feature(**changes):
    """Variant of the feature prior loss."""
    return lambda train: train['feature_prior_opt'].update(changes)


VARIANTS = {
    'scratch': without('kd', 'feature_prior', 'block_prior'),
    'logits-KD': without('feature_prior', 'block_prior'),
    'raw': feature(unit='raw', gain=1.),
    'raw / 255': feature(unit=255, gain=1.),
    'spread, gain 1': feature(gain=1.),
    'spread, gain 0.1': feature(gain=0.1),
    'spread, gain 0.03': feature(gain=0.03),
    'spread, gain 0.01': feature(gain=0.01),
    'spread, gain 0.003': feature(gain=0.003),
    'spread, gain 0.001': feature(gain=0.001),
}


def options(variant, seed, args, folder):
    """Write the option file of one run below ``folder``."""
    opt = yaml.safe_load(OPTIONS.read_text())
    train = opt['train']
    VARIANTS[variant](train)
    train['total_iter'] = args.iters
    train['scheduler']['periods'] = [args.iters + 1]
    opt['name'] = f'feature_scale_{re.sub("[^a-z0-9]+", "_", variant.lower())}_{seed}'
    opt['manual_seed'] = seed
    opt['path']['pretrain_network_g'] = None
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


def run(variant, seed, args, folder):
    """Train one variant; returns its record."""
    env = {**os.environ, 'OMP_NUM_THREADS': str(max(1, os.cpu_count() // args.jobs))}
    done = subprocess.run([sys.executable, ROOT / 'basicsr/train.py', '-opt', options(variant, seed, args, folder)],
                          env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    psnr = re.findall(r'# psnr: ([\d.]+)', done.stdout)
    if done.returncode or not psnr:
        raise RuntimeError(f'{variant}, seed {seed}: {done.stdout.strip().splitlines()[-1]}')
    steps = [dict(re.findall(r'(l_\w+): ([\d.e+-]+)', line)) for line in done.stdout.splitlines() if ', iter:' in line]
    late = steps[-max(1, len(steps) // 4):]
    losses = {name: statistics.mean(float(step[name]) for step in late) for name in late[-1]}
    return {'variant': variant, 'seed': seed, 'psnr': float(psnr[-1]), 'losses': losses}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', required=True, metavar='DIR', help='folder with train_HR.lmdb and train_LRx4.lmdb')
    parser.add_argument('--val', required=True, metavar='DIR', help='folder with HR and LR_bicubic/X4, such as Set5')
    parser.add_argument('--iters', type=int, default=1000, help='length of a run')
    parser.add_argument('--seeds', type=int, default=2, help='runs of each variant')
    parser.add_argument('--first-seed', type=int, default=0, help='the first of them')
    parser.add_argument('--variants', nargs='+', default=list(VARIANTS), choices=list(VARIANTS), metavar='NAME',
                        help=f'default: all of {", ".join(VARIANTS)}')
    parser.add_argument('--jobs', type=int, default=2, help='runs at a time')
    parser.add_argument('--out', default='results/feature_scale', metavar='DIR', help='where the runs are kept')
    args = parser.parse_args()
    args.data, args.val = Path(args.data).resolve(), Path(args.val).resolve()
    folder = Path(args.out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f'runs_{args.iters}.jsonl'
    records = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(record['variant'], record['seed']) for record in records}
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    todo = [(variant, seed) for seed in seeds for variant in args.variants if (variant, seed) not in done]
    os.chdir(ROOT)
    with ThreadPoolExecutor(args.jobs) as pool, kept.open('a') as file:
        runs = [pool.submit(run, *one, args, folder) for one in todo]
        for future in tqdm(as_completed(runs), 'train', len(runs), unit='run'):
            if future.exception():
                pool.shutdown(cancel_futures=True)  # the others would fail alike, each after its own start
                sys.exit(f'error: {future.exception()}')
            records.append(future.result())
            file.write(json.dumps(records[-1]) + '\n')
            file.flush()

    summary = {}
    for variant in args.variants:
        runs = [record for record in records if record['variant'] == variant]
        psnr = [record['psnr'] for record in runs]
        losses = {name: round(statistics.mean(record['losses'][name] for record in runs), 5)
                  for name in runs[0]['losses']}
        summary[variant] = {'psnr': round(statistics.mean(psnr), 3), 'seeds': len(psnr), **losses,
                            'spread': round(statistics.stdev(psnr), 3) if len(psnr) > 1 else None}
        print(f'{variant:22} {summary[variant]["psnr"]:.3f} dB over {len(psnr)} seeds', losses)
    print(json.dumps(summary))
    return 0


if __name__ == '__main__':
    sys.exit(main())
