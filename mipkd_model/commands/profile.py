"""``mipkd profile``: what networks cost, a teacher beside its student."""
import argparse
import json
import re

import torch
from tabulate import tabulate

from mipkd_arch.base.errors import UserError, number_in, one_of
from mipkd_arch.base.failures import on_no_memory

from ..base.files import check_writable, write_json
from ..config import plugins
from ..reports.costs.macs import LR_SIZE
from ..reports.costs.profile import PRECISIONS, Timing, profile

MIB = 2 ** 20
CPU_SIZE = 64  # a pass of the EDSR teacher at 256x256 takes a CPU half a minute
ROUNDS = 10
RATIO_HEADERS = {'parameters': 'fewer\nparams', 'macs': 'fewer\nMACs', 'ms': 'times\nas fast'}
DESCRIPTION = '''\
Parameters, MACs, latency, throughput and peak memory of networks, a teacher beside its student. Trained weights do not
matter and are not loaded, but for a SpandrelNetwork, whose sizes are in its file.

params (M)   millions of parameters
MACs (G)     thousand millions of multiply-accumulates for one LR image of --size: all products of convolutions and
             matrix products, attention's among them; no biases, norms, activations, pooling or resizing
ms           median time of a pass
images/s     LR images in a pass, by that time
peak (MiB)   the most memory that tensors take in a pass: weights, LR images and all maps in between; ? where PyTorch
             cannot tell
fewer params, fewer MACs, times as fast: the teacher's figure by the student's

Networks are timed in turn. LR images are padded to what a network needs, such as windows of 8 pixels.'''
EXAMPLES = '''\
example: mipkd profile EDSR_x4 RCAN_x4 SwinIR_x4 --no-time
         mipkd profile options/train_MiPKD_x4.yml --time-size 96 --json cost.json
         mipkd profile '{type: EDSRStudent, num_feat: 32, num_block: 8, upscale: 4}' --device cuda --precision bf16'''


def add(commands):
    """Add the parser of ``mipkd profile``."""
    parser = commands.add_parser('profile', help='parameters, MACs, time and memory of networks',
                                 formatter_class=argparse.RawDescriptionHelpFormatter, description=DESCRIPTION,
                                 epilog=EXAMPLES)
    parser.add_argument('targets', nargs='+', metavar='TARGET',
                        help='an option file, a pair such as EDSR_x4 or SwinIR-EDSR_x4, or the block of any network of '
                             'BasicSR in YAML, in braces')
    parser.add_argument('--size', default=str(LR_SIZE), metavar='N|HxW',
                        help='LR size in pixels for the MACs (default: %(default)s)')
    parser.add_argument('--no-time', action='store_true', help='count only, run nothing')
    parser.add_argument('--time-size', metavar='N|HxW',
                        help=f'LR size for time and memory (default: --size on a GPU, at most {CPU_SIZE} on a CPU)')
    parser.add_argument('--batch', type=int, metavar='N', help='LR images in a pass (default: 1)')
    parser.add_argument('--rounds', type=int, metavar='N', help=f'timed passes of each network (default: {ROUNDS})')
    parser.add_argument('--device', help='cpu, cuda, or cuda:1 for the second GPU (default: cuda where there is one)')
    parser.add_argument('--precision', help=f'{" or ".join(PRECISIONS)} (default: {PRECISIONS[0]}, without TF32)')
    parser.add_argument('--json', metavar='FILE',
                        help='write everything, exactly, as JSON too; - prints it instead of the table')
    plugins.add_option(parser)
    parser.set_defaults(run=run)


