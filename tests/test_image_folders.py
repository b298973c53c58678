"""What of a folder are its images, what else is in it, and names that are one in another Unicode form."""
import unicodedata
from functools import partial

import numpy as np
import pytest
import refusals
from PIL import Image
from tiny import noise, raw_lmdb

from mipkd_arch.base.errors import UserError
from mipkd_model.data import DataError
from mipkd_model.data.folders import image_files, left_out, list_images
from mipkd_model.data.paired_dataset import PairedSRDataset
from mipkd_model.data.prepare.layouts import find_hr, find_lr, image_folders
from mipkd_model.data.prepare.verify import find_pairs, verify
from mipkd_model.data.stores import check_pair, open_store

from basicsr.utils.lmdb_util import make_lmdb_from_imgs

refusal = partial(refusals.refusal, kind=DataError)
IMAGE = noise(16, 24)
APART, ONE = (unicodedata.normalize(form, 'Zürich') for form in ('NFD', 'NFC'))


def save(file, image=IMAGE):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(file)
    return file


@pytest.fixture
def mixed(tmp_path):
    """A folder of two images, with what systems keep in it, other files and folders."""
    for name in ('a.png', 'b.JPG'):
        save(tmp_path / f'hr/{name}')
    for name in ('._a.png', '.hidden.png', '.DS_Store', 'Thumbs.db', 'desktop.ini', '__MACOSX/a.png', '.cache/a.png',
                 'c.jfif', 'd.ppm', 'e.PPM', 'notes', 'more/f.png'):
        (tmp_path / 'hr' / name).parent.mkdir(exist_ok=True)
        (tmp_path / 'hr' / name).write_bytes(b'\0\5\x16\7')
    (tmp_path / 'hr/folder.png').mkdir()
    return tmp_path / 'hr'


def test_files_that_systems_keep_are_no_images_of_a_folder(mixed):
    assert [file.name for file in image_files(mixed)] == ['a.png', 'b.JPG']
    assert list(open_store(mixed).shapes) == ['a', 'b']


def test_what_else_is_in_a_folder_is_told_by_number_and_suffix(mixed):
    assert left_out(mixed) == '6 other files or folders, such as c.jfif'
    assert open_store(mixed).left_out == left_out(mixed)
    assert left_out(save(mixed.parent / 'plain/a.png').parent) == ''


def test_a_folder_of_other_files_alone_says_which(tmp_path):
    (tmp_path / 'a.jfif').touch()
    assert refusal(image_files, tmp_path).endswith('but 1 other files or folders, such as a.jfif')


def test_verifying_says_what_is_left_out(mixed, tmp_path):
    for name in ('a.png', 'b.JPG'):
        save(tmp_path / f'lq/{name}', IMAGE[::2, ::2])
    assert any('left out: 6 other files' in finding.text for finding in verify(
        find_pairs(links(tmp_path, mixed, tmp_path / 'lq'))[0]))


def links(root, hr, lr):
    """The layout of benchmark sets, of links."""
    (root / 'set/LR_bicubic').mkdir(parents=True)
    (root / 'set/HR').symlink_to(hr)
    (root / 'set/LR_bicubic/X2').symlink_to(lr)
    (root / 'set/._train_LRx2.lmdb').touch()
    return root / 'set'


@pytest.mark.parametrize('hr, lr', [('DIV2K_train_HR', 'DIV2K_train_LR_bicubic/X4'), ('HR', 'LRx4')])
def test_linked_folders_are_followed(tmp_path, hr, lr):
    for name in (hr, lr):
        save(tmp_path / f'disk/{name}/a.png')
    root = tmp_path / 'root'
    root.mkdir()
    for name in (hr, lr):
        top = name.split('/')[0]
        (root / top).symlink_to(tmp_path / 'disk' / top)
    assert (find_hr(root), find_lr(root, 4)) == (root / hr, root / lr)


def test_links_in_a_circle_and_to_the_same_folder_are_passed_once(tmp_path):
    save(tmp_path / 'b/HR/a.png')
    (tmp_path / 'b/HR/up').symlink_to(tmp_path)
    (tmp_path / 'a').symlink_to(tmp_path / 'b')
    (tmp_path / 'gone').symlink_to(tmp_path / 'nothing')
    assert image_folders(tmp_path) == [tmp_path / 'b/HR'] and find_hr(tmp_path) == tmp_path / 'b/HR'


