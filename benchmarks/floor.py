"""The arithmetic and bytes that one training step must do for each pair, and the floor they give to its time.

Counted are the convolutions and matrix products of a step of logits-KD and of MiPKD, forward and backward, and the
update of the weights. MiPKD's steps differ by the route that the block prior draws; its figures are means over all
routes, which are equally likely. The project's own step runs without any arithmetic, so nothing is timed and no GPU is
needed. benchmarks/floor.md says what is counted and why, and what the figures mean.

The floor takes each product by itself: it lasts as long as its operations or its bytes do, whichever is longer.

The last line is one JSON object with all figures by pair. "products" are how many convolutions and matrix products a
step has; "arithmetic_ms" and "bytes_ms" are the times of all operations and of all bytes; "mipkd_over_logits" has the
ratios.

example:
  python benchmarks/floor.py --pairs EDSR_x4 SwinIR_x2 --batch 16 --patch 48
"""
import argparse
import json
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))

import mipkd_model  # noqa: F401  (first: it says how torch's threads wait, and makes BasicSR importable)

# isort: split
import torch
import yaml
from tabulate import tabulate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from tqdm import tqdm

from mipkd_arch.base.cli import exit_status
from mipkd_arch.base.errors import number_in
from mipkd_arch.prior_mixer import STUDENT, TEACHER
from mipkd_model.experiments.networks import PAIRS, SCALES
from mipkd_model.experiments.option_files import text_of_training
from mipkd_model.experiments.runs import Pair, Run, parse_pair
from mipkd_model.reports.profiling.macs import build
from mipkd_model.training.build import make_losses, make_views
from mipkd_model.training.distiller import Distiller

METHODS = {'logits': 'Logits-KD', 'mipkd': 'MiPKD'}
PAPERS = [Pair(*names, scale).name for names in PAIRS[:3] for scale in SCALES]  # the paper's three come first
BF16 = 2  # bytes of a number
UPDATE = 7 * 4  # of a trained weight: it, its gradient and Adam's two moments are read, all but the gradient written
AVERAGE = 2 * 4  # of a weight of the student: its moving average is read and written; it itself is at hand
META = torch.device('meta')  # tensors there have a shape and no values

aten = torch.ops.aten


class Products(TorchDispatchMode):
    """Collects all convolutions and matrix products that run within it.

    Attributes:
        work: how many there are of each (floating-point operations, bytes), 2 operations to a
            multiply-accumulate, and the bytes in bfloat16.
    """

    def __init__(self) -> None:
        super().__init__()
        self.work: Counter[tuple[int, int]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
                           ) -> Any:
        out, kind = func(*args, **(kwargs or {})), func._overloadpacket
        if kind is aten.convolution_backward:
            self._add_backward(args, out)
        elif kind in flop_registry:
            sizes = [x.numel() for x in (*args, out) if isinstance(x, torch.Tensor) and x.dim() > 1]
            # A batched product is attention's. The largest of its three matrices has the scores of all pairs of
            # tokens, which a fused kernel keeps on the chip.
            left_out = max(sizes) if kind in (aten.bmm, aten.baddbmm) else 0
            self.work[flop_registry[kind](*args, **(kwargs or {}), out_val=out), BF16 * (sum(sizes) - left_out)] += 1
        return out

    def _add_backward(self, args: Sequence[Any], out: Sequence[Any]) -> None:
        gradient, x, weight, _, *how = args
        # One product for the gradient of the input, one for that of the weight. Each has as many multiply-accumulates
        # as the way forward, and reads two tensors of the same three sizes and writes the third.
        flops = flop_registry[aten.convolution](x, weight, None, *how[:-1], out_val=gradient)
        size = x.numel() + weight.numel() + gradient.numel()
        self.work[flops, BF16 * size] += sum(made is not None for made in out[:2])


class Route:
    """Takes the place of a step's ``StepRandom``: the route is given, and masks have no values."""

    def __init__(self, roles: Sequence[str] | None) -> None:
        self.roles = roles

    def route(self, *_: Any) -> Sequence[str] | None:
        return self.roles

    def uniform(self, shape: Sequence[int]) -> torch.Tensor:
        return torch.empty(shape, device=META)


def distiller_of(opt: dict[str, Any]) -> Distiller:
    """A distiller of random networks on the meta device, for the options of a training.

    Raises:
        UserError: a network cannot be built; a file that it needs is missing.
    """
    # Built on the CPU, since SwinIR reads values when it is built.
    student = build(opt['network_g'], 'network_g').to(META).train()
    teacher = build(opt['network_t'], 'network_t').to(META).requires_grad_(False)
    losses = make_losses(opt['train'])
    return Distiller(*make_views(opt, student, teacher, losses), losses, opt['train'].get('mixer_opt')).to(META)


def work_of_step(distiller: Distiller, batch: int, patch: int, roles: Sequence[str] | None = None
                 ) -> Counter[tuple[int, int]]:
    """What one step must do, as ``Products.work``, with the update of the weights as bytes without operations.

    Args:
        distiller: from ``distiller_of``.
        batch: LR patches.
        patch: their side.
        roles: the route of the block prior, if there is one.
    """
    side = patch * distiller.views[STUDENT].upscale
    lq, gt = torch.empty(batch, 3, patch, patch, device=META), torch.empty(batch, 3, side, side, device=META)
    with Products() as products:
        sum(distiller(lq, gt, Route(roles)).values()).backward()
    trained = sum(p.numel() for p in distiller.parameters() if p.requires_grad)
    averaged = sum(p.numel() for p in distiller.student.parameters())
    products.work[0, UPDATE * trained + AVERAGE * averaged] += 1
    return products.work


