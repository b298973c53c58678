"""The images that a run trains on or is measured on: known ones, and those of a user's own folder."""
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mipkd_arch.base.errors import UserError, command, one_line, printable
from mipkd_arch.base.option_types import FileName, checked_value

from ..data.paired_dataset import PairedSRDataset
from ..data.prepare.layouts import find_hr, find_lr, image_folders

PATCH = 48
"""Side of an LR patch in training, in pixels."""
STEP = 8
"""LR patches of images that are smaller are multiples of this, as the windows of SwinIR and the like want them."""
OF_HR = re.compile(r'(hr|gt|original|images)', re.I)


@dataclass(frozen=True)
class DataSet:
    """Pairs of HR and LR images."""
    name: str
    gt: str
    """Path of the HR images: a folder, or an LMDB."""
    lq: str
    """Path of the LR images."""
    smallest: tuple[str, int, int] | None = None
    """Name, height and width of the image whose LR has the shortest side; None where nobody has looked."""
    lq_side: int = PATCH
    """The shortest side of an LR image in pixels, as far as it matters: at most that of a patch."""

    @property
    def patch(self) -> int:
        """Side of the LR patches, in pixels."""
        return PATCH if self.lq_side >= PATCH else self.lq_side // STEP * STEP


def div2k(scale: int) -> DataSet:
    """The training images of the paper."""
    return DataSet('DIV2K', 'datasets/DIV2K/train_HR.lmdb', f'datasets/DIV2K/train_LRx{scale}.lmdb')


def benchmark(name: str, scale: int) -> DataSet:
    """A benchmark set by its name."""
    return DataSet(name, f'datasets/benchmark/{name}/HR', f'datasets/benchmark/{name}/LR_bicubic/X{scale}')


def find_data_set(option: str, folder: str, lq: str | None, scale: int, part: str) -> DataSet:
    """Find the pairs that a user means, and open them.

    Args:
        option: what messages call ``folder``; ``lq`` is named by its other half, ``--lq`` or ``--val-lq``.
        folder: of HR images; one that was packed as ``<part>_HR.lmdb`` and ``<part>_LRx<scale>.lmdb``; or one with
            HR and LR images in folders of the usual names below it.
        lq: folder, or LMDB, of the LR images; None: they are looked for beside the HR images.
        scale: gt size over lq size.
        part: 'train' or 'val', which is preferred where several parts are packed.

    Raises:
        UserError: there are none, or they are no pairs; with the command that makes LR images where these are missing.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise UserError(f'{option}: {printable(folder)} is {"a file" if root.exists() else "not there"}; name a folder '
                        'of HR images, or one that mipkd data pack has filled')
    gt, found = _find_pair(option, root, scale, part, lq is not None)
    if lq is not None:
        other = '--lq' if option == '--data' else option + '-lq'
        if not Path(lq).expanduser().is_dir():
            raise UserError(f'{other}: {printable(lq)} is no folder; name that of the LR x{scale} images')
        found = Path(lq).expanduser()
    name = _name(gt)
    checked_value(f'{option}: the name of its folder', name, FileName)
    data = _within(option, lambda: PairedSRDataset({'phase': 'val', 'scale': scale, 'dataroot_gt': str(gt),
                                                    'dataroot_lq': str(found)}))
    gt_name, lq_name = min(data.pairs, key=lambda pair: min(data.lq.shapes[pair[1]][:2]))
    return DataSet(name, str(gt), str(found), (gt_name, *data.gt.shapes[gt_name][:2]),
                   min(PATCH, *data.lq.shapes[lq_name][:2]))


def check_trainable(option: str, data: DataSet, scale: int) -> None:
    """Check that patches can be cut from every image.

    Raises:
        UserError: one is too small.
    """
    if not data.patch:
        name, height, width = data.smallest
        raise UserError(f'{option}: {data.gt}: image {name!r} is {width}x{height}, and less than {STEP * scale} pixels '
                        f'are too few to train on; leave such images out by --min-side {STEP * scale} of mipkd data '
                        'pack')


def note_on_patches(data: DataSet, scale: int) -> str | None:
    """What to say where patches are smaller than usual; None where they are not."""
    if data.patch == PATCH:
        return None
    name, height, width = data.smallest
    return (f'note: {printable(data.gt)}: image {name!r} is {width}x{height}, so that gt_size is {data.patch * scale} '
            f'and not {PATCH * scale}; --min-side {PATCH * scale} of mipkd data pack leaves such images out')


def _find_pair(option: str, root: Path, scale: int, part: str, has_lq: bool) -> tuple[Path, Path | None]:
    """Paths of HR and, unless the user names them, LR images."""
    packed = [root] if root.suffix == '.lmdb' else sorted(
        root.glob('*_HR.lmdb'), key=lambda file: (not file.name.startswith(f'{part}_'), file.name))
    if packed:
        gt = packed[0]
        lq = gt.with_name(f'{gt.stem.removesuffix("_HR")}_LRx{scale}.lmdb')
        if not has_lq and not lq.is_dir():
            raise UserError(f'{option}: {gt} has no LR x{scale} images beside it ({lq.name}). Make them of the HR '
                            f'images: {_pack("FOLDER", scale, gt.parent)}')
        return gt, lq
    if root in image_folders(root):
        gt, lq = root, None
    else:
        gt = _within(option, lambda: find_hr(root))
        lq = None if has_lq else _within(option, lambda: find_lr(root, scale))
    if lq is None and not has_lq:
        out = Path('datasets', _name(gt))
        out = gt.with_name(f'{gt.name}_packed') if out.absolute() == gt.absolute() else out
        again = command(option, out)
        raise UserError(f'{option}: {gt} has no LR x{scale} images. Make them: {_pack(gt, scale, out)}, and give '
                        f'{again}')
    return gt, lq


def _pack(hr: str | Path, scale: int, out: Path) -> str:
    return command('mipkd', 'data', 'pack', '--hr', hr, '--scale', scale, '--out', out)


def _name(gt: Path) -> str:
    """Name of a data set: that of the folder, or of the one around it where it says no more than that they are HR."""
    folder = gt.resolve()
    if folder.suffix == '.lmdb' or OF_HR.fullmatch(folder.name):
        folder = folder.parent
    return folder.name


def _within(option: str, function: Callable):
    try:
        return function()
    except UserError as error:
        raise UserError(f'{option}: {one_line(error)}') from None
