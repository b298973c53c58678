"""Images through a student: any input that people have, without seams, and one bad file stops no other."""
import errno
import os

import cv2
import numpy as np
import pytest
import runs
import tiny
import torch
from PIL import Image, ImageCms

from mipkd_arch.base.network_record import network_record
from mipkd_model.base import files
from mipkd_model.cli import main
from mipkd_model.deploy import pictures
from mipkd_model.deploy.runtimes import open_torch
from mipkd_model.deploy.upscale import upscale_array

from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.utils.registry import ARCH_REGISTRY

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
SIZES = {'EDSR': {'type': 'EDSRStudent', 'num_feat': 8, 'num_block': 2, 'upscale': 2},
         'SwinIR': {'type': 'SwinIRStudent', 'img_size': 16, 'embed_dim': 12, 'depths': [2], 'num_heads': [2],
                    'window_size': 8, 'upscale': 2}}
RECEPTIVE_FIELD = 16  # lq pixels; that of the EDSR is 6 convolutions at lq size and one after


def checkpoint(folder, name='EDSR'):
    """Write a checkpoint as a training of a small network does it, and return its file."""
    torch.manual_seed(0)
    block = SIZES[name]
    network = ARCH_REGISTRY.get(block['type'])(**{key: value for key, value in block.items() if key != 'type'})
    torch.save({'params': network.state_dict(), **network_record(block, 2)}, folder / f'{name}.pth')
    return folder / f'{name}.pth'


@pytest.fixture
def student(tmp_path):
    return checkpoint(tmp_path)


@pytest.fixture
def run(tmp_path, student, capsys):
    """A function that upscales by the command; returns its exit status and the lines of stdout and stderr."""
    def call(*inputs, more=(), model=student):
        status = main(['upscale', *map(str, inputs), '--model', str(model), '--out', str(tmp_path / 'out'),
                       '--device', 'cpu', *map(str, more)])
        out, err = capsys.readouterr()
        return status, out.splitlines(), [line for line in err.splitlines() if 'upscale:' not in line and line.strip()]
    return call


def test_files_folders_and_patterns_are_upscaled_once_each(tmp_path, run):
    photographs = runs.photographs(tmp_path / 'photos', 3, 20, 24)
    (tmp_path / 'photos/notes.txt').write_text('no image')
    (tmp_path / 'photos/folder').mkdir()
    Image.fromarray(tiny.noise(10, 12)).save(tmp_path / 'one.webp', lossless=True)
    status, out, err = run(photographs[0], tmp_path / 'photos', f'{tmp_path}/*.webp')
    assert status == 0 and not err
    assert out == [str(tmp_path / 'out' / name) for name in ('0000.png', '0001.png', '0002.png', 'one.webp')]
    assert Image.open(out[0]).size == (48, 40) and Image.open(out[3]).format == 'WEBP'


def test_an_output_is_that_of_the_network(tmp_path, run, student):
    photograph, = runs.photographs(tmp_path / 'photos', 1, 20, 24)
    run(photograph)
    lq = np.asarray(Image.open(photograph), np.float32).transpose(2, 0, 1)[None] / 255
    expected = np.rint(open_torch(student).run(lq)[0].transpose(1, 2, 0).clip(0, 1) * 255)
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'out/0000.png')), expected)


def test_a_checkpoint_that_records_no_network_is_opened_by_spandrel(tmp_path, run):
    pytest.importorskip('spandrel', reason='spandrel is not installed')
    torch.save({'params': SRVGGNetCompact(num_feat=8, num_conv=2, upscale=2).state_dict()}, tmp_path / 'compact.pth')
    status, out, err = run(*runs.photographs(tmp_path / 'photos', 1, 20, 24), model=tmp_path / 'compact.pth')
    assert (status, err) == (0, []) and Image.open(out[0]).size == (48, 40)


@pytest.mark.parametrize('tile', [16, 24, 41])
def test_tiles_have_no_seams(student, tile):
    model, image = open_torch(student), tiny.noise(61, 50).astype(np.float32) / 255
    whole = upscale_array(image, model)
    # Sums of another order are rounded in another way, by some units of float32's last place.
    assert np.abs(upscale_array(image, model, tile, RECEPTIVE_FIELD) - whole).max() < 1e-5
    assert np.abs(upscale_array(image, model, tile, 0) - whole).max() > 1e-3


def test_tiles_of_whole_attention_windows_have_no_seams_that_an_eye_sees(tmp_path):
    """Tiles of a multiple of the window with overlaps of a multiple of it see the same windows as the whole image."""
    model, image = open_torch(checkpoint(tmp_path, 'SwinIR')), tiny.noise(72, 64).astype(np.float32) / 255
    whole, parts = (upscale_array(image, model, tile, 32) for tile in (0, 32))
    assert np.abs(whole - parts).max() < 0.5 / 255


