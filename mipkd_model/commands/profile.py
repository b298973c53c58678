"""``mipkd profile``: what networks cost, a teacher with its student."""
from __future__ import annotations

import argparse
import json
import re
from typing import TYPE_CHECKING, Any

from tabulate import tabulate

from mipkd_arch.base.errors import UserError, number_in, one_of

from ..base.files import check_writable, write_json
from ..config.cli_arguments import add_plugins_option
from ..reports.profiling import LR_SIZE, PRECISIONS
from .arguments import add_command

if TYPE_CHECKING:
    import torch

    from ..reports.profiling.profile import Timing

# What measures imports torch: only the functions that need it do so.

CPU_SIZE = 64  # a pass of the EDSR teacher at 256x256 takes a CPU half a minute
DESCRIPTION = '''\
Parameters, MACs, time and peak memory of networks, a teacher with its student. Trained weights do not matter and are
not loaded, except for a SpandrelNetwork, whose sizes are in its file.

MACs         all products of convolutions and matrix products, attention's among them, for one LR image of --size
ms           median time of a forward pass; networks are timed in turn
peak (MiB)   the most memory that tensors take in a pass: weights, LR images and all features
fewer params, fewer MACs, times as fast: the teacher's figure by the student's'''
EXAMPLES = '''\
example: mipkd profile EDSR_x4 RCAN_x4 SwinIR_x4 --no-time
         mipkd profile options/train_MiPKD_x4.yml --time-size 96 --json cost.json
         mipkd profile '{type: EDSRStudent, num_feat: 32, num_block: 8, upscale: 4}' --device cuda --precision bf16'''
COLUMNS = {'parameters': ('params\n(M)', 1e6, '.2f'), 'macs': ('MACs\n(G)', 1e9, '.2f'), 'ms': ('ms', 1, '.2f'),
           'images_per_second': ('images/s', 1, '.2f'), 'peak_bytes': ('peak\n(MiB)', 2**20, '.1f'),
           'ratio of parameters': ('fewer\nparams', 1, '.1f'), 'ratio of macs': ('fewer\nMACs', 1, '.1f'),
           'ratio of ms': ('times\nas fast', 1, '.1f')}
"""By figure: header, unit and format."""


def add(commands: Any) -> None:
    """Add the parser of ``mipkd profile``."""
    parser = add_command(commands, 'profile', run, 'parameters, MACs, time and memory of networks', '', DESCRIPTION,
                         epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('targets', nargs='+', metavar='TARGET', help='an option file, a pair such as EDSR_x4 or '
                        'SwinIR-EDSR_x4, or the block of any network of BasicSR in YAML, in braces')
    parser.add_argument('--size', default=str(LR_SIZE), metavar='N|HxW', help='LR size for the MACs (%(default)s)')
    parser.add_argument('--no-time', action='store_true', help='count only, run nothing')
    parser.add_argument('--time-size', metavar='N|HxW',
                        help=f'LR size for time and memory (default: --size on a GPU, at most {CPU_SIZE} on a CPU)')
    parser.add_argument('--batch', type=int, default=1, metavar='N', help='LR images in a pass (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=10, metavar='N', help='timed passes of a network (%(default)s)')
    parser.add_argument('--device', help='cpu, cuda, or cuda:1 for the second GPU (default: cuda where there is one)')
    parser.add_argument('--precision', default=PRECISIONS[0], help=f'{" or ".join(PRECISIONS)} (default: %(default)s)')
    parser.add_argument('--json', metavar='FILE', help='write everything as JSON, too; - prints it and no table')
    add_plugins_option(parser)


def run(args: argparse.Namespace) -> None:
    """Measure networks and print or write what they cost."""
    from ..config import plugins
    from ..reports.profiling.profile import profile
    size = parse_size('--size', args.size)
    if args.json not in (None, '-'):
        check_writable(args.json, '--json')
    plugins.use(args.plugins)
    timing = None if args.no_time else _timing(args, size)
    result = profile(args.targets, size, timing)
    if args.json == '-':
        print(json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False))
        return
    print(table(result))
    if args.json:
        print(write_json(result, args.json))


def parse_size(where: str, text: str) -> tuple[int, int]:
    """(height, width) from ``N`` or ``HxW``; raises UserError for anything else."""
    sides = re.fullmatch(r'([1-9]\d*)(?:x([1-9]\d*))?', text)
    if not sides:
        raise UserError(f'{where}: {text!r} is not a size in LR pixels; allowed are N and HxW, such as 256 and 180x320')
    return int(sides[1]), int(sides[2] or sides[1])


def parse_device(name: str | None) -> torch.device:
    """The device of that name, by default a GPU where there is one; raises UserError where it is not there."""
    import torch
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    known = ['cpu', *(['cuda'] if gpus else []), *(f'cuda:{index}' for index in range(gpus))]
    return torch.device(one_of('--device', name or ('cuda' if gpus else 'cpu'), known))


def _timing(args: argparse.Namespace, size: tuple[int, int]) -> Timing:
    from ..reports.profiling.profile import Timing
    device = parse_device(args.device)
    if args.time_size is not None:
        size = parse_size('--time-size', args.time_size)
    elif device.type == 'cpu':
        size = min(size[0], CPU_SIZE), min(size[1], CPU_SIZE)
    return Timing(device=device, size=size, batch=int(number_in('--batch', args.batch, 1, integer=True)),
                  rounds=int(number_in('--rounds', args.rounds, 1, integer=True)),
                  precision=one_of('--precision', args.precision, PRECISIONS))


def table(result: dict[str, Any]) -> str:
    """What ``reports.profiling.profile.profile`` found, as text; columns that no network has are left out."""
    rows = []
    for network in result['networks']:
        ratios = network.get('teacher_by_student', {})
        found = {**network, **{f'ratio of {name}': ratio for name, ratio in ratios.items()}}
        rows.append({'network': network['target'], 'role': network['role'], 'type': network['network']['type'],
                     **{header: f'{found[name] / unit:{form}}' + 'x' * name.startswith('ratio')
                        for name, (header, unit, form) in COLUMNS.items() if name in found}})
    lines = [f'MACs: LR {_by(result["lr_size"])}']
    if timing := result['timing']:
        lines.append(f'time and memory: LR {_by(timing["lr_size"])}, batch {timing["batch"]}, {timing["precision"]}, '
                     f'{timing["rounds"]} rounds, {timing["device"]}')
    count = max(map(len, rows))
    return '\n'.join([*lines, '', tabulate(rows, 'keys', disable_numparse=True, missingval='',
                                          colalign=['left'] * 3 + ['right'] * (count - 3))])


def _by(size: list[int]) -> str:
    return 'x'.join(map(str, size))
