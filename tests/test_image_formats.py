"""What image files hold beside 8-bit RGB: read as OpenCV reads it, or refused with what it is and the remedy."""
import io
import struct
import warnings
import zlib
from functools import partial

import cv2
import numpy as np
import pytest
import refusals
from PIL import Image, PngImagePlugin
from tiny import noise

from mipkd_model.data import DataError
from mipkd_model.data.images import image_shape, may_be_transparent, read_image

refusal = partial(refusals.refusal, kind=DataError)

RGB = noise(24, 16)
GRAY, PALETTE, CMYK, YCBCR, CIELAB = 1, 3, 5, 6, 8
MORE_BITS = 'has more than 8 bits per channel; convert it to 8 bits'


def by_opencv(file):
    """What BasicSR sees, as RGB."""
    image = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR)
    return image[..., ::-1]


def tiff(file, data, tags, order='<', pages=1):
    """Write an uncompressed TIFF of one strip, from its bytes and tags (number to a list of 16-bit numbers)."""
    def page(place, last):
        entries = {256: [RGB.shape[1]], 257: [RGB.shape[0]], 259: [1], 273: [8], 278: [RGB.shape[0]], 279: [len(data)],
                   **tags}
        more, table = b'', struct.pack(f'{order}H', len(entries))
        for tag, values in sorted(entries.items()):
            raw = struct.pack(f'{order}{len(values)}H', *values)
            if len(raw) > 4:
                raw, more = struct.pack(f'{order}I', place + 6 + 12 * len(entries) + len(more)), more + raw
            table += struct.pack(f'{order}HHI', tag, 3, len(values)) + raw.ljust(4, b'\0')
        end = place + len(table) + 4 + len(more)
        return table + struct.pack(f'{order}I', 0 if last else end) + more

    content = (b'II*\0' if order == '<' else b'MM\0*') + struct.pack(f'{order}I', 8 + len(data)) + data
    for number in range(pages):
        content += page(len(content), number == pages - 1)
    file.write_bytes(content)
    return file


def tags(channels=3, bits=8, photometric=2, **more):
    names = {'planar': 284, 'extra': 338, 'sample_format': 339, 'subfile': 254, 'orientation': 274}
    return {258: [bits] * channels, 262: [photometric], 277: [channels],
            **{names[name]: value if isinstance(value, list) else [value] for name, value in more.items()}}


def planes(image):
    return np.moveaxis(image, 2, 0).tobytes()


READ = {
    'pixel by pixel': (RGB.tobytes(), tags(), RGB),
    'channel by channel': (planes(RGB), {**tags(planar=2), 273: [8, 8 + 384, 8 + 768], 279: [384] * 3}, RGB),
    'gray': (RGB[..., 0].tobytes(), tags(1, photometric=GRAY), RGB[..., [0, 0, 0]]),
    'gray, white is 0': (RGB[..., 0].tobytes(), tags(1, photometric=0), 255 - RGB[..., [0, 0, 0]]),
    'opaque': (np.dstack([RGB, np.full((24, 16), 255, np.uint8)]).tobytes(), tags(4, extra=2), RGB),
}


@pytest.mark.parametrize('order', '<>')
@pytest.mark.parametrize('data, about, image', READ.values(), ids=READ)
def test_a_tiff_is_read_as_opencv_reads_it(tmp_path, data, about, image, order):
    file = tiff(tmp_path / 'a.tif', data, about, order)
    assert np.array_equal(read_image(file), image) and image_shape(file) == image.shape
    assert np.array_equal(by_opencv(file), image)


