"""Finding wrong copies of data sets."""
import importlib.util
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
import refusals
import runs
import tiny

from mipkd_model.data import DataError
from mipkd_model.data import benchmarks as known
from mipkd_model.data.bicubic import shrink
from mipkd_model.data.images import read_image
from mipkd_model.data.prepare.pack import pack_pairs
from mipkd_model.data.prepare.verify import Pair, bicubic_psnr, find_pairs, recipe, verify

from basicsr.utils.matlab_functions import imresize

COMMAND = runs.ROOT / 'datasets/verify.py'
spec = importlib.util.spec_from_file_location('verify_command', COMMAND)
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
PUBLIC = runs.ROOT.parent / 'shared/data/benchmark'


@pytest.fixture
def call(monkeypatch, capsys):
    """Calls the command; gives its status, the lines on stdout and the last line on stderr."""
    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['verify.py', *map(str, arguments)])
        status = module.main()
        out, err = capsys.readouterr()
        return status, out.splitlines(), (err.splitlines() or [''])[-1].strip()
    return run


@pytest.fixture
def wrong(call):
    """Calls the command, which must find something wrong; gives the findings."""
    def run(*arguments):
        status, lines, error = call(*arguments)
        found = [line.strip() for line in lines if line.strip().startswith('WRONG')]
        assert status == 1 and found and error == f'error: {len(found)} of the checks above failed'
        return '\n'.join(found)
    return run


@pytest.fixture
def hr(tmp_path):
    return runs.photographs(tmp_path / 'HR', count=3, height=64, width=70)


@pytest.fixture
def packed(hr, tmp_path):
    pack_pairs(hr, tmp_path, [2, 4])
    return tmp_path


def made(hr, folder, make, scale=2):
    """Make LR of each HR image by a function of its uint8 RGB array; gives the arguments that compare them."""
    folder.mkdir(parents=True)
    for file in hr:
        cv2.imwrite(str(folder / file.name), make(read_image(file))[..., ::-1])
    return '--gt', hr[0].parent, '--lq', folder, '--scale', scale


def rounded_once(image, scale=2):
    """LR as BasicSR makes it."""
    height, width = (side // scale * scale for side in image.shape[:2])
    lr = imresize(image[:height, :width].astype(np.float32) / 255, 1 / scale)
    return (lr * 255).clip(0, 255).round().astype(np.uint8)


def by_opencv(image):
    height, width = image.shape[:2]
    return cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_CUBIC)


def test_what_was_packed_is_right(packed, call):
    status, lines, error = call(packed)
    assert (status, error) == (0, '')
    assert not any('WRONG' in line for line in lines)
    assert sum('3 images is MATLAB\'s bicubic to the last bit (variant A)' in line for line in lines) == 2
    assert sum('all checksums are right' in line for line in lines) == 4


def test_only_the_scales_that_were_asked_for_are_checked(packed, call):
    assert [line for line in call(packed, '--scale', 4)[1] if ' and ' in line and 'lmdb' in line] == [
        f'{packed / "train_HR.lmdb"} and {packed / "train_LRx4.lmdb"}']


def test_a_scale_that_is_not_there_is_one_line(packed, call):
    assert call(packed, '--scale', 3) == (1, [], f'error: {packed}: has nothing for --scale 3')


@pytest.mark.parametrize('make, words', [(rounded_once, 'was rounded once'), (by_opencv, 'is not MATLAB\'s bicubic')])
def test_lr_that_was_not_made_by_matlab_is_found(hr, wrong, tmp_path, make, words):
    assert f'LR of 3 of 3 images {words}' in wrong(*made(hr, tmp_path / 'LR', make))


def test_lr_of_other_hr_images_is_found(hr, wrong, tmp_path):
    assert 'other HR images' in wrong(*made(hr, tmp_path / 'LR', lambda image: shrink(image[::-1].copy(), 2)))


def test_hr_of_half_size_is_found(hr, wrong, tmp_path):
    made(hr, tmp_path / 'half', lambda image: shrink(image, 2))
    made(hr, tmp_path / 'LR', lambda image: shrink(image, 2))
    found = wrong('--gt', tmp_path / 'half', '--lq', tmp_path / 'LR', '--scale', 2)
    assert "image '0000' is 35x32" in found and 'another scale' in found


@pytest.mark.parametrize('of', ['HR', 'LR'])
def test_a_missing_image_is_found(hr, wrong, tmp_path, of):
    arguments = made(hr, tmp_path / 'LR', lambda image: shrink(image, 2))
    (tmp_path / of / '0001.png').unlink()
    found = wrong(*arguments)
    assert "'0001'" in found and 'are not pairs' in found


def test_an_image_that_is_cut_short_is_found(hr, wrong, tmp_path):
    arguments = made(hr, tmp_path / 'LR', lambda image: shrink(image, 2))
    hr[1].write_bytes(hr[1].read_bytes()[:-200])
    assert str(hr[1]) in wrong(*arguments)


def test_a_store_that_is_not_there_is_found(packed, wrong):
    shutil.rmtree(packed / 'train_HR.lmdb')
    assert f'{packed / "train_HR.lmdb"}: no such LMDB' in wrong(packed)


@pytest.mark.parametrize('of', ['HR', 'LRx2'])
def test_a_damaged_pixel_is_found_whatever_the_limit(hr, packed, wrong, of):
    file = packed / f'train_{of}.lmdb/data.mdb'
    image = read_image(hr[1]) if of == 'HR' else shrink(read_image(hr[1]), 2)
    data = bytearray(file.read_bytes())
    data[data.index(image.tobytes()) + 1000] ^= 1
    file.write_bytes(data)
    assert f"{file.parent}: 1 images are damaged, such as '0001'" in wrong(packed, '--scale', 2, '--limit', 1)


