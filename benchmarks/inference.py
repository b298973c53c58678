"""How many times as fast as its teacher a student runs: both networks of an option file, timed in turn.

Weights do not matter for the time and are not loaded, but for a network that is read from its weights. The last line
is one JSON object: parameters and the median milliseconds of both, and the ratio of the medians.

example:
  python benchmarks/inference.py -opt options/demo/train_MiPKD_DAT_light_x4.yml --size 128
"""
import argparse
import json
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

import torch  # noqa: E402
from tqdm import tqdm  # noqa: E402

import mipkd_model  # noqa: E402, F401
from mipkd_arch.errors import UserError, exit_status  # noqa: E402
from mipkd_model.assemble import make_network  # noqa: E402
from mipkd_model.checks import check_blocks, check_options, read_options  # noqa: E402


def seconds(network, lq):
    """Time of one pass."""
    start = time.perf_counter()
    network(lq)
    if lq.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(args):
    """Time both networks in turn and print the result."""
    opt = read_options(args.opt)
    check_blocks(opt, is_train=True)
    check_options(opt, is_train=True)
    if opt.get('network_t') is None:
        raise UserError(f'network_t: missing in {args.opt}; there is nothing to compare the student with')
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    networks = {label: make_network({**opt, 'path': {}}, label)[0].eval().to(device) for label in 'gt'}
    lq = torch.rand(1, 3, args.size, args.size, device=device)
    times = {label: [] for label in networks}
    with torch.inference_mode():
        for network in networks.values():
            seconds(network, lq)
        for _ in tqdm(range(args.rounds), 'time', unit='round'):
            for label, network in networks.items():
                times[label].append(seconds(network, lq))
    result = {'device': torch.cuda.get_device_name() if lq.is_cuda else f'cpu, {torch.get_num_threads()} threads',
              'torch': torch.__version__, 'lq': [args.size, args.size]}
    for name, label in (('student', 'g'), ('teacher', 't')):
        result[name] = {'parameters': sum(p.numel() for p in networks[label].parameters()),
                        'ms': round(1e3 * statistics.median(times[label]), 1)}
    result['times_as_fast'] = round(statistics.median(times['t']) / statistics.median(times['g']), 1)
    print(json.dumps(result))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('-opt', required=True, metavar='FILE', help='the option file')
    parser.add_argument('--size', type=int, default=128, help='side of the square input (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=7, help='passes of each network (default: %(default)s)')
    return exit_status(measure, parser.parse_args())


if __name__ == '__main__':
    sys.exit(main())
