"""Fetching large public files: resumed where they were cut off, in place only when complete."""
import hashlib
import http.client
import lzma
import re
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

from tqdm import tqdm

from mipkd_arch.base.errors import UserError, reason_of

CHUNK = 1 << 20
PAGE = re.compile(rb'\s*<(!doctype|html|head)', re.I)
# What the libraries raise for archives that are damaged, locked or packed in a way they don't know, or a full disk.
DAMAGED = (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError, RuntimeError, LookupError)
TITLE = re.compile(rb'<title[^>]*>(.*?)</title>', re.I | re.S)


class DownloadError(UserError):
    """A file cannot be fetched or unpacked."""


def check_sum(file, known, algorithm='md5'):
    """Check a file's hash sum.

    Args:
        file (Path): what to check.
        known (str): hexadecimal digits of the sum, all of them or the first ones.
        algorithm (str): 'md5' or 'sha256'.

    Raises:
        DownloadError: it is another.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with (open(file, 'rb') as content,
          tqdm(total=file.stat().st_size, desc=f'check {file.name}', unit='B', unit_scale=True) as bar):
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    found = digest.hexdigest()[:len(known)]
    if found != known:
        says = 'starts with' if len(known) < 2 * digest.digest_size else 'is'
        raise DownloadError(f'{file}: is not the published file (its {algorithm.upper()} {says} {found}, not {known}); '
                            'remove it and start again')


def fetch(url, target, timeout=60, md5=None, sha256=None):
    """Fetch ``url`` to the file ``target``; a part that an earlier try left is continued.

    Args:
        url (str): where it is.
        target (Path): where it goes.
        timeout (float): seconds without an answer.
        md5, sha256 (str | None): what the file's sum must be, or start with.

    Raises:
        DownloadError: the server cannot be reached, or stopped early; what was fetched is kept for the next try. Or
            it sends a web page instead, of which nothing is kept. Or the file is not the published one; it is kept
            under the name of a part.
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
            chunk = reply.read(CHUNK)
            if not have:
                _refuse_page(chunk, url, target.parent)
            with (partial.open('ab' if have else 'wb') as file,
                  tqdm(total=total, initial=have, desc=target.name, unit='B', unit_scale=True) as bar):
                while chunk:
                    file.write(chunk)
                    bar.update(len(chunk))
                    chunk = reply.read(CHUNK)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is left to send: the part is already whole
            raise DownloadError(f'{url}: the server answers {error.code} {error.reason}') from None
        total = None
    except DownloadError:  # a ValueError, too
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DownloadError(f'{url}: cannot be fetched ({getattr(error, "reason", error)}); start the same command '
                            'again to go on from here') from None
    size = partial.stat().st_size
    if total is not None and size != total:
        raise DownloadError(f'{url}: only {size} of {total} bytes came; start the same command again to go on')
    for algorithm, known in (('md5', md5), ('sha256', sha256)):
        if known:
            check_sum(partial, known, algorithm)
    partial.replace(target)
    return target


def _refuse_page(start, url, folder):
    """Refuse a web page, by its first bytes: file hosters answer so when a quota is spent or a login is needed."""
    if not PAGE.match(start):
        return
    title = TITLE.search(start)
    title = ' '.join(title[1].decode(errors='replace').split())[:80] if title else 'without a title'
    raise DownloadError(f'{url}: the server sends a web page ({title!r}) instead of the file; try again later, or open '
                        f'the address in a browser and put the file into {folder}')


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
    except (tarfile.TarError, *DAMAGED) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise DownloadError(f'{archive}: cannot be unpacked ({reason_of(error)}); is there room? Else remove it '
                            'and start again') from None
    partial.replace(folder)
    return folder


def unpack_member(archive, member, target):
    """Unpack one file of a zip archive, a wheel included, to ``target``, which appears only when it is complete.

    Raises:
        DownloadError: the archive is broken or has no such member.
    """
    archive, target = Path(archive), Path(target)
    partial = target.with_name(target.name + '.part')
    try:
        with zipfile.ZipFile(archive) as file:
            info = file.getinfo(member)
            with (file.open(info) as content, partial.open('wb') as out,
                  tqdm(total=info.file_size, desc=f'unpack {target.name}', unit='B', unit_scale=True) as bar):
                while chunk := content.read(CHUNK):
                    out.write(chunk)
                    bar.update(len(chunk))
    except KeyError:
        raise DownloadError(f'{archive}: has no file {member} in it; remove it and start again') from None
    except DAMAGED as error:
        partial.unlink(missing_ok=True)
        raise DownloadError(f'{archive}: cannot be unpacked ({reason_of(error)}); is there room? Else remove it '
                            'and start again') from None
    partial.replace(target)
    return target
