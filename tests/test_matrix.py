"""The matrix of runs: names, option files, and the command that writes them."""
import inspect
import re
from functools import partial
from string import ascii_letters, digits

import pytest
import runs
import tiny
import yaml
from matrix import command, network_of, networks_of, opt_of
from refusals import refusal

from mipkd_arch import staged_view
from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import FeaturePriorMixer
from mipkd_model.config.checks import check_options, read_options
from mipkd_model.experiments.methods import FEATURE_LOSSES, METHODS, TEACHER, VARIANTS, blocks_of
from mipkd_model.experiments.networks import (
    PAIRS,
    SCALES,
    STUDENTS,
    TEACHER_PARAMETERS,
    TEACHERS,
    has_weights,
    student_block,
    teacher_block,
    teacher_key,
)
from mipkd_model.experiments.option_files import text_of_test, text_of_training
from mipkd_model.experiments.runs import ENTRY, Pair, Run, chosen_runs, parse_pair, parse_run
from mipkd_model.networks.build import make_network
from mipkd_model.networks.catalog import OFFICIAL
from mipkd_model.training.build import make_losses, make_views
from mipkd_model.training.distiller import Distiller

from basicsr.utils.registry import LOSS_REGISTRY

RUNS = [ENTRY, *(Run(Pair(name, name, scale), 'MiPKD') for name in ('EDSR', 'RCAN', 'SwinIR') for scale in SCALES)]
# Beside them the teacher that the README's run is compared with; the others are written by the command.
STORED = [*(run.name for run in RUNS), *(run.test_name for run in RUNS), 'test_Teacher_EDSR_x4']
refused = partial(refusal, kind=UserError)


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """The folder that ``mipkd options all`` has filled."""
    folder = tmp_path_factory.mktemp('all')
    command('all', '--out', folder)
    return folder


def test_all_writes_every_chosen_pair_and_method(written):
    assert {file.stem for file in written.iterdir()} == {run.name for run in chosen_runs()}
    for_all = [file for file in written.iterdir() if not {'MTKD', 'Weight'} & set(re.split('[_-]', file.stem))]
    assert len(for_all) == len(PAIRS) * len(SCALES) * (len(METHODS) - 2)


def test_weights_are_taken_of_a_teacher_of_the_students_family_alone(written):
    assert {file.stem for file in written.iterdir() if 'Weight-selection' in file.stem} == {
        f'train_Weight-selection_{pair}_x{scale}' for scale in SCALES
        for pair in ('EDSR', 'RCAN', 'SwinIR', 'EDSR-EDSR_depth', 'EDSR-EDSR_compound')}
    assert refusal(Run, parse_pair('SwinIR-EDSR_x2'), 'MiPKD+Weight-selection', kind=UserError).startswith(
        "METHOD: 'MiPKD+Weight-selection' does not fit SwinIR-EDSR_x2, whose teacher is of another family")
    assert Run(parse_pair('EDSR_x4'), 'MiPKD+Weight-selection').start is None


def test_all_has_several_teachers_for_each_student_of_the_usual_trio_and_their_aggregation(written):
    assert {file.stem for file in written.iterdir() if 'MTKD' in file.stem} == {
        f'train_{name}_x{scale}' for scale in SCALES
        for name in ('MTKD-aggregation_EDSR+RCAN+SwinIR', 'MTKD_EDSR', 'MTKD_RCAN', 'MTKD_SwinIR')}


@pytest.mark.parametrize('method', METHODS)
def test_every_file_of_a_method_passes_the_checks(written, method):
    for run in chosen_runs():
        if run.method == method:
            opt = read_options(written / f'{run.name}.yml')
            check_options(opt, is_train=True)
            assert (opt['name'], opt['scale']) == (run.name, run.pair.scale)
            assert opt['datasets']['train']['gt_size'] == 48 * run.pair.scale
            assert {metric['crop_border'] for metric in opt['val']['metrics'].values()} == {run.pair.scale}
            # Nothing is asked for that no loss uses.
            staged = not FEATURE_LOSSES.isdisjoint(blocks_of(method))
            assert ('cuts_g' in opt['train']) == ('cuts_t' in opt['train']) == staged
            mixers = 'MiPKD' in method
            assert ('mixer_opt' in opt['train']) == mixers


def test_lines_of_the_files_are_not_too_long():
    for run in [ENTRY, *chosen_runs((*METHODS, *VARIANTS))]:
        for name, text_of in ((run.name, text_of_training), (run.test_name, text_of_test)):
            assert max(map(len, text_of(run, f'options/{name}.yml').splitlines())) <= 120, name


