"""Finding HR and LR images in the folder trees in which people keep them."""
import os
import re
from pathlib import Path

from .. import DataError
from ..folders import is_hidden, is_image

HR = re.compile(r'(^|_|\b)(HR|GT|GTmod\d+|original)($|_|\b)', re.I)
LR = re.compile(r'(^|_|\b)LR', re.I)
VALID = re.compile('valid|test', re.I)


def image_folders(root):
    """Folders below ``root``, itself included, that hold images directly; links to folders are followed.

    A folder that links lead to, too, is found once, by the way without a link if there is one.

    Raises:
        DataError: there is no such root.
    """
    if not os.path.isdir(root):
        raise DataError(f'{root}: no such folder')
    found, seen, folders, links = [], set(), [Path(root)], []
    while folders or links:
        folder = (folders or links).pop()
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            with os.scandir(folder) as inside:
                entries = [entry for entry in inside if not is_hidden(entry.name)]
        except OSError:  # what may not be looked into is passed by
            continue
        if any(is_image(entry.name) and not entry.is_dir() for entry in entries):
            found.append(folder)
        for entry in sorted(filter(os.DirEntry.is_dir, entries), key=lambda entry: entry.name, reverse=True):
            (links if entry.is_symlink() else folders).append(Path(entry.path))
    return sorted(found)


def find_hr(root):
    """The folder of training HR images below ``root``.

    Known are DIV2K as its zips unpack (``DIV2K_train_HR``), once more nested, ``HR``, ``GT`` and a folder that holds
    nothing but images.

    Raises:
        DataError: none, or several that look alike.
    """
    folders = [folder for folder in image_folders(root) if not LR.search(str(folder.relative_to(root)))]
    named = [folder for folder in folders if HR.search(str(folder.relative_to(root)))]
    return _one(root, named or folders, 'HR', '--hr')


def find_lr(root, scale):
    """The folder of bicubic LR images of that scale below ``root``, or None: they can be made.

    Known are ``DIV2K_train_LR_bicubic/X4``, nested or not, ``LR_bicubic/X4`` and ``LRx4``.

    Raises:
        DataError: several that look alike.
    """
    marked = re.compile(rf'x{scale}(?!\d)', re.I)
    folders = []
    for folder in image_folders(root):
        path = str(folder.relative_to(root))
        if LR.search(path) and marked.search(path) and not re.search('unknown|mild|wild|difficult', path, re.I):
            folders.append(folder)
    if not VALID.search(str(find_hr(root).relative_to(root))):  # LR of the validation set is no partner of it
        folders = [folder for folder in folders if not VALID.search(str(folder.relative_to(root)))]
    return _one(root, folders, f'LR x{scale}', '--lr') if folders else None


def _one(root, folders, what, option):
    training = [folder for folder in folders if not VALID.search(str(folder.relative_to(root)))]
    folders = training or folders
    if not folders:
        raise DataError(f'{root}: holds no {what} images; name their folder with mipkd data pack {option}')
    if len(folders) > 1:
        raise DataError(f'{root}: has {len(folders)} folders that may be the {what} images: '
                        f'{", ".join(str(folder.relative_to(root)) for folder in folders[:4])}; name one with '
                        f'mipkd data pack {option}')
    return folders[0]
