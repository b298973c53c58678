"""How long one training step takes: MiPKDModel's by logits-KD and by MiPKD, against a straightforward one.

The reference is eager float32 in BasicSR's style: teacher, student, two L1 losses, backward, Adam, and a loop over the
parameters for the moving average. All take turns, on the same batch of noise, so that whatever else the machine does
slows down all alike. MiPKD's steps differ by the route that is drawn, so a turn is one step of every possible route; a
figure is the median over the turns. Weights are random, which does not matter for the time. On a slow or busy machine
there are fewer turns than were asked for: "rounds" says how many, after --seconds none begins.

The last line is one JSON object: "logits_speedup" and "mipkd_speedup" are the reference's time over ours (the
reference trains by logits-KD in both), "mipkd_over_logits" compares our two, and "memory_over_logits" their peak
memory with all that a training holds; "..._step_mib" is the part that a step takes beyond weights, gradients,
averages and optimizer. "matrix_tflops" is the rate of the device's own product of two large matrices in bfloat16,
"..._share" the part of it that a step's convolutions and matrix products reach. Weights of losses may change over a
training: "..._end_ms" is the time of a step when all schedules have come to their ends. With --also, "also" has our
steps by other options.

examples:
  python benchmarks/step.py --pair EDSR_x4 --batch 2 --patch 24
  python benchmarks/step.py --pair RCAN_x4 --also '{compile: true}'
  python benchmarks/step.py --opt options/demo/train_MiPKD_x4.yml --batch 8 --patch 24 --methods FitNet FAKD
"""
import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import mipkd_model  # noqa: F401  (first: it says how torch's threads wait, and makes BasicSR importable)

# isort: split
import torch
from step_setup import Ours, iterations_of_all_routes, noise, options, wait
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from mipkd_arch.base.cli import exit_status
from mipkd_arch.base.errors import number_in
from mipkd_model.evaluation.provenance import device_name
from mipkd_model.networks.build import make_network
from mipkd_model.reports.profiling.memory import peak_allocated_bytes

METHODS = {'logits': 'Logits-KD', 'mipkd': 'MiPKD'}
MATRIX = {'cuda': 8192, 'cpu': 2048}  # side of the matrices whose product tells a device's rate


class Reference:
    """Logits-KD as it is usually written."""

    def __init__(self, opt: dict[str, Any], device: torch.device) -> None:
        blocks = {'path': {}, 'network_g': opt['network_g'], 'network_t': opt['network_t']}
        self.student = make_network(blocks, 'g')[0].to(device).train()
        self.teacher = make_network(blocks, 't')[0].to(device).eval().requires_grad_(False)
        self.ema = deepcopy(self.student).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.student.parameters(), 1e-4, betas=(0.9, 0.99))
        self.device, self.modules = device, (self.student, self.teacher, self.ema)

    def step(self, batch: dict[str, Tensor], _: int) -> list[float]:
        lq, gt = (batch[key].to(self.device).float() / 255 for key in ('lq', 'gt'))
        self.optimizer.zero_grad()
        with torch.no_grad():
            target = self.teacher(lq)
        output = self.student(lq)
        losses = [F.l1_loss(output, gt), F.l1_loss(output, target)]
        (losses[0] + losses[1]).backward()
        self.optimizer.step()
        ours, averaged = dict(self.student.named_parameters()), dict(self.ema.named_parameters())
        for name in averaged:
            averaged[name].data.mul_(0.999).add_(ours[name].data, alpha=0.001)
        return [loss.item() for loss in losses]  # BasicSR fetches them in each step


def measure(args: argparse.Namespace) -> None:
    """Time all steps in turn and print the result."""
    for name in ('batch', 'patch', 'rounds'):
        number_in(f'--{name}', getattr(args, name), 1, integer=True)
    number_in('--seconds', args.seconds, 0)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    torch.backends.cudnn.benchmark = True  # as in BasicSR's pipeline
    methods = {**METHODS, **{method.lower(): method for method in args.methods}}
    with tempfile.TemporaryDirectory() as folder:
        opt = options('Logits-KD', Path(folder), args, device)
        steps: dict[str, Any] = {'reference': Reference(opt, device)}
        for label, changes in [('', '{}'), *((f'_also{i}', text) for i, text in enumerate(args.also))]:
            for name, method in methods.items():
                steps[name + label] = Ours(options(method, Path(folder), args, device, changes))
    batch = noise(args.batch, args.patch, opt['scale'], device)
    model = steps['mipkd'].model
    stages = len(model.distiller.mixers) - 1
    first, last = (iterations_of_all_routes(model.opt['manual_seed'], stages, start)
                   for start in (1, opt['train']['total_iter']))

    def turn(name: str, iterations: Sequence[int]) -> float:
        start = time.perf_counter()
        for iteration in iterations:
            steps[name].step(batch, iteration)
        wait(device)
        return (time.perf_counter() - start) / len(iterations)

    peaks = {}
    for name in tqdm(steps, 'warm up', unit='step'):
        turn(name, first)
        peaks[name] = peak(steps[name], batch, first if name.startswith('mipkd') else first[:1], device)
    turns = {name: (name, first) for name in steps}
    turns |= {f'{name}_end': (name, last) for name in methods if steps[name].has_schedules}
    times: dict[str, list[float]] = {name: [] for name in turns}
    for _ in tqdm(rounds_within(args.rounds, args.seconds), 'time', args.rounds, unit='round'):
        for name, which in turns.items():
            times[name].append(turn(*which))
    seconds = {name: statistics.median(of) for name, of in times.items()}
    tflop = {name: statistics.mean(flops_of(steps[name], batch, iteration) for iteration in first) / 1e12
             for name in methods}
    print(json.dumps({**result(args, device, seconds, peaks, tflop), 'rounds': len(times['reference'])}))


