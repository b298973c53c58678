"""Finding HR and LR images in the folder trees in which datasets are usually kept."""
import os
import re
from pathlib import Path

from .. import DataError
from ..folders import is_hidden, is_image

HR = re.compile(r'(^|_|\b)(HR|GT|GTmod\d+|original)($|_|\b)', re.I)
LR = re.compile(r'(^|_|\b)LR', re.I)
VALID = re.compile('valid|test', re.I)
OTHER_LR = re.compile('unknown|mild|wild|difficult', re.I)


def image_folders(root: str | Path) -> list[Path]:
    """Folders below ``root``, itself included, that hold images directly; links to folders are followed.

    A folder that can be reached in several ways is found once, by the one without links if there is one.

    Raises:
        DataError: there is no such root.
    """
    if not os.path.isdir(root):
        raise DataError(f'{root}: no such folder')
    found: list[Path] = []
    seen: set[str] = set()
    folders, links = [Path(root)], list[Path]()
    while folders or links:
        folder = (folders or links).pop()
        real = os.path.realpath(folder)
        if real in seen or not os.access(folder, os.R_OK | os.X_OK):
            continue
        seen.add(real)
        entries = sorted((path for path in folder.iterdir() if not is_hidden(path.name)), reverse=True)
        if any(is_image(path.name) and not path.is_dir() for path in entries):
            found.append(folder)
        for path in filter(Path.is_dir, entries):
            (links if path.is_symlink() else folders).append(path)
    return sorted(found)


def find_hr(root: str | Path) -> Path:
    """The folder of training HR images below ``root``.

    Known are DIV2K as its zips unpack (``DIV2K_train_HR``), also nested once more, ``HR``, ``GT`` and a folder that
    holds nothing but images.

    Raises:
        DataError: none, or several candidates.
    """
    folders = [folder for folder in image_folders(root) if not LR.search(str(folder.relative_to(root)))]
    named = [folder for folder in folders if HR.search(str(folder.relative_to(root)))]
    return _only_one(root, named or folders, 'HR', '--hr')


def find_lr(root: str | Path, scale: int) -> Path | None:
    """The folder of bicubic LR images of that scale below ``root``, or None: they can be made.

    Known are ``DIV2K_train_LR_bicubic/X4``, nested or not, ``LR_bicubic/X4`` and ``LRx4``.

    Raises:
        DataError: several candidates.
    """
    with_valid = VALID.search(str(find_hr(root).relative_to(root)))  # LR of the validation set fits no other HR
    folders = []
    for folder in image_folders(root):
        path = str(folder.relative_to(root))
        if LR.search(path) and re.search(rf'x{scale}(?!\d)', path, re.I) and not OTHER_LR.search(path):
            if with_valid or not VALID.search(path):
                folders.append(folder)
    return _only_one(root, folders, f'LR x{scale}', '--lr') if folders else None


def _only_one(root: str | Path, folders: list[Path], what: str, option: str) -> Path:
    folders = [folder for folder in folders if not VALID.search(str(folder.relative_to(root)))] or folders
    if not folders:
        raise DataError(f'{root}: holds no {what} images; name their folder with mipkd data pack {option}')
    if len(folders) > 1:
        names = ', '.join(str(folder.relative_to(root)) for folder in folders[:4])
        raise DataError(f'{root}: has {len(folders)} folders that may be the {what} images: {names}; name one with '
                        f'mipkd data pack {option}')
    return folders[0]
