"""Which files of a folder are its images, and what else is in it."""
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mipkd_arch.base.errors import printable, shown

from . import DataError
from .names import normalized

SUFFIXES = ('.png', '.bmp', '.jpg', '.jpeg', '.tif', '.tiff', '.webp')
SYSTEM_FILES = ('thumbs.db', 'desktop.ini', '__macosx')


def is_hidden(name: str) -> bool:
    """Whether a file or folder is kept by the system for itself: it begins with a dot, as for BasicSR, too."""
    return name.startswith('.') or name.lower() in SYSTEM_FILES


def is_image(name: str) -> bool:
    """Whether a file has the name of an image."""
    return not is_hidden(name) and Path(name).suffix.lower() in SUFFIXES


def image_files(folder: str | Path) -> list[Path]:
    """Image files of a folder, sorted by name.

    Raises:
        DataError: no such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f'{folder}: no such folder of images')
    files = sorted(file for file in folder.iterdir() if is_image(file.name) and not file.is_dir())
    if not files:
        others = left_out(folder)
        raise DataError(f'{folder}: holds no images ({", ".join(SUFFIXES)})' + (f', but {others}' if others else ''))
    return files


def name_faults(files: Iterable[Path], by_name: dict[str, Path]) -> Iterator[str]:
    """Faults of the names of image files: unprintable ones, and two that differ in the suffix only.

    Fills ``by_name`` with the file of each normalized name, in the order of the files.
    """
    for file in files:
        if not file.name.isprintable():
            yield f'{file.parent}: {shown(file.name)} is not a valid name for an image; rename it'
            continue
        earlier = by_name.setdefault(normalized(file.stem), file)
        if earlier is not file:
            other = earlier.name if earlier.parent == file.parent else earlier
            form = '' if earlier.stem == file.stem else ', in another Unicode form'
            yield f'{file}: has the name of {other}{form}; rename or remove one of them'


def list_images(folder: str | Path) -> list[Path]:
    """As ``image_files``; two images whose names differ in the suffix only are a ``DataError``."""
    files = image_files(folder)
    for fault in name_faults(files, {}):
        raise DataError(fault)
    return files


def left_out(folder: str | Path, is_taken: Callable[[str], bool] = is_image) -> str:
    """What of a folder is not an image, as '3 other files (.jfif, .txt) and 1 folder'; empty if there is nothing else.

    ``is_taken`` says whether a file of that name is read as an image.
    """
    others = [path for path in Path(folder).iterdir() if not is_hidden(path.name)]
    folders = sum(path.is_dir() for path in others)
    suffixes = Counter(path.suffix.lower() or 'without a suffix' for path in others
                       if not path.is_dir() and not is_taken(path.name))
    parts = []
    if suffixes:
        kinds = printable(', '.join(sorted(suffixes)[:8]))
        parts.append(f'{suffixes.total()} other file{"s" * (suffixes.total() > 1)} ({kinds})')
    if folders:
        parts.append(f'{folders} folder{"s" * (folders > 1)}')
    return ' and '.join(parts)
