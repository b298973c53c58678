"""Keeps the averaged weights of a training checkpoint as a teacher of the demo's size, by default the demo's.

example: python demo/keep_teacher.py experiments/demo_teacher_EDSR_64x8_x4/models/net_g_latest.pth
"""
import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

import mipkd_model  # noqa: E402, F401
from mipkd_arch.base.checkpoint import find_state_dict, read_checkpoint  # noqa: E402
from mipkd_arch.base.cli import command_status  # noqa: E402
from mipkd_model.base.weights import save_checkpoint  # noqa: E402


def keep(args: argparse.Namespace) -> None:
    """Write the averaged weights."""
    weights = find_state_dict(read_checkpoint(args.checkpoint), args.checkpoint, 'params_ema')
    save_checkpoint({'params': weights}, args.out)
    print(f'{args.out}: {sum(value.numel() for value in weights.values()):,d} parameters')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('checkpoint', help='net_g_*.pth of the training')
    parser.add_argument('--out', default=ROOT / 'demo/teacher/EDSR_64x8_x4.pth', metavar='FILE',
                        help='default: demo/teacher/EDSR_64x8_x4.pth')
    return command_status(parser, run=keep)


if __name__ == '__main__':
    sys.exit(main())
