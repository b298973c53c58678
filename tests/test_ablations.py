"""The ablations: what their variants change, and that each of them trains."""
from copy import deepcopy
from functools import partial

import pytest
import runs
import torch
from matrix import command, networks_of, opt_of
from methods import snapshot, without_gradient
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_arch.masks import MASKS
from mipkd_arch.prior_mixer import KERNELS
from mipkd_model.config.checks import check_networks, check_options, read_options
from mipkd_model.experiments.ablations import ABLATIONS
from mipkd_model.experiments.methods import METHODS, VARIANTS, blocks_of
from mipkd_model.experiments.networks import PAIRS
from mipkd_model.experiments.option_files import text_of_training
from mipkd_model.experiments.runs import Pair, Run, parse_pair
from mipkd_model.training.build import make_losses, make_views
from mipkd_model.training.distiller import Distiller

MIPKD = ['l_pix', 'l_kd', 'l_feat', 'l_ae', 'l_block']
# What each variant changes of MiPKD's options, None standing for what it lacks; and the losses that it logs.
CHANGES = {
    'MiPKD-feature': ({'block_prior_opt': None}, ['l_pix', 'l_kd', 'l_feat', 'l_ae']),
    'MiPKD-block': ({'feature_prior_opt': None}, ['l_pix', 'l_kd', 'l_block']),
    'MiPKD-encoder-shared': ({'mixer_opt.encoder': 'shared'}, MIPKD),
    'MiPKD-encoder-none': ({'mixer_opt.encoder': 'none'}, MIPKD),
    'MiPKD-kind-mlp': ({'mixer_opt.kind': 'mlp'}, MIPKD),
    'MiPKD-autoencoder-none': ({'feature_prior_opt.autoencoder_weight': 0}, ['l_pix', 'l_kd', 'l_feat', 'l_block']),
    'MiPKD-mask-similarity': ({'mixer_opt.mask': 'similarity'}, MIPKD),
    'MiPKD-mask-grid': ({'mixer_opt.mask': 'grid'}, MIPKD),
    'MiPKD-feat-0.1': ({'feature_prior_opt.loss_weight': 0.1}, MIPKD),
    'MiPKD-feat-10': ({'feature_prior_opt.loss_weight': 10}, MIPKD),
    'MiPKD-block-0.01': ({'block_prior_opt.loss_weight': 0.01}, MIPKD),
    'MiPKD-block-1': ({'block_prior_opt.loss_weight': 1}, MIPKD),
}
refused = partial(refusal, kind=UserError)


def flat(options, path=''):
    """All values by their path, such as ``train.mixer_opt.kind``."""
    if not isinstance(options, dict):
        return {path.removeprefix('.'): options}
    return {key: value for name, part in options.items() for key, value in flat(part, f'{path}.{name}').items()}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Data and a teacher, made once."""
    return tmp_path_factory.mktemp('ablations')


def tiny_run(folder, method, family='EDSR', student=None):
    """Options of a small run whose losses and mixers are those of the method's option file."""
    train = deepcopy(blocks_of(method))
    opt = runs.options(folder, family, student, losses=(), total_iter=100, **train)
    check_options(opt, is_train=True)
    check_networks(opt, is_train=True)
    return opt


def test_ablations_name_every_variant_and_methods_that_are_there():
    named = {method for ablation in ABLATIONS.values() for method in ablation.variants}
    assert named == {*VARIANTS, 'MiPKD', 'Logits-KD'} and CHANGES.keys() == VARIANTS.keys()
    assert not VARIANTS.keys() & METHODS.keys()
    for ablation in ABLATIONS.values():
        assert 'MiPKD' in ablation.variants and len(set(ablation.variants.values())) == len(ablation.variants)
        assert ablation.title and ablation.published.endswith('.')


