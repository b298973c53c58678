"""MTKD's two stages: their option files, from photographs to a tested student, and several processes."""
import sys

import ensembles
import pytest
import runs
import tiny
import torch
import yaml
from matrix import command, opt_of
from processes import Processes, script, torchrun
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.cli import main
from mipkd_model.config.checks import check_options
from mipkd_model.data.prepare.pack import pack_pairs
from mipkd_model.evaluation.records import find_records
from mipkd_model.experiments.methods import blocks_of
from mipkd_model.experiments.option_files import text_of_test, text_of_training
from mipkd_model.experiments.runs import AGGREGATION, Run, parse_pair, parse_run
from mipkd_model.networks.catalog import how_to_get_weights
from mipkd_model.run.states import read_state

STEPS, TOLERANCE = 4, 1e-5  # as in test_distributed


# ---------------------------------------------------------------- option files

@pytest.mark.parametrize('pair, teachers', [
    ('EDSR_x4', ['EDSR', 'RCAN', 'SwinIR']), ('SwinIR_x3', ['EDSR', 'RCAN', 'SwinIR']),
    ('SwinIR-EDSR_x2', ['SwinIR']), ('EDSR+DAT_light-Compact_x4', ['EDSR', 'DAT_light'])])
def test_the_second_stage_has_the_usual_teachers_or_those_of_the_pair_and_says_what_comes_first(pair, teachers):
    run = Run(parse_pair(pair, several=True), 'MTKD')
    text = text_of_training(run, f'options/{run.name}.yml')
    opt = yaml.safe_load(text)
    check_options(opt, True)
    assert list(opt['network_t']['teachers']) == teachers
    first = f'train_{AGGREGATION}_{"+".join(teachers)}_x{opt["scale"]}'
    assert opt['path']['pretrain_network_t'] == f'experiments/{first}/models/net_g_latest.pth'
    assert f'#   mipkd train -opt options/{first}.yml\n' in text
    assert f'options write --name {first}' in how_to_get_weights(opt['path']['pretrain_network_t'])
    assert parse_run(run.name) == run and parse_run(first).is_aggregation


def test_losses_and_weights_are_those_of_the_method():
    train = opt_of('EDSR_x4', 'MTKD')['train']
    assert {key: block['loss_weight'] for key, block in train.items() if key.endswith('_opt')} == {
        'pixel_opt': 0.1, 'mtkd_opt': 1.0}


def test_the_first_stage_trains_as_released_and_has_the_network_of_the_second():
    run = Run(parse_pair('EDSR_x4'), 'MTKD')
    opt = yaml.safe_load(text_of_training(run.aggregation, 'options/x.yml'))
    check_options(opt, True)
    assert opt['network_g'] == opt_of('EDSR_x4', 'MTKD')['network_t'] and 'network_t' not in opt
    train = opt['train']
    assert (train['total_iter'], train['optim_g']['lr'], train['ema_decay'], opt['datasets']['train']['gt_size']) == (
        500_000, 2e-4, 0.999, 256)
    assert train['scheduler'] == {'type': 'MultiStepLR', 'milestones': [250_000, 400_000, 450_000, 475_000],
                                  'gamma': 0.5}
    test = yaml.safe_load(text_of_test(run.aggregation, 'options/x.yml'))
    check_options(test, False)
    assert test['network_g'] == opt['network_g'] and test['path']['param_key_g'] == 'params_ema'


@pytest.mark.parametrize('method, features_of', [('MTKD+MiPKD', 'RCAN'), ('MTKD+DUKD', None), ('Logits-KD', None)])
def test_any_method_may_have_several_teachers_and_features_are_those_of_the_first(method, features_of):
    opt = yaml.safe_load(text_of_training(Run(parse_pair('RCAN+EDSR-EDSR_x2', several=True), method), 'options/x.yml'))
    check_options(opt, True)
    assert opt['network_t']['features_of'] == features_of


def test_the_pixel_loss_has_the_weight_of_the_first_of_several_methods():
    assert blocks_of('MTKD+MiPKD')['pixel_opt']['loss_weight'] == 0.1
    assert blocks_of('MiPKD+MTKD')['pixel_opt']['loss_weight'] == 1


@pytest.mark.parametrize('pair, method, message', [
    ('EDSR+RCAN_x4', 'MTKD', "METHOD: 'MTKD' does not fit EDSR+RCAN_x4; MTKD-aggregation is for teachers alone"),
    ('EDSR+RCAN-EDSR_x4', AGGREGATION, "METHOD: 'MTKD-aggregation' does not fit EDSR+RCAN-EDSR_x4"),
    ('EDSR+RCNA-EDSR_x4', 'MTKD', "PAIR: 'EDSR+RCNA-EDSR_x4' has the teacher 'RCNA' (did you mean 'RCAN'?)"),
    ('EDSR+RRDBNet-EDSR_x2', 'MTKD', "PAIR: 'EDSR+RRDBNet-EDSR_x2' has the teacher 'RRDBNet'"),
    ('EDSR+EDSR-EDSR_x4', 'MTKD', "PAIR: 'EDSR+EDSR-EDSR_x4' has the teacher 'EDSR'; at x4 teachers are"),
    ('EDSR+RCAN-EDRS_x4', 'MTKD', "PAIR: 'EDSR+RCAN-EDRS_x4' is not known; several teachers are"),
    ('EDSR+RCAN-EDSR_x5', 'MTKD', "PAIR: 'EDSR+RCAN-EDSR_x5' is not known; several teachers are"),
    ('EDSR+RCAN-EDSR_x4', 'Teacher', 'METHOD: Teacher is for one teacher; what several make together is tested by')])
