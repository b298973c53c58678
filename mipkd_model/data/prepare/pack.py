"""From image files to a raw LMDB of HR images and one of LR images for each scale."""
from collections.abc import Iterable
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tqdm import tqdm

from .. import DataError
from ..bicubic import shrink
from ..folders import names_of
from ..images import image_shape, is_gray, read_image
from ..stores import check_pair, lq_names, pair_names
from .raw_lmdb_writer import Entry, is_packed, write_raw_lmdb
from .thread_pool import in_batches


class PackError(DataError):
    """Images cannot be packed.

    Attributes:
        faults (list[str]): all that is wrong, a line for each.
    """

    def __init__(self, faults: Iterable[str]):
        self.faults = list(dict.fromkeys(faults))
        more = len(self.faults) - 1
        super().__init__(self.faults[0] + (f' (and {more} more)' if more else ''))


class _Faults(list):
    """What is wrong, gathered so that all of it can be said at once."""

    @contextmanager
    def catching(self):
        try:
            yield
        except DataError as error:
            self.append(str(error))


def pack_pairs(hr_files, folder, scales, lr_files=None, min_side=0, part='train'):
    """Pack images as ``<part>_HR.lmdb`` and ``<part>_LRx<scale>.lmdb`` below ``folder``.

    All images are read once before anything is written. Databases that hold these very images already are kept; others
    are left alone, with an error.

    Args:
        hr_files (list[Path]): gt image files; their stems become the names.
        folder (Path): where the databases go.
        scales (iterable[int]): gt size over lq size.
        lr_files (dict[int, list[Path]] | None): lq files by scale, named as gt or with ``x<scale>`` behind; for a scale
            without any they are made from gt as MATLAB does (variant A of ``bicubic``).
        min_side (int): leave out images with a gt side shorter than this.
        part (str): beginning of the databases' names.

    Returns:
        dict: numbers of images ``packed``, left out as ``small``, and ``gray``, and the databases ``written``.

    Raises:
        PackError: images are missing, unreadable, or don't fit each other.
        DataError: a database cannot be written.
    """
    folder, faults = Path(folder), _Faults()
    if 1 in scales and not (lr_files or {}).get(1):
        raise PackError(['--scale: 1 needs --lr, for images are not made noisy or compressed here; name the folder of '
                         'those that are to be restored'])
    files, shapes = _look_at(hr_files, faults)
    least = max(min_side, *scales)
    kept = [name for name, shape in shapes.items() if min(shape[:2]) >= least]
    if not kept and not faults:
        raise PackError([f'{hr_files[0].parent}: none of {len(files)} images has sides of {least} pixels or more'])
    plans = {f'{part}_HR.lmdb': [_entry(name, files[name], shapes[name]) for name in kept]}
    read = {f'{part}_HR.lmdb': [files[name] for name in kept]}
    for scale in scales:
        target = f'{part}_LRx{scale}.lmdb'
        if given := (lr_files or {}).get(scale):
            pairs = _given(files, shapes, kept, given, scale, faults)
            plans[target] = [_entry(name, *pair) for name, pair in pairs.items()]
            read[target] = [file for file, _ in pairs.values()]
        else:
            plans[target] = [_made(name, files[name], shapes[name], scale) for name in kept]
            read[target] = read[f'{part}_HR.lmdb']
    todo = [target for target in plans if faults or not is_packed(folder / target, plans[target])]
    faults += _unreadable(list(dict.fromkeys(file for target in todo for file in read[target])))
    if faults:
        raise PackError(faults)
    for target in todo:
        write_raw_lmdb(folder / target, plans[target])
    return {'packed': len(kept), 'small': len(files) - len(kept), 'gray': sum(is_gray(files[name]) for name in kept),
            'written': todo}


def _look_at(image_files, faults):
    """Files and shapes of images by their names; only those whose headers can be read have a shape."""
    files, shapes = {}, {}
    faults += names_of(image_files, files)
    for name, file in files.items():
        with faults.catching():
            shapes[name] = image_shape(file)
    return files, shapes


def _unreadable(files):
    """What is wrong with the pixels of files."""
    faults = []
    with in_batches(_fault_of, files) as batches, tqdm(total=len(files), desc='check', unit='image') as bar:
        for batch in batches:
            bar.update(len(batch))
            faults += [fault for _, fault in batch if fault]
    return faults


def _fault_of(file):
    try:
        read_image(file)
    except DataError as error:
        return str(error)
    return None


def _stamp(file):
    # Not the time of change: a copy of the file, or a package installed anew, has another.
    return file.stat().st_size


def _entry(name, file, shape):
    return Entry(name, shape, file.name, partial(read_image, file), _stamp(file))


def _made(name, file, shape, scale):
    small = (shape[0] // scale, shape[1] // scale, 3)
    return Entry(name, small, f'{file.name}, bicubic 1/{scale}', partial(_read_shrunk, file, scale), _stamp(file))


def _read_shrunk(file, scale):
    return shrink(read_image(file), scale)


def _given(files, shapes, kept, lr_files, scale, faults):
    """File and shape of the lq image of each gt image that is kept, by the name of gt."""
    lq_files, lq_shapes = _look_at(lr_files, faults)
    folder, found = lr_files[0].parent, {}
    with faults.catching():
        lq_names(files, lq_files, scale, f'{next(iter(files.values())).parent} and {folder}')
    pairs, missing, spare = pair_names(files, lq_files, scale)
    # The first of either is told above, with where was looked for it.
    faults += [f'{files[name]}: has no lq image of that name or {name}x{scale} in {folder}' for name in missing[1:]]
    faults += [f'{lq_files[name]}: has no gt image' for name in (spare if missing else spare[1:])]
    for name in kept:
        lq_name = pairs.get(name)
        if lq_name in lq_shapes:
            found[name] = lq_files[lq_name], lq_shapes[lq_name]
            with faults.catching():
                check_pair(lq_name, shapes[name], lq_shapes[lq_name], scale, lq_files[lq_name].parent)
    return found
