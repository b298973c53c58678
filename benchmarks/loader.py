"""How fast training samples are read: this loader against BasicSR's, on PNG LMDBs and on PNG files, on one core.

The images are cut into sub-images of 480x480, as BasicSR's own scripts do to spare its loader the decoding of whole
images, and are stored in all three ways. All three then read the same crops with the same augmentation; that they give
the same pixels is checked before anything is timed. They alternate within one process, and the medians of the turns
are given. The last line is one JSON object: samples/s of each, and ``ratio``, ours over BasicSR's LMDB path.

example:
  python benchmarks/loader.py
  python benchmarks/loader.py --hr datasets/DIV2K/DIV2K_train_HR/DIV2K_train_HR --images 20
"""
import argparse
import contextlib
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / 'demo')]
sys.path.append(str(ROOT))

import mipkd_model  # noqa: E402, F401  (first: it says how torch's threads wait, and makes BasicSR importable)

# isort: split
import cv2  # noqa: E402
import torch  # noqa: E402
from tqdm import tqdm  # noqa: E402

from mipkd_arch.base.cli import exit_status  # noqa: E402
from mipkd_arch.base.errors import UserError  # noqa: E402
from mipkd_model.data.bicubic import shrink  # noqa: E402
from mipkd_model.data.folders import image_files  # noqa: E402
from mipkd_model.data.images import read_image  # noqa: E402
from mipkd_model.data.paired_dataset import PairedSRDataset  # noqa: E402
from mipkd_model.data.prepare.pack import pack_pairs  # noqa: E402
from mipkd_model.run.sampler import TrainingOrder  # noqa: E402

import basicsr.data.transforms  # noqa: E402
from basicsr.data.paired_image_dataset import PairedImageDataset  # noqa: E402
from basicsr.utils.lmdb_util import make_lmdb_from_imgs  # noqa: E402

SIDE, STEP = 480, 240
MORE = 20  # ours reads the others' samples of a turn and 19 times as many, to take a time that can be measured
OURS, LMDB, FILES = 'mipkd', 'basicsr_lmdb', 'basicsr_png'


class Replay:
    """Stands in for ``random`` in BasicSR's transforms, and gives it the numbers of a crop that was drawn elsewhere."""

    def set(self, crop: Any) -> None:
        self.places, self.flips = [crop.top, crop.left], [crop.hflip, crop.vflip, crop.transpose]

    def randint(self, low: int, high: int) -> int:
        return self.places.pop(0)

    def random(self) -> float:
        return 0. if self.flips.pop(0) else 1.


def cut(files: Sequence[Path], folder: Path, scale: int) -> int:
    """Write sub-images and their LR as PNG files. Returns how many."""
    for part in ('HR', 'LR'):
        (folder / part).mkdir()
    count = 0
    for file in tqdm(files, 'cut', unit='image'):
        image = read_image(file)
        for top in range(0, image.shape[0] - SIDE + 1, STEP):
            for left in range(0, image.shape[1] - SIDE + 1, STEP):
                hr = image[top:top + SIDE, left:left + SIDE, ::-1]
                for part, sub in (('HR', hr), ('LR', shrink(hr, scale))):
                    cv2.imwrite(str(folder / part / f'{count:05d}.png'), sub)
                count += 1
    if not count:
        raise UserError(f'none of {len(files)} images has {SIDE}x{SIDE} pixels')
    return count


