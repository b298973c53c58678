import pytest
import tiny
import torch

from mipkd_arch import staged_view
from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import STUDENT, TEACHER, FeaturePriorMixer, chain, mix_features, restart
from mipkd_model.base.randomness import StepRandom
from mipkd_model.losses import DistillLoss, DistillStep
from mipkd_model.losses.mipkd_loss import BlockPriorLoss, FeaturePriorLoss, mean_distance

from basicsr.losses import build_loss

BOTH = (STUDENT, TEACHER)
CPU = torch.device('cpu')
NAMES = {FeaturePriorLoss: 'feature_prior_opt', BlockPriorLoss: 'block_prior_opt'}


def rng(iteration=7, seed=3, share=(0, 1)):
    return StepRandom(seed, iteration, CPU, share)


def make_step():
    """A step of two tiny EDSRs in three stages, calibrated, in float64; its draws are those of ``rng()``."""
    torch.manual_seed(0)
    views = {STUDENT: staged_view(tiny.edsr(2).double(), 3),
             TEACHER: staged_view(tiny.edsr(2, num_feat=12).double(), 3)}
    views[TEACHER].network.requires_grad_(False)
    lq, gt = torch.rand(2, 3, 6, 5).double(), torch.rand(2, 3, 12, 10).double()
    passes = {role: view.forward_features(lq) for role, view in views.items()}
    mixers = [FeaturePriorMixer(8, 12, latent=5).double() for _ in range(4)]
    for mixer, feature_s, feature_t in zip(mixers, passes[STUDENT].features, passes[TEACHER].features, strict=True):
        mixer.calibrate(feature_s, feature_t)
    return DistillStep(lq, gt, views, passes, mixers, rng())


def close(loss, expected):
    # The losses sum in float32, whatever the networks run in.
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=0)


def unit_by_hand(unit, mixer, role):
    return {'std': mixer.std(role), 'none': 1.}.get(unit, unit)


UNITS = pytest.mark.parametrize('unit', ['std', 'none', 20., 3], ids=str)


