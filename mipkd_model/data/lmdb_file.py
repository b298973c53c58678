"""One LMDB opened for reading: once for each process, and only if its file is complete."""
import os
import struct
from pathlib import Path

import lmdb

from . import DataError

META = struct.Struct('<IIQQI')  # at byte 16 of a page: magic, version, address, map size, bytes of a page
LAST_PAGE = 16 + 24 + 2 * 48  # behind the two trees that a meta page describes: last page, transaction
MAGIC, VERSION = 0xBEEFC0DE, 1
State = tuple[int, int, int, int]  # device, inode, size and time of change of a file

_open: dict[str, tuple[State, lmdb.Environment, lmdb.Transaction]] = {}  # by real path, in this process


def _close(path: str) -> None:
    _, env, transaction = _open.pop(path)
    transaction.abort()
    env.close()


def _close_all() -> None:
    for path in list(_open):
        _close(path)


# An open LMDB must not cross a fork: a worker of a DataLoader opens its own.
os.register_at_fork(after_in_child=_close_all)


def find_fault(file: str | Path) -> str | None:
    """Why a ``data.mdb`` is not a complete LMDB, or None. LMDB itself would be killed by reading beyond its end.

    Its content is not checked: images and index have checksums of their own.
    """
    with open(file, 'rb') as content:
        size = os.fstat(content.fileno()).st_size
        page_size = 0
        newest = (0, 0)
        for number in range(2):  # meta pages; the one of the later transaction counts
            content.seek(number * page_size)
            page = content.read(LAST_PAGE + 16)
            if len(page) < LAST_PAGE + 16:
                return f'is cut short, {size} bytes'
            magic, version, _, _, found_size = META.unpack_from(page, 16)
            if magic != MAGIC or found_size.bit_count() != 1 or not 256 <= found_size <= 1 << 15:
                return 'is not an LMDB, or its beginning is damaged'
            if version != VERSION:
                return f'is an LMDB of format {version}, but only {VERSION} is read'
            page_size = found_size
            last_page, transaction = struct.unpack_from('<QQ', page, LAST_PAGE)
            newest = max(newest, (transaction, last_page))
    needed = (newest[1] + 1) * page_size
    return f'is cut short, {size} of {needed} bytes' if size < needed else None


class LmdbFile:
    """A database; may be pickled, and used in forked and spawned processes.

    Raises:
        DataError: no such database, not an LMDB, or one that is cut short.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._real = os.path.realpath(self.path.expanduser())
        self._state: State | None = None
        self._enter()

    def _enter(self) -> lmdb.Transaction:
        entry = _open.get(self._real)
        if entry is None or entry[0] is not self._state:
            state = self._check()
            if self._state is not None and state[:-1] != self._state[:-1]:  # a file that was only touched may be read
                raise DataError(f'{self.path}: was packed again while it was in use; start again')
            if entry is not None and entry[0] != state:
                _close(self._real)
                entry = None
            if entry is None:  # LMDB lets a process open each database only once
                # Crops are scattered over the file: reading ahead would only push other pages out of memory.
                try:
                    env = lmdb.open(self._real, readonly=True, lock=False, readahead=False)
                    entry = _open[self._real] = state, env, env.begin(buffers=True)
                except lmdb.Error as error:
                    raise DataError(f'{self.path}: is corrupt ({error}); remove it and pack it again') from None
            self._state = entry[0]
        return entry[2]

    def _check(self) -> State:
        file = os.path.join(self._real, 'data.mdb')
        try:
            found, fault = os.stat(file), find_fault(file) if os.path.isfile(file) else 'data.mdb is not a file'
        except (OSError, ValueError) as error:
            raise DataError(f'{self.path}: no such LMDB, which is a folder with data.mdb '
                            f'({getattr(error, "strerror", None) or error})') from None
        if fault:
            raise DataError(f'{self.path}: {fault}; remove it and pack it again')
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def get(self, key: bytes) -> memoryview | None:
        """Value of a key, valid while this process has the database open; None without one."""
        try:
            return self._enter().get(key)  # type: ignore[return-value]  # by buffers=True
        except lmdb.Error as error:
            raise DataError(f'{self.path}: is corrupt ({error}); remove it and pack it again') from None

    def image(self, key: bytes, name: str) -> memoryview:
        """As ``get``, of an image; without it a ``DataError`` that calls it by this name."""
        value = self.get(key)
        if value is None:
            raise DataError(f'{self.path}: has no image {name!r}')
        return value
