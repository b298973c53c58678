"""Reading image files strictly: what is cut short, or would lose something as 8-bit RGB, is refused by name."""
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin

from mipkd_arch.base.errors import reason_of

from . import DataError
from .image_headers import AGAIN, FORMATS, TOO_DEEP, check_tiff, png_exif, why_not_read

# What OpenCV reads, and so BasicSR. Pillow's own limits of pixels and of texts in PNG files are lower.
Image.MAX_IMAGE_PIXELS = 1 << 30
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY = 1 << 28
MODES = ('1', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'RGBa', 'CMYK', 'YCbCr')
ORIENTATION = 0x0112
ROTATIONS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
             5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
             8: Image.Transpose.ROTATE_90}
"""What makes an image upright, by the orientation of its EXIF data."""


def image_shape(file: str | Path) -> tuple[int, int, int]:
    """Shape (H, W, 3) that ``read_image`` will give, from the header alone; a ``DataError`` as there."""
    with _opened(file, file) as image:
        height, width = image.height, image.width
        return (width, height, 3) if _orientation(image) >= 5 else (height, width, 3)


def may_be_transparent(file: str | Path) -> bool:
    """Whether the header has an alpha channel or a transparent color; ``read_image`` finds whether it is used."""
    with _opened(file, file) as image:
        return image.has_transparency_data


def read_image(source: str | Path | bytes, where: object = None) -> np.ndarray:
    """Read an image file as uint8 RGB (H, W, 3), rotated by its EXIF data; a gray one gets three equal channels.

    Args:
        source: path of the file, or its content.
        where: what messages call it; default: its path.

    Raises:
        DataError: cut short or not an image; more than 8 bits, more channels or frames; transparent parts.
    """
    where = source if where is None else where
    with _opened(source, where) as image:
        orientation = _orientation(image)
        upright = image.transpose(ROTATIONS[orientation]) if orientation > 1 else image
        if upright.has_transparency_data:
            upright = upright.convert('RGBA')
            if np.asarray(upright)[..., 3].min() < 255:
                raise DataError(f'{where}: is transparent in places; flatten it to RGB')
        return np.array(upright.convert('RGB'))


class Store:
    """Images by name; names are in one Unicode form (``folders.check_name``), whatever that of files and keys is."""

    path: Path
    shapes: dict[str, tuple[int, int, int]]
    """(H, W, 3) of all images."""
    left_out = ''
    """What of a folder is not an image; empty if there is nothing else."""

    def read(self, name: str, top: int = 0, left: int = 0, height: int | None = None,
             width: int | None = None) -> np.ndarray:
        """A uint8 RGB crop (height, width, 3), or the whole image. Only raw LMDBs read a crop without the rest."""
        bottom = None if height is None else top + height
        right = None if width is None else left + width
        return self._image(name)[top:bottom, left:right]

    def _image(self, name: str) -> np.ndarray:
        raise NotImplementedError


@contextmanager
def _opened(source: str | Path | bytes, where: object) -> Iterator[ImageFile.ImageFile]:
    """An image whose header was read and is of a kind that is read here; it is decoded by its user."""
    if not isinstance(source, bytes) and Path(source).is_fifo():  # opening one would wait for its writer
        raise DataError(f'{where}: is a pipe, not a file')
    try:
        file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else open(source, 'rb')
    except OSError as error:
        raise DataError(f'{where}: cannot be read ({error.strerror})') from None
    image = None
    with file:
        try:
            check_tiff(file, where)
            file.seek(0)
            exif = png_exif(file)
            file.seek(0)
            image = Image.open(file, formats=FORMATS)
            if image.format == 'PNG':
                image.info['exif'] = exif
            # Pillow reads 16-bit RGB as if it had 8; the raw mode of its decoder still says what the file has.
            if image.mode not in MODES or ';16' in str(image.tile):
                raise DataError(f'{where}: {TOO_DEEP}')
            frames = 1 if image.format == 'MPO' else getattr(image, 'n_frames', 1)  # MPO: a JPEG with a preview
            if frames > 1:
                raise DataError(f'{where}: has {frames} frames or pages, of which one would be read; save each as a '
                                'separate image')
            yield image
        except DataError:
            raise
        except Exception as error:  # a damaged file can make its reader fail in any way
            fault = f'is cut short or corrupt ({reason_of(error)}); {AGAIN}' if image else why_not_read(file)
            raise DataError(f'{where}: {fault}') from None


def _orientation(image: ImageFile.ImageFile) -> int:
    """1 to 8, from the EXIF data, which BasicSR follows as well."""
    if image.format == 'TIFF':  # is rotated by Pillow
        return 1
    exif = Image.Exif()
    exif.load(image.info.get('exif') or b'')
    found = exif.get(ORIENTATION, 1)
    return found if found in ROTATIONS else 1