def routes_of(distiller: Distiller) -> Sequence[Sequence[str] | None]:
    """All routes that the block prior may draw; a single None where no loss draws one."""
    if not distiller.mixers:
        return [None]
    return list(product((STUDENT, TEACHER), repeat=len(distiller.views[STUDENT].stages)))


def figures(work: Mapping[tuple[int, int], int], tflops: float, gbs: float) -> dict[str, float]:
    """What some work amounts to on a device of that rate (TFLOP/s) and bandwidth (GB/s).

    Returns:
        ``tflop``, ``gb``, ``products``, and in ms ``arithmetic_ms``, ``bytes_ms`` and ``floor_ms``.
    """
    flop, moved = (sum(kind[i] * count for kind, count in work.items()) for i in (0, 1))
    milliseconds = [1e3 / (1e12 * tflops), 1e3 / (1e9 * gbs)]
    return {'tflop': flop / 1e12, 'gb': moved / 1e9,
            'products': sum(count for (flops, _), count in work.items() if flops),
            'arithmetic_ms': flop * milliseconds[0], 'bytes_ms': moved * milliseconds[1],
            'floor_ms': sum(count * max(flops * milliseconds[0], size * milliseconds[1])
                            for (flops, size), count in work.items())}


def figures_of_pair(pair: Pair, batch: int, patch: int, tflops: float, gbs: float) -> dict[str, dict[str, float]]:
    """``figures`` of both methods for a pair, means over the routes, by their names in ``METHODS``, and the ratios."""
    found: dict[str, dict[str, float]] = {}
    for name, method in METHODS.items():
        distiller = distiller_of(yaml.safe_load(text_of_training(Run(pair, method), Path('options/x.yml'))))
        routes = [figures(work_of_step(distiller, batch, patch, roles), tflops, gbs) for roles in routes_of(distiller)]
        found[name] = {key: statistics.mean(one[key] for one in routes) for key in routes[0]}
    found['mipkd_over_logits'] = {key: found['mipkd'][key] / found['logits'][key]
                                  for key in ('tflop', 'gb', 'floor_ms')}
    return found


def row_of(pair: str, found: dict[str, dict[str, float]]) -> list[str]:
    """The table's row for the figures of a pair, as texts."""
    forms = {'tflop': '.2f', 'gb': '.2f', 'floor_ms': '.2f', 'products': '.0f'}
    return [pair, *(format(found[name][key], form) for name in METHODS for key, form in forms.items()),
            *(format(found['mipkd_over_logits'][key], '.2f') for key in ('tflop', 'floor_ms'))]


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """The figures by pair, as text."""
    heads = ['pair', *(head for method in METHODS.values()
                       for head in (f'{method}: TFLOP', 'GB', 'floor ms', 'products')), 'ratio: TFLOP', 'floor']
    return tabulate([row_of(pair, one) for pair, one in found.items()], heads, 'pipe', disable_numparse=True,
                    colalign=('left', *['right'] * (len(heads) - 1)))


def measure(args: argparse.Namespace) -> None:
    """Count all pairs and print the result."""
    pairs = {pair.name: pair for pair in map(parse_pair, args.pairs)}
    for name, high in (('batch', 65536), ('patch', 1024)):
        number_in(f'--{name}', getattr(args, name), 1, high, integer=True)
    for name in ('tflops', 'gbs'):
        number_in(f'--{name}', getattr(args, name), 1e-3, 1e6)
    how = args.batch, args.patch, args.tflops, args.gbs
    with tqdm(pairs.items(), 'count', unit='pair') as bar:  # closed before an error is printed
        found = {name: figures_of_pair(pair, *how) for name, pair in bar}
    print(table(found))
    rounded = {name: {part: {key: float(f'{value:.5g}') for key, value in of.items()} for part, of in parts.items()}
               for name, parts in found.items()}
    print(json.dumps({**dict(zip(('batch', 'patch', 'tflops', 'gbs'), how, strict=True)), 'pairs': rounded}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pairs', nargs='+', default=PAPERS, metavar='PAIR',
                        help="of the matrix (default: the paper's nine)")
    parser.add_argument('--batch', type=int, default=16, help='LR patches in a step (default: %(default)s)')
    parser.add_argument('--patch', type=int, default=48, help='side of an LR patch (default: %(default)s)')
    parser.add_argument('--tflops', type=float, default=989,
                        help="the device's TFLOP/s (default: %(default)s, the dense bf16 rate on an H100 SXM's data "
                             'sheet; the rate that its matrix products reach is what benchmarks/step.py prints as '
                             'matrix_tflops)')
    parser.add_argument('--gbs', type=float, default=3350,
                        help="the GB/s of the device's memory (default: %(default)s, by the same data sheet)")
    return exit_status(measure, parser.parse_args())


if __name__ == '__main__':
    sys.exit(main())
