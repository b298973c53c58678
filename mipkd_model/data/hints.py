"""Where data comes from: the command that puts it in place."""
from pathlib import PurePath

from mipkd_arch.base.errors import command


def source_of(path):
    """The command of ``mipkd data`` that makes the data at ``path``: 'div2k', 'benchmark' or None."""
    parts = PurePath(path).parts
    return 'div2k' if 'DIV2K' in parts else 'benchmark' if 'benchmark' in parts else None


def how_to_get(path, scale):
    """One sentence: the command that makes the data at ``path``."""
    source = source_of(path)
    if scale == 1 and PurePath(path).suffix == '.lmdb':
        pack = command('mipkd', 'data', 'pack', '--hr', 'FOLDER', '--lr', 'FOLDER', '--scale', 1, '--out',
                       PurePath(path).parent)
        return f'Pack folders of sound images and of those to restore: {pack}'
    if source == 'div2k' and scale > 1:
        return f'Fetch and pack DIV2K: {command("mipkd", "data", "div2k", "--scale", scale)}'
    if source == 'benchmark':
        return f'Fetch the benchmark sets: {command("mipkd", "data", "benchmark")}'
    if PurePath(path).suffix == '.lmdb':
        return 'Pack a folder of HR images: ' + command('mipkd', 'data', 'pack', '--hr', 'FOLDER', '--scale', scale,
                                                        '--out', PurePath(path).parent)
    return 'Mend the path; it is relative to the folder the command is started in'
