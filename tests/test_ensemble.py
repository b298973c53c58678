"""Several teachers as one network: what it makes, trains, saves and refuses."""
from copy import deepcopy
from hashlib import sha256
from pathlib import Path

import ensembles
import pytest
import runs
import tiny
import torch
from methods import same, snapshot
from refusals import refusal

import mipkd_model
from mipkd_arch import has_view, staged_view
from mipkd_arch.base.errors import UserError
from mipkd_arch.staged_views import NoStagedView
from mipkd_model.base.weights import save_checkpoint
from mipkd_model.config.checks import check_files, check_networks, check_options, find_in_options
from mipkd_model.networks.build import make_network
from mipkd_model.run.states import read_state
from mipkd_model.training.identity import identity

from basicsr.utils.registry import ARCH_REGISTRY

TRIO = 'EDSR', 'RCAN', 'SwinIR'
LQ = torch.rand(2, 3, 9, 14, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('ensembles')


def built(folder, *families, **options):
    return make_network({'network_g': ensembles.block(folder, *families, **options), 'path': {}}, 'g')[0].eval()


def checked(opt):
    """Check options as before a run."""
    opt = deepcopy(opt)
    check_options(opt, True)
    check_files(opt)
    return check_networks(opt, True)


def train(model, *iterations):
    for iteration in iterations:
        torch.manual_seed(100 + iteration)
        batch = runs.batch()
        model.update_learning_rate(iteration, -1)
        model.feed_data(batch)
        model.optimize_parameters(iteration)
    return model


@pytest.fixture(scope='module')
def saved(folder):
    """The checkpoint of a small first stage, and its model."""
    opt = ensembles.aggregation(folder, *TRIO)
    opt['path'].update(models=str(folder / 'models'), training_states=str(folder / 'states'))
    model = train(runs.model(opt), 1, 2)
    model.save(0, 2)
    return folder / 'models/net_g_2.pth', model


# ---------------------------------------------------------------- the network

def test_images_of_all_teachers_are_concatenated_in_their_order(folder):
    network, seen = built(folder, 'SwinIR', 'EDSR'), []
    network.aggregator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = network(LQ)
    assert image.shape == (2, 3, 18, 28) and seen[0].shape == (2, 6, 18, 28)
    edsr = tiny.edsr(2).eval()
    edsr.load_state_dict(torch.load(ensembles.teacher_file(folder, 'EDSR'))['params'])
    assert torch.equal(seen[0][:, 3:], edsr(LQ).clamp(0, 1))


def test_teachers_run_one_after_the_other_without_gradient_and_always_in_eval_mode(folder):
    network, modes = built(folder, *TRIO).train(), []
    for teacher in network.teachers.values():
        teacher.register_forward_hook(
            lambda module, _, image: modes.append((module.training, torch.is_grad_enabled(), image.requires_grad)))
    network(LQ).mean().backward()
    assert modes == 3 * [(False, False, False)]
    assert all(p.grad is None and not p.requires_grad for t in network.teachers.values() for p in t.parameters())
    assert all(p.grad is not None for p in network.parameters())


def test_only_the_aggregation_network_has_parameters_and_a_state(folder):
    network = built(folder, *TRIO)
    assert {name.split('.')[0] for name in network.state_dict()} == {'aggregator', 'teacher_sha256'}
    assert [id(p) for p in network.parameters()] == [id(p) for p in network.aggregator.parameters()]


def test_teachers_move_with_the_network(folder):
    network = built(folder, 'EDSR', 'SwinIR').double()
    assert network(LQ.double()).dtype == torch.float64


def test_a_copy_shares_the_teachers_weights_and_nothing_else(folder):
    network = built(folder, 'EDSR', 'SwinIR')
    copy = deepcopy(network)
    for name, teacher in network.teachers.items():
        assert teacher is not copy.teachers[name]
        assert all(a.data_ptr() == b.data_ptr() and a is not b for a, b in zip(
            teacher.parameters(), copy.teachers[name].parameters(), strict=True))
    assert torch.equal(copy(LQ), network(LQ))
    copy.double()
    assert network(LQ).dtype == torch.float32
    copy.aggregator.conv_last.weight.data.zero_()
    assert network.aggregator.conv_last.weight.abs().max() > 0


def test_first_weights_do_not_depend_on_the_teachers(folder):
    networks = []
    for families in (('EDSR', 'RCAN'), ('SwinIR', 'EDSR7')):
        torch.manual_seed(0)
        networks.append(built(folder, *families))
    assert torch.equal(*(network.aggregator.conv_last.weight for network in networks))


def test_a_teacher_that_spandrel_opens_is_one_of_several(folder):
    pytest.importorskip('spandrel')
    block = ensembles.block(folder, 'EDSR')
    block['teachers']['DAT'] = {'type': 'SpandrelNetwork', 'file': str(tiny.dat_file(folder, 2))}
    network = make_network({'network_g': block, 'path': {}}, 'g')[0]
    assert network.eval()(LQ).shape == (2, 3, 18, 28)


# ---------------------------------------------------------------- its staged view

@pytest.mark.parametrize('name', TRIO)
def test_the_view_of_a_named_teacher_makes_the_aggregated_image_bit_for_bit(folder, name):
    network = built(folder, *TRIO, features_of=name)
    view, lq = staged_view(network, 2), torch.rand(2, 3, 16, 12)
    passed = view.forward_features(lq)
    assert torch.equal(passed.output, network(lq))
    own = staged_view(network.teachers[name], 2).forward_features(lq)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(passed.features, own.features, strict=True))


