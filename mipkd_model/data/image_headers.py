"""What the headers of image files say: the format, and what of a TIFF or PNG matters beyond 8-bit RGB pixels."""
import io
import re
import struct
from typing import Any, BinaryIO, NamedTuple

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from . import DataError

HEAD = 512  # bytes that identify a format
BROKEN = 'is not a readable image; copy it again or remove it'
TOO_DEEP = 'has more than 8 bits per channel; convert it to 8 bits'
CONVERT = 'convert it to PNG'
FORMATS = {'PNG': rb'\x89PNG\r\n\x1a\n', 'JPEG': rb'\xff\xd8\xff', 'BMP': rb'BM',
           'TIFF': rb'II\*\0(?!.{4}CR)|MM\0\*|II\+\0', 'WEBP': rb'RIFF.{4}WEBP'}
"""Formats that are read, and how their files begin."""
OTHER_FORMATS = {
    'GIF': rb'GIF8[79]a', 'AVIF': rb'.{4}ftypavi[fs]', 'HEIC': rb'.{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1)',
    'JPEG 2000': rb'\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51', 'JPEG XL': rb'\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a',
    'Photoshop': rb'8BPS', 'SVG': rb'\s*(<\?xml.*?)?(<!--.*?-->\s*)?(<!DOCTYPE svg.*?)?<svg', 'PNM': rb'P[1-7]\s',
    'PFM': rb'P[Ff]\s', 'OpenEXR': rb'\x76\x2f\x31\x01', 'HDR': rb'#\?(RADIANCE|RGBE)', 'icon': rb'\0\0\x01\0',
    'TGA': rb'\0[\x00\x01][\x02\x0a]\0', 'DDS': rb'DDS ', 'QOI': rb'qoif', 'big-endian BigTIFF': rb'MM\0\+',
    'raw camera': rb'II\*\0.{4}CR|.{4}ftypcrx |II(RO|RS|U\0)|FUJIFILMCCD-RAW|\0MRM',
}
"""Formats that are not read: each would need a package of its own, or holds more than 8-bit RGB."""
NOT_IMAGES = {
    'a pointer of Git LFS in its place; download it by: git lfs pull': rb'version https://git-lfs',
    'a web page; download it again or remove it': rb'\s*<(!doctype html|html|head)',
    'a file of attributes that macOS writes next to others; remove it': rb'\x00\x05\x16[\x00\x07]',
    'a PostScript program; remove it': rb'%!PS|\xc5\xd0\xd3\xc6',
    'a PDF; remove it': rb'%PDF',
    'an archive; unpack and remove it': rb'PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ',
    'a video; remove it': rb'.{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI ',
}


def _find(head: bytes, patterns: dict[str, bytes]) -> str | None:
    for name, pattern in patterns.items():
        if re.match(pattern, head[:HEAD], re.DOTALL | (re.IGNORECASE if b'<' in pattern else 0)):
            return name
    return None


def image_format(head: bytes) -> str | None:
    """One of ``FORMATS``: the format of a file that begins with these bytes, or None."""
    return _find(head, FORMATS)


def why_not_read(head: bytes) -> str:
    """What a file is that begins with these bytes, and has none of ``FORMATS``, and the remedy; ends a message."""
    if name := _find(head, OTHER_FORMATS):
        return f'is an image of the format {name}, which is not read; {CONVERT}'
    if what := _find(head, NOT_IMAGES):
        return f'is not a readable image, but {what}'
    if not head.strip(b'\0'):
        return f'is not a readable image: it is {"full of zeros" if head else "empty"}; copy it again or remove it'
    return BROKEN


class Png(NamedTuple):
    """Content: a PNG file of nothing but pixels; EXIF data; number of frames of an animation."""

    content: io.BytesIO
    exif: bytes
    frames: int


def read_png(file: BinaryIO, header_only: bool = False) -> Png:
    """Go through the chunks of a PNG file; of ``header_only`` content ends where the pixels begin.

    Texts, color profiles and the like are skipped: Pillow refuses long ones, so that a valid image could not be read.
    """
    file.seek(0)
    kept, exif, frames, in_pixels = [file.read(8)], b'', 1, False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack('>I4s', head)
        if kind == b'IDAT' and header_only:
            kept.append(b'' if in_pixels else head)
            in_pixels = True
            file.seek(length + 4, io.SEEK_CUR)
        elif kind in (b'IHDR', b'PLTE', b'tRNS', b'IDAT', b'IEND') and not in_pixels:
            kept.append(head + file.read(length + 4))
        elif kind in (b'eXIf', b'acTL'):
            value = file.read(length)
            file.seek(4, io.SEEK_CUR)
            if kind == b'eXIf':
                exif = value
            elif length >= 4:
                frames = max(1, int.from_bytes(value[:4], 'big'))
        else:
            file.seek(length + 4, io.SEEK_CUR)
        if kind == b'IEND':
            break
    return Png(io.BytesIO(b''.join(kept)), exif, frames)


