"""One LMDB opened for reading: lazily, once for each process, and only if it is sound."""
import os
from pathlib import Path

import lmdb

from . import DataError
from .lmdb_check import check_lmdb

_open = {}  # real path -> (what the file was, environment, read transaction), in this process


def _close(path):
    _, env, transaction = _open.pop(path)
    transaction.abort()
    env.close()


def _close_all():
    for path in list(_open):
        _close(path)


# An open LMDB must not cross a fork: a worker of a DataLoader opens its own.
os.register_at_fork(after_in_child=_close_all)


class LmdbFile:
    """A database; may be pickled, and used in forked and spawned processes.

    Raises:
        DataError: no such database, not an LMDB, or one that is cut short or damaged.
    """

    def __init__(self, path):
        self.path = Path(path)
        try:
            self._real = os.path.realpath(self.path.expanduser())
        except (ValueError, RuntimeError) as error:  # a NUL in it; no such user's home
            raise DataError(f'{path}: no such LMDB ({error})') from None
        self._state = check_lmdb(self._real, path)
        try:
            self._enter()
        except lmdb.Error as error:
            raise DataError(f'{path}: cannot be opened as an LMDB ({error}); remove it and pack it anew') from None

    def _enter(self):
        # LMDB lets a process open each database only once.
        entry = _open.get(self._real)
        if entry is None or entry[0] is not self._state:
            state = check_lmdb(self._real, self.path)
            if state[:-1] != self._state[:-1]:  # a file that was only touched may go on being read
                raise DataError(f'{self.path}: was packed anew while it was in use; start again')
            if entry is not None and entry[0] != state:
                _close(self._real)
                entry = None
            if entry is None:
                # Crops are scattered over the file: reading ahead would only push other pages out of memory.
                env = lmdb.open(self._real, readonly=True, lock=False, readahead=False)
                entry = _open[self._real] = state, env, env.begin(buffers=True)
            self._state = entry[0]
        return entry

    def get(self, key):
        """Value of a key as a memoryview, valid while this process has the database open; None without one."""
        try:
            return self._enter()[2].get(key)
        except lmdb.Error as error:
            raise DataError(f'{self.path}: is corrupt ({error}); remove it and pack it anew') from None

    def __len__(self):
        return self._enter()[1].stat()['entries']