def test_features_that_are_changed_change_the_aggregated_image_and_get_a_gradient(folder):
    network = built(folder, *TRIO, features_of='RCAN').requires_grad_(False)
    view = staged_view(network, 2)
    passed = view.forward_features(torch.rand(1, 3, 16, 16))
    feature = (passed.features[1] * 3).requires_grad_()
    image = view.finish_from(1, feature, passed)
    assert not torch.equal(image, passed.output)
    image.square().sum().backward()
    assert feature.grad.abs().max() > 0


def test_blocks_that_the_view_names_are_found_in_the_network_as_compiling_them_needs_it(folder):
    network = built(folder, 'EDSR', 'RCAN', features_of='RCAN')
    for name in staged_view(network).blocks:
        assert network.get_submodule(name) is network.teachers['RCAN'].get_submodule(name)
    with pytest.raises(AttributeError):
        built(folder, 'EDSR', 'RCAN').get_submodule('body.0')


def test_without_a_name_there_are_no_features(folder):
    network = built(folder, *TRIO)
    assert not has_view(network)
    message = refusal(staged_view, network, kind=NoStagedView)
    assert message.endswith('name one of them by features_of: EDSR or RCAN or SwinIR')


# ---------------------------------------------------------------- stage 1

def test_the_first_stage_trains_and_saves_the_aggregation_network_alone(saved, folder):
    file, model = saved
    teachers = {name: snapshot(network) for name, network in model.net_g.teachers.items()}
    before = snapshot(model.net_g)
    train(model, 3)
    assert all(same(teachers[name], snapshot(network)) for name, network in model.net_g.teachers.items())
    after = snapshot(model.net_g)
    changed = [key for key in after if not torch.equal(after[key], before[key])]
    assert sorted(changed) == sorted(f'aggregator.{key}' for key, _ in model.net_g.aggregator.named_parameters())
    checkpoint = torch.load(file)
    assert checkpoint['params'].keys() == checkpoint['params_ema'].keys() == after.keys()
    assert list(checkpoint['network']['teachers']) == list(TRIO)


def test_its_checkpoint_has_the_sha256_of_the_teachers_files_in_their_order(saved, folder):
    rows = torch.load(saved[0])['params']['teacher_sha256']
    files = [ensembles.teacher_file(folder, family) for family in TRIO]
    assert [bytes(row.tolist()) for row in rows] == [sha256(file.read_bytes()).digest() for file in files]


