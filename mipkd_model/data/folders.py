"""Which files of a folder are its images, what they are named, and what else is in it."""
import unicodedata
from collections.abc import Iterable
from pathlib import Path

from mipkd_arch.base.errors import printable, shown

from . import DataError

SUFFIXES = ('.png', '.bmp', '.jpg', '.jpeg', '.tif', '.tiff', '.webp')
SYSTEM_FILES = ('thumbs.db', 'desktop.ini', '__macosx')
MAX_BYTES = 200  # of a name: file systems allow 255, and saved images get a suffix


def is_hidden(name: str) -> bool:
    """Whether a file or folder is kept by the system for itself: it begins with a dot, as for BasicSR, too."""
    return name.startswith('.') or name.lower() in SYSTEM_FILES


def is_image(name: str) -> bool:
    """Whether a file has the name of an image."""
    return not is_hidden(name) and Path(name).suffix.lower() in SUFFIXES


def check_name(name: str, where: object) -> str:
    """Return a name in the Unicode form in which all are compared: macOS separates letters from their accents.

    Raises:
        DataError: it cannot be the name of a file in the folder it is meant for.
    """
    if name.isprintable() and name.strip('. ') and not {'/', '\\'} & set(name) and len(name.encode()) <= MAX_BYTES:
        return unicodedata.normalize('NFC', name)
    raise DataError(f'{where}: {shown(name)} is not a valid name for an image, which is printable, of at most '
                    f'{MAX_BYTES} bytes and without / and \\; rename it')


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


def by_name(files: Iterable[Path], faults: list[str]) -> dict[str, Path]:
    """Image files by their names, in the order of the files; what is wrong with names is added to ``faults``."""
    found: dict[str, Path] = {}
    for file in files:
        try:
            earlier = found.setdefault(check_name(file.stem, file.parent), file)
        except DataError as error:
            faults.append(str(error))
            continue
        if earlier is not file:
            faults.append(f'{file}: has the name of {earlier}, the suffix and the Unicode form aside; rename or remove '
                          'one of them')
    return found


def list_images(folder: str | Path) -> dict[str, Path]:
    """Image files of a folder by their names; a ``DataError`` as of ``image_files``, or for two of the same name."""
    faults: list[str] = []
    found = by_name(image_files(folder), faults)
    if faults:
        raise DataError(faults[0])
    return found


def left_out(folder: str | Path) -> str:
    """What of a folder is not an image, as '3 other files or folders, such as a.jfif'; empty if there is nothing."""
    others = sorted(path.name for path in Path(folder).iterdir()
                    if not is_hidden(path.name) and (path.is_dir() or not is_image(path.name)))
    return f'{len(others)} other files or folders, such as {printable(others[0])}' if others else ''
