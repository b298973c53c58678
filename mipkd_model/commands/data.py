"""``mipkd data``: puts data in place and checks it; ``datasets/prepare.py`` and ``datasets/verify.py`` do the same."""
import argparse
import shutil
import sys
from functools import partial
from pathlib import Path

from tqdm import tqdm

from mipkd_arch.base.cli import command_status
from mipkd_arch.base.errors import UserError, command

from ..config.checks import check_blocks, read_options
from ..data import DataError
from ..data.benchmarks import BENCHMARK, DIV2K, MD5
from ..data.folders import image_files, left_out
from ..data.hints import source_of
from ..data.prepare.download import fetch, unpack
from ..data.prepare.layouts import find_hr, find_lr
from ..data.prepare.pack import PackError, pack_pairs
from ..data.prepare.verify import Pair, find_pairs, verify
from ..networks.catalog import OFFICIAL, how_to_get_weights, named_weights
from ..networks.zoo import get_weights

RENAMED = {'B100': 'BSD100'}
EXAMPLES = """examples:
  mipkd data all -opt options/train_MiPKD_x4.yml
      everything that training from this option file needs: DIV2K, benchmark sets, the teacher's weights
  mipkd data div2k --scale 2 3 4
      fetch DIV2K, pack it as datasets/DIV2K/train_HR.lmdb and train_LRx2.lmdb, train_LRx3.lmdb, train_LRx4.lmdb
  mipkd data div2k --scale 4 --from /data/DIV2K
      the same from a copy on this machine
  mipkd data benchmark
      fetch Set5, Set14, BSD100 and Urban100 into datasets/benchmark
  mipkd data pack --hr photos DF2K/HR --scale 4 --out datasets/photos
      pack any images; without --lr the LR images are made, as MATLAB makes them"""
ABOUT = """Put data in place: fetch DIV2K and the benchmark sets, pack image folders into the LMDBs that training reads.
Every command can be stopped and started again; what is in place already is kept."""
VERIFY_ABOUT = """Find wrong copies of data sets before training does: counts, sizes, pairs, checksums, how LR was made,
PSNR of bicubic."""
VERIFY_EXAMPLES = """examples:
  mipkd data verify datasets/DIV2K datasets/benchmark/*
      all scales that are there; known sets are known by the folder's name
  mipkd data verify --gt photos/HR.lmdb --lq photos/LR --scale 4
      LMDBs and folders of images in any combination"""


def pack_folders(hr: list, lr: dict[int, list], scales: list[int], out, min_side: int = 0) -> None:
    """Pack folders of images and say what came of it.

    Args:
        hr: folders of HR images.
        lr: folders of LR images by scale; for others LR images are made.
        scales: HR size over LR size.
        out: folder of the databases.
        min_side: leave out HR images with a shorter side, in pixels.

    Raises:
        UserError: they cannot be packed; where several things are wrong, all were printed.
    """
    faults, files = [], {}
    for folder in dict.fromkeys([*hr, *(folder for folders in lr.values() for folder in folders)]):
        try:
            files[folder] = image_files(folder)
            if others := left_out(folder):
                print(f'{folder}: left out: {others}', flush=True)
        except DataError as error:
            faults.append(str(error))
    try:
        if faults:
            raise PackError(faults)
        done = pack_pairs([file for folder in hr for file in files[folder]], Path(out), scales,
                          {scale: [file for folder in folders for file in files[folder]]
                           for scale, folders in lr.items()}, min_side)
    except PackError as error:
        if len(error.faults) == 1:
            raise
        for fault in error.faults:
            print(fault, file=sys.stderr)
        raise UserError(f'nothing was written, for {len(error.faults)} things are wrong with these images, a line '
                        f'above for each; the first: {error.faults[0]}') from None
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
    opt, root = read_options(args.opt), args.root
    check_blocks(opt, is_train='train' in opt)
    for phase, block in opt['datasets'].items():
        for key in ('dataroot_gt', 'dataroot_lq'):
            needed = key == 'dataroot_lq' or block['type'] != 'SingleImageDataset'
            if not isinstance(block.get(key), str) and (needed or block.get(key) is not None):
                raise UserError(f'datasets.{phase}.{key}: missing in the option file')
    paths = [Path(block[key]) for block in opt['datasets'].values() for key in ('dataroot_gt', 'dataroot_lq')
             if block.get(key)]
    absent = [path for path in paths if not (root / path.expanduser()).exists()]
    missing = {source_of(path) for path in absent}
    if None in missing:
        path = next(path for path in absent if source_of(path) is None)
        raise UserError(f'{args.opt}: {path} is not of a public data set; pack it: mipkd data pack --help')
    if 'div2k' in missing:
        div2k(argparse.Namespace(scale=[opt['scale']], out=root / 'datasets/DIV2K', folder=args.folder, address=DIV2K))
    if 'benchmark' in missing:
        benchmark(argparse.Namespace(out=root / 'datasets/benchmark', address=BENCHMARK))
    for where, path in named_weights(opt).items():
        if not (root / Path(path).expanduser()).exists():
            names = [name for name, weights in OFFICIAL.items() if weights.file == Path(path).name]
            if not names:
                raise UserError(f'{where}: {path} is not there. {how_to_get_weights(path)}')
            get_weights(names[0], root / Path(path).expanduser().parent)
    check = command('mipkd', 'data', 'verify', root / 'datasets/DIV2K', root / 'datasets/benchmark')
    print(f'{args.opt}: all data and weights are there. Check the data: {check}/*')


