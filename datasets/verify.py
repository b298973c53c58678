"""Finds wrong copies of data sets before training does: counts, sizes, pairs, checksums, how LR was made, bicubic PSNR.

examples:
  python datasets/verify.py datasets/DIV2K datasets/benchmark/*
      all scales that are there; known sets are known by the folder's name
  python datasets/verify.py --gt photos/HR.lmdb --lq photos/LR --scale 4
      LMDBs and folders of images in any combination
"""
import argparse
import sys
from functools import partial
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

import mipkd_model  # noqa: E402, F401
from mipkd_arch.errors import UserError, exit_status  # noqa: E402
from mipkd_model.data.verify import Pair, find_pairs, verify  # noqa: E402


def run(args):
    """Check all pairs and print what was found."""
    if args.gt or args.lq:
        if not (args.gt and args.lq and args.scale) or len(args.scale) > 1 or args.folders:
            raise UserError('--gt, --lq and --scale go together, one scale at a time and without folders')
        pairs = [Pair(Path(args.gt), Path(args.lq), args.scale[0])]
    else:
        if not args.folders:
            raise UserError('name a folder, such as datasets/DIV2K, or --gt, --lq and --scale')
        pairs = [pair for folder in args.folders for pair in find_pairs(folder)
                 if not args.scale or pair.scale in args.scale]
        if not pairs:
            raise UserError(f'{args.folders[0]}: has nothing for --scale {" ".join(map(str, args.scale))}')
    wrong = 0
    for pair in pairs:
        print(f'{pair.gt} and {pair.lq}')
        for finding in verify(pair, args.limit, partial(tqdm, leave=False, unit='image')):
            print(f'  {"ok   " if finding.good else "WRONG"} {finding.text}')
            wrong += not finding.good
    if wrong:
        raise UserError(f'{wrong} of the checks above failed')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folders', nargs='*', metavar='DIR', help='with *_HR.lmdb and *_LRx4.lmdb, or HR and '
                                                                  'LR_bicubic/X4')
    parser.add_argument('--gt', metavar='PATH', help='LMDB or folder of HR images')
    parser.add_argument('--lq', metavar='PATH', help='LMDB or folder of LR images')
    parser.add_argument('--scale', nargs='+', type=int, choices=(1, 2, 3, 4, 8), help='only these scales')
    parser.add_argument('--limit', type=int, default=120, metavar='N',
                        help='compare the pixels of at most N pairs of each set, 0 for all (default: 120)')
    args = parser.parse_args()
    if args.limit < 0:
        parser.error(f'--limit: {args.limit} is below 0')
    return exit_status(run, args)


if __name__ == '__main__':
    sys.exit(main())
