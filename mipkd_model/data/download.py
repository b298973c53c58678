"""Fetching large public files: resumed where they were cut off, in place only when complete."""
import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

from tqdm import tqdm

from mipkd_arch.errors import UserError

CHUNK = 1 << 20


class DownloadError(UserError):
    """A file cannot be fetched or unpacked."""


def check_md5(file, md5):
    """Check a file's MD5.

    Raises:
        DownloadError: it is another.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with (open(file, 'rb') as content,
          tqdm(total=file.stat().st_size, desc=f'check {file.name}', unit='B', unit_scale=True) as bar):
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() != md5:
        raise DownloadError(f'{file}: is not the published file (its MD5 is {digest.hexdigest()}, not {md5}); remove '
                            'it and start again')


def fetch(url, target, timeout=60, md5=None):
    """Fetch ``url`` to the file ``target``; a part that an earlier try left is continued.

    Args:
        url (str): where it is.
        target (Path): where it goes.
        timeout (float): seconds without an answer.
        md5 (str | None): what the file's MD5 must be.

    Raises:
        DownloadError: the server cannot be reached, or stopped early; what was fetched is kept for the next try. Or
            the file is not the published one; it is kept under the name of a part.
    """
    target = Path(target)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + '.part')
    have = partial.stat().st_size if partial.exists() else 0
    try:
        request = urllib.request.Request(url, headers={'Range': f'bytes={have}-'} if have else {})
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            if reply.status != 206:  # the server sends the file from its beginning
                have = 0
            length = reply.headers.get('Content-Length')
            total = have + int(length) if length else None
            with (partial.open('ab' if have else 'wb') as file,
                  tqdm(total=total, initial=have, desc=target.name, unit='B', unit_scale=True) as bar):
                while chunk := reply.read(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is left to send: the part is already whole
            raise DownloadError(f'{url}: the server answers {error.code} {error.reason}') from None
        total = None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DownloadError(f'{url}: cannot be fetched ({getattr(error, "reason", error)}); start the same command '
                            'again to go on from here') from None
    size = partial.stat().st_size
    if total is not None and size != total:
        raise DownloadError(f'{url}: only {size} of {total} bytes came; start the same command again to go on')
    if md5:
        check_md5(partial, md5)
    partial.replace(target)
    return target


def unpack(archive, folder):
    """Unpack a zip or tar file into ``folder``, which appears only when it is complete.

    Raises:
        DownloadError: the archive is broken.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        return folder
    partial = folder.with_name(folder.name + '.part')
    shutil.rmtree(partial, ignore_errors=True)
    try:
        if archive.suffix == '.zip':
            with zipfile.ZipFile(archive) as file:
                for member in tqdm(file.infolist(), f'unpack {archive.name}', unit='file'):
                    file.extract(member, partial)  # zipfile keeps members below the folder
        else:
            with tarfile.open(archive) as file:
                file.extractall(partial, filter='data')
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DownloadError(f'{archive}: cannot be unpacked ({error}); remove it and start again') from None
    partial.replace(folder)
    return folder
