"""How long waiting threads spin, and what it costs: the same convolutions on an idle and on a busy machine.

Each setting is a process of its own, since OpenMP reads the environment when torch is loaded; all settings take turns.
The last line is JSON: seconds of each setting, the least and the median over the rounds.

example: python benchmarks/threads.py --rounds 5 --busy 1
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

from mipkd_arch.base.threads import SPINS

# isort: split
from tqdm import tqdm

CONVOLUTIONS = """
import time, torch
layers = torch.nn.Sequential(*(torch.nn.Conv2d(64, 64, 3, padding=1) for _ in range(8)))
x = torch.rand(2, 64, 48, 48)
layers(x).sum().backward()
start = time.perf_counter()
for _ in range(10):
    layers(x).sum().backward()
print(time.perf_counter() - start)
"""
"""Forward and backward of eight convolutions, ten times, as a small network has them."""
SETTINGS = {'of torch': {}, 'of mipkd': {'GOMP_SPINCOUNT': str(SPINS)}, 'passive': {'OMP_WAIT_POLICY': 'PASSIVE'},
            'one thread': {'OMP_NUM_THREADS': '1'}}
OF_THREADS = ('OMP_', 'GOMP_', 'KMP_', 'MKL_NUM')


def seconds(setting: dict[str, str]) -> float:
    """Run the convolutions in a process with these variables, and no others that concern threads."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(OF_THREADS)}
    done = subprocess.run([sys.executable, '-c', CONVOLUTIONS], env={**env, **setting}, capture_output=True, text=True,
                          check=True)
    return float(done.stdout)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Context in which so many processes compute all the time."""
    others = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=5, help='processes of each setting (default: 5)')
    parser.add_argument('--busy', type=int, default=1, metavar='N',
                        help='other processes of the busy machine (default: 1)')
    args = parser.parse_args()
    if args.rounds < 1 or args.busy < 1:
        parser.error('--rounds and --busy: allowed is at least 1')
    places = {'idle': 0, f'beside {args.busy} busy process{"es" if args.busy > 1 else ""}': args.busy}
    found: dict[str, dict[str, list[float]]] = {place: {name: [] for name in SETTINGS} for place in places}
    with tqdm(total=args.rounds * len(places) * len(SETTINGS), unit='process') as bar:
        for _ in range(args.rounds):
            for place, count in places.items():
                with busy(count):
                    for name, setting in SETTINGS.items():
                        found[place][name].append(seconds(setting))
                        bar.update()
    result = {place: {name: {'least': min(times), 'median': statistics.median(times)} for name, times in of.items()}
              for place, of in found.items()}
    for place, of in result.items():
        print(f'{place}: ' + ', '.join(f'{name} {times["median"]:.2f} s' for name, times in of.items()))
    print(json.dumps({'cpus': os.cpu_count(), 'rounds': args.rounds, 'seconds': result}))


if __name__ == '__main__':
    main()