@pytest.mark.parametrize('method', METHODS)
def test_a_block_spells_out_the_defaults_of_its_loss(method):
    blocks = [dict(block) for block in METHODS[method].values() if isinstance(block, dict)]
    for block in blocks:
        kind = LOSS_REGISTRY.get(block.pop('type')) if 'type' in block else FeaturePriorMixer
        block.pop('schedule', None)  # no argument of the loss
        arguments = inspect.signature(kind).parameters.values()
        assert block == {**{argument.name: argument.default for argument in arguments
                            if argument.default is not argument.empty},
                         **({'variant': 'channel_mean'} if method == 'FitNet-mean' and 'variant' in block else {}),
                         **({'loss_weight': 0.1} if method == 'MTKD' and kind.__name__ == 'L1Loss' else {})}


@pytest.mark.parametrize('teacher, student', [pair for pair in PAIRS if pair[0] in TEACHER_PARAMETERS])
def test_networks_cuts_and_losses_of_a_pair_fit_together(teacher, student):
    for scale in SCALES:
        opt = opt_of(Pair(teacher, student, scale).name, 'MiPKD+FitNet+AT+RKD+FAKD+CrossKD+DUKD+Meta-KD')
        losses = make_losses(opt['train'])
        views = make_views(opt, *networks_of(opt), losses)
        assert [(view.num_positions, view.upscale) for view in views] == [(4, scale)] * 2
        Distiller(*views, losses, opt['train']['mixer_opt'])


def test_a_teacher_that_spandrel_opens_is_cut_like_its_student(tmp_path):
    opt = opt_of('DAT_light-EDSR_x2', 'MiPKD')
    block = {**opt['network_t'], 'file': str(tiny.dat_file(tmp_path, 2))}
    teacher, _ = make_network({'network_t': block, 'path': opt['path']}, 't')
    view = staged_view(teacher, opt['train']['cuts_t'])
    assert (view.num_positions, view.upscale) == (4, 2)


@pytest.mark.parametrize('family, scale, sizes', [
    ('EDSR', 2, '40.73M/2.55M'), ('EDSR', 3, '43.68M/2.74M'), ('EDSR', 4, '43.09M/2.70M'),
    ('RCAN', 2, '15.44M/5.02M'), ('RCAN', 3, '15.63M/5.21M'), ('RCAN', 4, '15.59M/5.17M'),
    ('SwinIR', 2, '11.75M/1.09M'), ('SwinIR', 3, '11.94M/1.27M'), ('SwinIR', 4, '11.90M/1.24M')])
def test_the_pairs_of_the_paper_have_the_papers_sizes(family, scale, sizes):
    networks = networks_of(opt_of(f'{family}_x{scale}', 'MiPKD'))
    counts = [sum(p.numel() for p in network.parameters()) for network in reversed(networks)]
    assert '/'.join(f'{count / 1e6:.2f}M' for count in counts) == sizes
    text = text_of_training(Run(Pair(family, family, scale), 'MiPKD'), 'options/x.yml')
    assert all(f'{size} parameters' in text for size in sizes.split('/'))


def test_the_parameters_that_are_listed_are_those_of_the_networks():
    for scale in SCALES:
        listed = [(student_block(name, scale), student.parameters[scale]) for name, student in STUDENTS.items()]
        listed += [(teacher_block(name, scale)[0], counts[scale]) for name, counts in TEACHER_PARAMETERS.items()]
        for block, count in listed:
            assert sum(p.numel() for p in network_of(yaml.safe_dump(block)).parameters()) == count, block


@pytest.mark.parametrize('name', STORED)
def test_a_stored_file_is_what_the_command_writes(name, capsys):
    command('write', '--name', name, '--out', '-')
    assert (runs.ROOT / f'options/{name}.yml').read_text() == capsys.readouterr().out, (
        f'remove it, then: mipkd options write --name {name}')


def test_every_stored_file_is_one_that_the_command_writes():
    assert {file.stem for file in runs.ours('options', '*.yml')} == set(STORED)


def test_the_entry_file_differs_from_that_of_its_run_in_name_and_start_alone():
    entry, other = (yaml.safe_load(text_of_training(parse_run(name), 'options/x.yml'))
                    for name in ('train_MiPKD_x4', 'train_MiPKD_EDSR_x4'))
    assert (entry.pop('name'), other.pop('name')) == ('train_MiPKD_x4', 'train_MiPKD_EDSR_x4')
    assert (entry['table'].pop('method'), other['table'].pop('method')) == ('MiPKD from scratch', 'MiPKD')
    assert entry['path'].pop('pretrain_network_g') is None and entry['path'].pop('strict_load_g') is True
    assert other['path'].pop('pretrain_network_g') and other['path'].pop('strict_load_g') is False
    assert entry == other