def test_ablations_go_through_all_that_the_mixers_can_be():
    def values(name, option):
        return {opt_of('EDSR_x2', method)['train']['mixer_opt'][option] for method in ABLATIONS[name].variants}
    assert values('encoders', 'encoder') == {'separate', 'shared', 'none'}
    assert values('kind', 'kind') == set(KERNELS)
    assert values('mask', 'mask') == set(MASKS)


@pytest.mark.parametrize('method', VARIANTS)
def test_a_variant_differs_from_mipkd_in_what_it_says_and_nothing_else(method):
    changes = {f'train.{path}': value for path, value in CHANGES[method][0].items()}
    expected = flat(opt_of('EDSR_x4', 'MiPKD'))
    lacking = [path for path, value in changes.items() if value is None]
    expected = {path: value for path, value in expected.items()
                if not any(path.startswith(f'{gone}.') for gone in lacking)}
    changed = {path: value for path, value in changes.items() if value is not None}
    assert all(expected[path] != value for path, value in changed.items())
    run = f'{method}_EDSR_x'
    assert flat(opt_of('EDSR_x4', method)) == {
        **expected, **changed, 'name': f'train_{run}4', 'table.method': method,
        'path.pretrain_network_g': f'experiments/train_{run}2/models/net_g_latest.pth'}


def test_the_method_of_an_ablation_without_mixers_is_logits_kd():
    train = opt_of('EDSR_x4', 'MiPKD')['train']
    neither = {key: value for key, value in train.items()
               if key not in ('mixer_opt', 'feature_prior_opt', 'block_prior_opt', 'cuts_g', 'cuts_t')}
    assert opt_of('EDSR_x4', 'Logits-KD')['train'] == neither


@pytest.mark.parametrize('method', ['MiPKD', 'MiPKD-kind-mlp', 'MiPKD-mask-similarity', 'FAKD+DUKD'])
def test_comments_stand_in_one_column_behind_all_options_that_leave_room(method):
    for line in text_of_training(Run(parse_pair('EDSR_x2'), method), 'options/x.yml').splitlines():
        option, mark, _ = line.partition('#')
        if mark and option.strip():
            assert len(option) == max(25, len(option.rstrip()) + 2), line


@pytest.mark.parametrize('teacher, student', [('EDSR', 'EDSR'), ('SwinIR', 'EDSR'), ('EDSR', 'SwinIR')])
def test_every_variant_fits_the_networks_of_a_pair(teacher, student):
    assert (teacher, student) in PAIRS
    for method in VARIANTS:
        opt = opt_of(Pair(teacher, student, 4).name, method)
        losses = make_losses(opt['train'])
        Distiller(*make_views(opt, *networks_of(opt), losses), losses, opt['train']['mixer_opt'])


@pytest.mark.parametrize('student', [None, {**runs.FAMILIES['EDSR'], 'num_feat': 6}], ids=['equal width', 'narrower'])
@pytest.mark.parametrize('method', VARIANTS)
def test_every_variant_trains_the_student_and_its_mixers(folder, method, student):
    model = runs.model(tiny_run(folder, method, student=student))
    before, teacher = snapshot(model.distiller.mixers), snapshot(model.net_t)
    for iteration in range(1, 5):  # routes are drawn: in some steps a decoder is not used
        model.feed_data(runs.batch(side=8))
        model.optimize_parameters(iteration)
    assert list(model.get_current_log()) == CHANGES[method][1]
    assert all(0 < value < float('inf') for value in model.get_current_log().values())
    assert without_gradient(model.net_g) == []
    after = snapshot(model.distiller.mixers)
    trained = {name for name, p in model.distiller.mixers.named_parameters() if not before[name].equal(after[name])}
    decoders = {'teacher'} if method == 'MiPKD-feature' else {'student', 'teacher'}  # the chain needs the student's
    assert {name.split('.')[2] for name in trained if '.decoders.' in name} == decoders
    assert all(value.equal(model.net_t.state_dict()[name]) for name, value in teacher.items())


