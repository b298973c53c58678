"""Names that come out of files and become names of files."""
import unicodedata

from mipkd_arch.base.errors import shown

from . import DataError

LONGEST = 200  # bytes; file systems take 255, and saved images have a suffix behind


def check_name(name, where, what='an image'):
    """Return a name that a file may have, too: one that stays in the folder it is meant for.

    Raises:
        DataError: it is no text, too long, or has a path, or characters that cannot be printed, in it.
    """
    fine = isinstance(name, str) and name.isprintable() and not {'/', '\\'} & set(name) and name.strip('. ')
    if not fine or len(name.encode()) > LONGEST:
        raise DataError(f'{where}: {shown(name)} is no name for {what}, which is a printable text of at most '
                        f'{LONGEST} bytes without / and \\; give it another name')
    return name


def normal(name: str) -> str:
    """A name in the one Unicode form that all are compared in: macOS writes letters and their marks apart."""
    return unicodedata.normalize('NFC', name)