def test_a_wrong_name_is_one_line(pair, method, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = ['--test'] if method == 'Teacher' else []
    assert refusal(command, 'write', pair, method, *more, kind=UserError).startswith(message)
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- from photographs to a student

def test_both_stages_are_written_checked_trained_and_tested_with_nothing_edited(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pack_pairs(runs.photographs(tmp_path / 'photos', 3), tmp_path / 'packed', [2], part='train')
    for name, network in (('edsr', tiny.edsr(2)), ('deep/edsr', tiny.edsr(2)), ('rcan', tiny.rcan(2))):
        file = tmp_path / f'{name}.pth'
        file.parent.mkdir(exist_ok=True)
        torch.save({'params': network.state_dict()}, file)
    command('write', 'EDSR-EDSR_compound_x2', 'MTKD', '--data', 'packed', '--val', 'packed', '--teacher', 'edsr.pth',
            'deep/edsr.pth', 'rcan.pth', '--iters', '2')
    first, second, test = capsys.readouterr().out.split()
    assert first == f'options/train_{AGGREGATION}_edsr+edsr_2+rcan_x2_packed_2.yml'
    assert main(['check', first]) == 0
    capsys.readouterr()
    assert main(['check', second]) == 1
    assert f'Train it first: mipkd train -opt {first}' in capsys.readouterr().out

    def call(*words):
        Processes(tmp_path, [[sys.executable, '-m', 'mipkd_model.cli', *words, '--force_yml', 'num_gpu=0']],
                  [{'PYTHONPATH': str(runs.ROOT)}]).must_end_well()

    call('train', '-opt', first)
    assert main(['check', second]) == 0
    call('train', '-opt', second)
    call('test', '-opt', test)
    record, = find_records(['results']).values()
    assert (record.pair, record.method) == ('edsr+edsr_2+rcan-EDSR_compound', 'MTKD')
    assert main(['table', 'pairs', 'results']) == 0


def test_a_second_student_of_the_same_teachers_shares_the_first_stage(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for student in ('EDSR', 'Compact'):
        command('write', f'EDSR+RCAN-{student}_x2', 'MTKD', '--iters', '10')
    files = capsys.readouterr().out.split()
    assert len(files) == 6 and files[0] == files[3] == f'options/train_{AGGREGATION}_EDSR+RCAN_x2_10.yml'


def test_one_teacher_alone_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.save({'params': tiny.edsr(2).state_dict()}, 'edsr.pth')
    arguments = ['options', 'write', 'EDSR_x2', 'Teacher', '--test', '--teacher', 'edsr.pth']
    assert main(arguments) == 0
    capsys.readouterr()
    assert main([*arguments, 'edsr.pth', '--out', 'others']) == 1
    assert '--teacher: has no meaning for several files with Teacher' in capsys.readouterr().err


# ---------------------------------------------------------------- several processes

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('mtkd')


def trained(folder, name, opt, processes):
    """What a training of so many processes has trained, by parts and names."""
    opt = runs.smooth({**opt, 'name': f'{name}_{processes}'})
    opt['train'].update(total_iter=STEPS)
    opt['datasets']['train']['batch_size_per_gpu'] = 4 // processes
    opt['val']['val_freq'] = opt['logger']['save_checkpoint_freq'] = STEPS
    file = folder / f'{opt["name"]}.yml'
    file.write_text(yaml.safe_dump(opt, sort_keys=False))
    started = Processes(folder / f'said_{opt["name"]}', [torchrun(script(folder), '-opt', file, processes=processes)])
    started.must_end_well()
    made = folder / 'experiments' / opt['name']
    parts = read_state(made / f'training_states/{STEPS}.state')['weights']
    return {f'{part}.{key}': value for part, values in parts.items() for key, value in values.items()}, made


def same_but_for_rounding(one, two):
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=0, atol=TOLERANCE, msg=name)


def test_two_processes_train_what_one_trains_in_both_stages(folder):
    torch.manual_seed(0)
    opt = ensembles.aggregation(folder, 'EDSR', 'SwinIR')
    (one, made), (two, _) = (trained(folder, 'first', opt, processes) for processes in (1, 2))
    same_but_for_rounding(one, two)
    opt = ensembles.distillation(folder, made / 'models/net_g_latest.pth', 'EDSR', 'SwinIR', losses=tuple(runs.LOSSES),
                                 features_of='SwinIR')
    (one, _), (two, _) = (trained(folder, 'second', opt, processes) for processes in (1, 2))
    same_but_for_rounding(one, two)
