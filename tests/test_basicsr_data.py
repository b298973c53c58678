"""Options of BasicSR's own data sets, and what they find only when they read, or never."""
from copy import deepcopy

import cv2
import numpy as np
import pytest
import runs
import tiny
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.commands.check import findings
from mipkd_model.config.checks import check_files, check_options, find_in_options

from basicsr.utils.lmdb_util import make_lmdb_from_imgs


@pytest.fixture(scope='module')
def of_basicsr(tmp_path_factory):
    """Options of a training on BasicSR's own data set, from folders."""
    folder = tmp_path_factory.mktemp('basicsr')
    opt = runs.options(folder)
    runs.photographs(folder / 'lr', 6, 20, 26)
    for name, block in opt['datasets'].items():
        train = {key: block[key] for key in ('gt_size', 'use_hflip', 'use_rot', 'num_worker_per_gpu',
                                             'batch_size_per_gpu')} if name == 'train' else {}
        opt['datasets'][name] = {'name': 'made', 'type': 'PairedImageDataset', 'dataroot_gt': str(folder / 'hr'),
                                 'dataroot_lq': str(folder / 'lr'), 'io_backend': {'type': 'disk'}, **train}
    return opt


def test_a_sound_data_set_of_basicsr_is_accepted(of_basicsr):
    check_options(of_basicsr, True)
    check_files(of_basicsr)


@pytest.mark.parametrize('path, value, message', [
    ('use_hflp', True, "datasets.train.use_hflp: nothing reads this option (did you mean 'use_hflip'?)"),
    ('dataset_enlarge_ratio', 100, 'datasets.train.dataset_enlarge_ratio: nothing reads this option'),
    ('use_hflip', None, 'datasets.train.use_hflip')])
def test_options_of_basicsrs_data_set_are_checked_too(of_basicsr, path, value, message):
    opt = deepcopy(of_basicsr)
    opt['datasets']['train'][path] = value
    assert refusal(check_options, opt, True, kind=UserError).startswith(message)


@pytest.mark.parametrize('path, value', [('gt_size', 4096), ('io_backend', {'type': 'hdf5'}), ('dataroot_lq', 'hr')])
def test_what_basicsrs_data_set_finds_when_it_reads_is_found_before(of_basicsr, path, value):
    if path == 'dataroot_lq':
        value = of_basicsr['datasets']['train']['dataroot_gt']
    opt = deepcopy(of_basicsr)
    opt['datasets']['train'][path] = value
    check_options(opt, True)
    assert refusal(check_files, opt, kind=UserError).startswith('datasets.train: PairedImageDataset refuses')


def test_a_data_set_of_basicsr_needs_to_know_how_files_are_read(tmp_path):
    opt = runs.options(tmp_path)
    opt['datasets']['val'].update(type='PairedImageDataset')
    assert refusal(check_options, opt, True, kind=UserError).startswith('datasets.val.io_backend: missing')


SETS = ('PairedImageDataset', 'SingleImageDataset')


@pytest.fixture
def tests(tmp_path):
    """Makes options of a test on a data set of BasicSR, which reads three images from folders."""
    def make(kind, **more):
        opt = runs.options(tmp_path)
        for name, side in (('gt', 24), ('lq', 12)):
            if not (tmp_path / name).exists():
                runs.photographs(tmp_path / name, 3, side, side)
        gt = {'dataroot_gt': str(tmp_path / 'gt')} if kind == SETS[0] else {}
        opt['datasets'] = {'test': {'name': 'own', 'type': kind, 'dataroot_lq': str(tmp_path / 'lq'), **gt,
                                    'io_backend': {'type': 'disk'}, **more}}
        return {key: value for key, value in opt.items() if key not in ('train', 'network_t', 'logger')}
    return make


@pytest.mark.parametrize('kind', SETS)
def test_what_gives_images_that_networks_are_not_meant_for_is_refused(tests, kind):
    for name, value in (('color', 'y'), ('mean', [0.5, 0.5, 0.5]), ('std', [0.5, 0.5, 0.5])):
        line = refusal(check_options, tests(kind, **{name: value}), False, kind=UserError)
        assert line.startswith(f'datasets.test.{name}: nothing reads this option, for ') and 'remove it' in line


def test_the_same_of_a_training_and_its_validation(of_basicsr):
    for phase in ('train', 'val'):
        opt = deepcopy(of_basicsr)
        opt['datasets'][phase].update(color='y', mean=[0, 0, 0])
        assert [line.partition(': ')[0] for line in find_in_options(opt, True).lines] == [
            f'datasets.{phase}.color', f'datasets.{phase}.mean']


@pytest.mark.parametrize('template', ['x4', '{}{}', '{', '{name}'])
def test_a_template_of_names_that_does_not_lead_to_lq_is_refused(of_basicsr, template):
    opt = deepcopy(of_basicsr)
    opt['datasets']['train']['filename_tmpl'] = template
    assert refusal(check_files, opt, kind=UserError).startswith('datasets.train: PairedImageDataset refuses')


@pytest.mark.parametrize('name', ['dataroot_gt', 'use_flip', 'phase', 'filename_tmpl'])
def test_an_option_that_a_set_without_gt_does_not_read_is_refused(tests, name):
    assert refusal(check_options, tests(SETS[1], **{name: 'x'}), False, kind=UserError).startswith(
        f'datasets.test.{name}: nothing reads this option')


