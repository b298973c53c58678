"""The option files of tests: what they test, on which images, and the command that writes them."""
import re

import pytest
import runs
import tiny
import yaml
from matrix import command

from mipkd_model.config.checks import check_files, check_networks, check_options, read_options
from mipkd_model.experiments.methods import METHODS, TEACHER
from mipkd_model.experiments.networks import PAIRS, SCALES, TEACHERS, has_weights
from mipkd_model.experiments.option_files import text_of_test, text_of_training
from mipkd_model.experiments.runs import ENTRY, Run, chosen_runs, parse_pair, parse_run
from mipkd_model.networks.build import make_network


def opts_of(run):
    """The parsed option files of a run's training and test."""
    return [yaml.safe_load(text(run, 'options/x.yml')) for text in (text_of_training, text_of_test)]


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """The folder that ``mipkd options all --test`` has filled."""
    folder = tmp_path_factory.mktemp('all')
    command('all', '--test', '--out', folder)
    return folder


def test_all_tests_are_those_of_every_training_and_every_teacher(written):
    assert {file.stem for file in written.iterdir()} == {run.test_name for run in chosen_runs((*METHODS, TEACHER))}
    for_all = [file for file in written.iterdir() if not {'MTKD', 'Weight'} & set(re.split('[_-]', file.stem))]
    assert len(for_all) == len(PAIRS) * len(SCALES) * (len(METHODS) - 1)  # without those two, but with the teacher


def test_every_file_passes_the_checks(written):
    for run in chosen_runs((*METHODS, TEACHER)):
        opt = read_options(written / f'{run.test_name}.yml')
        check_options(opt, is_train=False)
        assert (opt['name'], opt['scale']) == (run.test_name, run.pair.scale)
        assert opt['table'] == {'pair': run.pair.title, 'method': run.method}


@pytest.mark.parametrize('run', [ENTRY, *chosen_runs(['FAKD'])], ids=lambda run: run.name)
def test_a_test_is_of_the_student_that_the_training_leaves(run):
    train, test = opts_of(run)
    assert test['network_g'] == train['network_g'] and 'network_t' not in test
    assert test['path'] == {'pretrain_network_g': f'experiments/{train["name"]}/models/net_g_latest.pth',
                            'strict_load_g': True, 'param_key_g': 'params_ema'}
    assert test['table'] == train['table'] and test['val']['metrics'] == train['val']['metrics']


def test_rows_of_a_table_tell_the_entry_run_from_the_run_that_starts_at_the_x2_student():
    tables = [opts_of(parse_run(name))[1]['table'] for name in ('test_MiPKD_x4', 'test_MiPKD_EDSR_x4')]
    assert tables == [{'pair': 'EDSR', 'method': 'MiPKD from scratch'}, {'pair': 'EDSR', 'method': 'MiPKD'}]


@pytest.mark.parametrize('scale', SCALES)
def test_the_images_are_the_four_benchmark_sets(scale):
    test = opts_of(Run(parse_pair(f'RCAN_x{scale}'), 'AT'))[1]
    assert [(block['name'], block['dataroot_gt'], block['dataroot_lq']) for block in test['datasets'].values()] == [
        (name, f'datasets/benchmark/{name}/HR', f'datasets/benchmark/{name}/LR_bicubic/X{scale}')
        for name in ('Set5', 'Set14', 'BSD100', 'Urban100')]
    assert list(test['datasets']) == ['test_1', 'test_2', 'test_3', 'test_4']
    assert [(metric['crop_border'], metric['test_y_channel']) for metric in test['val']['metrics'].values()] == [
        (scale, True)] * 2
    assert {key: test['val'][key] for key in ('save_img', 'self_ensemble', 'tile', 'tile_pad')} == {
        'save_img': False, 'self_ensemble': False, 'tile': None, 'tile_pad': 16}


@pytest.mark.parametrize('teacher, scale', [(teacher, scale) for teacher in TEACHERS for scale in SCALES
                                            if has_weights(teacher, scale)])
def test_a_teacher_is_the_one_that_teaches_with_its_own_weights(teacher, scale):
    pair = parse_pair(f'{teacher}-EDSR_x{scale}')
    train = opts_of(Run(pair, 'FAKD'))[0]
    test = yaml.safe_load(text_of_test(Run(pair, TEACHER), 'options/x.yml'))
    assert test['network_g'] == train['network_t']
    assert test['path'].get('pretrain_network_g') == train['path'].get('pretrain_network_t')
    assert 'param_key_g' not in test['path'] and test['table'] == {'pair': pair.title, 'method': 'Teacher'}


def test_a_teacher_that_brings_its_weights_passes_all_checks_and_is_built(tmp_path):
    test = yaml.safe_load(text_of_test(Run(parse_pair('DAT_light-EDSR_x2'), TEACHER), 'options/x.yml'))
    runs.photographs(tmp_path / 'hr', 1)
    runs.photographs(tmp_path / 'lq', 1, 20, 26)
    for block in test['datasets'].values():
        block.update(dataroot_gt=str(tmp_path / 'hr'), dataroot_lq=str(tmp_path / 'lq'))
    test['network_g']['file'] = str(tiny.dat_file(tmp_path, 2))
    check_options(test, is_train=False)
    check_files(test)
    check_networks(test, is_train=False)
    network, _ = make_network(test, 'g')
    assert network.upscale == 2


@pytest.mark.parametrize('text_of, phase', [(text_of_training, 'train'), (text_of_test, 'test')])
def test_the_head_has_the_commands_from_training_to_the_table(text_of, phase):
    lines = text_of(parse_run('test_FAKD_EDSR_x4'), f'my/{phase}_FAKD_EDSR_x4.yml').splitlines()
    assert [line[4:] for line in lines if line.startswith('#   ')] == [
        'mipkd train -opt my/train_FAKD_EDSR_x2.yml', 'mipkd data all -opt my/train_FAKD_EDSR_x4.yml',
        'mipkd train -opt my/train_FAKD_EDSR_x4.yml', 'mipkd test -opt my/test_FAKD_EDSR_x4.yml', 'mipkd table pairs']
    assert f'# This file was written by: mipkd options write --name {phase}_FAKD_EDSR_x4' in lines


def test_the_head_of_the_test_of_a_teacher_fetches_its_weights():
    assert '#   mipkd teacher get RCAN_BIX3' in text_of_test(parse_run('test_Teacher_RCAN_x3'), 'x.yml').splitlines()


def test_test_writes_the_file_that_the_name_of_the_test_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command('write', 'EDSR_x2', 'FAKD', '--test')
    assert capsys.readouterr().out == 'options/test_FAKD_EDSR_x2.yml\n'
    command('write', '--name', 'test_FAKD_EDSR_x2', '--out', '-')
    assert (tmp_path / 'options/test_FAKD_EDSR_x2.yml').read_text() == capsys.readouterr().out
    assert not (tmp_path / 'options/train_FAKD_EDSR_x2.yml').exists()
