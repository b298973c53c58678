"""Many trainings that differ in their losses: the effect of a method, a weight or a schedule.

A study is a YAML file. ``base`` changes the ``train`` block of the option file --opt; each of ``variants`` changes it
further. A value of null removes an option or a mapping. Every run trains by the training command from the same start,
and on the same samples as the others of its seed; while it trains it is validated on --watch, at its end on --test.
Stopped runs are resumed, and finished ones are kept in --out, and all together in one file where --results names it.
The last line is one JSON object: for each variant and dataset the mean PSNR over seeds and its standard deviation.

examples:
  python benchmarks/study.py benchmarks/studies/methods.yml --iters 3000 --seeds 0 1 2 --data datasets/demo_teacher \\
      --watch heldout=datasets/heldout --test Set5=datasets/benchmark/Set5 Set14=datasets/benchmark/Set14
  python benchmarks/study.py benchmarks/studies/methods.yml --iters 3000 --results docs/results/methods.json --list
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import yaml
from tqdm import tqdm

from mipkd_arch.base.cli import exit_status
from mipkd_arch.base.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def merged(block: dict, change: dict) -> dict:
    """A mapping with another's values; nested mappings are merged, and null removes a key."""
    result = dict(block)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict) and (
                value.get('type', result[name].get('type')) == result[name].get('type')):
            result[name] = merged(result[name], value)
        else:
            result[name] = merged({}, value) if isinstance(value, dict) else value
    return result


def images(folder: str, scale: int) -> dict:
    """Where the images of a dataset are: packed, or in the layout of the benchmark sets."""
    root = Path(folder).resolve()
    packed = root / 'train_HR.lmdb', root / f'train_LRx{scale}.lmdb'
    gt, lq = packed if packed[0].exists() else (root / 'HR', root / f'LR_bicubic/X{scale}')
    return {'type': 'PairedSRDataset', 'dataroot_gt': str(gt), 'dataroot_lq': str(lq)}


def anchored(block: dict) -> dict:
    """A network's block whose files of weights, those of teachers inside of it, too, are paths from this folder."""
    return {name: str(ROOT / value) if name == 'file' else anchored(value) if isinstance(value, dict) else value
            for name, value in block.items()}


