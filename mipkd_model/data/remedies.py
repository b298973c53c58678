"""Where data comes from: the command that puts it in place."""
from pathlib import PurePath


def how_to_get(path, scale):
    """One sentence: the command that makes the data at ``path``."""
    parts = PurePath(path).parts
    if 'DIV2K' in parts:
        return f'Fetch and pack DIV2K: python datasets/prepare.py div2k --scale {scale}'
    if 'benchmark' in parts:
        return 'Fetch the benchmark sets: python datasets/prepare.py benchmark'
    if PurePath(path).suffix == '.lmdb':
        return (f'Pack a folder of HR images: python datasets/prepare.py pack --hr FOLDER --scale {scale} '
                f'--out {PurePath(path).parent}')
    return 'Mend the path; it is relative to the folder the command is started in'
