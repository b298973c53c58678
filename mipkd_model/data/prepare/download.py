"""Downloading large public files: resumed after an interruption, in place only when complete."""
import hashlib
import http.client
import re
import shutil
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from mipkd_arch.base.errors import UserError, reason_of

from ..benchmarks import ALIASES, BENCHMARK, DIV2K, MD5

CHUNK = 1 << 20
WEB_PAGE = re.compile(rb'\s*<(!doctype|html|head)', re.I)
AGAIN = 'start the same command again to resume'


class DownloadError(UserError):
    """A file cannot be downloaded or unpacked."""


def check_sum(file: Path, known: str, algorithm: str = 'md5') -> None:
    """Check that a file's 'md5' or 'sha256' begins with these hexadecimal digits; if not, raise a ``DownloadError``."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(file, 'rb') as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
    if not digest.hexdigest().startswith(known):
        raise DownloadError(f'{file}: is not the published file (its {algorithm.upper()} is {digest.hexdigest()}, not '
                            f'{known}); remove it and start again')


def fetch(url: str, target: str | Path, timeout: float = 60, md5: str | None = None,
          sha256: str | None = None) -> Path:
    """Download ``url`` to the file ``target`` and return that; what an earlier try left is continued.

    ``timeout`` is in seconds without an answer; ``md5`` and ``sha256`` are what the checksum must be, or start with.

    Raises:
        DownloadError: the server cannot be reached, stopped early or sends a web page; or the file is not the published
            one. What came of it is kept, for the next try, with ``.part`` behind its name.
    """
    target = Path(target)
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + '.part')
    have, total = partial.stat().st_size if partial.exists() else 0, None
    try:
        request = urllib.request.Request(url, headers={'Range': f'bytes={have}-'} if have else {})
        with urllib.request.urlopen(request, timeout=timeout) as reply:
            if reply.status != 206:  # the server sends the file from its beginning
                have = 0
            length = reply.headers.get('Content-Length')
            total = have + int(length) if length else None
            chunk = reply.read(CHUNK)
            if not have and WEB_PAGE.match(chunk):  # file hosts send one when a quota is used up or a login is needed
                raise DownloadError(f'{url}: the server sends a web page instead of the file; try again later, or open '
                                    f'the address in a browser and put the file into {target.parent}')
            with (partial.open('ab' if have else 'wb') as file,
                  tqdm(total=total, initial=have, desc=target.name, unit='B', unit_scale=True) as bar):
                while chunk:
                    file.write(chunk)
                    bar.update(len(chunk))
                    chunk = reply.read(CHUNK)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # nothing is left to send: the file is already complete
            raise DownloadError(f'{url}: the server answers {error.code} {error.reason}') from None
    except DownloadError:  # is a ValueError, too
        raise
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DownloadError(f'{url}: cannot be downloaded ({getattr(error, "reason", error)}); {AGAIN}') from None
    size = partial.stat().st_size
    if total is not None and size != total:
        raise DownloadError(f'{url}: only {size} of {total} bytes came; {AGAIN}')
    for algorithm, known in (('md5', md5), ('sha256', sha256)):
        if known:
            check_sum(partial, known, algorithm)
    partial.replace(target)
    return target


@contextmanager
def _unpacking(archive: Path, target: Path) -> Iterator[Path]:
    """Gives the path to unpack to, which becomes ``target`` only when that has worked."""
    partial = target.with_name(target.name + '.part')
    shutil.rmtree(partial, ignore_errors=True)
    try:
        yield partial
    except Exception as error:  # the libraries raise many kinds for archives that are damaged, and for a full disk
        if partial.is_file():
            partial.unlink()
        shutil.rmtree(partial, ignore_errors=True)
        raise DownloadError(f'{archive}: cannot be unpacked ({reason_of(error)}); is there enough space? Otherwise '
                            'remove it and start again') from None
    partial.replace(target)


def unpack(archive: str | Path, folder: str | Path) -> Path:
    """Unpack a zip or tar file into ``folder`` and return that; it appears only when it is complete.

    Raises:
        DownloadError: the archive is broken.
    """
    archive, folder = Path(archive), Path(folder)
    if not folder.exists():
        with _unpacking(archive, folder) as partial:
            # Keeps members below the folder; of a zip file, which takes no filter, that is always so.
            shutil.unpack_archive(archive, partial, filter=None if archive.suffix == '.zip' else 'data')
    return folder


def unpack_member(archive: str | Path, member: str, target: str | Path) -> Path:
    """As ``unpack``, of one file of a zip archive, a wheel included, to the file ``target``."""
    archive, target = Path(archive), Path(target)
    with (_unpacking(archive, target) as partial, zipfile.ZipFile(archive) as file, file.open(member) as content,
          partial.open('wb') as out):
        shutil.copyfileobj(content, out, CHUNK)
    return target


def fetch_div2k(out: str | Path, name: str, address: str = DIV2K) -> Path:
    """Download and unpack one of DIV2K's zip files to ``<out>/<name>`` and return that."""
    folder, file = Path(out, name), f'{name}.zip'
    if folder.exists():
        return folder
    md5 = MD5[file] if address == DIV2K else None  # a mirror may have other zip files
    return unpack(fetch(f'{address}/{file}', folder.with_name(file), md5=md5), folder)


def fetch_benchmark(out: str | Path, address: str = BENCHMARK) -> list[str]:
    """Download and unpack EDSR's benchmark sets to the folder ``out``, and return the names of all that are there."""
    out = Path(out)
    if not out.exists():
        md5 = MD5['benchmark.tar'] if address == BENCHMARK else None
        archive = fetch(address, out.with_name('benchmark.tar'), md5=md5)
        unpacked = unpack(archive, out.with_name('benchmark_unpacked'))
        if not (unpacked / 'benchmark').is_dir():
            raise DownloadError(f'{archive}: has no folder benchmark in it; remove it and {unpacked}')
        for folder in (unpacked / 'benchmark').iterdir():
            folder.rename(folder.with_name(ALIASES.get(folder.name, folder.name)))
        (unpacked / 'benchmark').replace(out)
        shutil.rmtree(unpacked)
    return sorted(folder.name for folder in out.iterdir() if folder.is_dir())
