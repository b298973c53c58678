"""Option files for images, a teacher and a length of a user's own."""
import shlex
import sys
from pathlib import Path

import cv2
import pytest
import runs
import tiny
import torch
import yaml
from matrix import command
from processes import Processes
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.cli import main
from mipkd_model.config.checks import check_options, read_options
from mipkd_model.data.prepare.pack import pack_pairs
from mipkd_model.evaluation.records import find_records
from mipkd_model.experiments.option_files import schedule_of, yaml_value

PAIR = 'EDSR-EDSR_compound_x2'


def teacher_file(folder, upscale=2, **sizes):
    file = folder / 'my teacher.pth'
    torch.save({'params': tiny.edsr(upscale, **sizes).state_dict()}, file)
    return file


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """A folder of photographs, packed and not, and a teacher's weights."""
    folder = tmp_path_factory.mktemp('own')
    for name, count in (('photos', 4), ('held out', 2)):
        files = runs.photographs(folder / name, count)
        pack_pairs(files, folder / 'packed' / name, [2], part='train')
    teacher_file(folder)
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """An empty folder to write to, which is the current one, with links to what was made."""
    for file in made.iterdir():
        (tmp_path / file.name).symlink_to(file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(capsys, *arguments):
    """The option files that the command has written, read."""
    command('write', *arguments)
    files = capsys.readouterr().out.split()
    opts = [read_options(file) for file in files]
    for opt in opts:
        check_options(opt, is_train='train' in opt)
    return dict(zip(files, opts, strict=True))


def lines(capsys, *arguments):
    """What is said of mistakes, without ``error: ``; nothing may be written."""
    assert main(['options', 'write', *map(str, arguments)]) == 1
    done = capsys.readouterr()
    assert not done.out and not Path('options').exists()
    return [line.removeprefix('error: ') for line in done.err.splitlines()]


def test_photographs_are_packed_trained_on_and_tested_with_nothing_edited(here, capsys):
    command('write', PAIR, 'Logits-KD', '--data', 'packed/photos', '--val', 'packed/held out', '--teacher',
            'my teacher.pth', '--iters', '2')
    train, test = capsys.readouterr().out.split()
    assert main(['check', train]) == 0
    # The teacher is one at random, and no better than bicubic.
    for call in (['train', '-opt', train, '--force_yml', 'val:check_teacher=false', 'num_gpu=0'],
                 ['test', '-opt', test, '--force_yml', 'num_gpu=0']):
        Processes(here, [[sys.executable, '-m', 'mipkd_model.cli', *call]], [{'PYTHONPATH': str(runs.ROOT)}]
                  ).must_end_well()
    record, = find_records(['results']).values()
    assert (record.dataset['name'], record.pair, record.method) == ('held out', 'my teacher-EDSR_compound', 'Logits-KD')
    assert main(['table', 'pairs', 'results']) == 0


def test_both_files_name_what_was_given(here, capsys):
    found = written(capsys, PAIR, 'MiPKD', '--data', 'packed/photos', '--val', 'packed/held out', '--teacher',
                    'my teacher.pth', '--iters', '5e3')
    name = 'MiPKD_EDSR-EDSR_compound_x2_photos_5000'
    assert list(found) == [f'options/train_{name}.yml', f'options/test_{name}.yml']
    train, test = found.values()
    assert (train['name'], test['name']) == (f'train_{name}', f'test_{name}')
    held_out = {'name': 'held out', 'type': 'PairedSRDataset', 'dataroot_gt': 'packed/held out/train_HR.lmdb',
                'dataroot_lq': 'packed/held out/train_LRx2.lmdb'}
    assert train['datasets']['val'] == held_out and test['datasets'] == {'test_1': held_out}
    data = train['datasets']['train']
    assert (data['name'], data['dataroot_gt'], data['dataroot_lq'], data['gt_size']) == (
        'photos', 'packed/photos/train_HR.lmdb', 'packed/photos/train_LRx2.lmdb', 32)
    assert {key: train['network_t'][key] for key in ('type', 'num_feat', 'num_block', 'upscale', 'res_scale')} == {
        'type': 'EDSR', 'num_feat': 8, 'num_block': 3, 'upscale': 2, 'res_scale': 1}
    assert train['path']['pretrain_network_t'] == 'my teacher.pth' and train['path']['pretrain_network_g'] is None
    assert (train['train']['cuts_g'], train['train']['cuts_t'], train['train']['total_iter']) == (3, 3, 5000)
    assert test['path']['pretrain_network_g'] == f'experiments/train_{name}/models/net_g_latest.pth'
    text = Path(f'options/train_{name}.yml').read_text()
    assert f'#   mipkd train -opt options/train_{name}.yml\n' in text and 'mipkd data all' not in text
    said = shlex.split(text.split('This file was written by: ')[1].splitlines()[0])
    assert said[:5] == ['mipkd', 'options', 'write', PAIR, 'MiPKD'] and 'packed/held out' in said
    assert '; its weights do not tell res_scale' in text


def test_what_is_not_given_stays_as_published(here, capsys):
    train, test = written(capsys, 'EDSR_x4', 'MiPKD', '--iters', '250000').values()
    published = yaml.safe_load((runs.ROOT / 'options/train_MiPKD_x4.yml').read_text())
    assert train.pop('name') == 'train_MiPKD_EDSR_x4_250000'
    assert train.pop('table') and published.pop('table') and published.pop('name')
    assert train == published  # which starts from scratch, too
    assert [block['name'] for block in test['datasets'].values()] == ['Set5', 'Set14', 'BSD100', 'Urban100']


@pytest.mark.parametrize('total', [1, 2, 3, 10, 150, 1500, 50_000, 250_000, 10**6])
def test_the_schedule_fits_the_length(total):
    schedule = schedule_of(total)
    milestones = schedule['milestones']
    assert all(1 <= step <= total for step in milestones) and len(set(milestones)) == len(milestones)
    assert 1 <= schedule['print_freq'] <= schedule['save_freq'] <= total
    assert 1 / (1 - schedule['ema_decay']) <= max(10, total / 10) * 1.001
    if total == 250_000:
        assert schedule == {'total_iter': total, 'print_freq': 100, 'save_freq': 5000, 'ema_decay': 0.999,
                            'milestones': [100_000, 200_000], 'lr': 1e-4, 'gamma': 0.1}


@pytest.mark.parametrize('layout', ['LR beside HR', 'LR elsewhere', 'an LMDB', 'validation packed beside'])
def test_images_are_found_in_the_usual_layouts(here, capsys, layout):
    root = here / 'set'
    if layout in ('LR beside HR', 'LR elsewhere'):
        lr = root / 'LR_bicubic/X2' if layout == 'LR beside HR' else here / 'small'
        lr.mkdir(parents=True)
        for file in runs.photographs(root / 'HR', 2):
            cv2.imwrite(str(lr / f'{file.stem}x2.png'), cv2.resize(cv2.imread(str(file)), (26, 20)))
        given = ['set'] if layout == 'LR beside HR' else ['set/HR', '--lq', 'small']
        expected = ('set', 'set/HR', str(lr.relative_to(here)))
    elif layout == 'an LMDB':
        given, expected = ['packed/photos/train_HR.lmdb'], (
            'photos', 'packed/photos/train_HR.lmdb', 'packed/photos/train_LRx2.lmdb')
    else:
        for part in ('train', 'val'):
            pack_pairs(runs.photographs(here / part, 2), root, [2], part=part)
        given, expected = ['set', '--val', 'set'], ('set', 'set/train_HR.lmdb', 'set/train_LRx2.lmdb')
    train = next(iter(written(capsys, PAIR, 'Scratch', '--data', *given).values()))
    data = train['datasets']['train']
    assert (data['name'], data['dataroot_gt'], data['dataroot_lq']) == expected
    if layout == 'validation packed beside':
        assert train['datasets']['val']['dataroot_gt'] == 'set/val_HR.lmdb'


def test_all_mistakes_are_told_at_once_with_the_commands_that_mend_them(here, capsys):
    said = lines(capsys, PAIR, 'MiPKD', '--data', 'photos', '--val', 'nowhere', '--teacher', 'photos', '--iters', '0',
                 '--val-lq', 'no')
    assert [line.split(': ')[0] for line in said] == ['--data', '--val-lq', '--teacher', '--iters', 'mipkd options']
    assert said[0] == ('--data: photos has no LR x2 images. Make them: mipkd data pack --hr photos --scale 2 --out '
                       'datasets/photos, and give --data datasets/photos')
    assert said[-1].endswith('found 4 mistakes, and wrote nothing')
    said, = lines(capsys, PAIR, 'Scratch', '--val', 'held out')
    assert "mipkd data pack --hr 'held out' --scale 2 --out 'datasets/held out', and give --val 'datasets/held" in said


@pytest.mark.parametrize('arguments, message', [
    (['EDSR_x4', 'Scratch', '--data', 'packed/photos'], '--data: packed/photos/train_HR.lmdb has no LR x4 images. '),
    ([PAIR, 'Scratch', '--data', 'photos', '--lq', 'held out'], '--data: photos and held out are not pairs'),
    ([PAIR, 'Scratch', '--data', 'photos', '--lq', 'nowhere'], '--lq: nowhere is no folder'),
    ([PAIR, 'Scratch', '--data', 'my teacher.pth'], '--data: my teacher.pth is no folder; name one of HR images'),
    ([PAIR, 'Scratch', '--lq', 'photos'], '--lq: has no meaning without --data'),
    ([PAIR, 'Scratch', '--teacher', 'my teacher.pth'], '--teacher: has no meaning with Scratch, which has no teacher'),
    ([PAIR, 'FAKD', '--test', '--iters', '5'], '--iters: has no meaning with --test, which trains nothing'),
    ([PAIR, 'FAKD', '--iters', 'many'], "--iters: 'many' is not an integer of at least 1"),
    ([PAIR, 'FAKD', '--iters', '5', '--out', '-'], '--out: - has no meaning here'),
    (['EDSR_x4', 'FAKD', '--teacher', 'my teacher.pth'],
     '--teacher: my teacher.pth: is EDSR, its sizes read from my teacher.pth for x2, and PAIR is for x4; name a pair '),
    (['--name', 'train_FAKD_EDSR_x2', '--plugins', 'photos'], '--name: goes with --out alone'),
])
def test_a_mistake_is_one_line_and_writes_nothing(here, arguments, message):
    assert refusal(command, 'write', *arguments, kind=UserError).startswith(message)
    assert not Path('options').exists() and not Path('x').exists()


def test_an_image_too_small_to_train_on_is_named_and_a_small_one_makes_patches_smaller(here, capsys):
    for side in (15, 50):
        pack_pairs(runs.photographs(here / f'hr{side}', 2, side, 60), here / f'packed{side}', [2])
    assert refusal(command, 'write', PAIR, 'Scratch', '--data', 'packed15', kind=UserError) == (
        "--data: packed15/train_HR.lmdb: image '0000' has a side of less than 16 pixels, too few to train on; leave "
        'such images out by --min-side 16 of mipkd data pack')
    train = next(iter(written(capsys, PAIR, 'Scratch', '--data', 'packed50').values()))
    assert train['datasets']['train']['gt_size'] == 48


def test_a_teacher_that_cannot_serve_the_method_is_told_before_anything_is_written(here):
    torch.save({'weight': torch.zeros(3)}, here / 'other.pth')
    message = refusal(command, 'write', PAIR, 'FAKD', '--teacher', 'other.pth', kind=UserError)
    assert message.startswith('--teacher: other.pth: ') and message.endswith('path.pretrain_network_t yourself')
    assert not Path('options').exists()


def test_a_teacher_that_spandrel_opens_brings_its_weights(here, capsys):
    tiny.dat_file(here, 2)
    train, _ = written(capsys, PAIR, 'MiPKD', '--teacher', 'DAT_x2.pth').values()
    assert train['network_t'] == {'type': 'SpandrelNetwork', 'file': 'DAT_x2.pth'}
    assert 'pretrain_network_t' not in train['path']


def test_a_teacher_of_ones_own_is_tested_alone(here, capsys):
    (file, opt), = written(capsys, PAIR, 'Teacher', '--test', '--teacher', 'my teacher.pth', '--val', 'packed/held out'
                           ).items()
    assert file == 'options/test_Teacher_EDSR-EDSR_compound_x2_my_teacher.yml'
    assert opt['path']['pretrain_network_g'] == 'my teacher.pth' and opt['network_g']['num_feat'] == 8
    assert main(['check', file]) == 0


def test_files_that_differ_are_left_alone_and_folders_of_parts_are_kept(here, capsys):
    (here / 'parts').mkdir()
    (here / 'parts/own_arch.py').write_text('')
    call = (PAIR, 'Scratch', '--iters', '20', '--plugins', 'parts', '--out', 'here')
    for _ in range(2):
        assert [opt['plugins'] for opt in written(capsys, *call).values()] == [['parts'], ['parts']]
    file = here / 'here/test_Scratch_EDSR-EDSR_compound_x2_20.yml'
    file.write_text('mine')
    train = file.with_name(file.name.replace('test_', 'train_'))
    train.unlink()
    assert 'exists already with other content' in refusal(command, 'write', *call, kind=UserError)
    assert file.read_text() == 'mine' and not train.exists()


@pytest.mark.parametrize('text', ['photos', 'my photos', 'a: b', 'a #b', '~', 'null', 'yes', '010', '1e4', '- a',
                                  "it's", '"x"', 'Zürich', 'a\\b', '{a}', '*a', '!a', '%', '@x', 'None', ' a', 'x:'])
def test_any_path_is_read_from_an_option_file_as_it_was_given(text, tmp_path):
    file = tmp_path / 'x.yml'
    file.write_text(f'path: {yaml_value(text)}\n', encoding='utf-8')
    assert read_options(file) == yaml.safe_load(file.read_text(encoding='utf-8')) == {'path': text}
