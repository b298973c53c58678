"""The images that a run trains on or is measured on: public datasets, and those of a user's own folder."""
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mipkd_arch.base.errors import UserError, command, one_line, printable

from ..data.prepare.layouts import find_hr, find_lr, image_folders

PATCH = 48
"""Side of an LR patch in training, in pixels."""
STEP = 8
"""LR patches of images that are smaller are multiples of this, as SwinIR's windows need it."""
NAMES_OF_HR = re.compile(r'(hr|gt|original|images)', re.I)


@dataclass(frozen=True)
class Dataset:
    """Pairs of HR and LR images."""
    name: str
    gt: str
    """Path of the HR images: a folder, or an LMDB."""
    lq: str
    """Path of the LR images."""
    smallest: str = ''
    """The image whose LR has the shortest side, with its size, in words."""
    lq_side: int = PATCH
    """The shortest side of an LR image in pixels, at most that of a patch."""

    @property
    def patch(self) -> int:
        """Side of the LR patches, in pixels; 0 where the images are too small for any."""
        return PATCH if self.lq_side >= PATCH else self.lq_side // STEP * STEP


def div2k(scale: int) -> Dataset:
    """The training images of the paper."""
    return Dataset('DIV2K', 'datasets/DIV2K/train_HR.lmdb', f'datasets/DIV2K/train_LRx{scale}.lmdb')


def benchmark(name: str, scale: int) -> Dataset:
    """A benchmark set by its name."""
    return Dataset(name, f'datasets/benchmark/{name}/HR', f'datasets/benchmark/{name}/LR_bicubic/X{scale}')


def find_dataset(option: str, folder: str, lq: str | None, scale: int, part: str) -> Dataset:
    """Find and open the pairs that a user means.

    Args:
        option: what messages call ``folder``: ``--data`` or ``--val``.
        folder: of HR images; one that was packed as ``<part>_HR.lmdb`` and ``<part>_LRx<scale>.lmdb``; or one with
            HR and LR images in folders of the usual names below it.
        lq: folder, or LMDB, of the LR images; None: they are looked for next to the HR images.
        scale: gt size over lq size.
        part: 'train' or 'val', which is preferred where several parts are packed.

    Raises:
        UserError: there are none, or they are no pairs; with the command that makes LR images where these are missing.
    """
    from ..data.paired_dataset import PairedSRDataset  # imports torch, which public datasets do not need
    root = Path(folder).expanduser()
    if not root.is_dir():
        found = 'a file' if root.exists() else 'not there'
        raise UserError(f'{option}: {printable(folder)} is {found}; name a folder of HR images, or one that mipkd data '
                        'pack has filled')
    if lq is not None and not Path(lq).expanduser().is_dir():
        other = '--lq' if option == '--data' else f'{option}-lq'
        raise UserError(f'{other}: {printable(lq)} is no folder; name that of the LR x{scale} images')
    with _message_from(option):
        gt, lr = _find_pair(option, root, scale, part, Path(lq).expanduser() if lq is not None else None)
        pairs = PairedSRDataset({'phase': 'val', 'scale': scale, 'dataroot_gt': str(gt), 'dataroot_lq': str(lr)})
    gt_name, lq_name = min(pairs.pairs, key=lambda pair: min(pairs.lq.shapes[pair[1]][:2]))
    height, width = pairs.gt.shapes[gt_name][:2]
    return Dataset(_name(gt), str(gt), str(lr), f'image {gt_name!r} is {width}x{height}',
                   min(PATCH, *pairs.lq.shapes[lq_name][:2]))


def check_patches(option: str, data: Dataset, scale: int) -> None:
    """Check that patches can be cut from every image, and say on stderr if they are smaller than usual.

    Raises:
        UserError: an image is too small.
    """
    remedy = f'leave such images out by --min-side {(PATCH if data.patch else STEP) * scale} of mipkd data pack'
    if not data.patch:
        raise UserError(f'{option}: {data.gt}: {data.smallest}, and less than {STEP * scale} pixels are too few to '
                        f'train on; {remedy}')
    if data.patch < PATCH:
        print(f'note: {printable(data.gt)}: {data.smallest}, so that gt_size is {data.patch * scale} and not '
              f'{PATCH * scale}; {remedy} for the usual size', file=sys.stderr)


def _find_pair(option: str, root: Path, scale: int, part: str, lq: Path | None) -> tuple[Path, Path]:
    """Paths of HR and LR images."""
    packed = [root] if root.suffix == '.lmdb' else sorted(
        root.glob('*_HR.lmdb'), key=lambda file: (not file.name.startswith(f'{part}_'), file.name))
    if packed:
        gt = packed[0]
        lr = lq or gt.with_name(f'{gt.stem.removesuffix("_HR")}_LRx{scale}.lmdb')
        if not lr.is_dir():
            raise UserError(f'{gt} has no LR x{scale} images next to it ({lr.name}). Make them from the HR images: '
                            f'{_pack("FOLDER", scale, gt.parent)}')
        return gt, lr
    has_images = root in image_folders(root)
    gt = root if has_images else find_hr(root)
    found = lq or (None if has_images else find_lr(root, scale))
    if found is None:
        out = Path('datasets', _name(gt))
        if out.absolute() == gt.absolute():
            out = gt.with_name(f'{gt.name}_packed')
        raise UserError(f'{gt} has no LR x{scale} images. Make them: {_pack(gt, scale, out)}, and give '
                        f'{command(option, out)}')
    return gt, found


def _pack(hr: str | Path, scale: int, out: Path) -> str:
    return command('mipkd', 'data', 'pack', '--hr', hr, '--scale', scale, '--out', out)


def _name(gt: Path) -> str:
    """Name of a dataset: that of the folder, or of its parent where it only tells that the images are HR."""
    folder = gt.resolve()
    if folder.suffix == '.lmdb' or NAMES_OF_HR.fullmatch(folder.name):
        folder = folder.parent
    return folder.name


@contextmanager
def _message_from(option: str) -> Iterator[None]:
    """Begin the message of a mistake with the option."""
    try:
        yield
    except UserError as error:
        raise UserError(f'{option}: {one_line(error)}') from None
