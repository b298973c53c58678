"""How well several small trainings share one machine: steps per second of all together, by how many there are.

Each training is a process of its own, which steps MiPKDModel on a batch of noise in its memory, by random weights.
All are warmed up by every route that they may take, start at one time and step for the same number of seconds. The
machine's CPU threads are divided among them: each has torch's usual number // their number, at least 1. No images
are read or decoded.

The last line is one JSON object; "runs" has for each number of trainings: "threads" of each, "steps_per_second" of all
together, "each" training's, "efficiency", which is the former over that of one training alone, and on a GPU "peak_mib",
the most that each process's allocator held, to which CUDA adds some hundred MiB of its own.

example:
  python benchmarks/sharing.py --pair EDSR_x4 --batch 2 --patch 24 --runs 1 2
"""
import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import mipkd_model  # noqa: F401  (first: it says how torch's threads wait, and makes BasicSR importable)

# isort: split
import torch
from step_setup import Ours, iterations_of_all_routes, noise, options, wait
from torch import Tensor
from tqdm import tqdm

from mipkd_arch.base.cli import exit_status
from mipkd_arch.base.errors import UserError, number_in, one_line, reason_of
from mipkd_model.evaluation.provenance import device_name


def warm(opt: dict[str, Any], batch: dict[str, Tensor]) -> Callable[[int], None]:
    """A training that has taken every route once; returns its step, a function of the iteration."""
    training = Ours(opt)
    stages = max(len(training.model.distiller.mixers) - 1, 0)
    for iteration in iterations_of_all_routes(opt['manual_seed'], stages):
        training.step(batch, iteration)
    return lambda iteration: training.step(batch, iteration)


def rate(step: Callable[[int], None], seconds: float, device: torch.device) -> float:
    """Steps per second over at least ``seconds`` and at least one step."""
    start = time.perf_counter()
    for steps in count(1):
        step(steps)
        if time.perf_counter() - start >= seconds:
            break
    wait(device)
    return steps / (time.perf_counter() - start)


def worker(connection: Connection, barrier: Barrier, opt: dict[str, Any], args: argparse.Namespace, threads: int
           ) -> None:
    """One training, in its own process.

    Args:
        connection: is sent (steps per second, peak bytes of the GPU's allocator), or one line on what went wrong.
        barrier: of all trainings, at which they start to count.
        opt: options of the training.
        args: of the command.
        threads: of the CPU.
    """
    try:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = True  # as in BasicSR's pipeline
        device = device_of(opt)
        batch = noise(args.batch, args.patch, opt['scale'], device)
        step = warm(opt, batch)
        wait(device)
        barrier.wait()
        found = rate(step, args.seconds, device)
        connection.send((found, torch.cuda.max_memory_reserved() if device.type == 'cuda' else None))
    except UserError as error:
        connection.send(one_line(error))
    except Exception as error:  # such as a GPU's memory that is not enough for all
        connection.send(f'--runs: one of the trainings failed ({reason_of(error)})')


def device_of(opt: dict[str, Any]) -> torch.device:
    """Where the trainings are."""
    return torch.device('cuda' if opt['num_gpu'] else 'cpu')


def together(number: int, target: Callable[..., None], *given: Any) -> list[Any]:
    """Run ``target(connection, barrier, *given)`` in several processes at once.

    Args:
        number: of processes.
        target: sends one object by its connection: its result, or a string on what went wrong.
        given: passed on.

    Returns:
        The result of each process.

    Raises:
        UserError: one of them sent a string, or was killed; the others are ended, too.
    """
    context = get_context('spawn')  # CUDA does not work in a forked process
    barrier, processes = context.Barrier(number), []
    found: dict[Any, Any] = {}
    try:
        for _ in range(number):
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=target, args=(theirs, barrier, *given), daemon=True)
            process.start()
            theirs.close()  # only the process has it now, so that its end can be noticed here
            processes.append(process)
            found[ours] = None
        waiting = set(found)
        while waiting:
            for connection in wait_for(waiting):
                found[connection] = _received(connection)
                waiting.remove(connection)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
    return list(found.values())


def _received(connection: Any) -> Any:
    try:
        found = connection.recv()
    except EOFError:
        raise UserError('--runs: one of the trainings was killed; is there memory for all of them?') from None
    if isinstance(found, str):
        raise UserError(found)
    return found


def measure(args: argparse.Namespace) -> None:
    """Measure every number of trainings and print the result."""
    for name in ('batch', 'patch'):
        number_in(f'--{name}', getattr(args, name), 1, integer=True)
    number_in('--seconds', args.seconds, 0)
    for number in args.runs:
        number_in('--runs', number, 1, integer=True)
    cores = torch.get_num_threads()
    found: dict[int, dict[str, Any]] = {}
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    with tempfile.TemporaryDirectory() as folder:
        opt = options(args.method, Path(folder), args, device)
        for number in tqdm(sorted({1, *args.runs}), 'measure', unit='setting'):
            threads = max(cores // number, 1)
            found[number] = summary(together(number, worker, opt, args, threads), threads)
    for number, figures in found.items():
        figures['efficiency'] = round(figures['steps_per_second'] / found[1]['steps_per_second'], 3)
        print(f'{number} at once, {figures["threads"]} threads each: {figures["steps_per_second"]:.3f} steps/s, '
              f'efficiency {figures["efficiency"]:.2f}')
    print(json.dumps({'pair': args.opt or args.pair, 'method': args.method, 'batch': args.batch, 'patch': args.patch,
                      'train': args.train, 'seconds': args.seconds, 'device': device_name(device),
                      'torch': torch.__version__, 'runs': found}))


def summary(found: Sequence[tuple[float, int | None]], threads: int) -> dict[str, Any]:
    """The figures of trainings that ran at once: steps per second and GPU bytes of each, with ``threads`` each."""
    rates, peaks = zip(*found, strict=True)
    figures: dict[str, Any] = {'threads': threads, 'steps_per_second': round(sum(rates), 3),
                               'each': [round(rate, 3) for rate in rates]}
    return figures if None in peaks else {**figures, 'peak_mib': [round(peak / 2**20) for peak in peaks]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pair', default='EDSR_x4', help='of the matrix (default: %(default)s)')
    parser.add_argument('--opt', metavar='FILE', help='option file with another pair')
    parser.add_argument('--method', default='MiPKD', help='of the matrix (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=16, help='LR patches in a step (default: %(default)s)')
    parser.add_argument('--patch', type=int, default=48, help='side of an LR patch (default: %(default)s)')
    parser.add_argument('--train', default='{}', metavar='YAML',
                        help="changes of the option file's train block, such as '{precision: fp32}'")
    parser.add_argument('--runs', type=int, nargs='+', default=[1, 2, 4], metavar='N',
                        help='numbers of trainings at once; 1 is always measured (default: %(default)s)')
    parser.add_argument('--seconds', type=float, default=20, help='of stepping (default: %(default)s)')
    return exit_status(measure, parser.parse_args())


if __name__ == '__main__':
    sys.exit(main())
