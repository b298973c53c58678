"""Reading image files: as they are, or refused by name."""
import os
import struct
import zlib
from functools import partial

import cv2
import numpy as np
import pytest
import refusals
from PIL import Image, ImageOps
from tiny import noise

from mipkd_model.data import DataError
from mipkd_model.data.folders import image_files, list_images
from mipkd_model.data.images import image_shape, read_image

refusal = partial(refusals.refusal, kind=DataError)

RGB = noise(12, 17)


def save(file, array, mode=None, **options):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(file, **options)
    return file


def noted(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def rgba(alpha):
    return np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)]) if alpha is None else np.dstack([RGB, alpha])


@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.tif', '.tiff', '.PNG'])
def test_files_without_loss_come_back_as_they_were(tmp_path, suffix):
    image = read_image(save(tmp_path / f'0001{suffix}', RGB))
    assert image.dtype == np.uint8
    assert np.array_equal(image, RGB)


def test_what_opencv_writes_comes_back_as_rgb(tmp_path):
    cv2.imwrite(str(tmp_path / '0001.png'), RGB[..., ::-1])
    assert np.array_equal(read_image(tmp_path / '0001.png'), RGB)


def test_a_jpeg_is_read_as_pillow_reads_it(tmp_path):
    file = save(tmp_path / '0001.jpg', RGB, quality=90)
    assert np.array_equal(read_image(file), np.array(Image.open(file)))


def test_a_gray_image_becomes_three_equal_channels(tmp_path):
    file = save(tmp_path / 'gray.png', RGB[..., 0])
    assert np.array_equal(read_image(file), np.stack([RGB[..., 0]] * 3, 2))


def test_an_image_of_one_bit_is_black_and_white(tmp_path):
    file = save(tmp_path / 'bits.png', RGB[..., 0] > 127)
    assert np.array_equal(read_image(file), np.stack([np.where(RGB[..., 0] > 127, 255, 0)] * 3, 2))


def test_a_palette_is_looked_up(tmp_path):
    colours = np.array([[255, 0, 0], [1, 2, 3], [9, 200, 30]], np.uint8)[RGB[..., 0] % 3]
    file = save(tmp_path / 'palette.png', colours, 'P', palette=Image.Palette.ADAPTIVE)
    exact = Image.fromarray(colours).quantize(3)
    exact.save(file)
    assert Image.open(file).mode == 'P'
    assert np.array_equal(read_image(file), np.array(exact.convert('RGB')))


def test_an_opaque_alpha_channel_is_dropped(tmp_path):
    assert np.array_equal(read_image(save(tmp_path / 'opaque.png', rgba(None))), RGB)


def test_an_opaque_alpha_channel_of_a_gray_image_is_dropped(tmp_path):
    file = save(tmp_path / 'opaque.png', np.stack([RGB] * 3, 2)[:, :, 0, :], 'LA')
    assert read_image(file).shape == RGB.shape


def test_a_transparent_image_is_refused(tmp_path):
    alpha = np.full(RGB.shape[:2], 255, np.uint8)
    alpha[3, 4] = 254
    file = save(tmp_path / 'transparent.png', rgba(alpha))
    assert refusal(read_image, file) == f'{file}: is transparent in places; flatten it to RGB'


def test_a_palette_with_a_transparent_colour_that_is_used_is_refused(tmp_path):
    image = Image.fromarray(RGB[..., 0] % 4, 'P')
    image.putpalette(bytes(range(12)))
    image.save(tmp_path / 'palette.png', transparency=2)
    assert 'transparent' in refusal(read_image, tmp_path / 'palette.png')


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_more_than_8_bits_are_refused_by_the_header_and_on_reading(tmp_path, channels, suffix):
    file = tmp_path / f'deep{suffix}'
    cv2.imwrite(str(file), np.dstack([noise(9, 8), noise(9, 8, 1)])[..., :channels].astype(np.uint16) * 257)
    for function in (image_shape, read_image):
        message = refusal(function, file)
        assert str(file) in message and 'more than 8 bits' in message


