"""Studies of losses: what their files change, and what is made of their runs."""
import sys
from argparse import Namespace

import pytest
import runs
import yaml
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.config.checks import check_options, read_options

sys.path.append(str(runs.ROOT / 'benchmarks'))

import study

FILES = runs.ours('benchmarks', 'studies/*.yml')
METHODS = runs.ROOT / 'benchmarks/studies/methods.yml'


def asked(file, out, **changed):
    """A study as the command line asks for it."""
    return study.Study(Namespace(**{
        'study': file, 'opt': 'options/demo/train_MiPKD_x4.yml', 'data': 'data', 'watch': [], 'watch_freq': 5,
        'test': ['Set5=Set5'], 'iters': 10, 'seeds': [0, 1], 'variants': None, 'jobs': 1, 'out': out, 'results': None,
        **changed}))


def record(variant, seed, psnr):
    return {'variant': variant, 'seed': seed, 'iters': 10, 'test': {'Set5': {'psnr': psnr, 'ssim': 0.8}},
            'watched': {'heldout': {'5': 20., '10': psnr - 2}}}


def test_a_change_replaces_values_in_blocks_of_one_type_and_takes_away():
    block = {'a': 1, 'b': {'type': 'x', 'weight': 1, 'gain': 2}, 'c': 3}
    changed = study.merged(block, {'b': {'weight': 5, 'gain': None}, 'c': None})
    assert changed == {'a': 1, 'b': {'type': 'x', 'weight': 5}}
    assert study.merged(block, {'b': {'type': 'y'}})['b'] == {'type': 'y'}
    assert block['b'] == {'type': 'x', 'weight': 1, 'gain': 2}


@pytest.mark.parametrize('file', FILES, ids=[file.stem for file in FILES])
def test_every_run_of_a_study_has_sound_option_files(tmp_path, file):
    for watch in ([], ['heldout=heldout']):
        found = asked(file, tmp_path / str(len(watch)), watch=watch)
        for variant, seed in found.runs():
            found.write_options(variant, seed)
            for name in ('train', 'test'):
                opt = read_options(found.folder(variant, seed) / f'{name}.yml')
                check_options(opt, is_train=name == 'train')


def test_runs_differ_in_their_variant_alone(tmp_path):
    found = asked(METHODS, tmp_path, variants=['scratch', 'FitNet 1 falling'])
    for run in found.runs():
        found.write_options(*run)
    scratch, fitnet = (yaml.safe_load((found.folder(name, 1) / 'train.yml').read_text())
                       for name in ('scratch', 'FitNet 1 falling'))
    losses = [{name for name in opt['train'] if name.endswith('_opt')} for opt in (scratch, fitnet)]
    assert losses == [{'pixel_opt'}, {'pixel_opt', 'kd_opt', 'fitnet_opt'}]
    for opt in (scratch, fitnet):
        assert opt['train']['total_iter'] == 10 and opt['manual_seed'] == 1
        opt['train'] = {name: value for name, value in opt['train'].items() if not name.endswith('_opt')}
    assert scratch == fitnet


def test_a_teacher_by_its_file_is_found_from_the_folder_of_a_run(tmp_path):
    found = asked(METHODS, tmp_path, opt='options/demo/train_MiPKD_DAT_light_x4.yml')
    found.write_options('scratch', 0)
    opt = yaml.safe_load((found.folder('scratch', 0) / 'train.yml').read_text())
    assert opt['network_t']['file'] == str(runs.ROOT / 'experiments/pretrained_models/DAT_light_x4.pth')


def test_means_and_deviations_are_over_the_seeds_and_watched_sets_count_at_their_end():
    found = study.summary([record('A', 0, 30.), record('A', 1, 30.2), record('B', 0, 29.)])
    assert found['A'] == {'Set5': {'mean': 30.1, 'n': 2, 'std': 0.1414},
                          'heldout': {'mean': 28.1, 'n': 2, 'std': 0.1414}}
    assert study.table(found).splitlines() == [
        '| PSNR on Y | seeds | Set5 | heldout |', '| --- | --- | --- | --- |',
        '| A | 2 | 30.10 ± 0.14 | 28.10 ± 0.14 |', '| B | 1 | 29.00 | 27.00 |']


def test_records_of_finished_runs_are_kept_in_one_file_with_a_line_for_each(tmp_path):
    file = tmp_path / 'results.json'
    study.write_results(file, [record('scratch', 1, 29.00004)])
    study.write_results(file, [record('MiPKD', 0, 30.), record('scratch', 1, 29.1)])
    assert len(file.read_text().splitlines()) == 4
    found = asked(METHODS, tmp_path, results=file, seeds=[0, 1, 2])
    assert [found.record('scratch', seed) for seed in (0, 1)] == [None, record('scratch', 1, 29.1)]
    assert list(study.summary(found.records())) == ['scratch', 'MiPKD']


def test_a_variant_that_is_not_there_is_refused(tmp_path):
    assert refusal(asked, METHODS, tmp_path, variants=['FitNet 2'], kind=UserError).startswith(
        "--variants: 'FitNet 2' is not in")
