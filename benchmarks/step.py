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
from itertools import chain, count
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import mipkd_model  # noqa: F401  (first: it says how torch's threads wait, and makes BasicSR importable)

# isort: split
import torch
import yaml
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from mipkd_arch.base.cli import exit_status
from mipkd_arch.base.errors import UserError, number_in
from mipkd_model.base.randomness import StepRandom
from mipkd_model.config.checks import check_options
from mipkd_model.config.reader import read_options
from mipkd_model.evaluation.provenance import device_name
from mipkd_model.experiments.methods import blocks_of
from mipkd_model.experiments.option_files import text_of_training
from mipkd_model.experiments.runs import Run, parse_pair
from mipkd_model.networks.build import make_network
from mipkd_model.reports.profiling.memory import peak_allocated_bytes
from mipkd_model.schema.training import active_losses

from basicsr.models import build_model

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


class Ours:
    """MiPKDModel on an option file of the matrix."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.model = build_model(deepcopy(opt))
        self.optimizer = self.model.optimizer_g
        self.modules = self.model.distiller, self.model.net_t, self.model.net_g_ema
        self.has_schedules = any('schedule' in loss for loss in active_losses(opt['train']).values())

    def step(self, batch: dict[str, Tensor], iteration: int) -> None:
        self.model.feed_data(batch)
        self.model.optimize_parameters(iteration)


def written(args: argparse.Namespace, method: str) -> dict[str, Any]:
    """The option file of a method: that of the pair, or --opt with the losses of the method."""
    if not args.opt:
        return yaml.safe_load(text_of_training(Run(parse_pair(args.pair), method), Path('options/x.yml')))
    opt = read_options(args.opt)
    train = {name: value for name, value in opt['train'].items() if not name.endswith('_opt')}
    return {**opt, 'train': {**train, **deepcopy(blocks_of(method))}}


def options(method: str, folder: Path, args: argparse.Namespace, device: torch.device,
            changes: str = '{}') -> dict[str, Any]:
    """Options of a run with random teacher's weights in ``folder``, as BasicSR's pipeline gives them to a model."""
    opt = written(args, method)
    file = folder / 'teacher.pth'
    opt['path'] = {'pretrain_network_g': None, 'pretrain_network_t': str(file)}
    if opt.get('network_t', {}).get('type') == 'SpandrelNetwork':
        opt['network_t']['file'], opt['path']['pretrain_network_t'] = str(file), None
        if not file.exists():
            torch.save(spandrel_network(parse_pair(args.pair).teacher, opt['scale']).state_dict(), file)
    elif 'network_t' in opt and not file.exists():
        torch.save({'params': make_network({**opt, 'path': {}}, 't')[0].state_dict()}, file)
    opt['datasets']['train']['batch_size_per_gpu'] = args.batch
    for text in (args.train, changes):
        change(opt['train'], parse_changes(text))
    check_options(opt, is_train=True)
    return {**opt, 'num_gpu': int(device.type == 'cuda'), 'is_train': True, 'dist': False, 'rank': 0, 'world_size': 1,
            'val': None}  # weights are random, and no teacher is to be checked


def spandrel_network(teacher: str, scale: int) -> torch.nn.Module:
    """A teacher of spandrel's classes in its published size, with random weights; their files alone have the sizes."""
    from spandrel.architectures.ATD import ATD
    from spandrel.architectures.DAT import DAT
    from spandrel.architectures.HAT import HAT
    common = {'upscale': scale, 'upsampler': 'pixelshuffle', 'img_size': 64, 'num_heads': [6] * 6}
    if teacher == 'HAT':
        return HAT(embed_dim=180, depths=[6] * 6, window_size=16, mlp_ratio=2, **common)
    if teacher == 'ATD':
        return ATD(embed_dim=210, depths=[6] * 6, window_size=16, category_size=256, num_tokens=128, reducted_dim=20,
                   convffn_kernel_size=5, mlp_ratio=2, **common)
    if teacher == 'DAT_2':
        return DAT(embed_dim=180, depth=[6] * 6, split_size=[8, 32], expansion_factor=2, **common)
    return DAT(img_size=64, embed_dim=60, depth=[18], num_heads=[6], split_size=[8, 32], expansion_factor=2,
               resi_connection='3conv', upscale=scale, upsampler='pixelshuffledirect')


def parse_changes(text: str) -> dict[str, Any]:
    """Options of a ``train`` block from the command line's YAML."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"--train and --also: {text!r} is not a mapping; give options such as '{{precision: fp32}}'")
    return found


def change(train: dict[str, Any], changes: dict[str, Any]) -> None:
    """Change a ``train`` block; a mapping in it is updated, and only if the method has it."""
    for name, value in changes.items():
        if not isinstance(value, dict):
            train[name] = value
        elif name in train:
            train[name].update(value)


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
    batch = {key: torch.randint(0, 256, (args.batch, 3, side, side), dtype=torch.uint8)
             for key, side in (('lq', args.patch), ('gt', args.patch * opt['scale']))}
    if device.type == 'cuda':
        batch = {key: images.pin_memory() for key, images in batch.items()}
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


def wait(device: torch.device) -> None:
    """Until the device has done its work."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def iterations_of_all_routes(seed: int, stages: int, start: int = 1) -> list[int]:
    """The first iteration from ``start`` on of each route that the block prior may draw."""
    found: dict[tuple[str, ...], int] = {}
    for iteration in count(start):
        route = tuple(StepRandom(seed, iteration, torch.device('cpu')).route(stages, 0.5, 'student', 'teacher'))
        found.setdefault(route, iteration)
        if len(found) == 2**stages:
            break
    return list(found.values())


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