def test_folders_that_systems_keep_hold_no_images(tmp_path):
    for name in ('HR/a.png', '__MACOSX/HR/a.png', '.trash/HR/a.png', 'only/._a.png'):
        save(tmp_path / name)
    assert image_folders(tmp_path) == [tmp_path / 'HR']


def png_lmdb(path, names, image=IMAGE):
    files = [save(path.with_suffix('.files') / f'{name}.png', image).name for name in names]
    make_lmdb_from_imgs(str(path.with_suffix('.files')), str(path), files, list(names), map_size=2**20)
    return path


@pytest.mark.parametrize('name', ['shot.v2', 'a photo', 'photo (1)', 'photo (4,4,3) 1', 'a.b.c', 'x.png'])
def test_names_of_a_png_lmdb_may_have_all_that_basicsr_writes(tmp_path, name):
    store = open_store(png_lmdb(tmp_path / 'a.lmdb', [name, 'other']))
    assert store.shapes == {name: IMAGE.shape, 'other': IMAGE.shape}
    assert np.array_equal(store.read(name), IMAGE)


def test_a_gray_image_of_a_png_lmdb_has_three_equal_channels(tmp_path):
    store = open_store(png_lmdb(tmp_path / 'a.lmdb', ['gray'], IMAGE[..., 0]))
    assert np.array_equal(store.read('gray'), IMAGE[..., [0, 0, 0]])


def test_names_with_dots_keep_them_in_outputs(tmp_path):
    opt = options(png_lmdb(tmp_path / 'gt.lmdb', ['shot.v1', 'shot.v2']),
                  png_lmdb(tmp_path / 'lq.lmdb', ['shot.v1', 'shot.v2'], IMAGE[::2, ::2]))
    assert [item['gt_path'] for item in PairedSRDataset(opt)] == ['shot.v1.png', 'shot.v2.png']


def options(gt, lq):
    return {'name': 'a', 'type': 'PairedSRDataset', 'phase': 'val', 'scale': 2, 'dataroot_gt': str(gt),
            'dataroot_lq': str(lq)}


def folder(path, name, image):
    return save(path.with_suffix('') / f'{name}.png', image).parent


def lmdb(path, name, image):
    return raw_lmdb(path, {name: image})


@pytest.mark.parametrize('gt', [folder, lmdb])
@pytest.mark.parametrize('lq', [folder, lmdb])
@pytest.mark.parametrize('forms', [(APART, ONE), (ONE, APART), (APART, APART)], ids=['gt apart', 'lq apart', 'both'])
def test_names_in_another_unicode_form_are_the_same(tmp_path, gt, lq, forms):
    dataset = PairedSRDataset(options(gt(tmp_path / 'gt.lmdb', forms[0], IMAGE),
                                      lq(tmp_path / 'lq.lmdb', forms[1] + 'x2', IMAGE[::2, ::2])))
    assert np.array_equal(dataset[0]['gt'].permute(1, 2, 0).numpy(), IMAGE)
    assert (dataset[0]['gt_path'], dataset[0]['lq_path']) == (f'{ONE}.png', f'{ONE}x2.png')


def test_two_images_of_one_name_in_two_unicode_forms_are_refused(tmp_path):
    for form in (APART, ONE):
        save(tmp_path / f'hr/{form}.png')
    assert 'the Unicode form aside; rename or remove one of them' in refusal(list_images, tmp_path / 'hr')


@pytest.mark.parametrize('gt, lq', [((143, 141), (36, 36)), ((141, 144), (36, 36)), ((143, 143), (35, 36))])
def test_lq_whose_size_was_rounded_up_comes_with_the_reason_and_the_remedy(gt, lq):
    line = refusals.refusal(check_pair, 'a', (*gt, 3), (*lq, 3), 4, 'LR', kind=UserError)
    assert f'x4 of its gt {gt[1]}x{gt[0]} would be {gt[1] // 4}x{gt[0] // 4}; it was rounded up: ' in line
    assert 'crop gt to multiples of 4' in line and 'mipkd data pack --hr FOLDER --scale 4' in line
