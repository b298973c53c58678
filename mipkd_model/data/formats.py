"""What a file holds, by its first bytes, whatever its name says."""
import re

HEAD = 512
"""Bytes that tell."""
CONVERT = 'convert it to PNG'
TAKE_OUT = 'copy it anew or take it out'
BROKEN = f'is not a readable image; {TAKE_OUT}'
READ = (('PNG', rb'\x89PNG\r\n\x1a\n'), ('JPEG', rb'\xff\xd8\xff'), ('BMP', rb'BM'),
        ('TIFF', rb'II\*\0(?!.{4}CR)|MM\0\*|II\+\0'), ('WEBP', rb'RIFF.{4}WEBP'))
"""Formats that are read, and how their files begin."""
OTHER_IMAGES = (
    ('GIF', rb'GIF8[79]a'), ('AVIF', rb'.{4}ftypavi[fs]'), ('HEIC', rb'.{4}ftyp(hei[cxms]|hev[cxms]|mif1|msf1)'),
    ('JPEG 2000', rb'\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51'), ('JPEG XL', rb'\0\0\0\x0cJXL \r\n\x87\n|\xff\x0a'),
    ('Photoshop', rb'8BPS'), ('GIMP', rb'gimp xcf'),
    ('SVG', rb'\s*(<\?xml.*?)?(<!--.*?-->\s*)?(<!DOCTYPE svg.*?)?<svg'),
    ('PNM', rb'P[1-7]\s'), ('PFM', rb'P[Ff]\s'), ('OpenEXR', rb'\x76\x2f\x31\x01'), ('HDR', rb'#\?(RADIANCE|RGBE)'),
    ('icon', rb'\0\0\x01\0'), ('TGA', rb'\0[\x00\x01][\x02\x0a]\0'), ('DDS', rb'DDS '), ('QOI', rb'qoif'),
    ('big-endian BigTIFF', rb'MM\0\+'),
    ('raw camera', rb'II\*\0.{4}CR|.{4}ftypcrx |II(RO|RS|U\0)|FUJIFILMCCD-RAW|\0MRM'),
)
"""Formats of images that are not read: each would need a package of its own, or has more than 8-bit RGB can hold."""
NO_IMAGES = (
    ('a pointer of Git LFS in its place', rb'version https://git-lfs', 'fetch it by: git lfs pull'),
    ('a web page', rb'\s*<(!doctype html|html|head)', 'fetch it anew, or take it out'),
    ('a file of attributes that macOS writes beside others', rb'\x00\x05\x16[\x00\x07]', 'take it out'),
    ('a PostScript program', rb'%!PS|\xc5\xd0\xd3\xc6', TAKE_OUT),
    ('a PDF', rb'%PDF', TAKE_OUT),
    ('an archive', rb'PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ', 'unpack it, and take it out'),
    ('a film', rb'.{4}ftyp|\x1a\x45\xdf\xa3|RIFF.{4}AVI ', 'take it out'),
)
"""Other things that carry the name of an image, with the remedy."""


def image_format(head: bytes) -> str | None:
    """One of ``READ``: the format of a file that begins so, or None."""
    return next((name for name, begins in READ if _matches(begins, head)), None)


def why_not_read(head: bytes) -> str:
    """What a file that begins so is instead of an image of a known format, and the remedy, as the end of a message."""
    for name, begins in OTHER_IMAGES:
        if _matches(begins, head):
            return f'is an image of the format {name}, which is not read; {CONVERT}'
    for what, begins, remedy in NO_IMAGES:
        if _matches(begins, head):
            return f'is not a readable image, but {what}; {remedy}'
    if not head.strip(b'\0'):
        return f'is not a readable image: it is {"full of zeros" if head else "empty"}; {TAKE_OUT}'
    return BROKEN


def _matches(begins: bytes, head: bytes) -> bool:
    return re.match(begins, head[:HEAD], re.DOTALL | re.IGNORECASE if b'<' in begins else re.DOTALL) is not None