def test_its_checkpoint_opens_by_itself(saved, folder):
    network = mipkd_model.load_network(saved[0])
    assert same(network.state_dict(), torch.load(saved[0])['params_ema'])
    assert network(LQ).shape == (2, 3, 18, 28)


def test_a_resumed_first_stage_comes_to_the_same_bits(tmp_path):
    opt = ensembles.aggregation(tmp_path, 'EDSR', 'SwinIR')
    opt['path'].update(models=str(tmp_path), training_states=str(tmp_path))

    def start(state=None):
        torch.manual_seed(opt['manual_seed'])
        model = runs.model(deepcopy({**opt, 'path': {**opt['path'], 'resume_state': state}}))
        if state:
            model.resume_training(read_state(state))
        return model

    whole, first = train(start(), 1, 2, 3, 4), train(start(), 1, 2)
    first.save(0, 2)
    resumed = train(start(str(tmp_path / '2.state')), 3, 4)
    for label in ('net_g', 'net_g_ema'):
        assert same(getattr(whole, label).state_dict(), getattr(resumed, label).state_dict()), label


def test_the_identity_of_a_run_has_the_content_of_the_teachers_files_and_not_their_place(folder, tmp_path):
    opts = [{**ensembles.aggregation(place, *families), 'world_size': 1} for place, families in (
        (folder, ('EDSR', )), (tmp_path, ('EDSR', )), (folder, ('EDSR8', )))]
    opts[2]['network_g']['teachers'] = {'EDSR': opts[2]['network_g']['teachers'].pop('EDSR8')}
    ours, moved, other = map(identity, opts)
    assert ours == moved
    assert [path for path in ours if ours[path] != other[path]] == ['network_g.teachers.EDSR.file']


# ---------------------------------------------------------------- stage 2

@pytest.mark.parametrize('losses, features_of, logged', [
    ((), None, ['l_wavelet']),
    (('pixel_opt', 'kd_opt'), None, ['l_pix', 'l_kd', 'l_wavelet']),
    (tuple(runs.LOSSES), 'RCAN', ['l_pix', 'l_kd', 'l_feat', 'l_ae', 'l_block', 'l_wavelet'])])