def datasets(folder: Path, scale: int, gt_size: int) -> dict[str, Any]:
    """The three datasets over one set of sub-images."""
    hr = image_files(folder / 'HR')
    pack_pairs(hr, folder, [scale], {scale: image_files(folder / 'LR')})
    for part in ('HR', 'LR'):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            make_lmdb_from_imgs(str(folder / part), str(folder / f'{part}.lmdb'), [f.name for f in hr],
                                [f.stem for f in hr])
    common = {'name': 'benchmark', 'phase': 'train', 'scale': scale, 'gt_size': gt_size, 'use_hflip': True,
              'use_rot': True}
    sets = {
        OURS: PairedSRDataset({**common, 'type': 'PairedSRDataset', 'dataroot_gt': str(folder / 'train_HR.lmdb'),
                               'dataroot_lq': str(folder / f'train_LRx{scale}.lmdb')}),
        LMDB: PairedImageDataset({**common, 'dataroot_gt': str(folder / 'HR.lmdb'), 'io_backend': {'type': 'lmdb'},
                                  'dataroot_lq': str(folder / 'LR.lmdb')}),
        FILES: PairedImageDataset({**common, 'dataroot_gt': str(folder / 'HR'), 'io_backend': {'type': 'disk'},
                                   'dataroot_lq': str(folder / 'LR')})}
    sets[FILES].paths.sort(key=lambda pair: pair['gt_path'])  # they come as the file system lists them
    return sets


def read(sets: dict[str, Any], name: str, key: Any, crop: Any, replay: Replay) -> dict[str, Any]:
    """One sample of one dataset."""
    if name == OURS:
        return sets[name][key]
    replay.set(crop)
    return sets[name][key.index]


def check(sets: dict[str, Any], keys: Sequence[Any], replay: Replay) -> None:
    """Check that all three give the same pixels."""
    for key in keys:
        crop = sets[OURS].crop_of(key)
        ours = read(sets, OURS, key, crop, replay)
        for name in (LMDB, FILES):
            theirs = read(sets, name, key, crop, replay)
            for part in ('lq', 'gt'):
                if not torch.equal((theirs[part] * 255).round().byte(), ours[part]):
                    raise UserError(f'{name} and {OURS} give different pixels for {key}')


def run(args: argparse.Namespace) -> None:
    """The whole benchmark."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if args.hr:
        files = image_files(args.hr)
    else:
        import photographs
        import skimage.data
        files = [Path(skimage.data.__file__).parent / name for name in photographs.TRAINING + photographs.VALIDATION]
    replay = basicsr.data.transforms.random = Replay()
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        count = cut(files[:args.images], Path(work), args.scale)
        sets = datasets(Path(work), args.scale, args.gt_size)
        keys = list(TrainingOrder(count, args.turn * MORE, args.turns))
        check(sets, keys[:100], replay)
        crops = [sets[OURS].crop_of(key) for key in keys]
        rates: dict[str, list[float]] = {name: [] for name in sets}
        for turn in tqdm(range(args.turns), 'read', unit='turn'):
            for name in sets:
                first, length = turn * args.turn * MORE, args.turn * (MORE if name == OURS else 1)
                part = slice(first, first + length)
                start = time.perf_counter()
                for key, crop in zip(keys[part], crops[part], strict=True):
                    read(sets, name, key, crop, replay)
                rates[name].append(length / (time.perf_counter() - start))
    result = {name: round(statistics.median(rate), 1) for name, rate in rates.items()}
    print(f'{count} sub-images of {SIDE}x{SIDE}, gt_size {args.gt_size}, x{args.scale}, samples/s on one core:')
    for name, rate in result.items():
        print(f'{name:14}{rate:10.1f}')
    print(json.dumps({**result, 'ratio': round(result[OURS] / result[LMDB], 1),
                      'ratio_png': round(result[OURS] / result[FILES], 1)}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--hr', metavar='DIR', help='folder of HR images; default: photographs of scikit-image')
    parser.add_argument('--images', type=int, default=100, help='use at most so many images')
    parser.add_argument('--scale', type=int, default=4, choices=(2, 3, 4), help='gt size over lq size')
    parser.add_argument('--gt_size', type=int, default=192, help='side of a crop')
    parser.add_argument('--turns', type=int, default=11, help='turns of each loader')
    parser.add_argument('--turn', type=int, default=60, help='samples of a turn')
    parser.add_argument('--work', metavar='DIR', help='where the databases are made; default: the temporary folder')
    return exit_status(run, parser.parse_args())


if __name__ == '__main__':
    sys.exit(main())