def test_images_without_gt_are_not_trained_on(of_basicsr):
    opt = deepcopy(of_basicsr)
    opt['datasets']['train'].update(type=SETS[1])
    assert refusal(check_files, opt, kind=UserError).startswith('datasets.train.type: SingleImageDataset has no gt')


@pytest.mark.parametrize('missing', [{}, {'dataroot_gt': None}])
def test_a_set_that_lacks_gt_comes_with_the_one_that_needs_none(tests, missing):
    opt = tests(SETS[1])
    del opt['datasets']['test']['io_backend']
    opt['datasets']['test'].update(type='PairedSRDataset', **missing)
    line = refusal(check_options, opt, False, kind=UserError)
    assert line.startswith('datasets.test.dataroot_gt: ') and line.endswith(
        'for images without gt set type: SingleImageDataset, with io_backend: {type: disk})')


def both(folder, name, image):
    """Write an image and its lq."""
    cv2.imwrite(str(folder / f'gt/{name}'), image)
    cv2.imwrite(str(folder / f'lq/{name}'), image[::2, ::2])


def transparent(folder):
    both(folder, '0001.png', np.full((24, 24, 4), 9, np.uint8))


def deep(folder):
    both(folder, '0001.png', tiny.noise(24, 24).astype(np.uint16) * 257)


def cut(folder):
    for name in ('gt', 'lq'):
        file = folder / name / '0001.png'
        file.write_bytes(file.read_bytes()[:-40])


def text(folder):
    for name in ('gt', 'lq'):
        (folder / name / 'notes.txt').write_text('mine')


def twins(folder):
    both(folder, '0001.jpg', tiny.noise(24, 24))


FLAWS = {
    'a text file': (text, 'notes.txt: is not a readable image'), 'an image that is cut short': (cut, 'is cut short'),
    'a transparent image': (transparent, 'is transparent in places'), '16 bits': (deep, 'has more than 8 bits'),
    'two images of one name': (twins, 'has the name of'),
}


@pytest.mark.parametrize('kind', SETS)
@pytest.mark.parametrize('flaw, says', FLAWS.values(), ids=FLAWS)
def test_what_basicsr_would_drop_or_fail_on_is_one_line_before_anything_starts(tests, tmp_path, kind, flaw, says):
    opt = tests(kind)
    check_files(opt)
    flaw(tmp_path)
    assert says in refusal(check_files, opt, kind=UserError)


def test_a_format_that_opencv_alone_knows_is_left_to_it(tests, tmp_path):
    opt = tests(SETS[1])
    cv2.imwrite(str(tmp_path / 'lq/a.ppm'), tiny.noise(12, 12))
    check_files(opt)
    cv2.imwrite(str(tmp_path / 'lq/b.pgm'), tiny.noise(12, 12)[..., 0].astype(np.uint16) * 257)
    assert 'b.pgm: has more than 8 bits' in refusal(check_files, opt, kind=UserError)


def test_images_of_one_name_in_two_folders_are_refused(tests, tmp_path):
    for name in ('one', 'two'):
        (tmp_path / 'gt' / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / 'gt' / name / '0001.png'), tiny.noise(24, 24))
    (tmp_path / 'list.txt').write_text('one/0001.png (24,24,3)\ntwo/0001.png (24,24,3)\n')
    runs.photographs(tmp_path / 'lq', 3, 12, 12)
    opt = tests(SETS[0], meta_info_file=str(tmp_path / 'list.txt'))
    assert 'two/0001.png: has the name of' in refusal(check_files, opt, kind=UserError)


@pytest.mark.parametrize('keys, says', [(['one/a', 'two/a'], 'two/a: has the name of one/a'),
                                        (['shot.v2'], "image 'shot.v2' has a dot in its name")])
def test_names_of_an_lmdb_that_basicsr_mixes_up_are_refused(tests, tmp_path, keys, says):
    opt = tests(SETS[0], io_backend={'type': 'lmdb'})
    for name in ('gt', 'lq'):
        path = str(tmp_path / f'{name}.lmdb')
        make_lmdb_from_imgs(str(tmp_path / name), path, ['0000.png'] * len(keys), keys, map_size=2**20)
        opt['datasets']['test'][f'dataroot_{name}'] = path
    assert says in refusal(check_files, opt, kind=UserError)


def test_what_is_left_out_of_a_folder_is_said_by_the_check_and_at_the_start(tests, tmp_path, capsys):
    opt = tests(SETS[0])
    opt['datasets']['test']['type'] = 'PairedSRDataset'
    del opt['datasets']['test']['io_backend']
    (tmp_path / 'lq/a.jfif').touch()
    (tmp_path / 'lq/more').mkdir()
    check_files(opt)
    line = capsys.readouterr().out.strip()
    assert line == f'datasets.test.dataroot_lq: {tmp_path / "lq"}: left out: 2 other files or folders, such as a.jfif'
    _, warnings = findings(runs.option_file(tmp_path, opt))
    assert line in warnings
    check_files({**opt, 'rank': 1})
    assert not capsys.readouterr().out, 'one process says it'
