"""From image files to a raw LMDB of HR images and one of LR images for each scale."""
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .. import DataError
from ..bicubic import shrink
from ..folders import by_name, image_files, left_out
from ..images import image_shape, read_image
from ..stores import Shape, check_pair, lq_names
from .raw_lmdb_writer import Entry, in_batches, is_packed, write_raw_lmdb

Plan = list[tuple[Path, Entry]]  # the images of a database, with the files that they are read from
EVERY = 15  # of so many images one is held out, where any are


class PackError(DataError):
    """Images cannot be packed; ``faults`` has one line for each thing that is wrong."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = list(dict.fromkeys(faults))
        more = len(self.faults) - 1
        super().__init__(self.faults[0] + (f' (and {more} more)' if more else ''))


@contextmanager
def _collecting(faults: list[str]) -> Iterator[None]:
    """Add what is wrong to the faults, which are reported at once."""
    try:
        yield
    except DataError as error:
        faults.append(str(error))


def pack_folders(hr: Sequence[str | Path], out: str | Path, scales: Sequence[int],
                 lr: Mapping[int, Sequence[str | Path]], min_side: int = 0, hold_out: str | Path | None = None,
                 every: int = EVERY) -> dict[str, Any]:
    """As ``pack_pairs``, of all images of folders; prints what of them is left out."""
    faults: list[str] = []

    def files_of(folders: Sequence[str | Path]) -> list[Path]:
        files: list[Path] = []
        for folder in folders:
            with _collecting(faults):
                files += image_files(folder)
                if others := left_out(folder):
                    print(f'{folder}: left out: {others}', flush=True)
        return files

    hr_files, lr_files = files_of(hr), {scale: files_of(folders) for scale, folders in lr.items()}
    if faults:
        raise PackError(faults)
    return pack_pairs(hr_files, out, scales, lr_files, min_side, hold_out=hold_out, every=every)


def pack_pairs(hr_files: Sequence[Path], folder: str | Path, scales: Sequence[int],
               lr_files: Mapping[int, Sequence[Path]] | None = None, min_side: int = 0,
               part: str = 'train', hold_out: str | Path | None = None, every: int = EVERY) -> dict[str, Any]:
    """Pack images as ``<part>_HR.lmdb`` and ``<part>_LRx<scale>.lmdb`` below ``folder``.

    All images are read once before anything is written. Databases that hold these very images already are kept; others
    are left alone, with an error.

    Args:
        hr_files: gt image files; their stems become the names.
        lr_files: lq files by scale, named as gt or with ``x<scale>`` behind; for a scale without any they are made from
            gt as MATLAB does (variant A of ``bicubic``).
        min_side: leave out images with a shorter gt side, in pixels.
        hold_out: another folder, which gets the middle one of ``every`` images in a row instead, to validate on.

    Returns:
        ``packed``, ``held_out``, ``small``: numbers of images in ``folder``, held out, and left out; ``written``: names
        of the databases written, those of ``hold_out`` with its path.

    Raises:
        PackError: images are missing, unreadable, or don't fit each other.
        DataError: a database cannot be written.
    """
    folder, lr_files, faults = Path(folder), lr_files or {}, list[str]()
    if 1 in scales and not lr_files.get(1):
        raise PackError(['--scale: 1 needs --lr, for degraded images are not made here; name their folder'])
    files, shapes = _read_headers(hr_files, faults)
    min_side = max(min_side, *scales)
    kept = [name for name, shape in shapes.items() if min(shape[:2]) >= min_side]
    if not kept and not faults:
        raise PackError([f'{hr_files[0].parent}: none of {len(files)} images has sides of {min_side} pixels or more'])
    # Counted before small ones are left out, so that whatever min_side is, the same images are held out.
    held = {name for place, name in enumerate(files) if hold_out and place % every == every // 2} & set(kept)
    if hold_out and not held and not faults:
        raise PackError([f'--every: {every} holds out none of {len(files)} images; lower it'])
    plans: dict[str, Plan] = {f'{part}_HR.lmdb': [_planned(name, files[name], shapes[name]) for name in kept]}
    for scale in scales:
        plan: Plan = []
        if given := lr_files.get(scale):
            lq_files, lq_shapes = _read_headers(given, faults)
            with _collecting(faults):
                partners = lq_names(files, lq_files, scale, f'{hr_files[0].parent} and {given[0].parent}')
                for name in kept:
                    if (lq_name := partners[name]) in lq_shapes:
                        plan.append(_planned(name, lq_files[lq_name], lq_shapes[lq_name]))
                        with _collecting(faults):
                            check_pair(lq_name, shapes[name], lq_shapes[lq_name], scale, given[0].parent)
        else:
            plan = [_planned(name, files[name], shapes[name], scale) for name in kept]
        plans[f'{part}_LRx{scale}.lmdb'] = plan
    roots = {folder: False, **({Path(hold_out): True} if hold_out else {})}
    databases = {root / target: [(file, entry) for file, entry in plan if (entry.name in held) is is_held]
                 for root, is_held in roots.items() for target, plan in plans.items()}
    entries = {path: [entry for _, entry in plan] for path, plan in databases.items()}
    todo = [path for path in databases if faults or not is_packed(path, entries[path])]
    to_read = list(dict.fromkeys(file for path in todo for file, _ in databases[path]))
    with tqdm(total=len(to_read), desc='check', unit='image') as bar:
        for batch in in_batches(_pixel_fault, to_read):
            bar.update(len(batch))
            faults += [fault for _, fault in batch if fault]
    if faults:
        raise PackError(faults)
    for path in todo:
        write_raw_lmdb(path, entries[path])
    return {'packed': len(kept) - len(held), 'held_out': len(held), 'small': len(files) - len(kept),
            'written': [path.name if path.parent == folder else str(path) for path in todo]}


def _read_headers(image_files: Sequence[Path], faults: list[str]) -> tuple[dict[str, Path], dict[str, Shape]]:
    """Files and shapes of images by their names; only those whose headers can be read have a shape."""
    files, shapes = by_name(image_files, faults), dict[str, Shape]()
    for name, file in files.items():
        with _collecting(faults):
            shapes[name] = image_shape(file)
    return files, shapes


def _pixel_fault(file: Path) -> str | None:
    try:
        read_image(file)
    except DataError as error:
        return str(error)
    return None


def _planned(name: str, file: Path, shape: Shape, scale: int | None = None) -> tuple[Path, Entry]:
    """An image as it is, or shrunk. The stamp is the file's size, for a copy of the file has another time of change."""
    def load() -> np.ndarray:
        return shrink(read_image(file), scale) if scale else read_image(file)

    source = f'{file.name}, bicubic 1/{scale}' if scale else file.name
    height, width = (side // (scale or 1) for side in shape[:2])
    return file, Entry(name, (height, width, 3), source, load, file.stat().st_size)
