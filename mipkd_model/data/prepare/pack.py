"""From image files to a raw LMDB of HR images and one of LR images for each scale."""
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypedDict

import numpy as np
from tqdm import tqdm

from .. import DataError
from ..bicubic import shrink
from ..folders import image_files, left_out, name_faults
from ..images import image_shape, read_image
from ..stores import Shape, check_pair, lq_names, pair_names
from .raw_lmdb_writer import Entry, is_packed, write_raw_lmdb
from .thread_pool import in_batches


class PackError(DataError):
    """Images cannot be packed; ``faults`` has one line for each thing that is wrong."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = list(dict.fromkeys(faults))
        more = len(self.faults) - 1
        super().__init__(self.faults[0] + (f' (and {more} more)' if more else ''))


class Packed(TypedDict):
    """Numbers of images packed, and left out because they are small; names of the databases written."""

    packed: int
    small: int
    written: list[str]


class _Faults(list[str]):
    """Everything that is wrong, collected to be reported at once."""

    @contextmanager
    def catching(self) -> Iterator[None]:
        try:
            yield
        except DataError as error:
            self.append(str(error))


def pack_folders(hr: Sequence[str | Path], out: str | Path, scales: Sequence[int],
                 lr: Mapping[int, Sequence[str | Path]], min_side: int = 0) -> Packed:
    """As ``pack_pairs``, of all images of folders; prints what of them is left out."""
    faults = _Faults()

    def files_of(folders: Sequence[str | Path]) -> list[Path]:
        files: list[Path] = []
        for folder in folders:
            with faults.catching():
                files += image_files(folder)
                if others := left_out(folder):
                    print(f'{folder}: left out: {others}', flush=True)
        return files

    hr_files, lr_files = files_of(hr), {scale: files_of(folders) for scale, folders in lr.items()}
    if faults:
        raise PackError(faults)
    return pack_pairs(hr_files, out, scales, lr_files, min_side)


def pack_pairs(hr_files: Sequence[Path], folder: str | Path, scales: Sequence[int],
               lr_files: Mapping[int, Sequence[Path]] | None = None, min_side: int = 0, part: str = 'train') -> Packed:
    """Pack images as ``<part>_HR.lmdb`` and ``<part>_LRx<scale>.lmdb`` below ``folder``.

    All images are read once before anything is written. Databases that hold these very images already are kept; others
    are left alone, with an error.

    Args:
        hr_files: gt image files; their stems become the names.
        folder: where the databases go.
        scales: gt size over lq size.
        lr_files: lq files by scale, named as gt or with ``x<scale>`` behind; for a scale without any they are made from
            gt as MATLAB does (variant A of ``bicubic``).
        min_side: leave out images with a shorter gt side, in pixels.
        part: beginning of the databases' names.

    Raises:
        PackError: images are missing, unreadable, or don't fit each other.
        DataError: a database cannot be written.
    """
    folder, lr_files, faults = Path(folder), lr_files or {}, _Faults()
    if 1 in scales and not lr_files.get(1):
        raise PackError(['--scale: 1 needs --lr, for degraded images are not made here; name their folder'])
    files, shapes = _read_headers(hr_files, faults)
    min_side = max(min_side, *scales)
    kept = [name for name, shape in shapes.items() if min(shape[:2]) >= min_side]
    if not kept and not faults:
        raise PackError([f'{hr_files[0].parent}: none of {len(files)} images has sides of {min_side} pixels or more'])
    plans = {f'{part}_HR.lmdb': [_entry(name, files[name], shapes[name]) for name in kept]}
    sources = {f'{part}_HR.lmdb': [files[name] for name in kept]}
    for scale in scales:
        target = f'{part}_LRx{scale}.lmdb'
        if given := lr_files.get(scale):
            pairs = _partners(files, shapes, kept, given, scale, faults)
            plans[target] = [_entry(name, *pair) for name, pair in pairs.items()]
            sources[target] = [file for file, _ in pairs.values()]
        else:
            plans[target] = [_entry(name, files[name], shapes[name], scale) for name in kept]
            sources[target] = sources[f'{part}_HR.lmdb']
    todo = [target for target in plans if faults or not is_packed(folder / target, plans[target])]
    to_read = list(dict.fromkeys(file for target in todo for file in sources[target]))
    with in_batches(_pixel_faults, to_read) as batches, tqdm(total=len(to_read), desc='check', unit='image') as bar:
        for batch in batches:
            bar.update(len(batch))
            faults += [fault for _, found in batch for fault in found]
    if faults:
        raise PackError(faults)
    for target in todo:
        write_raw_lmdb(folder / target, plans[target])
    return {'packed': len(kept), 'small': len(files) - len(kept), 'written': todo}


def _read_headers(image_files: Sequence[Path], faults: _Faults) -> tuple[dict[str, Path], dict[str, Shape]]:
    """Files and shapes of images by their names; only those whose headers can be read have a shape."""
    files: dict[str, Path] = {}
    shapes: dict[str, Shape] = {}
    faults += name_faults(image_files, files)
    for name, file in files.items():
        with faults.catching():
            shapes[name] = image_shape(file)
    return files, shapes


def _pixel_faults(file: Path) -> _Faults:
    faults = _Faults()
    with faults.catching():
        read_image(file)
    return faults


def _entry(name: str, file: Path, shape: Shape, scale: int | None = None) -> Entry:
    """An image as it is, or shrunk. The stamp is the file's size, for a copy of the file has another time of change."""
    def load() -> np.ndarray:
        return shrink(read_image(file), scale) if scale else read_image(file)

    source = f'{file.name}, bicubic 1/{scale}' if scale else file.name
    height, width = (side // (scale or 1) for side in shape[:2])
    return Entry(name, (height, width, 3), source, load, file.stat().st_size)


def _partners(files: dict[str, Path], shapes: dict[str, Shape], kept: list[str], lr_files: Sequence[Path], scale: int,
              faults: _Faults) -> dict[str, tuple[Path, Shape]]:
    """File and shape of the lq image of each gt image that is kept, by the name of gt."""
    lq_files, lq_shapes = _read_headers(lr_files, faults)
    folder, found = lr_files[0].parent, {}
    with faults.catching():
        lq_names(files, lq_files, scale, f'{next(iter(files.values())).parent} and {folder}')
    pairs, missing, spare = pair_names(files, lq_files, scale)
    # The first one is among the faults already, with the folders that were searched.
    faults += [f'{files[name]}: has no lq image of that name or {name}x{scale} in {folder}' for name in missing[1:]]
    faults += [f'{lq_files[name]}: has no gt image' for name in (spare if missing else spare[1:])]
    for name in kept:
        lq_name = pairs.get(name)
        if lq_name in lq_shapes:
            found[name] = lq_files[lq_name], lq_shapes[lq_name]
            with faults.catching():
                check_pair(lq_name, shapes[name], lq_shapes[lq_name], scale, lq_files[lq_name].parent)
    return found
