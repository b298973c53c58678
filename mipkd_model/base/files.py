"""Files that are whole or not there."""
import hashlib
import json
import os
from contextlib import contextmanager, suppress
from pathlib import Path

from mipkd_arch.base.errors import UserError

CHUNK = 1 << 20


@contextmanager
def atomic_write(file):
    """Give a path to write to; it becomes ``file`` when the block ends well, and is removed when it does not.

    Whenever the power goes, ``file`` is the whole one from before or the whole one from after.

    Raises:
        UserError: the folder cannot be made, or the file not be written.
    """
    file = Path(file)
    temporary = file.with_name(f'{file.name}.part')
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        fsync(temporary)
        os.replace(temporary, file)
        with suppress(OSError):  # not every file system can do so for folders
            fsync(file.parent)
    except OSError as error:
        raise UserError(f'{file}: cannot be written ({error.strerror or error}); is there room and may you write '
                        'there?') from None
    finally:
        with suppress(OSError):  # where nothing can be written, nothing is there
            temporary.unlink(missing_ok=True)


def check_writable(file, option):
    """Check that a file can be written, before the work whose result it gets.

    Args:
        file: what is to be written; its folder may be made then.
        option (str): that names another place, for the message.

    Raises:
        UserError: it is a folder, or lies where nothing may be written.
    """
    file = Path(file)
    folder = next(path for path in file.absolute().parents if os.path.lexists(path))
    if file.is_dir():
        why = 'it is a folder'
    elif not folder.is_dir():
        why = f'{folder} is no folder'
    elif not os.access(folder, os.W_OK | os.X_OK):
        why = f'nothing may be written in {folder}'
    else:
        return
    raise UserError(f'{file}: cannot be written, for {why}; name another place by {option}')


def fsync(path):
    """Wait until a file's content, or what a folder lists, is on the disk.

    Raises:
        OSError: it cannot get there.
    """
    # Windows syncs what can be written to alone, and no folders; others have folders be read alone.
    handle = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(content, file):
    """Write plain data as JSON in place of ``file``. Returns its path."""
    with atomic_write(file) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + '\n',
                             encoding='utf-8')
    return Path(file)


def file_sha256(file):
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with Path(file).expanduser().open('rb') as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