class Study:
    """The runs of a study file, as the command line asks for them."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.out = args, Path(args.out or f'results/studies/{Path(args.study).stem}').resolve()
        study = yaml.safe_load(Path(args.study).read_text())
        self.base, self.variants = study.get('base') or {}, study['variants']
        for name in args.variants or []:
            if name not in self.variants:
                raise UserError(f'--variants: {name!r} is not in {args.study}; it has {", ".join(self.variants)}')
        self.opt = yaml.safe_load((ROOT / args.opt).read_text())
        self.results = read_results(args.results) if args.results else {}

    def runs(self) -> list[tuple[str, int]]:
        """Variant and seed of each run, all variants of a seed before the next."""
        return [(variant, seed) for seed in self.args.seeds for variant in self.args.variants or self.variants]

    def folder(self, variant: str, seed: int) -> Path:
        """Of a run."""
        return self.out / f'{re.sub("[^A-Za-z0-9.]+", "_", variant)}_{self.args.iters}_{seed}'

    def record(self, variant: str, seed: int) -> dict | None:
        """What came of a run; None as long as it is not done."""
        file = self.folder(variant, seed) / 'record.json'
        if file.exists():
            return json.loads(file.read_text())
        return self.results.get((variant, self.args.iters, seed))

    def write_options(self, variant: str, seed: int) -> None:
        """Write the option files of a run."""
        args, folder = self.args, self.folder(variant, seed)
        train = merged(merged(self.opt['train'], self.base), self.variants[variant] or {})
        train['total_iter'] = args.iters
        train['scheduler'] = {'type': 'CosineAnnealingRestartLR', 'periods': [args.iters + 1], 'restart_weights': [1],
                              'eta_min': 1e-6}
        path = {**self.opt['path'], 'pretrain_network_g': None}
        if path['pretrain_network_t']:
            path['pretrain_network_t'] = str(ROOT / path['pretrain_network_t'])

        def named(sets: list[str]) -> dict:
            parts = [item.partition('=')[::2] for item in sets]
            return {f'val_{name}': {'name': name, **images(where, self.opt['scale'])} for name, where in parts}

        data = {**self.opt['datasets']['train'], **images(args.data, self.opt['scale'])}
        networks = {key: anchored(block) for key, block in self.opt.items() if key.startswith('network_')}
        training = {**self.opt, **networks, 'name': 'run', 'manual_seed': seed, 'path': path, 'train': train,
                    'datasets': {'train': data, **named(args.watch)},
                    'val': {**self.opt['val'], 'val_freq': args.watch_freq, 'check_teacher': False},
                    'logger': {'print_freq': 100, 'save_checkpoint_freq': args.watch_freq, 'keep_states': 1}}
        if not args.watch:
            training.pop('val')
        weights = folder / 'experiments/run/models/net_g_latest.pth'
        test = {**{name: training[name] for name in ('model_type', 'scale', 'num_gpu', 'network_g')},
                'name': 'test', 'path': {'pretrain_network_g': str(weights)}, 'datasets': named(args.test),
                'val': {name: self.opt['val'][name] for name in ('save_img', 'metrics')}}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / 'train.yml').write_text(yaml.safe_dump(training, sort_keys=False))
        (folder / 'test.yml').write_text(yaml.safe_dump(test, sort_keys=False))

    def run(self, variant: str, seed: int) -> None:
        """Train and test one run, from where it was stopped."""
        folder = self.folder(variant, seed)
        if self.record(variant, seed) is not None:
            return
        self.write_options(variant, seed)
        threads = {'OMP_NUM_THREADS': str(max(1, (os.cpu_count() or 1) // self.args.jobs)),
                   'OMP_WAIT_POLICY': 'PASSIVE'}
        for command in (['train', '-opt', folder / 'train.yml', '--auto_resume'],
                        ['test', '-opt', folder / 'test.yml']):
            with (folder / 'output.log').open('a') as log:
                done = subprocess.run([sys.executable, '-m', 'mipkd_model.cli', *map(str, command)], cwd=folder,
                                      env={**os.environ, **threads}, stdout=log, stderr=subprocess.STDOUT, check=False)
            if done.returncode:
                last = (folder / 'output.log').read_text().strip().splitlines()[-1].removeprefix('error: ')
                raise UserError(f'{variant}, seed {seed}: {last}')
        self.keep(variant, seed)

    def keep(self, variant: str, seed: int) -> None:
        """Write the record of a run that is done, and remove what it no longer needs."""
        folder = self.folder(variant, seed)
        test = {file.stem: json.loads(file.read_text())['mean'] for file in folder.glob('results/test*/records/*.json')}
        watched: dict[str, dict[str, float]] = {}
        for file in sorted((folder / 'experiments/run/records').glob('*.json')):
            name, _, iteration = file.stem.rpartition('_')
            watched.setdefault(name, {})[iteration] = json.loads(file.read_text())['mean']['psnr']
        record = {'variant': variant, 'seed': seed, 'iters': self.args.iters, 'test': test,
                  'watched': {name: dict(sorted(found.items(), key=lambda item: int(item[0])))
                              for name, found in watched.items()}}
        (folder / 'record.json').write_text(json.dumps(record))
        for state in (folder / 'experiments/run/training_states').glob('*.state'):
            state.unlink()

    def records(self) -> list[dict]:
        """Those of the runs that are done, in the order of the variants."""
        wanted = [(variant, seed) for variant in self.args.variants or self.variants for seed in self.args.seeds]
        return [found for run in wanted if (found := self.record(*run))]


def read_results(file: str) -> dict[tuple[str, int, int], dict]:
    """The records of a file that --results has written, by variant, iterations and seed."""
    path = Path(file)
    records = json.loads(path.read_text()) if path.exists() else []
    return {(record['variant'], record['iters'], record['seed']): record for record in records}


def write_results(file: str, records: list[dict]) -> None:
    """Add records to a file, which has a line for each run."""
    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: rounded(part) for name, part in value.items()}
        return round(value, 4) if isinstance(value, float) else value

    found = read_results(file)
    found.update({(record['variant'], record['iters'], record['seed']): record for record in records})
    lines = [json.dumps(rounded(found[key])) for key in sorted(found, key=lambda key: (key[1], key[0], key[2]))]
    Path(file).write_text('[\n' + ',\n'.join(lines) + '\n]\n')


def summary(records: list[dict]) -> dict[str, dict[str, dict[str, float]]]:
    """Mean PSNR in dB and standard deviation over seeds, by variant and dataset; what is watched alone comes last."""
    values: dict[str, dict[str, list[float]]] = {}
    for record in records:
        sets = {name: found['psnr'] for name, found in record['test'].items()}
        for name, found in record['watched'].items():
            sets.setdefault(name, list(found.values())[-1])
        for name, psnr in sets.items():
            values.setdefault(record['variant'], {}).setdefault(name, []).append(psnr)
    return {variant: {name: {'mean': round(statistics.mean(x), 4), 'n': len(x), **(
        {'std': round(statistics.stdev(x), 4)} if len(x) > 1 else {})} for name, x in sets.items()}
        for variant, sets in values.items()}


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """A summary as Markdown: a row for each variant, a column for each dataset."""
    names = list(dict.fromkeys(name for sets in found.values() for name in sets))
    rows = [['PSNR on Y', 'seeds', *names]]
    for variant, sets in found.items():
        cells = [f'{x["mean"]:.2f}' + (f' ± {x["std"]:.2f}' if 'std' in x else '') if (x := sets.get(name)) else ''
                 for name in names]
        rows.append([variant, str(max(x['n'] for x in sets.values())), *cells])
    rows.insert(1, ['---'] * len(rows[0]))
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def study(args: argparse.Namespace) -> None:
    """Run what is missing of a study and print what came of it."""
    found = Study(args)
    if not args.list:
        todo = [run for run in found.runs() if found.record(*run) is None]
        with ThreadPoolExecutor(args.jobs) as pool, tqdm(total=len(todo), desc='train', unit='run') as bar:
            def run(one: tuple[str, int]) -> None:
                found.run(*one)
                bar.update()

            for future in [pool.submit(run, one) for one in todo]:
                try:
                    future.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
    if args.results:
        write_results(args.results, found.records())
    done = summary(found.records())
    if done:
        print(table(done))
    print(json.dumps(done))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('study', metavar='FILE', help='of the study')
    parser.add_argument('--opt', default='options/demo/train_MiPKD_x4.yml', metavar='FILE',
                        help='option file that is changed (default: %(default)s)')
    parser.add_argument('--data', default='datasets/demo_teacher', metavar='DIR', help='packed photographs to train on '
                                                                                       '(default: %(default)s)')
    parser.add_argument('--watch', nargs='*', default=[], metavar='NAME=DIR', help='validated on while training')
    parser.add_argument('--watch-freq', type=int, default=500, help='iterations between (default: %(default)s)')
    parser.add_argument('--test', nargs='+', default=['Set5=datasets/benchmark/Set5'], metavar='NAME=DIR',
                        help='tested on at the end (default: %(default)s)')
    parser.add_argument('--iters', type=int, default=3000, help='length of a run (default: %(default)s)')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0], help='default: %(default)s')
    parser.add_argument('--variants', nargs='+', metavar='NAME', help='default: all of the file')
    parser.add_argument('--jobs', type=int, default=1, help='trainings at a time (default: %(default)s)')
    parser.add_argument('--out', metavar='DIR', help='default: results/studies/ and the name of the study')
    parser.add_argument('--results', metavar='FILE', help='JSON that finished runs are read from and added to')
    parser.add_argument('--list', action='store_true', help='show what is done, and train nothing')
    return exit_status(study, parser.parse_args())


if __name__ == '__main__':
    sys.exit(main())
