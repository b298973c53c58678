"""Puts data in place: fetches DIV2K and the benchmark sets, packs image folders into the LMDBs that training reads.

Every command can be stopped and started again; what is in place already is kept.

examples:
  python datasets/prepare.py all -opt options/train_MiPKD_x4.yml
      everything that training from this option file needs: DIV2K, benchmark sets, the teacher's weights
  python datasets/prepare.py div2k --scale 2 3 4
      fetch DIV2K, pack it as datasets/DIV2K/train_HR.lmdb and train_LRx2.lmdb, train_LRx3.lmdb, train_LRx4.lmdb
  python datasets/prepare.py div2k --scale 4 --from /data/DIV2K
      the same from a copy on this machine
  python datasets/prepare.py benchmark
      fetch Set5, Set14, BSD100 and Urban100 into datasets/benchmark
  python datasets/prepare.py pack --hr photos DF2K/HR --scale 4 --out datasets/photos
      pack any images; without --lr the LR images are made, as MATLAB makes them
"""
import argparse
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))

import mipkd_model  # noqa: E402, F401
from mipkd_arch.errors import UserError, exit_status  # noqa: E402
from mipkd_model.config.checks import check_blocks, read_options  # noqa: E402
from mipkd_model.data.download import fetch, unpack  # noqa: E402
from mipkd_model.data.images import list_images  # noqa: E402
from mipkd_model.data.known import BENCHMARK, DIV2K, MD5  # noqa: E402
from mipkd_model.data.layouts import find_hr, find_lr  # noqa: E402
from mipkd_model.data.pack import pack_pairs  # noqa: E402
from mipkd_model.data.remedies import source_of  # noqa: E402
from mipkd_model.teachers import OFFICIAL, get_weights, how_to_get_weights, named_weights  # noqa: E402

RENAMED = {'B100': 'BSD100'}


def pack_folders(hr, lr, scales, out, min_side=0):
    """Pack folders of images and say what came of it."""
    hr_files = [file for folder in hr for file in list_images(folder)]
    lr_files = {scale: [file for folder in folders for file in list_images(folder)] for scale, folders in lr.items()}
    done = pack_pairs(hr_files, Path(out), scales, lr_files, min_side)
    notes = [f'{out}: {done["packed"]} images', ', '.join(done['written']) + ' written' if done['written'] else
             'all there already']
    if done['small']:
        notes.append(f'{done["small"]} with a side below {max(min_side, *scales)} pixels left out')
    if done['gray']:
        notes.append(f'{done["gray"]} gray ones given three equal channels')
    print('; '.join(notes))


def pack(args):
    """Pack folders of images."""
    lr = {}
    if args.lr:
        if len(args.scale) > 1:
            raise UserError('--lr: goes with one --scale at a time; call once for each')
        lr = {args.scale[0]: args.lr}
    pack_folders(args.hr, lr, args.scale, args.out, args.min_side)


def div2k(args):
    """Fetch and pack DIV2K's 800 training images."""
    out = Path(args.out)
    if args.folder:
        hr = find_hr(args.folder)
        lr = {scale: folder for scale in args.scale if (folder := find_lr(args.folder, scale))}
        for scale in set(args.scale) - set(lr):
            print(f'{args.folder}: no LR x{scale} images, they are made')
    else:
        hr = fetched(args, 'DIV2K_train_HR') / 'DIV2K_train_HR'
        lr = {scale: fetched(args, f'DIV2K_train_LR_bicubic_X{scale}') / f'DIV2K_train_LR_bicubic/X{scale}'
              for scale in args.scale}
    pack_folders([hr], {scale: [folder] for scale, folder in lr.items()}, args.scale, out)


def fetched(args, name):
    """Folder of an unpacked zip of DIV2K."""
    out = Path(args.out)
    if (out / name).exists():
        return out / name
    file = f'{name}.zip'
    md5 = MD5[file] if args.address == DIV2K else None  # a mirror may pack anew
    return unpack(fetch(f'{args.address}/{file}', out / file, md5=md5), out / name)


