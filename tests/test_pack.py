"""From image files to databases of pairs."""
from functools import partial

import cv2
import numpy as np
import pytest
import refusals
from runs import photographs
from tiny import noise

from mipkd_model.data import DataError
from mipkd_model.data.bicubic import shrink
from mipkd_model.data.folders import image_files
from mipkd_model.data.images import read_image
from mipkd_model.data.prepare.pack import PackError, pack_pairs
from mipkd_model.data.raw_lmdb import RawLmdb

refusal = partial(refusals.refusal, kind=DataError)

HEIGHTS = {'0001': 18, '0002': 32, '0003': 9}


def write_png(file, image):
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), image if image.ndim == 2 else image[..., ::-1])
    return file


@pytest.fixture
def hr(tmp_path):
    """Three gt files, the last one small."""
    return [write_png(tmp_path / f'HR/{name}.png', noise(height, 26, seed))
            for seed, (name, height) in enumerate(HEIGHTS.items())]


@pytest.fixture
def lr(tmp_path, hr):
    """Their x4 lq files, named as in DIV2K, which nothing but a file can give."""
    return [write_png(tmp_path / f'LR/X4/{file.stem}x4.png', 255 - shrink(read_image(file), 4)) for file in hr]


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'out'


def contents(folder):
    """Bytes and time of every file below a folder."""
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.rglob('*') if file.is_file()}


