"""Names of images, which are keys of databases and become names of files."""
import unicodedata

from mipkd_arch.base.errors import shown

from . import DataError

MAX_BYTES = 200  # file systems allow 255, and saved images get a suffix


def check_name(name: object, where: object, what: str = 'an image') -> str:
    """Return a name that is valid as the name of a file, too, and stays in the folder it is meant for.

    Raises:
        DataError: it is not a string, too long, or contains a path or unprintable characters.
    """
    if isinstance(name, str) and name.isprintable() and not {'/', '\\'} & set(name) and name.strip('. '):
        if len(name.encode()) <= MAX_BYTES:
            return name
    raise DataError(f'{where}: {shown(name)} is not a valid name for {what}, which is a printable string of at most '
                    f'{MAX_BYTES} bytes without / and \\; rename it')


def normalized(name: str) -> str:
    """A name in the Unicode form in which all names are compared: macOS separates letters from their accents."""
    return unicodedata.normalize('NFC', name)
