"""Reading image files strictly: what is cut short, or would lose something as 8-bit RGB, is refused by name."""
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from mipkd_arch.base.errors import reason_of

from . import DataError
from .folders import SUFFIXES, list_images
from .formats import BROKEN, CONVERT, HEAD, image_format, why_not_read
from .png import read_png
from .tiff import check_tiff

__all__ = ['SUFFIXES', 'crop', 'decode_image', 'image_shape', 'is_gray', 'list_images', 'may_be_transparent',
           'read_image']

MAX_PIXELS = 1 << 30  # what OpenCV reads, and so BasicSR; Pillow's own bound is a sixth of that
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
MODES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'CMYK', 'YCbCr')
ORIENTATION = 0x0112
TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
         5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
         8: Image.Transpose.ROTATE_90}
"""What makes an image upright, by the orientation that its EXIF data tell."""


def image_shape(file) -> tuple[int, int, int]:
    """Shape (H, W, 3) that ``read_image`` will give, from the header alone.

    Raises:
        DataError: no readable image, or one that 8-bit RGB cannot hold.
    """
    with _opened(file, file, header_only=True) as image:
        height, width = image.height, image.width
        return (width, height, 3) if _orientation(image, file) >= 5 else (height, width, 3)


def is_gray(file) -> bool:
    """Whether a file has one channel, which ``read_image`` repeats three times."""
    with _opened(file, file, header_only=True) as image:
        return image.mode in ('1', 'L', 'LA')


def may_be_transparent(file) -> bool:
    """Whether the header tells of an alpha channel or a transparent colour; ``read_image`` sees whether it is used."""
    with _opened(file, file, header_only=True) as image:
        return image.has_transparency_data


def read_image(file) -> np.ndarray:
    """Read an image file as uint8 RGB (H, W, 3), turned as its EXIF data tell; a gray one gets three equal channels.

    Raises:
        DataError: cut short or no image at all; more than 8 bits, more channels or frames; parts that are transparent.
    """
    with _opened(file, file) as image:
        return _decode(image, file)


def decode_image(data: bytes, where) -> np.ndarray:
    """As ``read_image``, of the bytes of an image file; ``where`` names it in errors."""
    with _opened(io.BytesIO(data), where) as image:
        return _decode(image, where)


def crop(image, top=0, left=0, height=None, width=None):
    """View of a part of an image (H, W, C); without a height or width, to its end."""
    bottom = None if height is None else top + height
    right = None if width is None else left + width
    return image[top:bottom, left:right]


@contextmanager
def _opened(source, where, header_only: bool = False) -> Iterator[Image.Image]:
    """An image whose header was read and found to be one that is read here."""
    if isinstance(source, (str, Path)):
        source = _open_file(source)
    with source:
        head = source.read(HEAD)
        source.seek(0)
        kind = image_format(head)
        if kind is None:  # Pillow knows more formats, and among them PostScript, which it has another program run
            raise DataError(f'{where}: {why_not_read(head)}')
        with _open_image(source, kind, where, header_only) as image:
            yield image


def _open_file(file) -> BinaryIO:
    if not os.path.isfile(file):  # opening a pipe would wait for its writer
        what = 'a link to a file that is not there' if os.path.islink(file) else 'no such file'
        raise DataError(f'{file}: {what}')
    try:
        return open(file, 'rb')
    except OSError as error:
        raise DataError(f'{file}: cannot be read ({error.strerror})') from None


def _open_image(source: BinaryIO, kind: str, where, header_only: bool) -> Image.Image:
    broken = BROKEN
    try:
        if kind == 'PNG':
            png = read_png(getattr(source, 'raw', source), header_only)  # a buffer would read what is passed over
            image = Image.open(png.content, formats=(kind, ))
            image.info['exif'], frames = png.exif, png.frames
        else:
            if kind == 'TIFF' and check_tiff(source, where):
                broken = f'is a TIFF image of a kind that is not read; {CONVERT}'
            image = Image.open(source, formats=(kind, ))
            frames = image.n_frames if kind == 'WEBP' else 1
    except DataError:
        raise
    except Exception:  # a damaged file can make its reader fail in any way
        raise DataError(f'{where}: {broken}') from None
    # Pillow reads 16-bit RGB as if it had 8; the raw mode of its decoder still says what the file has.
    if image.mode.startswith(('I', 'F')) or ';16' in str(image.tile):
        fault = 'has more than 8 bits per channel; convert it to 8 bits'
    elif frames > 1:
        fault = f'is an animation of {frames} images; save those that are meant as images of their own'
    elif image.width * image.height > MAX_PIXELS:
        fault = BROKEN
    elif image.mode not in MODES:
        fault = f'has colours that are not read ({image.mode}); convert it to RGB of 8 bits'
    else:
        return image
    image.close()
    raise DataError(f'{where}: {fault}')


def _orientation(image: Image.Image, where) -> int:
    """How a camera held upright would have seen it: 1 to 8 of the EXIF data, which BasicSR heeds as well."""
    if image.format == 'TIFF':  # is turned by Pillow
        return 1
    try:
        exif = Image.Exif()
        exif.load(image.info.get('exif') or b'')
        found = exif.get(ORIENTATION, 1)
        return found if found in range(1, 9) else 1
    except Exception:  # as in opening
        raise DataError(f'{where}: has corrupt EXIF data; copy it anew or take it out') from None


def _decode(image: Image.Image, where) -> np.ndarray:
    orientation = _orientation(image, where)
    try:
        if image.format == 'TIFF' and ORIENTATION not in image.tag_v2:
            image.getexif().pop(ORIENTATION, None)  # of XMP data, which Pillow alone heeds
        turned = image.transpose(TURNS[orientation]) if orientation > 1 else image
        if turned.has_transparency_data:
            turned = turned.convert('RGBA')
            if turned.getextrema()[3][0] < 255:
                raise DataError(f'{where}: is transparent in places; flatten it to RGB')
        return np.array(turned.convert('RGB'))
    except DataError:
        raise
    except Exception as error:  # as in opening
        raise DataError(f'{where}: is cut short or corrupt ({reason_of(error)}); copy it anew or take it out') from None