def test_a_truncated_database_is_found(packed, wrong):
    file = packed / 'train_LRx2.lmdb/data.mdb'
    file.write_bytes(file.read_bytes()[:-8192])
    found = wrong(packed, '--scale', 2)
    assert f'{file.parent}: is not a complete LMDB' in found and 'is cut short' in found


def test_the_limit_is_that_of_compared_pairs(hr, call, tmp_path):
    lines = call(*made(hr, tmp_path / 'LR', lambda image: shrink(image, 2)), '--limit', 2)[1]
    assert any('3 pairs' in line for line in lines) and any('LR of 2 images' in line for line in lines)


def test_a_limit_below_zero_is_refused_with_a_message(packed, call):
    with pytest.raises(SystemExit) as error:
        call(packed, '--limit', -1)
    assert error.value.code == 2


@pytest.fixture
def small_set(hr, monkeypatch, tmp_path):
    """A known set of three images; gives its folder."""
    folder = tmp_path / 'Small3'
    pack_pairs(hr, folder, [2])
    psnr = np.mean([bicubic_psnr(read_image(file), shrink(read_image(file), 2), 2) for file in hr])
    monkeypatch.setitem(known.SETS, 'Small3', known.KnownSet(3, {2: round(float(psnr), 2)}))
    return folder


def test_a_known_set_is_recognised(small_set, call):
    status, lines, _ = call(small_set)
    assert status == 0 and any('as on the known Small3' in line for line in lines)


def test_a_known_set_of_another_number_of_images_is_found(small_set, hr, wrong):
    shutil.rmtree(small_set)
    pack_pairs(hr[:2], small_set, [2])
    assert f'{small_set / "train_HR.lmdb"}: has 2 images, but Small3 has 3' in wrong(small_set)


def test_other_images_under_the_name_of_a_known_set_are_found(small_set, hr, wrong):
    shutil.rmtree(small_set)
    for file in hr:
        cv2.imwrite(str(file), tiny.noise(64, 70))
    pack_pairs(hr, small_set, [2])
    found = wrong(small_set)
    assert 'on the known Small3: these are other images' in found and 'MATLAB' not in found


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_the_recipe_of_an_lr_image_is_recognised(scale):
    image = tiny.noise(50, 61)
    assert recipe(image, shrink(image, scale), scale) == 'A'
    assert recipe(image, shrink(image, scale, 'clamp'), scale) == 'B'
    assert recipe(image, rounded_once(image, scale), scale) == 'rounded once'
    assert recipe(image, image[:50 // scale * scale:scale, :61 // scale * scale:scale], scale) == 'something else'


def test_pairs_are_found_in_both_layouts(tmp_path):
    for name in ('train_LRx2.lmdb', 'train_LRx4.lmdb', 'valid_LRx4.lmdb', 'LR_bicubic/X3'):
        (tmp_path / name).mkdir(parents=True)
    assert find_pairs(tmp_path) == [
        Pair(tmp_path / 'train_HR.lmdb', tmp_path / 'train_LRx2.lmdb', 2),
        Pair(tmp_path / 'HR', tmp_path / 'LR_bicubic/X3', 3),
        Pair(tmp_path / 'train_HR.lmdb', tmp_path / 'train_LRx4.lmdb', 4),
        Pair(tmp_path / 'valid_HR.lmdb', tmp_path / 'valid_LRx4.lmdb', 4)]


def test_an_empty_folder_is_refused(tmp_path, call):
    message = refusals.refusal(find_pairs, tmp_path, kind=DataError)
    assert message.startswith(f'{tmp_path}: holds neither')
    assert call(tmp_path) == (1, [], f'error: {message}')


@pytest.mark.parametrize('arguments', [('--gt', 'HR'), ('--lq', 'LR', '--scale', 2), ('--gt', 'HR', '--lq', 'LR'),
                                       ('folder', '--gt', 'HR', '--lq', 'LR', '--scale', 2), ()])
def test_arguments_that_do_not_go_together_are_one_line(call, arguments):
    status, lines, error = call(*arguments)
    assert (status, lines) == (1, []) and error.startswith('error: ') and '--gt, --lq and --scale' in error


def test_one_pair_has_one_scale(packed, call):
    status, _, error = call('--gt', packed / 'train_HR.lmdb', '--lq', packed / 'train_LRx4.lmdb', '--scale', 4, 2)
    assert status == 1 and 'one scale at a time' in error


def test_the_command_ends_with_status_1_where_something_is_wrong(hr, tmp_path):
    arguments = made(hr, tmp_path / 'LR', by_opencv)
    done = subprocess.run([sys.executable, COMMAND, *map(str, arguments)], text=True, capture_output=True, timeout=300,
                          check=False)
    assert done.returncode == 1 and '  WRONG LR of 3 of 3' in done.stdout
    assert done.stderr.splitlines()[-1].endswith('error: 1 of the checks above failed')


@pytest.mark.parametrize('name', ['Set5', 'Set14'])
def test_the_public_sets_pass_as_what_they_are(name):
    if not (PUBLIC / name).is_dir():
        pytest.skip(f'{PUBLIC / name} is not there')
    for pair in find_pairs(PUBLIC / name):
        findings = list(verify(pair))
        assert all(finding.good for finding in findings), findings
        assert f'as on the known {name}' in findings[-1].text
