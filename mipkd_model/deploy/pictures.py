"""Image files as people have them, read and written: gray, alpha, palettes, 16 bits, EXIF orientation, profiles."""
from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFile, ImageOps

from mipkd_arch.base.errors import UserError, reason_of

from ..base.files import atomic_write
from ..data import images as _images  # noqa: F401  (raises Pillow's own limit of pixels)

FORMATS = {'.png': 'PNG', '.jpg': 'JPEG', '.jpeg': 'JPEG', '.webp': 'WEBP', '.tif': 'TIFF', '.tiff': 'TIFF',
           '.bmp': 'BMP'}
"""Pillow's names of formats by the suffix of a file."""
SAVED: dict[str, dict[str, Any]] = {
    'PNG': {}, 'JPEG': {'quality': 95, 'subsampling': 0}, 'WEBP': {'quality': 95, 'method': 4},
    'TIFF': {'compression': 'tiff_lzw'}, 'BMP': {}}
"""Arguments of Pillow."""
ORIENTATION = 0x0112
TIFF_TEXTS = (270, 271, 272, 305, 306, 315, 33432)
"""Tags of a TIFF image that are kept: description, make, model, software, date, artist, copyright."""
MAX_PIXELS = 100_000_000


@dataclass(frozen=True)
class Picture:
    """An upright image and what belongs to it."""
    color: np.ndarray
    """RGB (H, W, 3), float32 in [0, 1]; three equal channels of a gray image."""
    alpha: np.ndarray | None = None
    """Opacity (H, W), float32 in [0, 1]; None where there is none."""
    depth: int = 8
    """Bits of a channel in the file, 8 or 16."""
    gray: bool = False
    """Whether the file has one color channel."""
    icc: bytes | None = None
    """Its color profile."""
    exif: bytes | None = None
    """Its EXIF data, without the orientation."""


def read_picture(file: str | Path) -> Picture:
    """Read an image file.

    Raises:
        UserError: it is not an image of these formats, is cut short, animated, CMYK or has over 100 megapixels.
    """
    try:
        # Opened here, not by Pillow, which maps a file that it opens itself and then does not turn it.
        with open(file, 'rb') as source, Image.open(source, formats=sorted(set(FORMATS.values()))) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(f'{file}: has {image.width}x{image.height} pixels; at most {MAX_PIXELS // 10**6} '
                                'million are read, so cut it into parts')
            if getattr(image, 'n_frames', 1) > 1:
                raise UserError(f'{file}: is an animation or has several pages ({image.n_frames}); save the ones you '
                                'need separately')
            if image.mode in ('CMYK', 'LAB', 'HSV', 'YCbCr') and image.format != 'JPEG' or image.mode == 'CMYK':
                raise UserError(f'{file}: has {image.mode} colors; convert it to RGB with its color profile')
            if image.mode.startswith(('I', 'F')) or ';16' in str(image.tile):
                return _read_16_bits(file, image)
            return _read_8_bits(image)
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f'{file}: is not there') from None
    except Image.UnidentifiedImageError:
        raise UserError(f'{file}: is not a PNG, JPEG, WebP, TIFF or BMP image') from None
    except Exception as error:  # of the libraries, for any file
        raise UserError(f'{file}: cannot be read ({reason_of(error)})') from None


def _read_8_bits(image: Image.Image) -> Picture:
    icc = image.info.get('icc_profile')
    image.load()  # turns a TIFF image
    upright, exif = ImageOps.exif_transpose(image), _kept_exif(image)
    gray = upright.mode in ('1', 'L', 'LA')
    alpha = None
    if upright.has_transparency_data:
        upright = upright.convert('RGBA')
        alpha = np.asarray(upright.getchannel('A'), np.float32) / 255
    color = np.asarray(upright.convert('RGB'), np.float32) / 255
    return Picture(color, alpha, 8, gray, icc, exif)


