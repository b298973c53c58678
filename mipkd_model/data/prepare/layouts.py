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
    """Folders below ``root``, itself included, that hold images directly, each once; links are followed.

    Raises:
        DataError: there is no such root.
    """
    if not os.path.isdir(root):
        raise DataError(f'{root}: no such folder')
    found: list[Path] = []
    seen: set[str] = set()
    for folder, names, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        names[:] = [name for name in names if not is_hidden(name)]
        names.sort(key=lambda name: os.path.islink(os.path.join(folder, name)))  # used at once
        if any(map(is_image, files)):
            found.append(Path(folder))
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
    if len(folders) != 1:
        names = ', '.join(str(folder.relative_to(root)) for folder in folders[:4]) or 'none'
        raise DataError(f'{root}: has {len(folders)} folders that may be the {what} images: {names}; name one with '
                        f'mipkd data pack {option}')
    return folders[0]