def test_inks_are_those_of_opencv(tmp_path):
    ink = noise(24, 16, 3)
    ink = np.dstack([ink, ink[..., :1] // 2])
    file = tiff(tmp_path / 'a.tif', ink.tobytes(), tags(4, photometric=CMYK))
    # Each of both rounds once or twice.
    assert np.abs(read_image(file).astype(int) - by_opencv(file)).max() <= 2


LOST = {
    **{f'{bits} bits {name}': (bytes(3 * 384 * bits // 8), tags(bits=bits, **more), MORE_BITS)
       for bits in (10, 12, 14, 16, 32, 64)
       for name, more in (('', {}), ('in planes', {'planar': 2}), ('signed', {'sample_format': [2] * 3}),
                          ('floating-point', {'sample_format': [3] * 3}))},
    'gray of 16 bits': (bytes(768), tags(1, 16, GRAY), MORE_BITS),
    '8 bits with a sign': (RGB.tobytes(), tags(sample_format=[2] * 3), 'has signed or floating-point values'),
    'four bands': (bytes(384 * 4), tags(4, extra=0), 'has 4 channels, of which 3 would be read'),
    'four bands in planes': (bytes(384 * 4), tags(4, extra=0, planar=2), 'has 4 channels, of which 3 would be read'),
    'five bands': (bytes(384 * 5), tags(5, extra=[0, 0]), 'has 5 channels, of which 3 would be read'),
    'five bands, alpha among them': (bytes(384 * 5), tags(5, extra=[2, 0]), 'has 5 channels, of which 3 would be read'),
    'two gray bands': (bytes(384 * 2), tags(2, photometric=GRAY, extra=0), 'has 2 channels, of which 1 would be read'),
    'five inks': (bytes(384 * 5), tags(5, photometric=CMYK, extra=0), 'has 5 channels, of which 4 would be read'),
    'transparent': (bytes(384 * 4), tags(4, extra=2), 'is transparent in places'),
    'premultiplied gray': (bytes(384 * 2), tags(2, photometric=GRAY, extra=1), 'has 2 channels, of which 1 would'),
    'CIELAB': (RGB.tobytes(), tags(photometric=CIELAB), 'has colors that are not read (TIFF photometric 8)'),
    'raw data of a camera': (RGB[..., 0].tobytes(), tags(1, photometric=32803), 'has colors that are not read'),
    'uncompressed YCbCr': (RGB.tobytes(), tags(photometric=YCBCR), 'has colors that are not read'),
    'uneven bits': (RGB.tobytes(), {**tags(), 258: [5, 6, 5]}, 'is a TIFF image that is damaged or of a kind that'),
}


@pytest.mark.parametrize('data, about, says', LOST.values(), ids=LOST)
def test_a_tiff_that_8_bit_rgb_cannot_hold_is_refused_with_the_reason(tmp_path, data, about, says):
    file = tiff(tmp_path / 'a.tif', data, about)
    assert refusal(read_image, file).startswith(f'{file}: {says}')
    if 'transparent' not in says:
        assert refusal(image_shape, file).startswith(f'{file}: {says}'), 'the header tells it'


def test_further_pages_of_a_tiff_are_not_dropped_without_a_word(tmp_path):
    file = tiff(tmp_path / 'a.tif', RGB.tobytes(), tags(), pages=3)
    assert 'has 3 frames or pages, of which one would be read' in refusal(image_shape, file)


def test_a_tiff_whose_pages_go_in_a_circle_comes_to_an_end(tmp_path):
    file = tiff(tmp_path / 'a.tif', RGB.tobytes(), tags())
    content = bytearray(file.read_bytes())
    start = struct.unpack('<I', content[4:8])[0]
    count = struct.unpack_from('<H', content, start)[0]
    struct.pack_into('<I', content, start + 2 + 12 * count, start)
    file.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert np.array_equal(read_image(file), RGB)


@pytest.mark.parametrize('suffix', ['.png', '.webp'])
def test_an_animation_is_refused(tmp_path, suffix):
    file = tmp_path / f'a{suffix}'
    Image.fromarray(RGB).save(file, save_all=True, append_images=[Image.fromarray(RGB[::-1])], lossless=True)
    for function in (image_shape, read_image):
        assert 'has 2 frames or pages, of which one would be read' in refusal(function, file)


def noted(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def chunks_of(png):
    """Chunks of a PNG file, with lengths and checksums, by their kinds."""
    place, found = 8, {}
    while place < len(png):
        length, kind = struct.unpack_from('>I4s', png, place)
        found[kind] = found.get(kind, b'') + png[place:place + length + 12]
        place += length + 12
    return found


@pytest.mark.parametrize('suffix', ['.png', '.webp', '.tif', '.jpg'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_an_image_stands_as_basicsr_sees_it(tmp_path, suffix, orientation):
    file = tmp_path / f'a{suffix}'
    smooth = cv2.resize(RGB[:3, :3], (32, 24), interpolation=cv2.INTER_CUBIC)
    Image.fromarray(smooth).save(file, exif=noted(orientation), quality=95, **(
        {'lossless': True} if suffix == '.webp' else {}))
    seen = by_opencv(file)
    assert image_shape(file) == seen.shape
    assert np.abs(read_image(file).astype(int) - seen).max() <= (8 if suffix == '.jpg' else 0)


def test_the_orientation_of_a_png_may_stand_behind_its_pixels(tmp_path):
    content = io.BytesIO()
    Image.fromarray(RGB).save(content, 'PNG', exif=noted(6))
    chunks = chunks_of(content.getvalue())
    file = tmp_path / 'a.png'
    file.write_bytes(content.getvalue()[:8] + b''.join(chunks[kind] for kind in (b'IHDR', b'IDAT', b'eXIf', b'IEND')))
    assert np.array_equal(read_image(file), by_opencv(file))
    assert image_shape(file) == (16, 24, 3)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_an_orientation_that_opencv_does_not_know_of_is_none(tmp_path, suffix):
    xmp = b'<rdf:Description tiff:Orientation="6" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"/>'
    file, options = tmp_path / f'a{suffix}', {'xmp': xmp}
    if suffix == '.png':
        options = {'pnginfo': PngImagePlugin.PngInfo()}
        options['pnginfo'].add_itxt('XML:com.adobe.xmp', xmp.decode())
    Image.fromarray(RGB).save(file, **options)
    assert image_shape(file) == read_image(file).shape == by_opencv(file).shape == RGB.shape


def text_of(kind):
    """A chunk that unpacks to 3 MB: of a text, an international one, or a colour profile."""
    packed = zlib.compress(b'x' * 3_000_000)
    body = {b'zTXt': b'workflow\0\0', b'iTXt': b'workflow\0\1\0\0\0', b'iCCP': b'profile\0\0'}[kind] + packed
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


@pytest.mark.parametrize('kind', [b'zTXt', b'iTXt', b'iCCP'])
def test_what_a_png_has_beside_its_pixels_does_not_matter(tmp_path, kind):
    content, chunk = io.BytesIO(), text_of(kind)
    Image.fromarray(RGB).save(content, 'PNG')
    file = tmp_path / 'a.png'
    file.write_bytes(content.getvalue()[:33] + chunk + content.getvalue()[33:])
    assert np.array_equal(read_image(file), RGB) and image_shape(file) == RGB.shape


def test_a_png_without_its_last_chunk_has_all_its_pixels(tmp_path):
    content = io.BytesIO()
    Image.fromarray(RGB).save(content, 'PNG')
    (tmp_path / 'a.png').write_bytes(content.getvalue()[:-12])
    assert np.array_equal(read_image(tmp_path / 'a.png'), RGB)


@pytest.mark.filterwarnings('error')
def test_an_image_of_more_pixels_than_pillow_takes_by_itself_is_read_as_opencv_reads_it(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((14_000, 14_000), np.uint8))
    assert image_shape(tmp_path / 'a.png') == (14_000, 14_000, 3)


@pytest.mark.parametrize('name', ['GIF', 'AVIF', 'JPEG2000', 'PPM', 'DDS', 'TGA', 'ICO'])
def test_an_image_of_another_format_is_called_by_its_name(tmp_path, name):
    try:
        Image.fromarray(RGB).save(tmp_path / 'a.png', format=name)
    except (KeyError, OSError, SystemError):
        pytest.skip('this Pillow cannot write it')
    for function in (image_shape, read_image):
        message = refusal(function, tmp_path / 'a.png')
        assert name in message and message.endswith('which is not read; convert it to PNG')


@pytest.mark.parametrize('head, says', [
    (b'\0\0\0\x18ftypheic\0\0', 'HEIC'), (b'\xff\x0a\xff', 'JPEG XL'), (b'\x76\x2f\x31\x01', 'OpenEXR'),
    (b'\0\0\0\x0cJXL \r\n\x87\n', 'JPEG XL'), (b'MM\0+\0\x08\0\0', 'TIFF'),
    (b'<!DOCTYPE html>\n<title>404', 'a web page; download it again'),
    (b'\n<HTML><body>', 'a web page; download it again'),
    (b'version https://git-lfs.github.com/spec/v1\noid', 'a pointer of Git LFS; download the image by: git lfs pull'),
    (b'', 'empty or full of zeros; copy it again or remove it'), (bytes(512), 'full of zeros; copy it again'),
    (b'PK\3\4', 'an archive; unpack and remove it'),
    (b'\0\5\x16\7\0\2\0\0Mac OS X', 'macOS writes next to others; remove it'),
    (b'hello', 'is not a readable image; copy it again')])
def test_a_file_that_is_no_image_comes_with_what_it_is_and_the_remedy(tmp_path, head, says):
    (tmp_path / 'a.png').write_bytes(head)
    assert says in refusal(read_image, tmp_path / 'a.png')


def test_the_header_tells_whether_an_image_may_be_transparent(tmp_path):
    Image.fromarray(RGB).save(tmp_path / 'rgb.png')
    Image.fromarray(np.dstack([RGB, RGB[..., :1]])).save(tmp_path / 'rgba.png')
    assert not may_be_transparent(tmp_path / 'rgb.png') and may_be_transparent(tmp_path / 'rgba.png')