def _kept_exif(image: Image.Image) -> bytes | None:
    found = image.getexif()
    found.pop(ORIENTATION, None)
    if image.format == 'TIFF':  # whose other tags are about how the file stores its pixels
        for tag in set(found) - set(TIFF_TEXTS):
            del found[tag]
    return found.tobytes() if found else None


def _read_16_bits(file: str | Path, image: ImageFile.ImageFile) -> Picture:
    """By OpenCV; Pillow has no color of 16 bits."""
    content = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_UNCHANGED)
    if content is None or content.dtype != np.uint16:
        raise UserError(f'{file}: has values that are neither of 8 nor of 16 bits ({image.mode}); convert it')
    values = content.astype(np.float32) / 65535
    if values.ndim == 2:
        values = values[..., None]
    channels = values.shape[-1]
    color = values[..., :1].repeat(3, -1) if channels < 3 else values[..., 2::-1]
    gray = channels < 3 or 'LA;16' in str(image.tile)  # Pillow and OpenCV make color of gray with alpha
    picture = Picture(np.ascontiguousarray(color), values[..., -1] if channels in (2, 4) else None, 16, gray,
                      image.info.get('icc_profile'))
    orientation = 1 if image.format == 'TIFF' else image.getexif().get(ORIENTATION, 1)  # OpenCV turns TIFF images alone
    turned = {3: (2, False), 6: (3, False), 8: (1, False), 2: (0, True), 4: (2, True), 5: (1, True), 7: (3, True)}
    if orientation in turned:
        quarters, mirrored = turned[orientation]

        def upright(array: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(np.rot90(array[:, ::-1] if mirrored else array, quarters))

        picture = replace(picture, color=upright(picture.color),
                          alpha=None if picture.alpha is None else upright(picture.alpha))
    return picture


def write_picture(picture: Picture, file: str | Path) -> None:
    """Write an image; it is complete or not there. 16 bits stay 16 bits in PNG and TIFF, and become 8 in the others.

    Raises:
        UserError: the format has no transparency, or the file cannot be written.
    """
    file = Path(file)
    kind = FORMATS[file.suffix.lower()]
    if picture.alpha is not None and kind in ('JPEG', 'BMP'):
        raise UserError(f'{file}: {kind} has no transparency, which the image has; write PNG, WebP or TIFF')
    color = picture.color[..., :1] if picture.gray else picture.color
    channels = color if picture.alpha is None else np.concatenate([color, picture.alpha[..., None]], -1)
    with atomic_write(file) as temporary:
        if picture.depth == 16 and kind in ('PNG', 'TIFF'):
            _write_16_bits(np.rint(channels.clip(0, 1) * 65535).astype(np.uint16), picture, temporary, file.suffix)
            return
        values = np.rint(channels.clip(0, 1) * 255).astype(np.uint8)
        mode = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}[values.shape[-1]]
        image = Image.frombytes(mode, values.shape[1::-1], np.ascontiguousarray(values).tobytes())
        kept = {name: value for name, value in (('icc_profile', picture.icc), ('exif', picture.exif)) if value}
        image.save(temporary, kind, **SAVED[kind], **({} if kind == 'BMP' else kept))


def _write_16_bits(values: np.ndarray, picture: Picture, file: Path, suffix: str) -> None:
    if values.shape[-1] == 2:  # OpenCV writes gray with alpha as color with alpha
        values = values[..., [0, 0, 0, 1]]
    content = values if values.shape[-1] == 1 else values[..., [2, 1, 0, *range(3, values.shape[-1])]]
    content = np.ascontiguousarray(content)
    if picture.icc and hasattr(cv2, 'imencodeWithMetadata'):  # of OpenCV 4.12
        done, data = cv2.imencodeWithMetadata(suffix, content, [cv2.IMAGE_METADATA_ICCP],
                                              [np.frombuffer(picture.icc, np.uint8)])
    else:
        done, data = cv2.imencode(suffix, content)
    if not done:
        raise UserError(f'{file}: OpenCV cannot write it')
    data.tofile(file)
