"""How long it takes until work starts: imports, the reading and checking of an option file, and the help.

Each figure is of a Python process of its own, from its start until its last statement has run; the processes take
turns, so that whatever else the machine does slows down all alike, and a figure is the median over the rounds. BasicSR
alone is imported as it can be on today's torchvision, with what it asks for supplied. The option file is one for
training, whose data and weights are replaced by noise and random weights of the same sizes.

The last line is one JSON object: of each process the seconds that passed ("..._s") and the seconds of the CPU that it
took ("..._cpu_s"), which other work on the machine leaves nearly alone. "import_over_basicsr" is what this package's
import adds to BasicSR's, "parse_over_import" what reading and checking the option file adds to the import.

example:
  python benchmarks/start.py --opt options/train_MiPKD_x4.yml --rounds 3
"""
import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import mipkd_model  # noqa: F401  (first: it says how torch's threads wait, and makes BasicSR importable)

# isort: split
import cv2
import numpy as np
import torch
import yaml
from tqdm import tqdm

from mipkd_arch.base.cli import exit_status
from mipkd_arch.base.errors import UserError, number_in
from mipkd_model.config.checks import check_options, read_options
from mipkd_model.data.prepare.pack import pack_pairs
from mipkd_model.networks.build import make_network

ROOT = Path(__file__).resolve().parents[1]
# By path: as a part of mipkd_arch it would bring the rest of this package.
BASICSR = f'import sys; sys.path.append({str(ROOT / "mipkd_arch")!r}); import basicsr_compat, basicsr'
OURS = f'import sys; sys.path.append({str(ROOT)!r}); '
PROGRAMS = {
    'torch': 'import torch',
    'basicsr': BASICSR,
    'import': f'{OURS}import mipkd_model',
    'parse': f'{OURS}from mipkd_model.launch import parse_options; parse_options({str(ROOT)!r})',
    'help': f'{OURS}from mipkd_model.cli import build_parser; build_parser().format_help()',
}
# CLOCK_MONOTONIC is the same for all processes.
LAST = 'import time; print(time.monotonic(), time.process_time())'


def timed(name: str, arguments: Sequence[str]) -> tuple[float, float]:
    """Run one of ``PROGRAMS`` in a fresh process, with a command line.

    Returns:
        Seconds from the start of the process until its last statement, and those of the CPU.

    Raises:
        UserError: the process failed.
    """
    start = time.monotonic()
    done = subprocess.run([sys.executable, '-c', f'{PROGRAMS[name]}\n{LAST}', *arguments], text=True,
                          capture_output=True, check=False)
    if done.returncode:
        raise UserError(f'{name}: {(done.stderr.strip().splitlines() or ["the process was killed"])[-1]}')
    end, cpu = map(float, done.stdout.splitlines()[-1].split())
    return end - start, cpu


def option_file(file: Path, folder: Path, images: int) -> Path:
    """Write an option file like ``file``, of a training, whose data and weights are synthetic ones below ``folder``.

    Args:
        file: option file of a training.
        folder: for everything that is written.
        images: pairs in each dataset.

    Raises:
        UserError: the option file has mistakes.
    """
    opt = read_options(file)
    check_options(opt, is_train=True)
    side = max(block.get('gt_size', 1) for block in opt['datasets'].values())
    number_in('datasets.train.gt_size', side, 1, integer=True)
    rng, files = np.random.default_rng(0), []
    for index in range(images):
        files.append(folder / f'{index:05d}.png')
        cv2.imwrite(str(files[-1]), rng.integers(0, 256, (side, side, 3), np.uint8))
    pack_pairs(files, folder, [opt['scale']])
    for block in opt['datasets'].values():
        block.update(dataroot_gt=str(folder / 'train_HR.lmdb'),
                     dataroot_lq=str(folder / f'train_LRx{opt["scale"]}.lmdb'))
    for label in ('g', 't'):
        if opt.get(f'network_{label}') and opt['path'].get(f'pretrain_network_{label}'):
            made = folder / f'{label}.pth'
            torch.save({'params': make_network({**opt, 'path': {}}, label)[0].state_dict()}, made)
            opt['path'][f'pretrain_network_{label}'] = str(made)
    made = folder / 'options.yml'
    made.write_text(yaml.safe_dump(opt, sort_keys=False))
    return made


def measure(args: argparse.Namespace) -> None:
    """Time all processes in turn and print the result."""
    for name in ('rounds', 'images'):
        number_in(f'--{name}', getattr(args, name), 1, integer=True)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in PROGRAMS}
    with tempfile.TemporaryDirectory() as folder:
        arguments = {'parse': ['-opt', str(option_file(args.opt, Path(folder), args.images))]}
        for turn in tqdm(range(args.rounds + 1), 'time', unit='round'):
            for name in PROGRAMS:
                found = timed(name, arguments.get(name, []))
                if turn:  # the first fills the system's file cache
                    times[name].append(found)
    print(json.dumps({**figures(times), 'opt': str(args.opt), 'images': args.images,
                      'python': platform.python_version(), 'torch': torch.__version__}))


def figures(times: dict[str, list[tuple[float, float]]]) -> dict[str, float]:
    """Medians by name of the rounds of ``timed`` of all ``PROGRAMS``, and what this package adds to BasicSR."""
    medians = {name: [statistics.median(kind) for kind in zip(*found, strict=True)] for name, found in times.items()}
    for name, more, less in (('import_over_basicsr', 'import', 'basicsr'), ('parse_over_import', 'parse', 'import')):
        # The differences of each turn: what slows down a whole turn leaves them alone.
        medians[name] = [statistics.median(a[kind] - b[kind] for a, b in zip(times[more], times[less], strict=True))
                         for kind in (0, 1)]
    return {f'{name}_{unit}': round(value, 2) for name, values in medians.items()
            for unit, value in zip(('s', 'cpu_s'), values, strict=True)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--opt', type=Path, default=ROOT / 'options/demo/train_MiPKD_x4.yml', metavar='FILE',
                        help='option file of a training (default: options/demo/train_MiPKD_x4.yml)')
    parser.add_argument('--images', type=int, default=8, help='pairs in each synthetic dataset (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=5,
                        help='processes of each kind, after a warm-up (default: %(default)s)')
    return exit_status(measure, parser.parse_args())


if __name__ == '__main__':
    sys.exit(main())