@pytest.mark.parametrize('method', ['MiPKD-block', 'MiPKD-encoder-none', 'MiPKD-encoder-shared'])
def test_variants_that_reach_further_train_across_families_and_in_bfloat16(folder, method):
    opt = tiny_run(folder, method, 'SwinIR', runs.FAMILIES['EDSR'])
    opt['train']['precision'] = 'bf16'
    model = runs.model(opt)
    model.feed_data(runs.batch(side=8))
    model.optimize_parameters(1)
    assert all(0 < value < float('inf') for value in model.get_current_log().values())


def test_the_weights_of_an_ablation_scale_their_losses_alone(folder):
    logs = {}
    for method in ABLATIONS['weights'].variants:
        torch.manual_seed(1)  # the same start and the same batch
        model = runs.model(tiny_run(folder, method))
        model.feed_data(runs.batch(side=8))
        model.optimize_parameters(1)
        logs[method] = model.get_current_log()
    for method, feat, block in (('MiPKD-feat-0.1', 0.1, 1), ('MiPKD-feat-10', 10, 1), ('MiPKD-block-0.01', 1, 0.1),
                                ('MiPKD-block-1', 1, 10)):
        factors = {'l_pix': 1, 'l_kd': 1, 'l_feat': feat, 'l_ae': feat, 'l_block': block}
        expected = {name: value * factors[name] for name, value in logs['MiPKD'].items()}
        assert logs[method] == pytest.approx(expected, rel=1e-5), method


@pytest.mark.parametrize('name', ABLATIONS)
def test_the_command_writes_training_and_test_of_each_variant_and_where_it_starts(name, tmp_path):
    folder = tmp_path / 'files'
    command('ablation', name, 'EDSR_x4', '--out', folder)
    variants = list(ABLATIONS[name].variants)
    assert {file.stem for file in folder.iterdir()} == {
        *(f'train_{method}_EDSR_x{scale}' for method in variants for scale in (2, 4)),
        *(f'test_{method}_EDSR_x4' for method in variants)}
    for file in folder.iterdir():
        check_options(read_options(file), is_train=file.name.startswith('train'))
    for method in variants:
        test = read_options(folder / f'test_{method}_EDSR_x4.yml')
        assert test['path']['pretrain_network_g'] == f'experiments/train_{method}_EDSR_x4/models/net_g_latest.pth'
        assert test['table'] == {'pair': 'EDSR', 'method': method}


def test_an_ablation_of_a_pair_without_a_start_is_written_below_options(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command('ablation', 'kind', 'RCAN_x3')
    assert capsys.readouterr().out == 'options: 4 option files\n'
    assert {file.name for file in (tmp_path / 'options').iterdir()} == {
        f'{phase}_{method}_RCAN_x3.yml' for phase in ('test', 'train') for method in ('MiPKD', 'MiPKD-kind-mlp')}


def test_where_one_file_of_an_ablation_differs_none_is_written(tmp_path):
    mine = tmp_path / 'test_MiPKD-kind-mlp_RCAN_x3.yml'
    mine.write_text('mine')
    assert refused(command, 'ablation', 'kind', 'RCAN_x3', '--out', tmp_path).startswith(f'{mine}: exists already')
    assert list(tmp_path.iterdir()) == [mine] and mine.read_text() == 'mine'


def test_a_folder_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / 'file').write_text('')
    assert 'cannot be written (' in refused(command, 'ablation', 'kind', 'RCAN_x3', '--out', tmp_path / 'file')


def test_a_variant_joins_another_method():
    assert list(blocks_of('MiPKD-encoder-shared+DUKD')) == [*blocks_of('MiPKD'), 'dukd_opt']
    assert opt_of('EDSR_x2', 'MiPKD-encoder-shared+DUKD')['train']['mixer_opt']['encoder'] == 'shared'


def test_the_list_names_every_ablation_with_its_methods(capsys):
    command('list')
    lines = capsys.readouterr().out.splitlines()
    for name, ablation in ABLATIONS.items():
        assert any(line.split() == [name, *', '.join(ablation.variants).split()] for line in lines)