@pytest.mark.parametrize('size', [(1, 1), (3, 5), (7, 30)])
def test_an_image_smaller_than_a_window_is_upscaled(tmp_path, run, size):
    Image.fromarray(tiny.noise(*size)).save(tmp_path / 'in.png')
    status, out, err = run(tmp_path / 'in.png', model=checkpoint(tmp_path, 'SwinIR'))
    assert (status, err) == (0, []) and Image.open(out[0]).size == (2 * size[1], 2 * size[0])


@pytest.mark.parametrize('mode', ['L', 'LA', 'RGB', 'RGBA', 'P', '1'])
def test_gray_stays_gray_and_transparency_stays(tmp_path, run, mode):
    image = Image.fromarray(tiny.noise(12, 16))
    image.putalpha(Image.fromarray(tiny.noise(12, 16)[..., 0]))
    image.convert(mode).save(tmp_path / 'in.png')
    status, out, err = run(tmp_path / 'in.png')
    assert (status, err) == (0, [])
    assert Image.open(out[0]).mode == {'P': 'RGBA', '1': 'L'}.get(mode, mode)


def test_an_opaque_image_stays_opaque(tmp_path, run):
    image = Image.fromarray(tiny.noise(12, 16))
    image.putalpha(255)
    image.save(tmp_path / 'in.png')
    _, out, _ = run(tmp_path / 'in.png')
    assert Image.open(out[0]).getchannel('A').getextrema() == (255, 255)


