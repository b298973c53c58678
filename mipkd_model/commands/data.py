"""``mipkd data``; what its sub-commands need is imported when they run, so that ``--help`` answers at once."""
import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mipkd_arch.base.cli import command_status
from mipkd_arch.base.errors import UserError, command

from ..data.benchmarks import BENCHMARK, DIV2K
from .arguments import add_command, add_group, fail

SCALES = (1, 2, 3, 4, 8)


def _pack(hr: Sequence[str | Path], lr: Mapping[int, Sequence[str | Path]], scales: Sequence[int], out: str | Path,
          min_side: int = 0, **hold_out: Any) -> None:
    """Pack folders, and print a summary, or all faults."""
    from ..data.prepare.pack import PackError, pack_folders
    try:
        done = pack_folders(hr, out, scales, lr, min_side, **hold_out)
    except PackError as error:
        fail(error.faults, f'nothing was written, for {len(error.faults)} things are wrong with these images, a line '
                           f'above for each; the first: {error.faults[0]}')
    written = ', '.join(done['written']) + ' written' if done['written'] else 'all there already'
    small = f'; {done["small"]} with a side below {max(min_side, *scales)} pixels left out' if done['small'] else ''
    held = f'; {done["held_out"]} held out in {hold_out["hold_out"]}' if done['held_out'] else ''
    print(f'{out}: {done["packed"]} images; {written}{small}{held}')


def pack(args: argparse.Namespace) -> None:
    """Pack folders of images."""
    if args.lr and len(args.scale) > 1:
        raise UserError('--lr: goes with one --scale at a time; call once for each')
    if args.every is not None and not args.hold_out:
        raise UserError('--every: goes with --hold-out, the folder for the images that are held out')
    if args.hold_out and Path(args.hold_out).resolve() == Path(args.out).resolve():
        raise UserError(f'--hold-out: {args.hold_out} is the folder of --out; name another')
    hold_out = {'hold_out': args.hold_out, **({} if args.every is None else {'every': args.every})}
    _pack(args.hr, {args.scale[0]: args.lr} if args.lr else {}, args.scale, args.out, args.min_side, **hold_out)


def div2k(args: argparse.Namespace) -> None:
    """Fetch and pack DIV2K's 800 training images."""
    from ..data.prepare.download import fetch_div2k
    from ..data.prepare.layouts import find_hr, find_lr
    if not args.folder:
        hr = fetch_div2k(args.out, 'DIV2K_train_HR', args.address) / 'DIV2K_train_HR'
        names = {scale: f'DIV2K_train_LR_bicubic_X{scale}' for scale in args.scale}
        lr = {scale: [fetch_div2k(args.out, name, args.address) / f'DIV2K_train_LR_bicubic/X{scale}']
              for scale, name in names.items()}
    else:
        hr = find_hr(args.folder)
        lr = {scale: [folder] for scale in args.scale if (folder := find_lr(args.folder, scale))}
        for scale in args.scale:
            if scale not in lr:
                print(f'{args.folder}: no LR x{scale} images, they are made')
    _pack([hr], lr, args.scale, args.out)


def benchmark(args: argparse.Namespace) -> None:
    """Fetch the benchmark sets."""
    from ..data.prepare.download import fetch_benchmark
    print(f'{args.out}: {", ".join(fetch_benchmark(args.out, args.address))}')


def everything(args: argparse.Namespace) -> None:
    """Get what an option file needs and is not there."""
    from ..config.checks import check_options, read_options
    from ..data.benchmarks import source_of
    from ..networks.catalog import OFFICIAL, how_to_get_weights, named_weights
    from ..networks.zoo import get_weights
    opt, root = read_options(args.opt), args.root
    check_options(opt, is_train='train' in opt)
    paths = []
    for phase, block in opt['datasets'].items():
        for key in ('dataroot_gt', 'dataroot_lq'):
            if isinstance(block.get(key), str):
                paths.append(Path(block[key]))
            elif key == 'dataroot_lq' or block['type'] != 'SingleImageDataset':
                raise UserError(f'datasets.{phase}.{key}: missing in the option file')
    missing = {source_of(path): path for path in paths if not (root / path.expanduser()).exists()}
    if None in missing:
        raise UserError(f'{args.opt}: {missing[None]} is not of a public dataset; pack it: mipkd data pack --help')
    if 'div2k' in missing:
        div2k(argparse.Namespace(scale=[opt['scale']], out=root / 'datasets/DIV2K', folder=args.folder, address=DIV2K))
    if 'benchmark' in missing:
        benchmark(argparse.Namespace(out=root / 'datasets/benchmark', address=BENCHMARK))
    for where, path in named_weights(opt).items():
        if not (root / Path(path).expanduser()).exists():
            name = next((name for name, weights in OFFICIAL.items() if weights.file == Path(path).name), None)
            if name is None:
                raise UserError(f'{where}: {path} is not there. {how_to_get_weights(path)}')
            get_weights(name, root / Path(path).expanduser().parent)
    check = command('mipkd', 'data', 'verify', root / 'datasets/DIV2K', root / 'datasets/benchmark')
    print(f'{args.opt}: all data and weights are there. Check the data: {check}/*')


