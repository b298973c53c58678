"""How long one training step takes: MiPKDModel's by logits-KD and by MiPKD, against a straightforward one.

The reference is eager float32 in BasicSR's style: teacher, student, two L1 losses, backward, Adam, and a loop over the
parameters for the moving average. All run in turn, on the same batch of noise, so that whatever else the machine does
slows down all alike. MiPKD's steps differ by the route that is drawn: each round has a step of every possible route,
and a figure is the mean over the routes of the medians over the rounds. Weights are random, which does not matter for
the time.

The last line is one JSON object: "logits_speedup" and "mipkd_speedup" are the reference's time over ours (the
reference trains by logits-KD in both), "mipkd_over_logits" compares our two, and "memory_over_logits" their peak memory
beyond weights and optimizer, that of MiPKD's dearest route.

example:
  python benchmarks/step.py --pair EDSR_x4 --batch 2 --patch 24
"""
import argparse
import json
import statistics
import sys
import tempfile
import time
from copy import deepcopy
from itertools import count
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))

import torch
import yaml
from torch.nn import functional as F
from tqdm import tqdm

import mipkd_model  # noqa: F401  (first: it makes BasicSR importable)
from mipkd_arch.errors import exit_status, number_in
from mipkd_model.assemble import make_network
from mipkd_model.costs.memory import allocated_peak
from mipkd_model.draws import Draws
from mipkd_model.evaluation.origin import device_name
from mipkd_model.matrix.runs import Run, parse_pair
from mipkd_model.matrix.training_file import text_of_training

from basicsr.models import build_model

METHODS = {'logits': 'Logits-KD', 'mipkd': 'MiPKD'}


class Reference:
    """Logits-KD as it is usually written."""

    def __init__(self, opt, device):
        blocks = {'path': {}, 'network_g': opt['network_g'], 'network_t': opt['network_t']}
        self.student = make_network(blocks, 'g')[0].to(device).train()
        self.teacher = make_network(blocks, 't')[0].to(device).eval().requires_grad_(False)
        self.ema = deepcopy(self.student).eval().requires_grad_(False)
        self.optimizer = torch.optim.Adam(self.student.parameters(), 1e-4, betas=(0.9, 0.99))
        self.device = device

    def step(self, batch, _):
        lq, gt = (batch[key].to(self.device).float() / 255 for key in ('lq', 'gt'))
        self.optimizer.zero_grad()
        with torch.no_grad():
            target = self.teacher(lq)
        output = self.student(lq)
        losses = [F.l1_loss(output, gt), F.l1_loss(output, target)]
        sum(losses).backward()
        self.optimizer.step()
        ours, averaged = dict(self.student.named_parameters()), dict(self.ema.named_parameters())
        for name in averaged:
            averaged[name].data.mul_(0.999).add_(ours[name].data, alpha=0.001)
        return [loss.item() for loss in losses]  # BasicSR fetches them in each step


class Ours:
    """MiPKDModel on an option file of the matrix."""

    def __init__(self, opt):
        self.model = build_model(deepcopy(opt))

    def step(self, batch, iteration):
        self.model.feed_data(batch)
        self.model.optimize_parameters(iteration)


def options(pair, method, folder, args, device):
    """Options of a run with random teacher's weights in ``folder``, as BasicSR's pipeline gives them to a model."""
    opt = yaml.safe_load(text_of_training(Run(pair, method), Path('options/x.yml')))
    file = folder / 'teacher.pth'
    if not file.exists():
        torch.save({'params': make_network({**opt, 'path': {}}, 't')[0].state_dict()}, file)
    opt['path'] = {'pretrain_network_g': None, 'pretrain_network_t': str(file)}
    opt['train'].update(yaml.safe_load(args.train))
    return {**opt, 'num_gpu': int(device.type == 'cuda'), 'is_train': True, 'dist': False, 'rank': 0, 'world_size': 1}


def measure(args):
    """Time all steps in turn and print the result."""
    pair = parse_pair(args.pair)
    for name in ('batch', 'patch', 'rounds'):
        number_in(f'--{name}', getattr(args, name), 1, integer=True)
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    torch.backends.cudnn.benchmark = True  # as in BasicSR's pipeline
    with tempfile.TemporaryDirectory() as folder:
        opts = {name: options(pair, method, Path(folder), args, device) for name, method in METHODS.items()}
        steps = {'reference': Reference(opts['logits'], device), **{name: Ours(opt) for name, opt in opts.items()}}
    batch = {key: torch.randint(0, 256, (args.batch, 3, side, side), dtype=torch.uint8)
             for key, side in (('lq', args.patch), ('gt', args.patch * pair.scale))}

    def run(name, iteration):
        steps[name].step(batch, iteration)
        if device.type == 'cuda':
            torch.cuda.synchronize()

    iterations = iterations_of_all_routes(opts['mipkd']['manual_seed'], len(steps['mipkd'].model.distiller.mixers) - 1)
    times, peaks = {name: {iteration: [] for iteration in iterations} for name in steps}, {}
    for name in tqdm(steps, 'warm up', unit='step'):
        for iteration in iterations:
            run(name, iteration)
        peaks[name] = max((allocated_peak(lambda one=(name, iteration): run(*one), device) or 0)
                          for iteration in (iterations if name == 'mipkd' else iterations[:1]))
    for _ in tqdm(range(args.rounds), 'time', unit='round'):
        for iteration in iterations:
            for name in steps:
                start = time.perf_counter()
                run(name, iteration)
                times[name][iteration].append(time.perf_counter() - start)
    seconds = {name: statistics.mean(map(statistics.median, of.values())) for name, of in times.items()}
    print(json.dumps(result(args, device, seconds, peaks)))


def iterations_of_all_routes(seed, stages):
    """The first iteration of each route that the block prior may draw."""
    found = {}
    for iteration in count(1):
        route = tuple(Draws(seed, iteration, torch.device('cpu')).route(stages, 0.5, 'student', 'teacher'))
        found.setdefault(route, iteration)
        if len(found) == 2**stages:
            return list(found.values())


def result(args, device, seconds, peaks):
    """The figures by name."""
    found = {'pair': args.pair, 'batch': args.batch, 'patch': args.patch, 'train': args.train,
             'device': device_name(device), 'torch': torch.__version__}
    for name, value in seconds.items():
        found[f'{name}_ms'] = round(1000 * value, 2)
        found[f'{name}_samples_per_second'] = round(args.batch / value, 2)
        found[f'{name}_peak_mib'] = round(peaks[name] / 2**20, 1)
    found.update(logits_speedup=round(seconds['reference'] / seconds['logits'], 2),
                 mipkd_speedup=round(seconds['reference'] / seconds['mipkd'], 2),
                 mipkd_over_logits=round(seconds['mipkd'] / seconds['logits'], 2),
                 memory_over_logits=round(peaks['mipkd'] / peaks['logits'], 2) if peaks['logits'] else None)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pair', default='EDSR_x4', help='of the matrix (default: %(default)s)')
    parser.add_argument('--batch', type=int, default=16, help='LR patches in a step (default: %(default)s)')
    parser.add_argument('--patch', type=int, default=48, help='side of an LR patch (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=5,
                        help='timed steps of each route; there are eight on the paper\'s pairs (default: %(default)s)')
    parser.add_argument('--train', default='{}', metavar='YAML',
                        help="changes of our option files' train block, such as '{precision: fp32}'")
    return exit_status(measure, parser.parse_args())


if __name__ == '__main__':
    sys.exit(main())
