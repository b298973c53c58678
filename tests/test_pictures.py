"""Image files as people have them: what is read is what is written, and what cannot be read is one line."""
import struct
import zlib

import cv2
import numpy as np
import pytest
import refusals
from PIL import Image, ImageCms

from mipkd_arch.base.errors import UserError
from mipkd_model.deploy import pictures
from mipkd_model.deploy.pictures import Picture, read_picture, write_picture

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()


def noise(*shape, levels=256):
    return np.random.default_rng(0).integers(0, levels, shape).astype(np.uint8 if levels == 256 else np.uint16)


@pytest.mark.parametrize('suffix', ['.png', '.tif', '.bmp'])
def test_color_of_8_bits_survives_reading_and_writing(tmp_path, suffix):
    Image.fromarray(noise(9, 7, 3)).save(tmp_path / f'in{suffix}')
    write_picture(read_picture(tmp_path / f'in{suffix}'), tmp_path / f'out{suffix}')
    assert np.array_equal(np.asarray(Image.open(tmp_path / f'out{suffix}')), noise(9, 7, 3))


@pytest.mark.parametrize('mode, channels', [('L', 1), ('LA', 2), ('RGBA', 4)])
def test_gray_and_transparency_survive(tmp_path, mode, channels):
    values = noise(9, 7, channels).squeeze()
    Image.frombytes(mode, (7, 9), values.tobytes()).save(tmp_path / 'in.png')
    picture = read_picture(tmp_path / 'in.png')
    assert picture.gray == (channels < 3) and (picture.alpha is None) == (channels in (1, 3))
    write_picture(picture, tmp_path / 'out.png')
    out = Image.open(tmp_path / 'out.png')
    assert out.mode == mode and np.array_equal(np.asarray(out), values)


def test_a_palette_with_a_transparent_color_becomes_color_and_alpha(tmp_path):
    image = Image.fromarray(noise(8, 8, 3)).quantize(16)
    image.info['transparency'] = 3
    image.save(tmp_path / 'in.png', transparency=3)
    picture = read_picture(tmp_path / 'in.png')
    expected = np.asarray(image.convert('RGBA'), np.float32) / 255
    assert np.array_equal(picture.color, expected[..., :3]) and np.array_equal(picture.alpha, expected[..., 3])


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_16_bits_survive(tmp_path, suffix, channels):
    values = noise(9, 7, channels, levels=65536)
    cv2.imwrite(str(tmp_path / f'in{suffix}'), values)
    picture = read_picture(tmp_path / f'in{suffix}')
    assert picture.depth == 16 and picture.gray == (channels == 1)
    write_picture(picture, tmp_path / f'out{suffix}')
    assert np.array_equal(cv2.imread(str(tmp_path / f'out{suffix}'), cv2.IMREAD_UNCHANGED), values.squeeze())


def test_gray_of_16_bits_with_transparency_is_read(tmp_path):
    values = noise(9, 7, 2, levels=65536)
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in values)
    chunks = {b'IHDR': struct.pack('>IIBBBBB', 7, 9, 16, 4, 0, 0, 0), b'IDAT': zlib.compress(rows), b'IEND': b''}
    (tmp_path / 'in.png').write_bytes(b'\x89PNG\r\n\x1a\n' + b''.join(
        struct.pack('>I', len(content)) + name + content + struct.pack('>I', zlib.crc32(name + content))
        for name, content in chunks.items()))
    picture = read_picture(tmp_path / 'in.png')
    assert picture.gray and picture.depth == 16
    assert np.array_equal(np.rint(picture.color[..., 0] * 65535), values[..., 0])
    assert np.array_equal(np.rint(picture.alpha * 65535), values[..., 1])


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.webp', '.tif'])
def test_the_color_profile_and_exif_data_survive(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x010E] = 'a garden'
    Image.fromarray(noise(16, 16, 3)).save(tmp_path / f'in{suffix}', icc_profile=PROFILE, exif=exif)
    write_picture(read_picture(tmp_path / f'in{suffix}'), tmp_path / f'out{suffix}')
    out = Image.open(tmp_path / f'out{suffix}')
    assert out.info['icc_profile'] == PROFILE and out.getexif()[0x010E] == 'a garden'


@pytest.mark.skipif(not hasattr(cv2, 'imencodeWithMetadata'), reason='this OpenCV writes no color profile')
def test_the_color_profile_of_16_bits_survives(tmp_path):
    picture = Picture(np.random.default_rng(0).random((8, 8, 3), np.float32), depth=16, icc=PROFILE)
    write_picture(picture, tmp_path / 'out.png')
    assert read_picture(tmp_path / 'out.png').icc == PROFILE


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('depth', [8, 16])
@pytest.mark.parametrize('kind', ['png', 'tif'])
def test_an_image_is_upright_and_stays_so(tmp_path, kind, orientation, depth):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f'in.{kind}'
    values = noise(6, 9, levels=256 if depth == 8 else 65536)
    image = Image.fromarray(values)
    image.save(file, exif=exif)
    transposed = Image.Image.transpose
    methods = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    expected = transposed(image, Image.Transpose(methods[orientation])) if orientation > 1 else image
    picture = read_picture(file)
    scale = 255 if depth == 8 else 65535
    assert np.array_equal(np.rint(picture.color[..., 0] * scale), np.asarray(expected))
    write_picture(picture, tmp_path / f'out.{kind}')
    assert np.array_equal(read_picture(tmp_path / f'out.{kind}').color, picture.color)


@pytest.mark.parametrize('make, message', [
    (lambda file: file.write_bytes(b'not an image'), 'is not a PNG, JPEG, WebP, TIFF or BMP image'),
    (lambda file: None, 'is not there'),
    (lambda file: Image.fromarray(noise(4, 4, 4), 'CMYK').save(file, 'JPEG'), 'has CMYK colors'),
    (lambda file: Image.fromarray(noise(4, 4, 3)).save(file, 'PNG', save_all=True, append_images=[
        Image.fromarray(255 - noise(4, 4, 3))]), 'is an animation or has several pages (2)'),
    (lambda file: Image.fromarray(noise(40, 40, 3)).save(file, 'PNG') or file.write_bytes(file.read_bytes()[:900]),
     'cannot be read'),
    (lambda file: Image.new('RGB', (200, 100)).save(file, 'PNG'), 'has 200x100 pixels; at most 0 million are read')])
def test_what_cannot_be_read_is_one_line(tmp_path, monkeypatch, make, message):
    monkeypatch.setattr(pictures, 'MAX_PIXELS', 15000)
    file = tmp_path / 'in'
    make(file)
    assert message in refusals.refusal(read_picture, file, kind=UserError)


def test_transparency_is_refused_for_jpeg_before_anything_is_written(tmp_path):
    picture = Picture(np.zeros((2, 2, 3), np.float32), np.zeros((2, 2), np.float32))
    message = refusals.refusal(write_picture, picture, tmp_path / 'out.jpg', kind=UserError)
    assert 'JPEG has no transparency' in message and not list(tmp_path.iterdir())


def test_values_beyond_the_range_are_clipped(tmp_path):
    write_picture(Picture(np.array([[[-1, 0.5, 2]]], np.float32)), tmp_path / 'out.png')
    assert np.asarray(Image.open(tmp_path / 'out.png')).tolist() == [[[0, 128, 255]]]