def test_names_are_different_and_lead_back_to_pair_and_method():
    every = [Run(Pair(teacher, student, scale), method) for teacher in TEACHERS for student in STUDENTS
             for scale in SCALES if has_weights(teacher, scale)
             for method in (*METHODS, *VARIANTS, TEACHER, 'FAKD+DUKD', 'MiPKD+DUKD')
             if method != 'Weight-selection' or Pair(teacher, student, scale).is_of_one_family] + [ENTRY]
    assert len({name for run in every for name in (run.name, run.test_name)}) == 2 * len(every)
    for run in every:
        assert parse_run(run.name) == parse_run(run.test_name) == run and parse_pair(run.pair.name) == run.pair
        assert set(run.name) <= set(ascii_letters + digits + '+-_.')


def test_the_long_name_of_a_pair_is_the_same_pair():
    assert parse_pair('EDSR-EDSR_x4') == parse_pair('EDSR_x4') and parse_pair('EDSR-EDSR_x4').name == 'EDSR_x4'


@pytest.mark.parametrize('student', ['EDSR', 'EDSR_depth', 'EDSR_compound'])
def test_an_edsr_student_starts_at_x4_from_the_x2_student_of_the_same_teacher_and_method(student):
    path = opt_of(f'RCAN-{student}_x4', 'FAKD')['path']
    assert path['pretrain_network_g'] == f'experiments/train_FAKD_RCAN-{student}_x2/models/net_g_latest.pth'
    assert path['strict_load_g'] is False
    assert f'-opt options/train_FAKD_RCAN-{student}_x2.yml' in text_of_training(
        Run(parse_pair(f'RCAN-{student}_x4'), 'FAKD'), 'options/x.yml')


@pytest.mark.parametrize('pair', ['EDSR_x2', 'EDSR_x3', 'RCAN_x4', 'EDSR-SwinIR_x4', 'SwinIR-RCAN_x4'])
def test_all_others_start_from_scratch(pair):
    path = opt_of(pair, 'MiPKD')['path']
    assert path['pretrain_network_g'] is None and path['strict_load_g'] is True


def test_all_weights_but_the_last_step_of_the_upsampler_have_the_shapes_of_x2():
    x2, x4 = (network_of(yaml.safe_dump(opt_of(f'EDSR_x{scale}', 'Scratch')['network_g'])).state_dict()
              for scale in (2, 4))
    assert {key for key in x4 if key not in x2 or x4[key].shape != x2[key].shape} == {
        'upsample.2.weight', 'upsample.2.bias'}


def test_training_from_scratch_has_no_teacher():
    opt = opt_of('EDSR_x2', 'Scratch')
    assert 'network_t' not in opt and not [key for key in opt['path'] if key.endswith('_t')]
    assert [key for key in opt['train'] if key.endswith('_opt')] == ['pixel_opt']


@pytest.mark.parametrize('teacher, scale', [(teacher, scale) for teacher in TEACHERS for scale in SCALES
                                            if has_weights(teacher, scale)])
def test_the_weights_of_a_teacher_are_those_that_the_command_fetches(teacher, scale):
    opt = opt_of(f'{teacher}-RCAN_x{scale}', 'Logits-KD')
    path = opt['path'].get('pretrain_network_t') or opt['network_t']['file']
    assert path == f'experiments/pretrained_models/{OFFICIAL[teacher_key(teacher, scale)].file}'


def test_a_combination_has_the_blocks_of_all_its_methods_once():
    train = opt_of('EDSR_x2', 'MiPKD+DUKD')['train']
    assert [key for key in train if key.endswith('_opt')] == [
        'mixer_opt', 'pixel_opt', 'kd_opt', 'feature_prior_opt', 'block_prior_opt', 'dukd_opt']
    assert blocks_of('Logits-KD+FAKD') == blocks_of('FAKD')


