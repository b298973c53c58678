"""From image files to a raw LMDB of HR images and one of LR images for each scale."""
from functools import partial
from pathlib import Path

from . import DataError
from .bicubic import shrink
from .images import image_shape, is_gray, read_image
from .raw_lmdb_writer import Entry, is_packed, write_raw_lmdb
from .stores import check_pair, lq_names


def pack_pairs(hr_files, folder, scales, lr_files=None, min_side=0, part='train'):
    """Pack images as ``<part>_HR.lmdb`` and ``<part>_LRx<scale>.lmdb`` below ``folder``.

    Everything that the headers tell is checked before anything is written. Databases that hold these very images
    already are kept; others are left alone, with an error.

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
        DataError: images are missing, unreadable, or don't fit each other; a database cannot be written.
    """
    folder, lr_files = Path(folder), lr_files or {}
    shapes, files = {}, {}
    for file in hr_files:
        if file.stem in files:
            raise DataError(f'{file}: has the name of {files[file.stem]}; rename one of them')
        files[file.stem], shapes[file.stem] = file, image_shape(file)
    if 1 in scales and not lr_files.get(1):
        raise DataError('--scale: 1 needs --lr, for images are not made noisy or compressed here; name the folder of '
                        'those that are to be restored')
    kept = [name for name, shape in shapes.items() if min(shape[:2]) >= max(min_side, *scales)]
    if not kept:
        raise DataError(f'{hr_files[0].parent}: none of {len(files)} images has sides of {max(min_side, *scales)} '
                        'pixels or more')
    plans = {f'{part}_HR.lmdb': [_entry(name, files[name], shapes[name]) for name in kept]}
    for scale in scales:
        plans[f'{part}_LRx{scale}.lmdb'] = (
            _given(files, shapes, kept, lr_files[scale], scale) if lr_files.get(scale) else
            [_made(name, files[name], shapes[name], scale) for name in kept])
    todo = {name: entries for name, entries in plans.items() if not is_packed(folder / name, entries)}
    for name, entries in todo.items():
        write_raw_lmdb(folder / name, entries)
    return {'packed': len(kept), 'small': len(files) - len(kept), 'gray': sum(is_gray(files[name]) for name in kept),
            'written': list(todo)}


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


def _given(files, shapes, kept, lr_files, scale):
    by_name, kept = {file.stem: file for file in lr_files}, set(kept)
    where = f'{next(iter(files.values())).parent} and {lr_files[0].parent}'
    entries = []
    for name, lq_name in lq_names(files, by_name, scale, where).items():
        if name in kept:
            shape = image_shape(by_name[lq_name])
            check_pair(lq_name, shapes[name], shape, scale, by_name[lq_name].parent)
            entries.append(_entry(name, by_name[lq_name], shape))
    return entries