def test_gt_is_packed_whole(hr, out):
    assert pack_pairs(hr, out, [4]) == {'packed': 3, 'held_out': 0, 'small': 0,
                                        'written': ['train_HR.lmdb', 'train_LRx4.lmdb']}
    gt = RawLmdb(out / 'train_HR.lmdb')
    assert gt.shapes == {name: (height, 26, 3) for name, height in HEIGHTS.items()}
    for seed, (name, height) in enumerate(HEIGHTS.items()):
        assert np.array_equal(gt.read(name), noise(height, 26, seed))
        assert gt.images[name]['source'] == f'{name}.png'


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_without_lq_files_gt_is_shrunk(tmp_path, out, scale):
    files = photographs(tmp_path / 'HR', 2, 41, 55)
    pack_pairs(files, out, [scale])
    lq = RawLmdb(out / f'train_LRx{scale}.lmdb')
    assert lq.shapes == {file.stem: (41 // scale, 55 // scale, 3) for file in files}
    for file in files:
        assert np.array_equal(lq.read(file.stem), shrink(read_image(file), scale))
        assert lq.images[file.stem]['source'] == f'{file.name}, bicubic 1/{scale}'


def test_several_scales_share_one_gt_database(hr, out):
    pack_pairs(hr, out, [2, 3, 4])
    assert sorted(file.name for file in out.iterdir()) == ['train_HR.lmdb', 'train_LRx2.lmdb', 'train_LRx3.lmdb',
                                                           'train_LRx4.lmdb']


def test_a_scale_can_be_added_later(hr, out):
    pack_pairs(hr, out, [4])
    before = contents(out)
    assert pack_pairs(hr, out, [2, 4])['written'] == ['train_LRx2.lmdb']
    assert before.items() <= contents(out).items()


def test_databases_are_named_after_their_part(hr, out):
    assert pack_pairs(hr, out, [4], part='valid')['written'] == ['valid_HR.lmdb', 'valid_LRx4.lmdb']


@pytest.mark.parametrize('behind', ['x4', 'X4', ''])
def test_given_lq_files_are_packed_under_names_that_lead_back_to_gt(hr, lr, out, behind):
    lr = [file.rename(file.with_name(file.name.replace('x4', behind))) for file in lr]
    pack_pairs(hr, out, [2, 4], {4: lr})
    lq = RawLmdb(out / 'train_LRx4.lmdb')
    assert list(lq.shapes) == list(HEIGHTS)
    for hr_file, lr_file in zip(hr, lr, strict=True):
        assert np.array_equal(lq.read(hr_file.stem), read_image(lr_file))
        assert lq.images[hr_file.stem]['source'] == lr_file.name
    assert np.array_equal(RawLmdb(out / 'train_LRx2.lmdb').read('0002'), shrink(read_image(hr[1]), 2))


def test_small_images_are_left_out_of_all(hr, lr, out):
    result = pack_pairs(hr, out, [2, 4], {4: lr}, min_side=16)
    assert (result['packed'], result['small']) == (2, 1)
    for name in result['written']:
        assert list(RawLmdb(out / name).shapes) == ['0001', '0002']


def test_images_smaller_than_one_lq_pixel_are_left_out(tmp_path, hr, out):
    thin = write_png(tmp_path / 'HR/thin.png', noise(3, 26))
    assert pack_pairs([*hr, thin], out, [2, 4])['small'] == 1


def test_if_all_images_are_small_that_is_said(hr, out):
    message = refusal(pack_pairs, hr, out, [4], min_side=100)
    assert str(hr[0].parent) in message and 'none of 3 images has sides of 100 pixels' in message
    assert not out.exists()


def test_gray_images_are_packed_as_rgb(tmp_path, hr, out):
    gray = noise(20, 20)[..., 0]
    result = pack_pairs([*hr, write_png(tmp_path / 'HR/gray.png', gray)], out, [4])
    assert result['packed'] == 4
    assert np.array_equal(RawLmdb(out / 'train_HR.lmdb').read('gray'), np.stack([gray] * 3, 2))


def test_a_missing_lq_file_is_named_before_anything_is_written(hr, lr, out):
    message = refusal(pack_pairs, hr, out, [2, 4], {4: lr[:1]})
    assert str(hr[0].parent) in message and str(lr[0].parent) in message
    assert "2 gt images have no lq image of that name or with x4 behind, such as '0002', '0003'" in message
    assert not out.exists()


def test_a_spare_lq_file_is_named_before_anything_is_written(tmp_path, hr, lr, out):
    spare = write_png(tmp_path / 'LR/X4/0009x4.png', noise(4, 4))
    assert "such as '0009x4'" in refusal(pack_pairs, hr, out, [4], {4: [*lr, spare]})
    assert not out.exists()


def test_lq_files_of_another_scale_are_refused_before_anything_is_written(hr, lr, out):
    write_png(lr[1], shrink(read_image(hr[1]), 2))
    message = refusal(pack_pairs, hr, out, [4], {4: lr})
    assert f"{lr[1].parent}: image '0002x4' is 13x16, but x4 of its gt 26x32 would be 6x8" in message
    assert not out.exists()


@pytest.mark.parametrize('which', ['hr', 'lr'])
def test_a_file_that_is_no_image_is_refused_before_anything_is_written(hr, lr, out, which):
    file = {'hr': hr, 'lr': lr}[which][1]
    file.write_bytes(b'no image')
    assert str(file) in refusal(pack_pairs, hr, out, [4], {4: lr})
    assert not out.exists()


def test_two_gt_files_of_one_name_are_refused(tmp_path, hr, out):
    other = write_png(tmp_path / 'more/0002.png', noise(20, 20))
    assert refusal(pack_pairs, [*hr, other], out, [4]).startswith(f'{other}: has the name of {hr[1]}')


def test_packing_again_writes_nothing(hr, lr, out):
    first = pack_pairs(hr, out, [2, 4], {4: lr})
    before = contents(out)
    assert pack_pairs(hr, out, [2, 4], {4: lr}) == {**first, 'written': []}
    assert contents(out) == before


@pytest.mark.parametrize('change', ['fewer', 'more', 'min_side', 'size', 'lq files'])
def test_databases_of_other_images_are_refused_and_left_as_they_are(tmp_path, hr, lr, out, change):
    pack_pairs(hr, out, [4])
    before = contents(out)
    files, options = list(hr), {}
    if change == 'fewer':
        del files[1]
    elif change == 'more':
        files.append(write_png(tmp_path / 'HR/0004.png', noise(20, 20)))
    elif change == 'min_side':
        options = {'min_side': 16}
    elif change == 'size':
        write_png(hr[1], noise(33, 26))
    else:
        options = {'lr_files': {4: lr}}
    name = 'train_LRx4.lmdb' if change == 'lq files' else 'train_HR.lmdb'
    message = refusal(pack_pairs, files, out, [2, 4], **options)
    assert message.startswith(f'{out / name}: exists already, with other images') and 'is left alone' in message
    assert contents(out) == before


def test_packing_goes_on_after_a_broken_lq_file_was_mended(hr, lr, out):
    whole = lr[1].read_bytes()
    lr[1].write_bytes(whole[:-30])
    message = refusal(pack_pairs, hr, out, [4], {4: lr})
    assert str(lr[1]) in message and 'is cut short or corrupt' in message
    assert not out.exists()
    lr[1].write_bytes(whole)
    assert pack_pairs(hr, out, [4], {4: lr})['written'] == ['train_HR.lmdb', 'train_LRx4.lmdb']
    assert RawLmdb(out / 'train_LRx4.lmdb').corrupt_images() == []


def test_the_files_of_a_folder_can_be_packed(tmp_path, hr, lr, out):
    result = pack_pairs(image_files(tmp_path / 'HR'), out, [4], {4: image_files(tmp_path / 'LR/X4')})
    assert result['packed'] == 3


def test_an_empty_list_of_lq_files_means_that_they_are_made(hr, out):
    pack_pairs(hr, out, [4], {4: []})
    assert RawLmdb(out / 'train_LRx4.lmdb').images['0001']['source'] == '0001.png, bicubic 1/4'


def test_databases_of_images_that_changed_since_are_refused(tmp_path):
    files = photographs(tmp_path / 'hr', count=2)
    pack_pairs(files, tmp_path / 'out', [2])
    files[0].write_bytes(files[1].read_bytes())
    assert 'from before these changed' in refusal(pack_pairs, files, tmp_path / 'out', [2])


def test_all_that_is_wrong_is_listed_before_anything_is_written(tmp_path, hr, lr, out):
    hr += [write_png(tmp_path / f'HR/{name}.png', noise(18, 26)) for name in ('0004', '0005', '0006')]
    twin = write_png(tmp_path / 'more/0001.png', noise(20, 20))
    cut = hr[1].read_bytes()
    hr[1].write_bytes(cut[:-30])
    cv2.imwrite(str(hr[3]), np.full((18, 26, 4), 100, np.uint8))
    hr[4].write_bytes(b'no image')
    lr += [write_png(tmp_path / f'LR/X4/{name}x4.png', noise(4, 6)) for name in ('0004', '0009')]
    write_png(lr[0], noise(9, 9))
    lr[2].unlink()
    with pytest.raises(PackError) as error:
        pack_pairs([*hr, twin], out, [4], {4: [lr[0], lr[1], *lr[3:]]})
    faults = error.value.faults
    for part in (f'{twin}: has the name of {hr[0]}', f'{hr[1]}: is cut short or corrupt', f'{hr[3]}: is transparent in',
                 f'{hr[4]}: is not a readable image',
                 "3 gt images have no lq image of that name or with x4 behind, such as '0003', '0005'"):
        assert sum(part in fault for fault in faults) == 1, part
    assert len(faults) == 5 and str(error.value) == f'{faults[0]} (and 4 more)' and not out.exists()


def test_two_lq_files_of_one_name_are_refused(tmp_path, hr, lr, out):
    other = write_png(tmp_path / 'LR/more/0002x4.png', noise(8, 6))
    assert refusal(pack_pairs, hr, out, [4], {4: [*lr, other]}).startswith(f'{other}: has the name of {lr[1]}')


def test_what_is_packed_already_is_not_read_again(hr, out, monkeypatch):
    pack_pairs(hr, out, [4])
    monkeypatch.setattr('mipkd_model.data.prepare.pack.read_image', lambda file: pytest.fail('was read'))
    assert pack_pairs(hr, out, [4])['written'] == []


def test_the_middle_one_of_every_few_images_is_held_out_with_its_lq_image(tmp_path, hr, lr, out):
    held = tmp_path / 'held'
    done = pack_pairs(hr, out, [4], {4: lr}, hold_out=held, every=3)
    assert (done['packed'], done['held_out']) == (2, 1)
    assert done['written'] == ['train_HR.lmdb', 'train_LRx4.lmdb', *(str(held / f'train_{part}.lmdb')
                                                                     for part in ('HR', 'LRx4'))]
    names = [[*RawLmdb(folder / f'train_{part}.lmdb').shapes] for folder in (out, held) for part in ('HR', 'LRx4')]
    assert names == [['0001', '0003'], ['0001', '0003'], ['0002'], ['0002']]
    lq = RawLmdb(held / 'train_LRx4.lmdb')
    assert np.array_equal(lq.read('0002'), read_image(lr[1]))
    assert pack_pairs(hr, out, [4], {4: lr}, hold_out=held, every=3)['written'] == []


def test_which_images_are_held_out_does_not_depend_on_those_that_are_too_small(tmp_path, hr, out):
    hr = [hr[2], *hr[:2]]  # the small one first
    assert pack_pairs(hr, out, [4], min_side=16, hold_out=tmp_path / 'held', every=3)['held_out'] == 1
    assert [*RawLmdb(tmp_path / 'held/train_HR.lmdb').shapes] == ['0001']


def test_nothing_is_written_where_too_few_images_are_there_to_hold_one_out(tmp_path, hr, out):
    assert refusal(pack_pairs, hr, out, [4], hold_out=tmp_path / 'held').startswith('--every: 15 holds out none of 3')
    assert not out.exists() and not (tmp_path / 'held').exists()
