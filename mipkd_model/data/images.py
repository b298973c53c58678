"""Reading image files strictly: what is cut short, or would lose something as 8-bit RGB, is refused by name."""
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from mipkd_arch.errors import reason_of, shown

from . import DataError

# Pillow knows more, which it would see from the content, and among them PostScript, which it has another program run.
FORMATS = ('PNG', 'BMP', 'JPEG', 'TIFF', 'WEBP')
SUFFIXES = ('.png', '.bmp', '.jpg', '.jpeg', '.tif', '.tiff', '.webp')


def list_images(folder):
    """Image files of a folder, sorted by name.

    Raises:
        DataError: no such folder, no image in it, or two images whose names differ in the suffix only.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f'{folder}: no such folder of images')
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f'{folder}: holds no images ({", ".join(SUFFIXES)})')
    seen = {}
    for file in files:
        if not file.name.isprintable():
            raise DataError(f'{folder}: {shown(file.name)} is no name for an image; rename it')
        earlier = seen.setdefault(file.stem, file)
        if earlier is not file:
            raise DataError(f'{file}: has the name of {earlier.name}; rename or remove one of them')
    return files


def image_shape(file):
    """Shape (H, W, 3) that ``read_image`` will give, from the header alone.

    Raises:
        DataError: no readable image, or one of more than 8 bits.
    """
    with _open(file, file) as image:
        height, width = image.height, image.width
        return (width, height, 3) if _orientation(image, file) >= 5 else (height, width, 3)


def is_gray(file):
    """Whether a file has one channel, which ``read_image`` repeats three times."""
    with _open(file, file) as image:
        return image.mode in ('1', 'L', 'LA')


def read_image(file):
    """Read an image file as uint8 RGB (H, W, 3); a gray one gets three equal channels.

    Raises:
        DataError: cut short or no image at all; more than 8 bits; parts that are transparent.
    """
    return _decode(_open(file, file), file)


def decode_image(data, where):
    """As ``read_image``, of the bytes of an image file; ``where`` names it in errors."""
    return _decode(_open(io.BytesIO(data), where), where)


def crop(image, top=0, left=0, height=None, width=None):
    """View of a part of an image (H, W, C); without a height or width, to its end."""
    bottom = None if height is None else top + height
    right = None if width is None else left + width
    return image[top:bottom, left:right]


def _open(source, where):
    if isinstance(source, (str, Path)) and not os.path.isfile(source):  # opening a pipe would wait for its writer
        raise DataError(f'{where}: no such file')
    try:
        image = Image.open(source, formats=FORMATS)
    except Exception:  # a damaged file can make its reader fail in any way; one of too many pixels is refused, too
        raise DataError(f'{where}: is not a readable image; copy it anew or take it out') from None
    # Pillow reads 16-bit RGB as if it had 8; the raw mode of its decoder still says what the file has.
    if image.mode.startswith(('I', 'F')) or ';16' in str(image.tile):
        image.close()
        raise DataError(f'{where}: has more than 8 bits per channel; convert it to 8 bits')
    return image


def _orientation(image, where):
    """How a camera held upright would have seen it: 1 to 8 of the EXIF tag, which BasicSR heeds as well."""
    # Pillow turns TIFF by itself; of a PNG, asking would decode the whole file.
    try:
        found = image.getexif().get(0x0112, 1) if image.format in ('JPEG', 'MPO', 'WEBP') else 1
        return found if found in range(1, 9) else 1
    except Exception:  # as in opening
        raise DataError(f'{where}: has corrupt EXIF data; copy it anew or take it out') from None


def _decode(image, where):
    try:
        turned = ImageOps.exif_transpose(image) if _orientation(image, where) > 1 else image
        if turned.has_transparency_data:
            turned = turned.convert('RGBA')
            if turned.getextrema()[3][0] < 255:
                raise DataError(f'{where}: is transparent in places; flatten it to RGB')
        return np.array(turned.convert('RGB'))
    except DataError:
        raise
    except Exception as error:  # as in opening
        raise DataError(f'{where}: is cut short or corrupt ({reason_of(error)}); copy it anew or take it out') from None
    finally:
        image.close()