def rounds_within(most: int, seconds: float) -> Iterator[int]:
    """Up to so many rounds; at least one, and none that would begin after that many seconds."""
    end = time.monotonic() + seconds
    for number in range(most):
        if number and time.monotonic() >= end:
            return
        yield number


def peak(one: Any, batch: dict[str, Tensor], iterations: Sequence[int], device: torch.device) -> tuple[int, int]:
    """Bytes that a training holds between steps, and the most that a step takes beyond them."""
    def step(iteration: int) -> None:
        one.step(batch, iteration)
        wait(device)

    beyond = max(peak_allocated_bytes(partial(step, iteration), device) for iteration in iterations)
    weights = [tensor for module in one.modules for tensor in chain(module.parameters(), module.buffers())]
    states = [value for state in one.optimizer.state.values() for value in state.values() if torch.is_tensor(value)]
    tensors = {id(tensor): tensor for tensor in [*weights, *states, *(w.grad for w in weights if w.grad is not None)]}
    return sum(tensor.nbytes for tensor in tensors.values()), beyond


def flops_of(one: Any, batch: dict[str, Tensor], iteration: int) -> int:
    """Operations of a step's convolutions and matrix products, two for each multiply-accumulate."""
    counter = FlopCounterMode(display=False)
    with counter:
        one.step(batch, iteration)
    return counter.get_total_flops()


def matrix_rate(device: torch.device) -> float:
    """Operations per second in the product of two large matrices in bfloat16."""
    side = MATRIX[device.type]
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(20):
        wait(device)
        start = time.perf_counter()
        a @ b
        wait(device)
        times.append(time.perf_counter() - start)
    return 2 * side**3 / statistics.median(times[5:])


def result(args: argparse.Namespace, device: torch.device, seconds: dict[str, float],
           peaks: dict[str, tuple[int, int]], tflop: dict[str, float]) -> dict[str, Any]:
    """The figures by name."""
    rate = matrix_rate(device) / 1e12

    def ours(label: str) -> dict[str, float]:
        """Those of our two kinds of steps, by one set of options."""
        found: dict[str, float] = {}
        for name in tflop:
            found.update(figures(name, args.batch, seconds[name + label], peaks[name + label]))
            found[f'{name}_share'] = round(tflop[name] / seconds[name + label] / rate, 3)
            found[f'{name}_speedup'] = round(seconds['reference'] / seconds[name + label], 2)
            if not label and f'{name}_end' in seconds:
                found[f'{name}_end_ms'] = round(1000 * seconds[f'{name}_end'], 2)
        logits, mipkd = (name + label for name in METHODS)
        return {**found, 'mipkd_over_logits': round(seconds[mipkd] / seconds[logits], 2),
                'memory_over_logits': round(sum(peaks[mipkd]) / sum(peaks[logits]), 2)}

    return {'pair': args.opt or args.pair, 'batch': args.batch, 'patch': args.patch, 'train': args.train,
            'device': device_name(device), 'torch': torch.__version__, 'matrix_tflops': round(rate, 2),
            **figures('reference', args.batch, seconds['reference'], peaks['reference']),
            **{f'{name}_tflop': round(count, 3) for name, count in tflop.items()}, **ours(''),
            'also': [{'train': text, **ours(f'_also{i}')} for i, text in enumerate(args.also)]}


def figures(name: str, batch: int, seconds: float, peaks: tuple[int, int]) -> dict[str, float]:
    """What is said of any kind of step; ``peaks`` are those of ``peak``."""
    held, beyond = peaks
    return {f'{name}_ms': round(1000 * seconds, 2), f'{name}_samples_per_second': round(batch / seconds, 2),
            f'{name}_peak_mib': round((held + beyond) / 2**20, 1), f'{name}_step_mib': round(beyond / 2**20, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pair', default='EDSR_x4', help='of the matrix (default: %(default)s)')
    parser.add_argument('--opt', metavar='FILE', help='option file with another pair')
    parser.add_argument('--methods', nargs='*', default=[], metavar='METHOD',
                        help='more methods to measure, such as FitNet')
    parser.add_argument('--batch', type=int, default=16, help='LR patches in a step (default: %(default)s)')
    parser.add_argument('--patch', type=int, default=48, help='side of an LR patch (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=5,
                        help="turns; one has eight steps on the paper's pairs (default: %(default)s)")
    parser.add_argument('--seconds', type=float, default=600,
                        help='no turn after the first begins later than this after the first (default: %(default)s)')
    parser.add_argument('--train', default='{}', metavar='YAML',
                        help="changes of our option files' train block, such as '{precision: fp32}'")
    parser.add_argument('--also', action='append', default=[], metavar='YAML',
                        help='measure our steps by these changes, too, in the same turns; may be given several times')
    return exit_status(measure, parser.parse_args())


if __name__ == '__main__':
    sys.exit(main())