@UNITS
def test_the_feature_prior_is_the_sum_of_decoded_differences_to_the_teachers_maps(unit):
    loss = FeaturePriorLoss(loss_weight=3., normalize=unit)(make_step())['l_feat']
    step, expected = make_step(), 0
    mixed = mix_features(step.mixers, step.student, step.teacher, rng().uniform)
    for mixer, mix, target in zip(step.mixers, mixed, step.teacher.features, strict=True):
        expected += (mixer.decode(mix.z, TEACHER) - target).abs().mean() / unit_by_hand(unit, mixer, TEACHER)
    close(loss, 3. * expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_distances_of_maps_are_taken_in_float32_and_leave_them_as_they_are(dtype):
    x, target = (torch.randn(2, 3, 8, 9, generator=tiny.seeded(seed)).to(dtype) for seed in (1, 2))
    ours, theirs = x.clone().requires_grad_(), x.float().requires_grad_()
    distance, expected = mean_distance(ours, target), torch.nn.functional.l1_loss(theirs, target.float())
    assert distance.dtype == torch.float32 and torch.equal(distance, expected) and torch.equal(ours, x)
    (3 * distance).backward()
    (3 * expected).backward()
    assert torch.equal(ours.grad, theirs.grad.to(dtype))


@UNITS
@pytest.mark.parametrize('of, roles', [('teacher', (TEACHER, )), ('both', BOTH)])
def test_the_autoencoder_term_is_the_sum_of_reconstruction_errors_of_the_teacher_or_of_both(unit, of, roles):
    loss = FeaturePriorLoss(loss_weight=3., autoencoder_weight=0.5, autoencoder_of=of, normalize=unit)
    loss = loss(make_step())['l_ae']
    step, expected = make_step(), 0
    for position, mixer in enumerate(step.mixers):
        for role in roles:
            feature = step.passes[role].features[position]
            decoded = mixer.decode(mixer.encode(feature, role), role)
            expected += (decoded - feature).abs().mean() / unit_by_hand(unit, mixer, role)
    close(loss, 3. * 0.5 * expected)


@pytest.mark.parametrize('options, reached', [
    ({}, False), ({'autoencoder_of': 'both'}, False), ({'autoencoder_trains_student': True}, False),
    ({'autoencoder_of': 'both', 'autoencoder_trains_student': True}, True)])
def test_the_autoencoder_term_trains_the_student_only_where_it_is_asked_to(options, reached):
    step = make_step()
    FeaturePriorLoss(**options)(step)['l_ae'].backward()
    gradients = [p.grad for p in step.views[STUDENT].network.parameters()]
    assert any(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients) == reached
    decoders = STUDENT if options.get('autoencoder_of') == 'both' else TEACHER
    assert all(p.grad.abs().sum() > 0 for mixer in step.mixers for p in mixer.decoders[decoders].parameters())


def test_the_autoencoder_weight_leaves_the_feature_prior_alone():
    losses = [FeaturePriorLoss(autoencoder_weight=weight)(make_step())['l_feat'] for weight in (0.5, 1)]
    assert torch.equal(*losses)


def test_an_autoencoder_weight_of_zero_drops_the_term():
    assert list(FeaturePriorLoss(autoencoder_weight=0)(make_step())) == ['l_feat']
    assert list(FeaturePriorLoss()(make_step())) == ['l_feat', 'l_ae']


def test_division_by_the_std_makes_the_loss_free_of_the_range_of_the_maps():
    loss, step = FeaturePriorLoss(normalize='std')(make_step())['l_feat'], make_step()
    for mixer in step.mixers:
        mixer.std_student *= 1000
        mixer.std_teacher *= 1000
    for role in BOTH:
        passed = step.passes[role]
        step.passes[role] = type(passed)(tuple(1000 * feature for feature in passed.features), passed.output)
    close(FeaturePriorLoss(normalize='std')(step)['l_feat'], loss.double())


@pytest.mark.parametrize('assembly, function, length', [('chain', chain, 3), ('restart', restart, 4)])
@pytest.mark.parametrize('iteration', [7, 8, 9])
def test_the_block_prior_is_the_mean_difference_to_the_teachers_image(assembly, function, length, iteration):
    step = make_step()
    step.rng = rng(iteration)
    loss = BlockPriorLoss(loss_weight=0.3, assembly=assembly)(step)['l_block']

    again = rng(iteration)
    route = again.route(length, 0.5, STUDENT, TEACHER)
    mixed = mix_features(step.mixers, step.student, step.teacher, again.uniform)
    images = function(step.views, step.mixers, step.passes, mixed, route, again.uniform)
    distances = [(image - step.teacher.output).abs().mean() for image in images]
    close(loss, 0.3 * sum(distances) / len(distances))


@pytest.mark.parametrize('assembly, function, length', [('chain', chain, 3), ('restart', restart, 4)])
@pytest.mark.parametrize('prob, role', [(0, TEACHER), (1, STUDENT)])
def test_the_extreme_probabilities_take_stages_of_one_network(assembly, function, length, prob, role):
    step = make_step()
    loss = BlockPriorLoss(loss_weight=1, assembly=assembly, student_prob=prob)(step)['l_block']
    uniform = rng().uniform
    mixed = mix_features(step.mixers, step.student, step.teacher, uniform)
    images = function(step.views, step.mixers, step.passes, mixed, [role] * length, uniform)
    close(loss, torch.stack([(image - step.teacher.output).abs().mean() for image in images]).mean())


def test_the_mixed_maps_of_a_step_are_made_once_for_all_losses():
    step = make_step()
    losses = [FeaturePriorLoss()(step)['l_feat'], FeaturePriorLoss()(step)['l_feat']]
    assert torch.equal(*losses)


@pytest.mark.parametrize('loss, factor', [(FeaturePriorLoss, 'loss_weight'), (BlockPriorLoss, 'loss_weight')])
def test_weights_multiply_every_term(loss, factor):
    one, five = loss(**{factor: 1})(make_step()), loss(**{factor: 5})(make_step())
    assert one.keys() == five.keys()
    for name in one:
        close(five[name], 5 * one[name].double())


@pytest.mark.parametrize('loss', NAMES)
def test_losses_are_built_from_basicsrs_registry_and_ask_for_mixers(loss):
    built = build_loss({'type': loss.__name__, 'loss_weight': 2})
    assert isinstance(built, loss) and isinstance(built, DistillLoss)
    assert built.loss_weight == 2 and built.needs_mixers


@pytest.mark.parametrize('loss, option, value, hint', [
    (FeaturePriorLoss, 'loss_weight', -1, 'at least 0'), (FeaturePriorLoss, 'loss_weight', '1e-2', 'at least 0'),
    (FeaturePriorLoss, 'autoencoder_weight', True, 'at least 0'),
    (FeaturePriorLoss, 'autoencoder_of', 'teachers', "did you mean 'teacher'?"),
    (FeaturePriorLoss, 'normalize', 'sdt', "did you mean 'std'?"), (FeaturePriorLoss, 'normalize', 0, 'above 0'),
    (FeaturePriorLoss, 'normalize', True, 'above 0'), (FeaturePriorLoss, 'normalize', 'a number above 0', 'std'),
    (BlockPriorLoss, 'loss_weight', -0.1, 'at least 0'),
    (BlockPriorLoss, 'assembly', 'chian', "did you mean 'chain'?"),
    (BlockPriorLoss, 'student_prob', 1.5, 'from 0 to 1'), (BlockPriorLoss, 'student_prob', '0.5', 'from 0 to 1')])
def test_a_wrong_option_is_refused_in_one_line_that_names_it(loss, option, value, hint):
    with pytest.raises(UserError) as error:
        loss(**{option: value})
    message = str(error.value)
    assert message.startswith(f'{NAMES[loss]}.{option}: {value!r} is not') and hint in message and '\n' not in message


@pytest.mark.parametrize('loss', NAMES)
def test_an_unknown_option_is_refused(loss):
    with pytest.raises(UserError, match='weight_of_loss'):
        loss(weight_of_loss=1)


def test_the_old_name_of_an_option_still_works():
    assert FeaturePriorLoss(unit='raw').normalize == 'none'


def test_a_step_draws_the_same_again_for_the_same_seed_and_iteration():
    first, second = rng(), rng()
    assert first.route(50, 0.5, *BOTH) == second.route(50, 0.5, *BOTH)
    assert torch.equal(first.uniform((9, )), second.uniform((9, )))


@pytest.mark.parametrize('other', [{'iteration': 8}, {'seed': 4}])
def test_another_iteration_or_seed_draws_otherwise(other):
    first, second = rng(), rng(**other)
    assert first.route(50, 0.5, *BOTH) != second.route(50, 0.5, *BOTH)
    assert not torch.equal(first.uniform((9, )), second.uniform((9, )))


def test_shares_of_a_batch_take_one_route_and_have_the_masks_of_the_whole():
    whole, shares = rng(), [rng(share=(index, 3)) for index in range(3)]
    assert all(share.route(50, 0.5, *BOTH) == whole.route(50, 0.5, *BOTH) for share in shares)
    for _ in range(2):
        assert torch.equal(torch.cat([share.uniform((2, 3, 4)) for share in shares]), whole.uniform((6, 3, 4)))


def test_routes_take_the_student_with_the_asked_probability():
    roles = [role for iteration in range(1000) for role in rng(iteration).route(3, 0.3, *BOTH)]
    assert roles.count(STUDENT) / len(roles) == pytest.approx(0.3, abs=0.03)