# Tags of TIFF
SUBFILE, OLD_SUBFILE, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES = 254, 255, 258, 259, 262, 277
PLANAR, EXTRA_SAMPLES, SAMPLE_FORMAT, SUBSAMPLING, RAW_VERSION = 284, 338, 339, 530, 50706
CHANNELS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
"""Channels by PHOTOMETRIC of what is read: gray where white is 0, where black is 0, RGB, palette, CMYK, YCbCr."""
COLORS = {4: 'a mask', 8: 'in CIELAB', 9: 'in ICCLAB', 10: 'in ITULAB', 32803: 'raw data of a camera',
          32844: 'in LogL', 32845: 'in LogLuv', 34892: 'raw data of a camera'}
UNSIGNED, YCBCR, JPEG = (1, 4), 6, (6, 7)
PREMULTIPLIED, ALPHA = 1, 2  # of EXTRA_SAMPLES
MAX_PAGES = 10_000


def check_tiff(file: BinaryIO, where: object) -> bool:
    """Check that a TIFF file holds one image that 8-bit RGB can hold, except for an alpha channel.

    Returns whether there were tags at all; a file that is cut short may have lost them.

    Raises:
        DataError: more than 8 bits, signed or floating-point values, more channels, other colors or more pages.
        Exception: of any kind, from a damaged file.
    """
    tags, pages = _tiff_pages(file)
    file.seek(0)
    samples, photometric = _numbers(tags, SAMPLES, 1)[0], _numbers(tags, PHOTOMETRIC, -1)[0]
    extra, kind = samples - CHANNELS.get(photometric, samples), _numbers(tags, EXTRA_SAMPLES, ALPHA)[0]
    fault = None
    if max(_numbers(tags, BITS, 1)) > 8:
        fault = TOO_DEEP
    elif not set(_numbers(tags, SAMPLE_FORMAT, 1)) <= set(UNSIGNED):
        fault = 'has signed or floating-point values; convert it to unsigned ones of 8 bits'
    elif photometric in COLORS or RAW_VERSION in tags:
        fault = f'is {COLORS.get(photometric, "raw data of a camera")}; convert it to RGB of 8 bits'
    elif extra > 1 or extra == 1 and not (kind in (PREMULTIPLIED, ALPHA) and photometric in (1, 2)):
        fault = f'has {samples} channels, of which {samples - extra} would be read; remove the others'
    elif extra and kind == PREMULTIPLIED and (photometric == 1 or _numbers(tags, PLANAR, 1)[0] == 2):
        fault = 'has an alpha channel of a kind that is not read; flatten it to RGB'
    elif (photometric == YCBCR and _numbers(tags, COMPRESSION, 1)[0] not in JPEG
            and _numbers(tags, SUBSAMPLING, 2) != (1, 1)):
        fault = 'has YCbCr colors of fewer pixels than its luma; convert it to RGB'
    elif _is_copy(tags) and pages:
        fault = 'has a smaller copy of the image as its first page; save the image separately'
    elif pages > 1:
        fault = f'has {pages} pages, of which one would be read; save each as a separate image'
    if fault:
        raise DataError(f'{where}: {fault}')
    return PHOTOMETRIC in tags


def _numbers(tags: ImageFileDirectory_v2, tag: int, default: int) -> tuple[Any, ...]:
    value = tags.get(tag, default)
    return value if isinstance(value, tuple) else (value, )


def _is_copy(tags: ImageFileDirectory_v2) -> bool:
    return bool(_numbers(tags, SUBFILE, 0)[0] & 1) or _numbers(tags, OLD_SUBFILE, 1)[0] == 2


def _tiff_pages(file: BinaryIO) -> tuple[ImageFileDirectory_v2, int]:
    """Tags of the first page, and the number of pages that are not smaller copies of others."""
    head = file.read(8)
    if 43 in head[2:4]:  # BigTIFF
        head += file.read(8)
    tags = first = ImageFileDirectory_v2(head)
    pages, seen = 0, set[int]()
    while tags.next and tags.next not in seen and len(seen) < MAX_PAGES:
        seen.add(tags.next)
        file.seek(tags.next)
        if len(seen) > 1:
            tags = ImageFileDirectory_v2(head)
        tags.load(file)
        pages += not _is_copy(tags)
    return first, pages