@pytest.mark.parametrize('suffix', ['.png', '.tif'])
def test_16_bits_stay_16_bits(tmp_path, run, student, suffix):
    values = np.random.default_rng(0).integers(0, 65536, (12, 16, 3), np.uint16)
    cv2.imwrite(str(tmp_path / f'in{suffix}'), values)
    _, out, _ = run(tmp_path / f'in{suffix}')
    expected = upscale_array(values[..., ::-1].astype(np.float32) / 65535, open_torch(student))
    found = cv2.imread(out[0], cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint16 and np.array_equal(found[..., ::-1], np.rint(expected * 65535))


def test_orientation_profile_and_exif_data_are_kept(tmp_path, run):
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, 'a garden'
    Image.fromarray(tiny.noise(12, 16)).save(tmp_path / 'in.jpg', exif=exif, icc_profile=PROFILE)
    _, out, _ = run(tmp_path / 'in.jpg')
    image = Image.open(out[0])
    assert image.size == (24, 32) and 0x0112 not in image.getexif()
    assert image.getexif()[0x010E] == 'a garden' and image.info['icc_profile'] == PROFILE


def test_an_existing_output_is_overwritten_only_when_asked(tmp_path, run):
    photograph, = runs.photographs(tmp_path / 'photos', 1, 20, 24)
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/0000.png').write_text('mine')
    status, _, err = run(photograph)
    assert status == 1 and 'results exist, such as' in err[0] and 'add --overwrite' in err[0]
    assert (tmp_path / 'out/0000.png').read_text() == 'mine'
    assert run(photograph, more=['--overwrite'])[0] == 0 and Image.open(tmp_path / 'out/0000.png').size == (48, 40)


def test_an_image_never_replaces_itself(tmp_path, run):
    photograph, = runs.photographs(tmp_path / 'out', 1, 20, 24)
    before = photograph.read_bytes()
    status, _, err = run(photograph, more=['--overwrite'])
    assert status == 1 and 'would replace itself' in err[0] and photograph.read_bytes() == before


def test_two_inputs_of_one_name_are_refused_and_formats_and_suffixes_can_be_chosen(tmp_path, run):
    first, = runs.photographs(tmp_path / 'a', 1, 20, 24)
    second, = runs.photographs(tmp_path / 'b', 1, 20, 24)
    status, _, err = run(first, second)
    assert status == 1 and 'would both become' in err[0] and not (tmp_path / 'out').exists()
    assert run(first, more=['--format', 'webp', '--suffix', '_x2'])[1] == [str(tmp_path / 'out/0000_x2.webp')]


def bad_images(folder):
    """Write one of each kind of image that cannot be upscaled; returns what is said of each, by file."""
    noise = tiny.noise(8, 8)
    Image.fromarray(noise).convert('CMYK').save(folder / 'cmyk.jpg')
    Image.fromarray(noise).save(folder / 'moving.webp', save_all=True, append_images=[Image.fromarray(255 - noise)])
    (folder / 'text.png').write_text('no image')
    Image.fromarray(tiny.noise(60, 60)).save(folder / 'cut.png')
    (folder / 'cut.png').write_bytes((folder / 'cut.png').read_bytes()[:900])
    Image.new('RGB', (20000, 1)).save(folder / 'huge.png')
    return {'cmyk.jpg': 'has CMYK colors', 'moving.webp': 'is an animation', 'text.png': 'is not a PNG, JPEG',
            'cut.png': 'cannot be read', 'huge.png': 'has 20000x1 pixels'}


def test_a_bad_file_is_one_line_and_does_not_stop_the_others(tmp_path, run, monkeypatch):
    monkeypatch.setattr(pictures, 'MAX_PIXELS', 10000)
    good, = runs.photographs(tmp_path / 'photos', 1, 20, 24)
    expected = bad_images(tmp_path / 'photos')
    status, out, err = run(tmp_path / 'photos')
    assert status == 1 and out == [str(tmp_path / 'out' / good.name)]
    assert err[-1] == 'error: 5 of 6 images failed' and len(err) == 6
    for name, message in expected.items():
        assert sum(name in line and message in line for line in err) == 1, (name, err)
    assert os.listdir(tmp_path / 'out') == [good.name]


def test_a_full_disk_and_lacking_memory_are_one_line_each(tmp_path, run, monkeypatch):
    photographs = runs.photographs(tmp_path / 'photos', 2, 20, 24)
    sync = files.fsync

    def full(path):
        if '0000' in str(path):
            raise OSError(errno.ENOSPC, 'No space left on device')
        sync(path)

    monkeypatch.setattr(files, 'fsync', full)
    status, out, err = run(*photographs)
    assert status == 1 and len(out) == 1 and 'No space left on device' in err[0] and '0000.png' in err[0]
    assert os.listdir(tmp_path / 'out') == ['0001.png']

    def lacking(*_):
        raise RuntimeError('[enforce fail] DefaultCPUAllocator: can\'t allocate memory: you tried to allocate')

    monkeypatch.setattr('mipkd_model.deploy.upscale.upscale', lacking)
    _, _, err = run(photographs[0], more=['--overwrite'])
    assert str(photographs[0]) in err[0] and 'not enough memory' in err[0]


def test_a_model_for_images_of_one_size_is_one_line_an_image(tmp_path, run):
    onnx = pytest.importorskip('onnx', reason='onnx is not installed')
    pytest.importorskip('onnxruntime', reason='onnxruntime is not installed')
    value, file = onnx.helper.make_tensor_value_info, tmp_path / 'fixed.onnx'
    graph = onnx.helper.make_graph([onnx.helper.make_node('Identity', ['x'], ['y'])], 'g',
                                   [value('x', 1, [1, 3, 64, 64])], [value('y', 1, [1, 3, 64, 64])])
    onnx.save(onnx.helper.make_model(graph, ir_version=9, opset_imports=[onnx.helper.make_opsetid('', 17)]), str(file))
    status, out, err = run(*runs.photographs(tmp_path / 'photos', 1, 20, 24), model=file)
    assert (status, out, len(err)) == (1, [], 2)
    assert '0000.png: the model fails on 24x20 pixels (' in err[0], err


@pytest.mark.parametrize('make, message', [
    (lambda file: None, 'is not there'),
    (lambda file: torch.save({'params': {'mixers.0.weight': torch.ones(3)}}, file), 'does not record of which network'),
    (lambda file: torch.save({'epoch': 3}, file), 'does not record of which network'),
    (lambda file: file.write_text('hello'), 'cannot be read as a checkpoint')])
def test_what_is_no_student_is_one_line_before_anything_is_read(tmp_path, run, make, message):
    make(tmp_path / 'model.pth')
    status, out, err = run(*runs.photographs(tmp_path / 'photos', 1, 20, 24), model=tmp_path / 'model.pth')
    assert (status, out, len(err)) == (1, [], 1) and message in err[0], err


@pytest.mark.parametrize('arguments, message', [
    (['nothing.png'], 'is not there'), (['*.gif'], 'is not there'), (['photos', '--tile', '-1'], '--tile'),
    (['photos', '--format', 'gif'], '--format'), (['empty'], 'has no images')])
def test_mistakes_of_the_command_line_are_one_line(tmp_path, student, monkeypatch, capsys, arguments, message):
    runs.photographs(tmp_path / 'photos', 1, 20, 24)
    (tmp_path / 'empty').mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(['upscale', *arguments, '--model', str(student), '--out', 'out']) == 1
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1 and message in err[0] and not (tmp_path / 'out').exists()
