"""What the beginnings of image files tell that Pillow does not."""
import io
import re
import struct
from contextlib import suppress
from typing import Any, BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from . import DataError

FORMATS = ('PNG', 'JPEG', 'BMP', 'TIFF', 'WEBP')
TOO_DEEP = 'has more than 8 bits per channel; convert it to 8 bits'
NO_IMAGE = 'is not a readable image'
AGAIN = 'copy it again or remove it'
NOT_READ = {
    'is a HEIC or AVIF image, which is not read; convert it to PNG': rb'.{4}ftyp(avi|hei|hev|mif|msf)',
    'is a JPEG XL image, which is not read; convert it to PNG': rb'\xff\x0a|\0\0\0\x0cJXL ',
    'is an OpenEXR image, which is not read; convert it to PNG': rb'\x76\x2f\x31\x01',
    f'is a TIFF image that is damaged or of a kind that is not read; convert it to PNG or {AGAIN}':
        rb'II[*+]\0|MM\0[*+]',
    f'{NO_IMAGE}, but a pointer of Git LFS; download the image by: git lfs pull': rb'version https://git-lfs',
    f'{NO_IMAGE}, but a web page; download it again or remove it': rb'(?i)\s*<(!doctype html|html|head)',
    f'{NO_IMAGE}, but a file of attributes that macOS writes next to others; remove it': rb'\0\x05\x16[\0\x07]',
    f'{NO_IMAGE}, but an archive; unpack and remove it': rb'PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!',
    f'{NO_IMAGE}, but empty or full of zeros; {AGAIN}': rb'\0*$',
}
"""What a file that cannot be read is, and the remedy, by how it begins."""
BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, EXTRA_SAMPLES, SAMPLE_FORMAT = 258, 259, 262, 277, 338, 339  # tags of TIFF
YCBCR, JPEG, UNSIGNED = 6, (6, 7), {1, 4}
CHANNELS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, YCBCR: 3}
"""Channels by PHOTOMETRIC of what is read: gray where white is 0, where black is 0, RGB, palette, CMYK, YCbCr."""
ALPHA = ((1, 2), (2, 1), (2, 2))
"""PHOTOMETRIC and EXTRA_SAMPLES of alpha channels that are read: next to gray, premultiplied and not next to RGB."""


def why_not_read(file: BinaryIO) -> str:
    """What a file is that cannot be read as an image, and the remedy; ends a message."""
    file.seek(0)
    head = file.read(512)
    for what, pattern in NOT_READ.items():
        if re.match(pattern, head, re.DOTALL):
            return what
    file.seek(0)
    with suppress(Exception):  # a damaged file can make its reader fail in any way
        name = Image.open(file).format
        if name not in FORMATS:
            return f'is an image of the format {name}, which is not read; convert it to PNG'
    return f'{NO_IMAGE}; {AGAIN}'


def png_exif(file: BinaryIO) -> bytes:
    """EXIF data of a PNG file, which may stand behind the pixels; empty without any, and for files of other formats."""
    if file.read(8) != b'\x89PNG\r\n\x1a\n':
        return b''
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack('>I4s', head)
        if kind == b'eXIf':
            return file.read(length)
        file.seek(length + 4, io.SEEK_CUR)
    return b''


def check_tiff(file: BinaryIO, where: object) -> None:
    """Check that a TIFF file holds what 8-bit RGB can hold, except for an alpha channel; others are not looked at.

    Raises:
        DataError: more than 8 bits, signed or floating-point values, more channels or other colors.
        Exception: of any kind, from a damaged file.
    """
    head = file.read(8)
    if not head.startswith((b'II', b'MM')):
        return
    tags = ImageFileDirectory_v2(head + file.read(8) if 43 in head[2:4] else head)  # 43: BigTIFF
    file.seek(tags.next)
    tags.load(file)

    def values(tag: int, default: int) -> tuple[Any, ...]:
        value = tags.get(tag, default)
        return value if isinstance(value, tuple) else (value, )

    photometric, samples = values(PHOTOMETRIC, 2)[0], values(SAMPLES, 1)[0]
    channels = CHANNELS.get(photometric)
    if max(values(BITS, 1)) > 8:
        raise DataError(f'{where}: {TOO_DEEP}')
    if not set(values(SAMPLE_FORMAT, 1)) <= UNSIGNED:
        raise DataError(f'{where}: has signed or floating-point values; convert it to unsigned ones of 8 bits')
    # Uncompressed YCbCr may have fewer pixels of color, which Pillow does not follow.
    if channels is None or photometric == YCBCR and values(COMPRESSION, 1)[0] not in JPEG:
        raise DataError(f'{where}: has colors that are not read (TIFF photometric {photometric}); convert it to RGB of '
                        '8 bits')
    if samples > channels + ((photometric, values(EXTRA_SAMPLES, 2)[0]) in ALPHA):
        raise DataError(f'{where}: has {samples} channels, of which {channels} would be read; remove the others')
