"""Where data comes from: the command that puts it in place."""
import shlex
from pathlib import PurePath


def source_of(path):
    """The command of ``datasets/prepare.py`` that makes the data at ``path``: 'div2k', 'benchmark' or None."""
    parts = PurePath(path).parts
    return 'div2k' if 'DIV2K' in parts else 'benchmark' if 'benchmark' in parts else None


def how_to_get(path, scale):
    """One sentence: the command that makes the data at ``path``."""
    source = source_of(path)
    if scale == 1 and PurePath(path).suffix == '.lmdb':
        return ('Pack folders of sound images and of those to restore: python datasets/prepare.py pack --hr FOLDER '
                f'--lr FOLDER --scale 1 --out {shlex.quote(str(PurePath(path).parent))}')
    if source == 'div2k' and scale > 1:
        return f'Fetch and pack DIV2K: python datasets/prepare.py div2k --scale {scale}'
    if source == 'benchmark':
        return 'Fetch the benchmark sets: python datasets/prepare.py benchmark'
    if PurePath(path).suffix == '.lmdb':
        return (f'Pack a folder of HR images: python datasets/prepare.py pack --hr FOLDER --scale {scale} '
                f'--out {PurePath(path).parent}')
    return 'Mend the path; it is relative to the folder the command is started in'
