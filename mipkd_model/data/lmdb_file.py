"""One LMDB opened for reading: once for each process, and only if its file is complete."""
import os
from pathlib import Path

import lmdb

from . import DataError

State = tuple[int, int, int]  # device, inode and size of a file

_open: dict[str, tuple[State, lmdb.Environment, lmdb.Transaction]] = {}  # by real path, in this process


def _close(*paths: str) -> None:
    for path in paths or list(_open):
        _, env, transaction = _open.pop(path)
        transaction.abort()
        env.close()


# An open LMDB must not cross a fork: a worker of a DataLoader opens its own.
os.register_at_fork(after_in_child=_close)


def open_complete(path: str) -> lmdb.Environment:
    """Open a database for reading. One that is cut short is an ``lmdb.Error``: reading it would kill the process."""
    # Crops are scattered over the file: reading ahead would only push other pages out of memory.
    env = lmdb.open(path, readonly=True, lock=False, readahead=False)
    size, needed = os.path.getsize(f'{path}/data.mdb'), (env.info()['last_pgno'] + 1) * env.stat()['psize']
    if size < needed:
        env.close()
        raise lmdb.CorruptedError(f'it is cut short, {size} of {needed} bytes')
    return env


class LmdbFile:
    """A database; may be pickled, and used in forked and spawned processes.

    Raises:
        DataError: no such database, not an LMDB, or one that is cut short.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._real = os.path.realpath(self.path.expanduser())
        self._state: State | None = None
        self._reopen()

    def _reopen(self) -> lmdb.Transaction:
        """The transaction in which this process reads the database, opened if it is not yet."""
        try:
            found = os.stat(f'{self._real}/data.mdb')
            state = found.st_dev, found.st_ino, found.st_size
            if self._state not in (None, state):
                raise DataError(f'{self.path}: was packed again while it was in use; start again')
            self._state = state
            if self._real in _open and _open[self._real][0] != state:
                _close(self._real)
            if self._real not in _open:  # LMDB lets a process open each database only once
                env = open_complete(self._real)
                _open[self._real] = state, env, env.begin(buffers=True)
            return _open[self._real][2]
        except OSError as error:
            raise DataError(f'{self.path}: no such LMDB, which is a folder with data.mdb ({error.strerror})') from None
        except lmdb.Error as error:
            raise DataError(f'{self.path}: is not a complete LMDB ({error}); remove it and pack it again') from None

    def get(self, key: bytes) -> memoryview | None:
        """Value of a key, valid while this process has the database open; None without one."""
        entry = _open.get(self._real)
        transaction = entry[2] if entry is not None and entry[0] == self._state else self._reopen()
        try:
            return transaction.get(key)  # type: ignore[return-value]  # by buffers=True
        except lmdb.Error as error:
            raise DataError(f'{self.path}: is corrupt ({error}); remove it and pack it again') from None

    def image(self, key: bytes, name: str) -> memoryview:
        """As ``get``, of an image; without it a ``DataError`` that calls it by this name."""
        value = self.get(key)
        if value is None:
            raise DataError(f'{self.path}: has no image {name!r}; pack it again')
        return value