@pytest.mark.parametrize('function', [image_shape, read_image])
def test_floats_are_refused(tmp_path, function):
    file = save(tmp_path / 'float.tif', RGB[..., 0].astype(np.float32))
    assert 'more than 8 bits' in refusal(function, file)


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.bmp', '.tif', '.webp'])
def test_an_image_that_is_cut_short_is_refused(tmp_path, suffix):
    file = save(tmp_path / f'0001{suffix}', noise(120, 90))
    data = file.read_bytes()
    file.write_bytes(data[:len(data) // 2])
    assert refusal(read_image, file).startswith(f'{file}: is ')


def test_a_changed_byte_in_a_png_is_noticed(tmp_path):
    file = save(tmp_path / '0001.png', noise(120, 90))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 4
    file.write_bytes(data)
    assert str(file) in refusal(read_image, file)


@pytest.mark.parametrize('content', [b'', b'no image', b'\x89PNG\r\n\x1a\n', b'\xff\xd8\xff\xe0'])
@pytest.mark.parametrize('function', [image_shape, read_image])
def test_a_file_that_is_no_image_is_refused(tmp_path, function, content):
    (tmp_path / 'broken.png').write_bytes(content)
    message = refusal(function, tmp_path / 'broken.png')
    assert str(tmp_path / 'broken.png') in message and 'is not a readable image' in message


@pytest.mark.parametrize('function', [image_shape, read_image])
def test_a_file_that_is_not_there_is_refused(tmp_path, function):
    assert refusal(function, tmp_path / '0001.png').startswith(f'{tmp_path / "0001.png"}: cannot be read (No such file')


@pytest.mark.parametrize('name, options', [('a.png', {}), ('a.jpg', {}), ('gray.png', {'mode': 'L'}),
                                           ('bits.png', {'mode': '1'}), ('palette.png', {'mode': 'P'})])
def test_the_header_tells_the_shape_that_reading_gives(tmp_path, name, options):
    file = save(tmp_path / name, RGB, **options)
    assert image_shape(file) == read_image(file).shape == (12, 17, 3)


@pytest.mark.parametrize('suffix', ['.jpg', '.tif', '.webp'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_an_image_is_turned_as_the_camera_noted(tmp_path, orientation, suffix):
    file = save(tmp_path / f'turned{suffix}', RGB, exif=noted(orientation))
    assert np.array_equal(read_image(file), np.array(ImageOps.exif_transpose(Image.open(file)).convert('RGB')))
    assert image_shape(file) == read_image(file).shape == ((12, 17, 3) if orientation < 5 else (17, 12, 3))


def test_bytes_are_read_as_the_file_is(tmp_path):
    file = save(tmp_path / '0001.png', RGB)
    assert np.array_equal(read_image(file.read_bytes(), 'here'), RGB)
    assert refusal(read_image, file.read_bytes()[:200], 'here').startswith('here: is cut short or corrupt')


def test_images_of_a_folder_are_listed_by_name(tmp_path):
    for name in ('b.png', 'a.PNG', 'notes.txt', 'c.jpg'):
        (tmp_path / name).touch()
    assert [file.name for file in image_files(tmp_path)] == ['a.PNG', 'b.png', 'c.jpg']


def test_two_images_that_differ_in_the_suffix_only_are_refused(tmp_path):
    for name in ('a.png', 'b.png', 'a.jpg'):
        (tmp_path / name).touch()
    assert refusal(list_images, tmp_path).startswith(f'{tmp_path / "a.png"}: has the name of {tmp_path / "a.jpg"}')


@pytest.mark.parametrize('folder, word', [('absent', 'no such folder'), ('empty', 'holds no images'),
                                          ('file.png', 'no such folder')])
def test_a_folder_without_images_is_refused(tmp_path, folder, word):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'file.png').touch()
    message = refusal(image_files, tmp_path / folder)
    assert str(tmp_path / folder) in message and word in message


@pytest.mark.parametrize('orientation', range(1, 9))
def test_a_photograph_is_turned_as_its_camera_noted(tmp_path, orientation):
    photograph = Image.fromarray(noise(10, 14))
    exif = photograph.getexif()
    exif[0x0112] = orientation
    photograph.save(tmp_path / 'turned.jpg', exif=exif)
    seen_by_opencv = cv2.imread(str(tmp_path / 'turned.jpg'))[..., ::-1]  # BasicSR reads by it
    assert np.array_equal(read_image(tmp_path / 'turned.jpg'), seen_by_opencv)
    assert image_shape(tmp_path / 'turned.jpg') == seen_by_opencv.shape


def test_an_image_that_declares_more_pixels_than_any_has_is_refused(tmp_path):
    png = (tmp_path / 'huge.png')
    save(png, RGB)
    content = bytearray(png.read_bytes())
    content[16:24] = struct.pack('>II', 10**5, 10**5)
    content[29:33] = struct.pack('>I', zlib.crc32(content[12:29]))
    png.write_bytes(content)
    for function in (image_shape, read_image):
        assert refusal(function, png) == f'{png}: is not a readable image; copy it again or remove it'


def test_postscript_is_no_image_whatever_its_name_for_another_program_would_run_it(tmp_path):
    save(tmp_path / 'program.eps', RGB)
    (tmp_path / 'program.eps').rename(tmp_path / 'program.png')
    assert 'of the format EPS, which is not read' in refusal(read_image, tmp_path / 'program.png')


def test_a_pipe_is_refused_without_waiting_for_who_writes_to_it(tmp_path):
    os.mkfifo(tmp_path / 'a.png')
    assert refusal(image_shape, tmp_path / 'a.png') == f'{tmp_path}/a.png: is a pipe, not a file'


def test_a_name_that_cannot_be_printed_is_refused(tmp_path):
    save(tmp_path / 'a\x1b[2J.png', RGB)
    assert 'is not a valid name for an image' in refusal(list_images, tmp_path)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('suffix', ['.png', '.bmp', '.jpg', '.tif', '.webp'])
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path, suffix):
    whole = save(tmp_path / f'a{suffix}', RGB).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            content[place] = rng.integers(256)
        try:
            assert read_image(bytes(content), 'a').dtype == np.uint8
        except DataError as error:
            assert str(error).isprintable()
