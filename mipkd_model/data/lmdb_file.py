"""One LMDB opened for reading: lazily, once for each process, and only if it is whole."""
import os
from pathlib import Path

import lmdb

from . import DataError

_open = {}  # real path -> (inode of the file, environment, read transaction), in this process


def whole_size(env):
    """Bytes that the file of an environment must have. Beyond its end a read would not fail but kill the process."""
    return (env.info()['last_pgno'] + 1) * env.stat()['psize']


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
        DataError: no such database, not an LMDB, or one that is cut short.
    """

    def __init__(self, path):
        self.path = Path(path)
        self._real = os.path.realpath(self.path.expanduser())
        try:
            file = os.stat(f'{self._real}/data.mdb')
        except OSError as error:
            raise DataError(f'{path}: no such LMDB, which is a folder with data.mdb ({error.strerror})') from None
        self._inode = file.st_ino
        try:
            env = self._enter()[1]
            whole = whole_size(env)
        except lmdb.Error as error:
            raise DataError(f'{path}: cannot be opened as an LMDB ({error}); remove it and pack it anew') from None
        if file.st_size < whole:
            _close(self._real)
            raise DataError(f'{path}: is cut short, {file.st_size} of {whole} bytes; remove it and pack it anew')

    def _enter(self):
        # LMDB lets a process open each database only once.
        entry = _open.get(self._real)
        if entry is None or entry[0] != self._inode:
            if os.stat(f'{self._real}/data.mdb').st_ino != self._inode:
                raise DataError(f'{self.path}: was packed anew while it was in use; start again')
            if entry is not None:
                _close(self._real)
            # Crops are scattered over the file: reading ahead would only push other pages out of memory.
            env = lmdb.open(self._real, readonly=True, lock=False, readahead=False)
            entry = _open[self._real] = self._inode, env, env.begin(buffers=True)
        return entry

    def get(self, key):
        """Value of a key as a memoryview, valid while this process has the database open; None without one."""
        try:
            return self._enter()[2].get(key)
        except lmdb.Error as error:
            raise DataError(f'{self.path}: is corrupt ({error}); remove it and pack it anew') from None

    def __len__(self):
        return self._enter()[1].stat()['entries']
