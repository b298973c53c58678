"""Which files of a folder are its images, and what else is in it."""
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from mipkd_arch.base.errors import printable, shown

from . import DataError
from .names import normal

SUFFIXES = ('.png', '.bmp', '.jpg', '.jpeg', '.tif', '.tiff', '.webp')
OF_SYSTEMS = ('thumbs.db', 'desktop.ini', '__macosx')


def is_hidden(name: str) -> bool:
    """Whether a file or folder is one that systems keep for themselves: it begins with a dot, as for BasicSR, too."""
    return name.startswith('.') or name.lower() in OF_SYSTEMS


def is_image(name: str) -> bool:
    """Whether a file has the name of an image."""
    return not is_hidden(name) and Path(name).suffix.lower() in SUFFIXES


def image_files(folder) -> list[Path]:
    """Image files of a folder, sorted by name.

    Raises:
        DataError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f'{folder}: no such folder of images')
    files = sorted(Path(entry.path) for entry in _entries(folder) if is_image(entry.name) and not entry.is_dir())
    if not files:
        others = left_out(folder)
        raise DataError(f'{folder}: holds no images ({", ".join(SUFFIXES)})' + (f', but {others}' if others else ''))
    return files


def names_of(files: Iterable[Path], seen: dict[str, Path]) -> Iterator[str]:
    """What is wrong with the names of image files: such as cannot be printed, and two that differ in the suffix only.

    Args:
        files: image files.
        seen: gets the file of each name, in its one Unicode form, in that order.
    """
    for file in files:
        if not file.name.isprintable():
            yield f'{file.parent}: {shown(file.name)} is no name for an image; rename it'
            continue
        earlier = seen.setdefault(normal(file.stem), file)
        if earlier is not file:
            other = earlier.name if earlier.parent == file.parent else earlier
            forms = '' if earlier.stem == file.stem else ', in another Unicode form'
            yield f'{file}: has the name of {other}{forms}; rename or remove one of them'


def list_images(folder) -> list[Path]:
    """Image files of a folder, sorted by name.

    Raises:
        DataError: no such folder, no image in it, or two images whose names differ in the suffix only.
    """
    files = image_files(folder)
    for fault in names_of(files, {}):
        raise DataError(fault)
    return files


def left_out(folder, is_taken=is_image) -> str:
    """What of a folder is no image, as '3 other files (.jfif, .txt) and 1 folder'; empty if there is nothing else.

    Args:
        folder: whose files and folders are looked at; not what systems keep for themselves.
        is_taken (callable): name of a file to whether it is taken.
    """
    suffixes, folders = Counter(), 0
    for entry in _entries(Path(folder)):
        if is_hidden(entry.name):
            continue
        if entry.is_dir():
            folders += 1
        elif not is_taken(entry.name):
            suffixes[Path(entry.name).suffix.lower() or 'without a suffix'] += 1
    parts = []
    if suffixes:
        kinds = printable(', '.join(sorted(suffixes)[:8]))
        parts.append(f'{suffixes.total()} other file{"s" * (suffixes.total() > 1)} ({kinds})')
    if folders:
        parts.append(f'{folders} folder{"s" * (folders > 1)}')
    return ' and '.join(parts)


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f'{folder}: cannot be read ({error.strerror})') from None
