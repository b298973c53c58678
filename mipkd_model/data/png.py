"""What of a PNG file its pixels are made of, without the rest, which may be long and matters to none of them."""
import io
import struct
from typing import BinaryIO, NamedTuple

SIGNATURE = 8  # bytes
OF_PIXELS = (b'IHDR', b'PLTE', b'tRNS', b'IDAT', b'IEND')


class Png(NamedTuple):
    """A PNG file as far as it matters."""

    content: io.BytesIO
    """A PNG file of nothing but pixels."""
    exif: bytes
    """EXIF data, wherever in the file they stand; empty without any."""
    frames: int
    """How many images the file shows one after the other."""


def read_png(file: BinaryIO, header_only: bool = False) -> Png:
    """Go through the chunks of a PNG file.

    Texts, colour profiles and the like are left out: readers of images refuse them where they are long, or pack much
    into little, so that a sound image could not be read.

    Args:
        file: may end early, as far as the chunks go.
        header_only: leave the pixels out, too; the content then ends where they begin.
    """
    file.seek(0)
    kept, exif, frames, pixels = [file.read(SIGNATURE)], b'', 1, False
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack('>I4s', head)
        if kind == b'IDAT' and header_only:
            if not pixels:
                kept.append(head)
            pixels = True
            file.seek(length + 4, io.SEEK_CUR)
        elif kind in OF_PIXELS and not (pixels and header_only):
            kept.append(head + file.read(length + 4))
        elif kind in (b'eXIf', b'acTL'):
            value = file.read(length)
            file.seek(4, io.SEEK_CUR)
            if kind == b'eXIf':
                exif = value
            elif length >= 4:
                frames = max(1, *struct.unpack_from('>I', value.ljust(4, b'\0')))
        else:
            file.seek(length + 4, io.SEEK_CUR)
        if kind == b'IEND':
            break
    return Png(io.BytesIO(b''.join(kept)), exif, frames)