def benchmark(args):
    """Fetch the benchmark sets."""
    out = Path(args.out)
    if not out.exists():
        md5 = MD5['benchmark.tar'] if args.address == BENCHMARK else None
        archive = fetch(args.address, out.with_name('benchmark.tar'), md5=md5)
        unpacked = unpack(archive, out.with_name('benchmark_unpacked'))
        if not (unpacked / 'benchmark').is_dir():
            raise UserError(f'{archive}: has no folder benchmark in it; remove it and {unpacked}')
        for old, new in RENAMED.items():
            if (unpacked / 'benchmark' / old).is_dir():
                (unpacked / 'benchmark' / old).rename(unpacked / 'benchmark' / new)
        (unpacked / 'benchmark').replace(out)
        shutil.rmtree(unpacked)
    print(f'{out}: {", ".join(sorted(folder.name for folder in out.iterdir() if folder.is_dir()))}')


def everything(args):
    """Get what an option file needs and is not there."""
    opt = read_options(args.opt)
    check_blocks(opt, is_train='train' in opt)
    for phase, block in opt['datasets'].items():
        for key in ('dataroot_gt', 'dataroot_lq'):
            if not isinstance(block.get(key), str):
                raise UserError(f'datasets.{phase}.{key}: missing in the option file')
    paths = [Path(block[key]) for block in opt['datasets'].values() for key in ('dataroot_gt', 'dataroot_lq')]
    missing = {source_of(path) for path in paths if not (ROOT / path).exists()}
    if None in missing:
        path = next(path for path in paths if not (ROOT / path).exists() and source_of(path) is None)
        raise UserError(f'{args.opt}: {path} is not of a public data set; pack it: python datasets/prepare.py pack '
                        '--help')
    if 'div2k' in missing:
        div2k(argparse.Namespace(scale=[opt['scale']], out=ROOT / 'datasets/DIV2K', folder=args.folder, address=DIV2K))
    if 'benchmark' in missing:
        benchmark(argparse.Namespace(out=ROOT / 'datasets/benchmark', address=BENCHMARK))
    for where, path in named_weights(opt).items():
        if not (ROOT / path).exists():
            names = [name for name, weights in OFFICIAL.items() if weights.file == Path(path).name]
            if not names:
                raise UserError(f'{where}: {path} is not there. {how_to_get_weights(path)}')
            get_weights(names[0], ROOT / Path(path).parent)
    print(f'{args.opt}: all data and weights are there. Check the data: python datasets/verify.py datasets/DIV2K '
          'datasets/benchmark/*')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(title='commands', required=True)

    def add(name, run, about, example):
        command = commands.add_parser(name, help=about, epilog=f'example: python datasets/prepare.py {example}')
        command.set_defaults(run=run)
        return command

    command = add('all', everything, 'get everything that an option file needs',
                  'all -opt options/train_MiPKD_x4.yml')
    command.add_argument('-opt', required=True, metavar='FILE', help='the option file')
    command.add_argument('--from', dest='folder', metavar='DIR', help='take DIV2K from this folder')

    command = add('div2k', div2k, 'fetch and pack DIV2K', 'div2k --scale 2 3 4')
    command.add_argument('--scale', nargs='+', type=int, choices=(2, 3, 4), required=True,
                         help='which bicubic LR images')
    command.add_argument('--from', dest='folder', metavar='DIR',
                         help='take the images from this folder, in any usual layout, instead of fetching them')
    command.add_argument('--out', default=ROOT / 'datasets/DIV2K', metavar='DIR', help='default: datasets/DIV2K')
    command.add_argument('--address', default=DIV2K, metavar='URL', help='where the zip files are')

    command = add('benchmark', benchmark, 'fetch the benchmark sets', 'benchmark')
    command.add_argument('--out', default=ROOT / 'datasets/benchmark', metavar='DIR',
                         help='default: datasets/benchmark')
    command.add_argument('--address', default=BENCHMARK, metavar='URL', help='where the tar file is')

    command = add('pack', pack, 'pack folders of images', 'pack --hr photos --scale 4 --out datasets/photos')
    command.add_argument('--hr', nargs='+', required=True, metavar='DIR', help='folders of HR images')
    command.add_argument('--lr', nargs='+', metavar='DIR',
                         help='folders of LR images, named as the HR ones or with x<scale> behind (0001x4.png); '
                              'without it LR images are made')
    command.add_argument('--scale', nargs='+', type=int, choices=(1, 2, 3, 4, 8), required=True,
                         help='HR size over LR size; 1: images with noise or the like, which --lr names')
    command.add_argument('--out', required=True, metavar='DIR', help='where the LMDBs are written')
    command.add_argument('--min-side', type=int, default=0, metavar='PIXELS',
                         help='leave out HR images with a shorter side; at least the gt_size of training')

    args = parser.parse_args()
    return exit_status(args.run, args)


if __name__ == '__main__':
    sys.exit(main())