def check(args):
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


def count(text: str) -> int:
    """A whole number of at least 0, as argparse wants it."""
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f'{number} is below 0')
    return number


def add_preparing(commands, root: Path) -> None:
    """Add the parsers of what puts data in place, by default below ``datasets`` of the folder ``root``."""
    def add_one(name, run, about, example):
        parser = commands.add_parser(name, help=about, epilog=f'example: mipkd data {example}')
        parser.set_defaults(run=run, root=root)
        return parser

    parser = add_one('all', everything, 'get everything that an option file needs',
                     'all -opt options/train_MiPKD_x4.yml')
    parser.add_argument('-opt', required=True, metavar='FILE', help='the option file')
    parser.add_argument('--from', dest='folder', metavar='DIR', help='take DIV2K from this folder')

    parser = add_one('div2k', div2k, 'fetch and pack DIV2K', 'div2k --scale 2 3 4')
    parser.add_argument('--scale', nargs='+', type=int, choices=(2, 3, 4), required=True,
                        help='which bicubic LR images')
    parser.add_argument('--from', dest='folder', metavar='DIR',
                        help='take the images from this folder, in any usual layout, instead of fetching them')
    parser.add_argument('--out', default=root / 'datasets/DIV2K', metavar='DIR', help='default: datasets/DIV2K')
    parser.add_argument('--address', default=DIV2K, metavar='URL', help='where the zip files are')

    parser = add_one('benchmark', benchmark, 'fetch the benchmark sets', 'benchmark')
    parser.add_argument('--out', default=root / 'datasets/benchmark', metavar='DIR',
                        help='default: datasets/benchmark')
    parser.add_argument('--address', default=BENCHMARK, metavar='URL', help='where the tar file is')

    parser = add_one('pack', pack, 'pack folders of images', 'pack --hr photos --scale 4 --out datasets/photos')
    parser.add_argument('--hr', nargs='+', required=True, metavar='DIR', help='folders of HR images')
    parser.add_argument('--lr', nargs='+', metavar='DIR',
                        help='folders of LR images, named as the HR ones or with x<scale> behind (0001x4.png); '
                             'without it LR images are made')
    parser.add_argument('--scale', nargs='+', type=int, choices=(1, 2, 3, 4, 8), required=True,
                        help='HR size over LR size; 1: images with noise or the like, which --lr names')
    parser.add_argument('--out', required=True, metavar='DIR', help='where the LMDBs are written')
    parser.add_argument('--min-side', type=count, default=0, metavar='PIXELS',
                        help='leave out HR images with a shorter side; at least the gt_size of training')


def add_checking(parser) -> None:
    """Add the arguments of what checks data to a parser."""
    parser.add_argument('folders', nargs='*', metavar='DIR', help='with *_HR.lmdb and *_LRx4.lmdb, or HR and '
                                                                  'LR_bicubic/X4')
    parser.add_argument('--gt', metavar='PATH', help='LMDB or folder of HR images')
    parser.add_argument('--lq', metavar='PATH', help='LMDB or folder of LR images')
    parser.add_argument('--scale', nargs='+', type=int, choices=(1, 2, 3, 4, 8), help='only these scales')
    parser.add_argument('--limit', type=count, default=120, metavar='N',
                        help='compare the pixels of at most N pairs of each set, 0 for all (default: 120)')
    parser.set_defaults(run=check)


def add(commands) -> None:
    """Add the parsers of ``mipkd data``."""
    form = {'formatter_class': argparse.RawDescriptionHelpFormatter}
    parser = commands.add_parser('data', help='put data in place and check it', description=ABOUT, epilog=EXAMPLES,
                                 **form)
    parts = parser.add_subparsers(title='commands', required=True)
    add_preparing(parts, repository())
    add_checking(parts.add_parser('verify', help='find wrong copies of data sets', description=VERIFY_ABOUT,
                                  epilog=VERIFY_EXAMPLES, **form))


def repository() -> Path:
    """The repository that the current folder is in; the current folder itself where it is in none."""
    here = Path.cwd()
    for folder in here.parents:
        if (folder / 'datasets/prepare.py').is_file() and (folder / 'mipkd_model').is_dir():
            return folder
    return Path()


def prepare_script(root: Path) -> int:
    """Run ``datasets/prepare.py`` of the repository ``root``; returns the exit status."""
    parser = argparse.ArgumentParser(description=ABOUT, epilog=EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_preparing(parser.add_subparsers(title='commands', required=True), root)
    return command_status(parser)


def verify_script() -> int:
    """Run ``datasets/verify.py``; returns the exit status."""
    parser = argparse.ArgumentParser(description=VERIFY_ABOUT, epilog=VERIFY_EXAMPLES,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_checking(parser)
    return command_status(parser)
