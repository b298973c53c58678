"""Reading image files strictly: what is cut short, or would lose something as 8-bit RGB, is refused by name."""
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from mipkd_arch.base.errors import reason_of

from . import DataError
from .image_headers import BROKEN, CONVERT, HEAD, TOO_DEEP, check_tiff, image_format, read_png, why_not_read

MAX_PIXELS = 1 << 30  # what OpenCV reads, and so BasicSR; Pillow's own limit is a sixth of that
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
MODES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'CMYK', 'YCbCr')
ORIENTATION = 0x0112
ROTATIONS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
             5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
             8: Image.Transpose.ROTATE_90}
"""What makes an image upright, by the orientation of its EXIF data."""


def image_shape(file: str | Path) -> tuple[int, int, int]:
    """Shape (H, W, 3) that ``read_image`` will give, from the header alone; a ``DataError`` as there."""
    with _opened(file, file, header_only=True) as image:
        height, width = image.height, image.width
        return (width, height, 3) if _orientation(image, file) >= 5 else (height, width, 3)


def may_be_transparent(file: str | Path) -> bool:
    """Whether the header has an alpha channel or a transparent color; ``read_image`` finds whether it is used."""
    with _opened(file, file, header_only=True) as image:
        return image.has_transparency_data


def read_image(file: str | Path) -> np.ndarray:
    """Read an image file as uint8 RGB (H, W, 3), rotated by its EXIF data; a gray one gets three equal channels.

    Raises:
        DataError: cut short or not an image; more than 8 bits, more channels or frames; transparent parts.
    """
    with _opened(file, file) as image:
        return _decode(image, file)


def decode_image(data: bytes, where: object) -> np.ndarray:
    """As ``read_image``, of the bytes of an image file; ``where`` names it in messages."""
    with _opened(io.BytesIO(data), where) as image:
        return _decode(image, where)


def crop(image: np.ndarray, top: int = 0, left: int = 0, height: int | None = None,
         width: int | None = None) -> np.ndarray:
    """View of a part of an image (H, W, C); without a height or width, to its end."""
    bottom = None if height is None else top + height
    right = None if width is None else left + width
    return image[top:bottom, left:right]


@contextmanager
def _opened(source: str | Path | BinaryIO, where: object, header_only: bool = False) -> Iterator[ImageFile.ImageFile]:
    """An image whose header was read and is of a kind that is read here."""
    if isinstance(source, (str, Path)):
        if not os.path.isfile(source):  # opening a pipe would wait for its writer
            what = 'a link to a file that does not exist' if os.path.islink(source) else 'no such file'
            raise DataError(f'{where}: {what}')
        try:
            source = open(source, 'rb')
        except OSError as error:
            raise DataError(f'{where}: cannot be read ({error.strerror})') from None
    with source:
        head = source.read(HEAD)
        source.seek(0)
        kind = image_format(head)
        if kind is None:  # Pillow knows more formats, among them PostScript, for which it runs another program
            raise DataError(f'{where}: {why_not_read(head)}')
        image, frames = _parse_header(source, kind, where, header_only)
        with image:
            # Pillow reads 16-bit RGB as if it had 8; the raw mode of its decoder still says what the file has.
            if image.mode.startswith(('I', 'F')) or ';16' in str(image.tile):
                raise DataError(f'{where}: {TOO_DEEP}')
            if frames > 1:
                raise DataError(f'{where}: is an animation of {frames} images; save the ones you need separately')
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f'{where}: {BROKEN}')
            if image.mode not in MODES:
                raise DataError(f'{where}: has colors that are not read ({image.mode}); convert it to RGB of 8 bits')
            yield image


def _parse_header(source: BinaryIO, kind: str, where: object, header_only: bool) -> tuple[ImageFile.ImageFile, int]:
    """The image, not decoded yet, and the number of its frames."""
    fault = BROKEN
    try:
        if kind == 'PNG':
            png = read_png(getattr(source, 'raw', source), header_only)  # a buffer would read what is skipped
            image = Image.open(png.content, formats=(kind, ))
            image.info['exif'] = png.exif
            return image, png.frames
        if kind == 'TIFF' and check_tiff(source, where):
            fault = f'is a TIFF image of a kind that is not read; {CONVERT}'
        image = Image.open(source, formats=(kind, ))
        return image, getattr(image, 'n_frames', 1) if kind == 'WEBP' else 1
    except DataError:
        raise
    except Exception:  # a damaged file can make its reader fail in any way
        raise DataError(f'{where}: {fault}') from None


def _orientation(image: ImageFile.ImageFile, where: object) -> int:
    """1 to 8, from the EXIF data, which BasicSR follows as well."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):  # is rotated by Pillow
        return 1
    try:
        exif = Image.Exif()
        exif.load(image.info.get('exif') or b'')
        found = exif.get(ORIENTATION, 1)
        return found if found in range(1, 9) else 1
    except Exception:  # as in opening
        raise DataError(f'{where}: has corrupt EXIF data; copy it again or remove it') from None


def _decode(image: ImageFile.ImageFile, where: object) -> np.ndarray:
    orientation = _orientation(image, where)
    try:
        if isinstance(image, TiffImagePlugin.TiffImageFile) and ORIENTATION not in image.tag_v2:
            image.getexif().pop(ORIENTATION, None)  # of XMP data, which Pillow alone follows
        upright = image.transpose(ROTATIONS[orientation]) if orientation > 1 else image
        if upright.has_transparency_data:
            upright = upright.convert('RGBA')
            if np.asarray(upright)[..., 3].min() < 255:
                raise DataError(f'{where}: is transparent in places; flatten it to RGB')
        return np.array(upright.convert('RGB'))
    except DataError:
        raise
    except Exception as error:  # as in opening
        raise DataError(f'{where}: is cut short or corrupt ({reason_of(error)}); copy it again or remove it') from None
