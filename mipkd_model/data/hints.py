"""The command that puts missing data in place, for messages."""
from pathlib import Path, PurePath

from mipkd_arch.base.errors import command


def source_of(path: str | Path) -> str | None:
    """The command of ``mipkd data`` that makes the data at ``path``: 'div2k', 'benchmark' or None."""
    parts = PurePath(path).parts
    return 'div2k' if 'DIV2K' in parts else 'benchmark' if 'benchmark' in parts else None


def how_to_get(path: str | Path, scale: int) -> str:
    """One sentence with the command that makes the data at ``path``."""
    source, is_lmdb = source_of(path), PurePath(path).suffix == '.lmdb'
    if source == 'benchmark' and not (scale == 1 and is_lmdb):
        return f'Fetch the benchmark sets: {command("mipkd", "data", "benchmark")}'
    if source == 'div2k' and scale > 1:
        return f'Fetch and pack DIV2K: {command("mipkd", "data", "div2k", "--scale", scale)}'
    if is_lmdb:
        lr = ('--lr', 'FOLDER') if scale == 1 else ()
        pack = command('mipkd', 'data', 'pack', '--hr', 'FOLDER', *lr, '--scale', scale, '--out', PurePath(path).parent)
        return f'Pack a folder of {"clean and one of degraded" if scale == 1 else "HR"} images: {pack}'
    return 'Correct the path; it is relative to the folder in which the command is started'
