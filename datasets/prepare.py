"""Puts data in place: fetches DIV2K and the benchmark sets, packs image folders into the LMDBs that training reads.

examples:
  python datasets/prepare.py div2k --scale 4
      fetch DIV2K (4.3 GB), pack it as datasets/DIV2K/train_HR.lmdb and train_LRx4.lmdb
  python datasets/prepare.py benchmark
      fetch Set5, Set14, BSD100 and Urban100 into datasets/benchmark
  python datasets/prepare.py pack --hr DIV2K_train_HR --lr DIV2K_train_LR_bicubic/X4 --scale 4 --out datasets/DIV2K
      pack images that are on this machine already; without --lr the LR images are made
"""
import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

import mipkd_model  # noqa: E402, F401
from mipkd_arch.errors import exit_status  # noqa: E402
from mipkd_model.data.download import fetch, unpack  # noqa: E402
from mipkd_model.data.pack import list_images, pack_pairs  # noqa: E402

DIV2K = 'http://data.vision.ee.ethz.ch/cvl/DIV2K'
BENCHMARK = 'https://cv.snu.ac.kr/research/EDSR/benchmark.tar'


def pack(args):
    """Pack folders of images."""
    hr = [file for folder in args.hr for file in list_images(folder)]
    lr = [file for folder in args.lr for file in list_images(folder)] if args.lr else None
    out = Path(args.out)
    packed, left = pack_pairs(hr, out / 'train_HR.lmdb', out / f'train_LRx{args.scale}.lmdb', args.scale, lr,
                              args.min_side)
    print(f'{out}: {packed} pairs packed' + (f', {left} images below {args.min_side} pixels left out' if left else ''))


def div2k(args):
    """Fetch and pack DIV2K's 800 training images."""
    out = Path(args.out)
    folders = {}
    for name in ('DIV2K_train_HR', f'DIV2K_train_LR_bicubic_X{args.scale}'):
        folders[name] = unpack(fetch(f'{args.address}/{name}.zip', out / f'{name}.zip'), out / name)
    hr, lr = folders.values()
    args.hr, args.lr, args.min_side = [hr / 'DIV2K_train_HR'], [lr / f'DIV2K_train_LR_bicubic/X{args.scale}'], 0
    pack(args)


def benchmark(args):
    """Fetch the benchmark sets."""
    out = Path(args.out)
    unpacked = unpack(fetch(args.address, out.with_name('benchmark.tar')), out.with_name('benchmark_unpacked'))
    (unpacked / 'benchmark').replace(out)
    unpacked.rmdir()
    print(f'{out}: {", ".join(sorted(folder.name for folder in out.iterdir()))}')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(title='commands', required=True)

    command = commands.add_parser('div2k', help='fetch and pack DIV2K',
                                  epilog='example: python datasets/prepare.py div2k --scale 4')
    command.add_argument('--scale', type=int, choices=(2, 3, 4), required=True, help='which bicubic LR images')
    command.add_argument('--out', default=ROOT / 'datasets/DIV2K', metavar='DIR', help='default: datasets/DIV2K')
    command.add_argument('--address', default=DIV2K, metavar='URL', help='where the zip files are')
    command.set_defaults(run=div2k)

    command = commands.add_parser('benchmark', help='fetch the benchmark sets',
                                  epilog='example: python datasets/prepare.py benchmark')
    command.add_argument('--out', default=ROOT / 'datasets/benchmark', metavar='DIR',
                         help='default: datasets/benchmark')
    command.add_argument('--address', default=BENCHMARK, metavar='URL', help='where the tar file is')
    command.set_defaults(run=benchmark)

    command = commands.add_parser('pack', help='pack folders of images',
                                  epilog='example: python datasets/prepare.py pack --hr photos --scale 4 '
                                         '--out datasets/photos')
    command.add_argument('--hr', nargs='+', required=True, metavar='DIR', help='folders of HR images')
    command.add_argument('--lr', nargs='+', metavar='DIR',
                         help='folders of LR images, named as the HR ones or with x<scale> behind (0001x4.png); '
                              'without it LR images are made by bicubic shrinking')
    command.add_argument('--scale', type=int, choices=(2, 3, 4, 8), required=True, help='HR size over LR size')
    command.add_argument('--out', required=True, metavar='DIR', help='where the two LMDBs are written')
    command.add_argument('--min-side', type=int, default=0, metavar='PIXELS',
                         help='leave out HR images with a shorter side; at least the gt_size of training')
    command.set_defaults(run=pack)

    args = parser.parse_args()
    return exit_status(args.run, args)


if __name__ == '__main__':
    sys.exit(main())