def run(args):
    """Do what the parsed arguments ask for."""
    size = parse_size('--size', args.size)
    if args.json not in (None, '-'):
        check_writable(args.json, '--json')
    plugins.use(args.plugins)
    timing = _timing(args, size)
    with on_no_memory(lambda asked: 'not enough memory for a pass' + asked + (
            f' of {timing.batch} LR images of {_by(timing.size)}; give a smaller --time-size or --batch' if timing else
            '; give a smaller --size')):
        result = profile(args.targets, size, timing)
    if args.json == '-':
        print(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False))
        return
    print(table(result))
    if args.json:
        print(write_json(result, args.json))


def parse_size(where, text):
    """(height, width) from ``N`` or ``HxW``.

    Raises:
        UserError: it is neither, or not positive.
    """
    found = re.fullmatch(r'(\d+)(?:x(\d+))?', text)
    size = found and (int(found[1]), int(found[2] or found[1]))
    if not size or not all(size):
        raise UserError(f'{where}: {text!r} is not a size in LR pixels; allowed are N and HxW, such as 256 and 180x320')
    return size


def parse_device(name):
    """The device of that name, None for CUDA where there is one.

    Raises:
        UserError: it is not known, or not there.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    name = name or ('cuda' if count else 'cpu')
    found = re.fullmatch(r'cuda(?::(\d+))?', name)
    if not found:
        return torch.device(one_of('--device', name, ('cpu', 'cuda', *(f'cuda:{index}' for index in range(count)))))
    if int(found[1] or 0) >= count:
        there = f'torch sees {count} GPU(s)' if count else 'torch sees no GPU; leave it out, or take cpu'
        raise UserError(f'--device: {name} is not there; {there}')
    return torch.device(name)


def _timing(args, size):
    if args.no_time:
        for name in ('time_size', 'batch', 'rounds', 'device', 'precision'):
            if getattr(args, name) is not None:
                raise UserError(f'--{name.replace("_", "-")}: has no meaning with --no-time, which runs nothing')
        return None
    device = parse_device(args.device)
    if args.time_size is not None:
        size = parse_size('--time-size', args.time_size)
    elif device.type == 'cpu':
        size = tuple(min(side, CPU_SIZE) for side in size)
    return Timing(device=device, size=size,
                  batch=number_in('--batch', 1 if args.batch is None else args.batch, 1),
                  rounds=number_in('--rounds', ROUNDS if args.rounds is None else args.rounds, 1),
                  precision=one_of('--precision', args.precision or PRECISIONS[0], PRECISIONS))


def table(result):
    """What ``mipkd_model.reports.costs.profile`` found, as text."""
    timing = result['timing']
    words = f'MACs: LR {_by(result["lr_size"])}\n'
    headers = ['network', 'role', 'type', 'params\n(M)', 'MACs\n(G)']
    if timing:
        words += (f'time and memory: LR {_by(timing["lr_size"])}, batch {timing["batch"]}, {timing["precision"]}, '
                  f'{timing["rounds"]} rounds, {timing["device"]}\n')
        headers += ['ms', 'images/s', 'peak\n(MiB)']
    ratios = {name: header for name, header in RATIO_HEADERS.items()
              if any(name in found.get('teacher_by_student', ()) for found in result['networks'])}
    rows = [list(_cells(found, ratios, timing)) for found in result['networks']]
    headers += ratios.values()
    return words + '\n' + tabulate(rows, headers, disable_numparse=True,
                                   colalign=['left'] * 3 + ['right'] * (len(headers) - 3))


def _cells(found, ratios, timing):
    yield from (found['target'], found['role'], found['network']['type'])
    yield f'{found["parameters"] / 1e6:.2f}'
    yield f'{found["macs"] / 1e9:.2f}'
    if timing:
        yield f'{found["ms"]:.2f}'
        yield f'{found["images_per_second"]:.2f}'
        yield '?' if found['peak_bytes'] is None else f'{found["peak_bytes"] / MIB:.1f}'
    for name in ratios:
        ratio = found.get('teacher_by_student', {}).get(name)
        yield '' if ratio is None else f'{ratio:.1f}x'


def _by(size):
    return 'x'.join(map(str, size))
