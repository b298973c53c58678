"""What a TIFF file holds that 8-bit RGB cannot, told by its tags before it is decoded."""
from typing import BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from . import DataError

BITS, PHOTOMETRIC, SAMPLES, EXTRA_SAMPLES, SAMPLE_FORMAT = 258, 262, 277, 338, 339
COMPRESSION, PLANAR, SUBSAMPLING = 259, 284, 530
SUBFILE, OLD_SUBFILE, RAW_VERSION = 254, 255, 50706
REDUCED = 1  # bit of SUBFILE: a smaller copy of another page
CHANNELS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
"""Channels by PHOTOMETRIC of what is read: gray where white is 0, where black is 0, RGB, palette, CMYK, YCbCr."""
COLOURS = {4: 'a mask', 8: 'in CIELAB', 9: 'in ICCLAB', 10: 'in ITULAB', 32803: 'raw data of a camera',
           32844: 'in LogL', 32845: 'in LogLuv', 34892: 'raw data of a camera'}
UNSIGNED = {1, 4}  # 4: not said
PREMULTIPLIED, ALPHA = 1, 2  # of EXTRA_SAMPLES
YCBCR, JPEGS = 6, (6, 7)
MOST_PAGES = 10_000


def check_tiff(file: BinaryIO, where) -> bool:
    """Check that a TIFF file holds one image that 8-bit RGB can hold, but for an alpha channel.

    Args:
        file: at its beginning, where it is put again.
        where: names it in errors.

    Returns:
        bool: whether there were tags at all; a file that is cut short may have lost them.

    Raises:
        DataError: more than 8 bits, signed or floating-point values, further channels, other colours or further pages.
        Exception: of any kind, from a damaged file.
    """
    first, pages = _pages(file)
    file.seek(0)
    bits, formats = _numbers(first, BITS, 1), _numbers(first, SAMPLE_FORMAT, 1)
    samples, photometric = _numbers(first, SAMPLES, 1)[0], _numbers(first, PHOTOMETRIC, -1)[0]
    if max(bits) > 8:
        raise DataError(f'{where}: has more than 8 bits per channel; convert it to 8 bits')
    if not set(formats) <= UNSIGNED:
        raise DataError(f'{where}: has signed or floating-point values; convert it to unsigned ones of 8 bits')
    if photometric in COLOURS or RAW_VERSION in first:
        raise DataError(f'{where}: is {COLOURS.get(photometric, "raw data of a camera")}; convert it to RGB of 8 bits')
    extra, kind = samples - CHANNELS.get(photometric, samples), _numbers(first, EXTRA_SAMPLES, ALPHA)[0]
    if extra > 1 or extra == 1 and not (kind in (PREMULTIPLIED, ALPHA) and photometric in (1, 2)):
        raise DataError(f'{where}: has {samples} channels, of which {samples - extra} would be read; take the others '
                        'out')
    if extra and kind == PREMULTIPLIED and (photometric == 1 or _numbers(first, PLANAR, 1)[0] == 2):
        raise DataError(f'{where}: has an alpha channel of a kind that is not read; flatten it to RGB')
    if (photometric == YCBCR and _numbers(first, COMPRESSION, 1)[0] not in JPEGS
            and _numbers(first, SUBSAMPLING, 2) != (1, 1)):
        raise DataError(f'{where}: has YCbCr colours of fewer pixels than its luma; convert it to RGB')
    if _is_copy(first) and pages:
        raise DataError(f'{where}: has a smaller copy of the image as its first page; save the image as one of its own')
    if pages > 1:
        raise DataError(f'{where}: has {pages} pages, of which one would be read; save each as an image of its own')
    return PHOTOMETRIC in first


def _numbers(tags: ImageFileDirectory_v2, tag: int, default: int) -> tuple:
    value = tags.get(tag, default)
    return value if isinstance(value, tuple) else (value, )


def _pages(file: BinaryIO) -> tuple[ImageFileDirectory_v2, int]:
    """Tags of the first page, and the number of pages that are no smaller copies of others."""
    head = file.read(8)
    if head[2] == 43 or head[3] == 43:  # BigTIFF
        head += file.read(8)
    tags = first = ImageFileDirectory_v2(head)
    pages, seen = 0, set()
    while tags.next and tags.next not in seen and len(seen) < MOST_PAGES:
        seen.add(tags.next)
        file.seek(tags.next)
        if len(seen) > 1:
            tags = ImageFileDirectory_v2(head)
        tags.load(file)
        pages += not _is_copy(tags)
    return first, pages


def _is_copy(tags: ImageFileDirectory_v2) -> bool:
    return bool(_numbers(tags, SUBFILE, 0)[0] & REDUCED) or _numbers(tags, OLD_SUBFILE, 1)[0] == 2