def test_the_second_stage_learns_from_the_aggregated_image(saved, folder, losses, features_of, logged):
    opt = ensembles.distillation(folder, saved[0], *TRIO, losses=losses, features_of=features_of)
    checked(opt)
    model = runs.model(opt)
    before = snapshot(model.net_t), snapshot(model.net_g)
    train(model, 1, 2)
    assert list(model.get_current_log()) == logged
    assert same(before[0], snapshot(model.net_t)) and not same(before[1], snapshot(model.net_g))
    assert not any(p.requires_grad for p in model.net_t.parameters())
    lq = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        expected = mipkd_model.load_network(saved[0])(lq)
    # Channels-last convolutions of the step sum in another order.
    torch.testing.assert_close(model.distiller.teacher_forward(lq).output, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize('features_of', [None, 'SwinIR'])
def test_a_step_in_bfloat16_is_near_one_in_float32(saved, folder, features_of):
    losses = tuple(runs.LOSSES) if features_of else ('pixel_opt', )
    logs = []
    for precision in ('fp32', 'bf16'):
        torch.manual_seed(0)
        opt = ensembles.distillation(folder, saved[0], *TRIO, losses=losses, features_of=features_of,
                                     precision=precision)
        logs.append(train(runs.model(opt), 1).get_current_log())
    for name, value in logs[0].items():
        assert logs[1][name] == pytest.approx(value, rel=0.05), name


def test_features_without_a_named_teacher_are_refused(saved, folder):
    opt = ensembles.distillation(folder, saved[0], *TRIO, losses=('pixel_opt', 'feature_prior_opt'))
    assert refusal(checked, opt, kind=UserError).startswith(
        'network_t: train.feature_prior_opt reads features, but TeacherEnsemble has features of 3 teachers; name one')


# ---------------------------------------------------------------- refusals

@pytest.mark.parametrize('families, message', [
    (('RCAN', 'EDSR', 'SwinIR'), "network_t.teachers: ['RCAN', 'EDSR', 'SwinIR'], but the weights of"),
    (('EDSR', 'RCAN'), "network_t.teachers: ['EDSR', 'RCAN'], but the weights of"),
    (('EDSR5', 'RCAN', 'SwinIR'), 'network_t.teachers: EDSR5 has weights of SHA-256 ')])
def test_weights_for_other_teachers_or_another_order_are_refused(saved, folder, families, message):
    opt = ensembles.distillation(folder, saved[0], *families)
    assert refusal(checked, opt, kind=UserError).startswith(message)


@pytest.mark.parametrize('record', [True, False])
def test_two_teachers_of_one_size_in_another_order_are_refused(folder, tmp_path, record):
    network, block = built(folder, 'EDSR1', 'EDSR2'), ensembles.block(folder, 'EDSR1', 'EDSR2')
    save_checkpoint({'params': network.state_dict(), **({'network': block, 'scale': 2} if record else {})},
                    tmp_path / 'a.pth')
    opt = ensembles.distillation(folder, tmp_path / 'a.pth', 'EDSR2', 'EDSR1')
    assert refusal(checked, opt, kind=UserError) == (
        'network_t.teachers: EDSR2, EDSR1, but the aggregation network was trained for EDSR1, EDSR2; give them in that '
        'order, or train the aggregation network for these')


def test_an_argument_of_a_teacher_that_its_weights_do_not_tell_is_compared(saved, folder):
    opt = ensembles.distillation(folder, saved[0], *TRIO)
    opt['network_t']['teachers']['EDSR']['res_scale'] = 1.0
    assert refusal(checked, opt, kind=UserError).startswith('network_t.teachers.EDSR.res_scale: 1.0, but the weights')


def test_a_teacher_whose_name_basicsr_has_with_a_suffix_is_found_like_any_other(folder, tmp_path):
    compact = {'type': 'SRVGGNetCompact', 'num_feat': 8, 'num_conv': 2, 'upscale': 2}
    weights = ARCH_REGISTRY.get('SRVGGNetCompact')(num_feat=8, num_conv=2, upscale=2).state_dict()
    torch.save({'params': weights}, tmp_path / 'compact.pth')
    opt = ensembles.aggregation(folder, 'EDSR')
    opt['network_g']['teachers']['Compact'] = {**compact, 'file': str(tmp_path / 'compact.pth')}
    checked(opt)


def test_names_and_places_of_teachers_may_change(saved, folder, tmp_path):
    opt = ensembles.distillation(folder, saved[0], *TRIO)
    blocks = opt['network_t']['teachers']
    moved = tmp_path / 'moved.pth'
    moved.write_bytes(Path(blocks['EDSR']['file']).read_bytes())
    opt['network_t']['teachers'] = {'large': {**blocks['EDSR'], 'file': str(moved)}, 'deep': blocks['RCAN'],
                                    'wide': blocks['SwinIR']}
    checked(opt)


def change(path, value):
    def apply(block):
        *parents, last = path.split('.')
        for name in parents:
            block = block[name]
        if value is None:
            del block[last]
        else:
            block[last] = value
    return apply


@pytest.mark.parametrize('apply, message', [
    (change('teachers.EDSR.file', None), 'network_g.teachers.EDSR.file: missing; name the file of its weights'),
    (change('teachers.EDSR.file', 'none.pth'), 'network_g.teachers.EDSR.file: none.pth is not there.'),
    (change('teachers.EDSR.num_feet', 8), "network_g.teachers.EDSR.num_feet: EDSR has no such option (did you mean"),
    (change('teachers.EDSR.type', 'EDRS'), "network_g.teachers.EDSR.type: no 'EDRS' is registered (did you mean"),
    (change('teachers.EDSR', 'EDSR'), "network_g.teachers: "),
    (change('teachers', {}), 'network_g.teachers: {} is not a mapping'),
    (change('teachers', None), 'network_g.teachers: missing, TeacherEnsemble needs it'),
    (change('features_of', 'EDRS'), "network_g.features_of: 'EDRS' is none of the teachers (did you mean 'EDSR'?)"),
    (change('num_heads', 5), 'network_g.num_feat: 12 is not a multiple of num_heads: 5'),
    (change('upscale', 3), 'network_g.teachers.EDSR: EDSR super-resolves by 2, and upscale is 3'),
    (change('upscale', 5), 'network_g: TeacherEnsemble refuses these options')])
def test_a_wrong_ensemble_is_one_line_with_its_option(folder, apply, message):
    opt = ensembles.aggregation(folder, 'EDSR', 'RCAN')
    apply(opt['network_g'])
    assert refusal(checked, opt, kind=UserError).startswith(message)


def test_a_teacher_of_another_scale_is_refused(folder):
    opt = ensembles.aggregation(folder, 'EDSR', 'RCAN')
    opt['network_g']['teachers']['RCAN'].update(upscale=4, file=str(ensembles.teacher_file(folder, 'RCAN', upscale=4)))
    assert refusal(checked, opt, kind=UserError).startswith(
        'network_g.teachers.RCAN: RCAN super-resolves by 4, and upscale is 2; all teachers must have the same')


def test_weights_that_do_not_fit_a_teacher_are_named(folder):
    opt = ensembles.aggregation(folder, 'EDSR', 'RCAN')
    opt['network_g']['teachers']['RCAN']['num_feat'] = 8
    assert f'{ensembles.teacher_file(folder, "RCAN")}: does not fit RCAN: ' in refusal(checked, opt, kind=UserError)


def test_a_teacher_of_another_color_range_is_refused(folder, tmp_path):
    network = tiny.edsr(2)
    network.load_state_dict(torch.load(ensembles.teacher_file(folder, 'EDSR'))['params'])
    network.conv_last.bias.data += 255 * 127  # images in [0, 255]
    torch.save({'params': network.state_dict()}, tmp_path / 'e.pth')
    opt = ensembles.aggregation(folder, 'EDSR', 'RCAN')
    opt['network_g']['teachers']['EDSR']['file'] = str(tmp_path / 'e.pth')
    message = refusal(checked, opt, kind=UserError)
    assert message.startswith('network_g.teachers.EDSR: EDSR makes an image of mean 127 of one of 0.49')
    assert message.endswith('all teachers must take and give RGB in [0, 1]')


def test_one_teacher_is_enough_and_one_twice_is_said(folder):
    checked(ensembles.aggregation(folder, 'EDSR'))
    opt = ensembles.aggregation(folder, 'EDSR')
    opt['network_g']['teachers']['again'] = deepcopy(opt['network_g']['teachers']['EDSR'])
    assert find_in_options(deepcopy(opt), True).notes == [
        'network_g.teachers.again: has the weights of EDSR; the same image is taken twice']
    checked(opt)


def test_patches_smaller_than_a_window_are_refused(folder):
    opt = ensembles.aggregation(folder, 'EDSR')
    opt['datasets']['train']['gt_size'] = 12
    message = refusal(checked, opt, kind=UserError)
    assert 'patches of 6x6 lq pixels are smaller than the windows' in message and 'at least 16' in message


def test_levels_that_do_not_fit_the_patches_are_refused(saved, folder):
    opt = ensembles.distillation(folder, saved[0], *TRIO)
    opt['train']['mtkd_opt']['levels'] = 6
    message = refusal(checked, opt, kind=UserError)
    assert message.startswith('train.mtkd_opt: fails on 2 lq of 16x16 (mtkd_opt.levels: 6 needs sides that are')