def verify(args: argparse.Namespace) -> None:
    """Check all pairs and print the findings."""
    from tqdm import tqdm

    from ..data.prepare.verify import Pair, find_pairs
    from ..data.prepare.verify import verify as verify_pair
    scales = args.scale or SCALES
    if args.gt and args.lq and len(scales) == 1 and not args.folders:
        pairs = [Pair(Path(args.gt), Path(args.lq), scales[0])]
    elif args.gt or args.lq or not args.folders:
        raise UserError('name folders, such as datasets/DIV2K; or --gt, --lq and --scale, one scale at a time')
    else:
        pairs = [pair for folder in args.folders for pair in find_pairs(folder) if pair.scale in scales]
        if not pairs:
            raise UserError(f'{args.folders[0]}: has nothing for --scale {" ".join(map(str, scales))}')
    wrong = 0
    for pair in pairs:
        print(f'{pair.gt} and {pair.lq}')
        for finding in verify_pair(pair, args.limit, partial(tqdm, leave=False, unit='image')):
            print(f'  {"ok   " if finding.good else "WRONG"} {finding.text}')
            wrong += not finding.good
    if wrong:
        raise UserError(f'{wrong} of the checks above failed')


def _count(text: str, least: int = 0) -> int:
    """An integer of at least 0, or ``least``, for argparse."""
    if (number := int(text)) < least:
        raise argparse.ArgumentTypeError(f'{number} is below {least}')
    return number


def add(commands: Any, root: Path | None = None) -> None:
    """Add the parsers of ``mipkd data``; data goes to ``datasets`` of ``root``.

    By default that is the repository that the current folder is in, and else the current folder.
    """
    if root is None:
        parents = (folder for folder in Path.cwd().parents if (folder / 'datasets/prepare.py').is_file())
        root = next(parents, Path())
    parts = add_group(commands, 'data', 'put data in place, and check it; what is in place already is kept',
                      'mipkd data all -opt options/train_MiPKD_x4.yml')

    def add_one(name: str, run: Callable[[argparse.Namespace], None], about: str, example: str) -> Callable:
        one = add_command(parts, name, run, about, f'mipkd data {name} {example}')
        one.set_defaults(root=root)
        return one.add_argument

    option = add_one('all', everything, 'get everything that an option file needs', '-opt options/train_MiPKD_x4.yml')
    option('-opt', required=True, metavar='FILE', help='the option file')
    option('--from', dest='folder', metavar='DIR', help='take DIV2K from this folder')

    option = add_one('div2k', div2k, 'fetch and pack DIV2K', '--scale 2 3 4')
    option('--scale', nargs='+', type=int, choices=(2, 3, 4), required=True, help='of bicubic LR images')
    option('--from', dest='folder', metavar='DIR', help='take the images from this folder, in any usual layout')
    option('--out', default=root / 'datasets/DIV2K', metavar='DIR', help='default: datasets/DIV2K')
    option('--address', default=DIV2K, metavar='URL', help='where the zip files are')

    option = add_one('benchmark', benchmark, 'fetch the benchmark sets', '')
    option('--out', default=root / 'datasets/benchmark', metavar='DIR', help='default: datasets/benchmark')
    option('--address', default=BENCHMARK, metavar='URL', help='where the tar file is')

    option = add_one('pack', pack, 'pack folders of images', '--hr photos --scale 4 --out datasets/photos')
    option('--hr', nargs='+', required=True, metavar='DIR', help='folders of HR images')
    option('--lr', nargs='+', metavar='DIR', help='folders of LR images, named as HR or as 0001x4.png; default: made')
    option('--scale', nargs='+', type=int, choices=SCALES, required=True, help='HR size over LR size; 1 needs --lr')
    option('--out', required=True, metavar='DIR', help='where the LMDBs are written')
    option('--min-side', type=_count, default=0, metavar='PIXELS', help='leave out smaller HR images, as of gt_size')
    option('--hold-out', metavar='DIR', help='pack some images there instead, to validate on')
    option('--every', type=partial(_count, least=2), metavar='N', help='one of N, the middle one of them (default: 15)')

    option = add_one('verify', verify, 'find wrong copies of datasets: counts, sizes, pairs, checksums, origin of LR',
                     'datasets/DIV2K datasets/benchmark/*')
    option('folders', nargs='*', metavar='DIR', help='with *_HR.lmdb and *_LRx4.lmdb, or HR and LR_bicubic/X4')
    option('--gt', metavar='PATH', help='LMDB or folder of HR images')
    option('--lq', metavar='PATH', help='LMDB or folder of LR images')
    option('--scale', nargs='+', type=int, choices=SCALES, help='only these scales')
    option('--limit', type=_count, default=120, metavar='N', help='compare the pixels of N pairs (120), 0: of all')


def run_script(root: Path, *words: str) -> int:
    """Run the sub-command given by these words and the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog='mipkd')
    add(parser.add_subparsers(), root)
    return command_status(parser, ['data', *words, *sys.argv[1:]])