@pytest.mark.parametrize('arguments, message', [
    (['write', 'EDSR_x4', 'FADK'], "METHOD: 'FADK' is not known (did you mean 'FAKD'?); allowed are 'Scratch', 'Log"),
    (['write', 'EDSR_x4', 'FAKD+MiPK'], "METHOD: 'MiPK' is not known (did you mean 'MiPKD'?)"),
    (['write', 'EDSR_x4', 'FAKD+FAKD'], "METHOD: 'FAKD+FAKD' gives pixel_opt twice"),
    (['write', 'EDSR_x4', 'FitNet+FitNet-mean'], "METHOD: 'FitNet+FitNet-mean' gives fitnet_opt twice; take one"),
    (['write', 'EDSR_x4'], 'METHOD: missing after EDSR_x4; allowed are Scratch, '),
    (['write', 'EDRS_x4', 'FAKD'], "PAIR: 'EDRS_x4' is not known (did you mean 'EDSR_x4'?); allowed are <teacher>-<st"),
    (['write', 'EDSR_depth_x4', 'FAKD'], "PAIR: 'EDSR_depth_x4' is not known (did you mean '"),
    (['write', 'EDSR_x5', 'FAKD'], "PAIR: 'EDSR_x5' is not known (did you mean 'EDSR_x"),
    (['write', '--name', 'train_FADK_EDSR_x4'], "METHOD: 'FADK' is not known"),
    (['write', '--name', 'FAKD_EDSR_x4'], "--name: 'FAKD_EDSR_x4' is not train_<METHOD>_<PAIR> or test_<METHOD>_<PAIR"),
    (['write', '--name', 'train_FAKD'], "--name: 'train_FAKD' is not train_<METHOD>_<PAIR>"),
    (['write', 'EDSR_x4', 'MiPKD-encoder-shard'], "METHOD: 'MiPKD-encoder-shard' is not known (did you mean 'MiPKD-en"),
    (['write', 'EDSR_x4', 'MiPKD-kind-mlp+MiPKD'], "METHOD: 'MiPKD-kind-mlp+MiPKD' gives mixer_opt twice; take one"),
    (['write', 'EDSR_x4', 'Techer', '--test'], "METHOD: 'Techer' is not known (did you mean 'Teacher'?)"),
    (['write', 'EDSR_x4', 'Teacher'], "METHOD: 'Teacher' is not trained; the option file that measures a teacher is "),
    (['write', 'EDSR_x4', 'FAKD+Teacher', '--test'], "METHOD: 'FAKD+Teacher' is not trained"),
    (['write', '--name', 'train_Teacher_EDSR_x4'], "METHOD: 'Teacher' is not trained"),
    (['write', '--name', 'test_FAKD_EDSR_x4', '--test'], '--name: goes with --out alone; it begins with test_ for a'),
    (['write', '--name', 'test_FAKD_EDSR_x4', 'EDSR_x4', 'FAKD'], 'mipkd options write: takes PAIR METHOD or --name'),
    (['write'], 'mipkd options write: takes PAIR METHOD or --name NAME; for example mipkd options write EDSR_x2 FAKD'),
    (['ablation', 'encoder', 'EDSR_x4'], "ABLATION: 'encoder' is not known (did you mean 'encoders'?); allowed"),
    (['ablation', 'encoders', 'EDRS_x4'], "PAIR: 'EDRS_x4' is not known (did you mean 'EDSR_x4'?)"),
    (['ablation', 'encoders', 'EDSR_x4', '--out', '-'], '--out: - has no meaning here; name a folder to write into'),
])
def test_a_mistake_is_one_line_that_says_what_is_allowed(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(command, *arguments).startswith(message)
    assert not list(tmp_path.iterdir())


def test_a_file_is_written_below_options_by_default_and_named_on_the_screen(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command('write', 'EDSR-EDSR_x2', 'FAKD')
    assert capsys.readouterr().out == 'options/train_FAKD_EDSR_x2.yml\n'
    assert '-opt options/train_FAKD_EDSR_x2.yml' in (tmp_path / 'options/train_FAKD_EDSR_x2.yml').read_text()


def test_a_pair_and_method_and_the_name_of_their_run_give_the_same_text(capsys):
    command('write', 'EDSR_x2', 'FAKD', '--out', '-')
    text = capsys.readouterr().out
    command('write', '--name', 'train_FAKD_EDSR_x2', '--out', '-')
    assert text == capsys.readouterr().out and yaml.safe_load(text)['name'] == 'train_FAKD_EDSR_x2'


def test_a_file_that_differs_is_left_alone(tmp_path):
    file = tmp_path / 'mine.yml'
    for _ in range(2):  # the second time it is there and the same
        command('write', 'EDSR_x2', 'AT', '--out', file)
    file.write_text('mine')
    message = refused(command, 'write', 'EDSR_x2', 'AT', '--out', file)
    assert message.startswith(f'{file}: exists already with other content')
    assert file.read_text() == 'mine'


def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path):
    assert refused(command, 'write', 'EDSR_x2', 'AT', '--out', tmp_path).startswith(f'{tmp_path}: cannot be written (')


def test_the_list_shows_every_pair_and_method_in_120_columns(capsys):
    command('list')
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    table = {line.split()[0]: line.split()[1:] for line in lines if line}
    assert all(Pair(*pair, 4).title in table for pair in PAIRS)
    assert table['EDSR'] == ['43.09M', '2.70M'] and table['DAT_light-EDSR'] == ['?', '2.70M']
    assert ', '.join(METHODS) in ' '.join(' '.join(lines).split())
