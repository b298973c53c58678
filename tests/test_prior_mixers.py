"""Feature prior mixer and block prior mixer, against references written out by hand."""
import itertools

import pytest
import tiny
import torch
from torch.nn import functional as F

from mipkd_arch import staged_view
from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import STUDENT, TEACHER, FeaturePriorMixer, chain, mix_features, restart

LATENT = 5
RATIO = 0.4
BOTH = (STUDENT, TEACHER)


@pytest.mark.parametrize('num_feat_s', [4, 7], ids=['narrow', 'equal'])
@pytest.mark.parametrize('kind', ['cnn', 'mlp'])
@pytest.mark.parametrize('encoder', ['separate', 'shared', 'none'])
def test_encoders_and_decoders_map_between_the_widths(encoder, kind, num_feat_s):
    mixer = FeaturePriorMixer(num_feat_s, 7, latent=LATENT, encoder=encoder, kind=kind)
    latent = 7 if encoder == 'none' else LATENT
    for role, width in ((STUDENT, num_feat_s), (TEACHER, 7)):
        z = mixer.encode(torch.randn(2, width, 6, 5), role)
        assert z.shape == (2, latent, 6, 5)
        for target, target_width in ((STUDENT, num_feat_s), (TEACHER, 7)):
            assert mixer.decode(z, target).shape == (2, target_width, 6, 5)


def parameters_of(encoder):
    return {id(p) for p in encoder.parameters()}


def test_separate_encoders_share_nothing():
    encoders = FeaturePriorMixer(4, 4, latent=LATENT, encoder='separate').encoders
    assert not parameters_of(encoders[STUDENT]) & parameters_of(encoders[TEACHER])


@pytest.mark.parametrize('num_feat_s, own', [(4, 2), (7, 0)], ids=['narrow', 'equal'])
def test_a_shared_encoder_is_the_same_parameters_behind_the_students_width_adapter(num_feat_s, own):
    encoders = FeaturePriorMixer(num_feat_s, 7, latent=LATENT, encoder='shared').encoders
    student, teacher = (parameters_of(encoders[role]) for role in BOTH)
    assert teacher and teacher <= student
    assert len(student - teacher) == own


def test_a_shared_encoder_encodes_equal_maps_equally():
    mixer, feature = FeaturePriorMixer(7, 7, latent=LATENT, encoder='shared'), torch.randn(1, 7, 5, 5)
    assert torch.equal(mixer.encode(feature, STUDENT), mixer.encode(feature, TEACHER))


@pytest.mark.parametrize('kind', ['cnn', 'mlp'])
def test_without_an_encoder_the_teachers_maps_are_the_latent_maps(kind):
    mixer, feature = FeaturePriorMixer(4, 7, encoder='none', kind=kind), torch.randn(1, 7, 5, 5)
    assert not parameters_of(mixer.encoders[TEACHER])
    assert torch.equal(mixer.encode(feature, TEACHER), feature)


@pytest.mark.parametrize('depth', [1, 2, 3])
def test_depth_is_the_number_of_convolutions_in_each_coder(depth):
    mixer = FeaturePriorMixer(4, 7, latent=LATENT, depth=depth)
    for coder in (*mixer.encoders.values(), *mixer.decoders.values()):
        assert sum(isinstance(layer, torch.nn.Conv2d) for layer in coder) == depth


def coder_by_hand(weights, prefix, x, padding):
    x = F.conv2d(x, weights[f'{prefix}.0.weight'], weights[f'{prefix}.0.bias'], padding=padding)
    if f'{prefix}.2.weight' in weights:
        x = F.conv2d(x.clamp(min=0), weights[f'{prefix}.2.weight'], weights[f'{prefix}.2.bias'], padding=padding)
    return x


@pytest.mark.parametrize('kind, padding', [('cnn', 1), ('mlp', 0)])
@pytest.mark.parametrize('role, width', [(STUDENT, 4), (TEACHER, 7)])
@pytest.mark.parametrize('depth', [1, 2])
def test_encode_and_decode_are_convolutions_in_units_of_the_std(kind, padding, role, width, depth):
    mixer = FeaturePriorMixer(4, 7, latent=LATENT, kind=kind, depth=depth).double()
    mixer.std_student.fill_(3.)
    mixer.std_teacher.fill_(11.)
    spread = {STUDENT: 3., TEACHER: 11.}[role]
    weights = mixer.state_dict()
    feature = 20 * torch.randn(2, width, 6, 5, dtype=torch.float64)

    z = coder_by_hand(weights, f'encoders.{role}', feature / spread, padding)
    torch.testing.assert_close(mixer.encode(feature, role), z, rtol=1e-12, atol=1e-12)
    decoded = coder_by_hand(weights, f'decoders.{role}', z, padding) * spread
    torch.testing.assert_close(mixer.decode(z, role), decoded, rtol=1e-12, atol=1e-12)


def test_calibration_gives_the_standard_deviation_of_both_networks_maps():
    mixer = FeaturePriorMixer(4, 7, latent=LATENT)
    feature_s, feature_t = 200 + 30 * torch.randn(2, 4, 6, 5), 0.02 * torch.randn(2, 7, 6, 5) - 1
    mixer.calibrate(feature_s, feature_t)
    torch.testing.assert_close(mixer.std(STUDENT), feature_s.std())
    torch.testing.assert_close(mixer.std(TEACHER), feature_t.std())


def test_calibration_on_maps_of_one_value_gives_a_std_above_zero():
    mixer = FeaturePriorMixer(4, 7, latent=LATENT)
    mixer.calibrate(torch.zeros(1, 4, 3, 3), torch.full((1, 7, 3, 3), 5.))
    assert all(0 < mixer.std(role) < 1e-3 for role in BOTH)


def test_stds_are_saved_with_the_mixer():
    mixer = FeaturePriorMixer(4, 7, latent=LATENT)
    mixer.calibrate(3 * torch.randn(1, 4, 5, 5), 9 * torch.randn(1, 7, 5, 5))
    other = FeaturePriorMixer(4, 7, latent=LATENT)
    other.load_state_dict(mixer.state_dict())
    assert other.std(TEACHER) == mixer.std(TEACHER) != 1


def test_states_with_the_old_names_of_the_buffers_are_loaded():
    mixer, other = FeaturePriorMixer(4, 7), FeaturePriorMixer(4, 7)
    mixer.std_teacher.fill_(11.)
    old = {key.replace('std_', 'spread_'): value for key, value in mixer.state_dict().items()}
    torch.nn.ModuleList([other]).load_state_dict({f'0.{key}': value for key, value in old.items()})
    assert other.std(TEACHER) == 11 and 'spread_teacher' in old


def test_calibration_makes_a_mixer_follow_the_range_of_the_maps():
    small = FeaturePriorMixer(4, 7, latent=LATENT).double()
    large = FeaturePriorMixer(4, 7, latent=LATENT).double()
    large.load_state_dict(small.state_dict())
    feature = {STUDENT: torch.randn(2, 4, 6, 5).double(), TEACHER: torch.randn(2, 7, 6, 5).double()}
    small.calibrate(feature[STUDENT], feature[TEACHER])
    large.calibrate(1000 * feature[STUDENT], 1000 * feature[TEACHER])
    for role in BOTH:
        z = small.encode(feature[role], role)
        torch.testing.assert_close(large.encode(1000 * feature[role], role), z)
        torch.testing.assert_close(large.decode(z, role), 1000 * small.decode(z, role))


@pytest.mark.parametrize('option, value, hint', [
    ('mask', 'random_3d', "did you mean 'random3d'?"), ('encoder', 'seperate', "did you mean 'separate'?"),
    ('kind', 'ccn', "did you mean 'cnn'?"), ('latent', 0, 'at least 1'), ('latent', 64.5, 'integer'),
    ('depth', True, 'integer'), ('ratio', 1.5, 'from 0 to 1'), ('ratio', '0.5', 'from 0 to 1'),
    ('ratio', True, 'from 0 to 1')])
def test_a_wrong_option_is_refused_in_one_line_that_names_it(option, value, hint):
    with pytest.raises(UserError) as error:
        FeaturePriorMixer(4, 7, **{option: value})
    message = str(error.value)
    assert message.startswith(f'mixer_opt.{option}: {value!r} is not') and hint in message and '\n' not in message


def test_an_unknown_option_is_refused():
    with pytest.raises(UserError, match='rate'):
        FeaturePriorMixer(4, 7, rate=0.5)


# ---------------------------------------------------------------- block prior mixer


@pytest.fixture(scope='module')
def pair():
    """A student of 8 channels x 3 blocks and a teacher of 12 x 6, in three stages each, in float64."""
    torch.manual_seed(0)
    views = {STUDENT: staged_view(tiny.edsr(2).double(), 3),
             TEACHER: staged_view(tiny.edsr(2, num_feat=12, num_block=6).double(), 3)}
    lq = torch.rand(2, 3, 6, 5).double()
    with torch.no_grad():
        passes = {role: view.forward_features(lq) for role, view in views.items()}
    mixers = [FeaturePriorMixer(8, 12, latent=LATENT, ratio=RATIO).double() for _ in range(4)]
    for mixer, feature_s, feature_t in zip(mixers, passes[STUDENT].features, passes[TEACHER].features, strict=True):
        mixer.calibrate(feature_s, feature_t)
    return views, mixers, passes, lq


MEAN = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1).double()
BODY = {STUDENT: ([0], [1], [2]), TEACHER: ([0, 1], [2, 3], [4, 5])}


def head_by_hand(pair, role):
    views, _, _, lq = pair
    return views[role].network.conv_first((lq - MEAN) * 255)


def stage_by_hand(pair, stage, feature, role):
    network = pair[0][role].network
    for i in BODY[role][stage]:
        feature = network.body[i](feature)
    return network.conv_after_body(feature) if stage == 2 else feature


def tail_by_hand(pair, feature, role):
    network = pair[0][role].network
    return network.conv_last(network.upsample(feature + head_by_hand(pair, role))) / 255 + MEAN


def encode_by_hand(mixer, feature, role):
    weights = mixer.state_dict()
    return coder_by_hand(weights, f'encoders.{role}', feature / weights[f'std_{role}'], 1)


def decode_by_hand(mixer, z, role):
    weights = mixer.state_dict()
    return coder_by_hand(weights, f'decoders.{role}', z, 1) * weights[f'std_{role}']


def mix_by_hand(z_own, z_t, uniform):
    mask = (uniform(z_own.shape) < RATIO).double()
    return mask * z_own + (1 - mask) * z_t


def latents_by_hand(pair, uniform):
    """Student's, teacher's and blended latent maps of all positions."""
    _, mixers, _, _ = pair
    features = {role: head_by_hand(pair, role) for role in BOTH}
    z_s, z_t, z = [], [], []
    for k in range(4):
        z_s.append(encode_by_hand(mixers[k], features[STUDENT], STUDENT))
        z_t.append(encode_by_hand(mixers[k], features[TEACHER], TEACHER))
        z.append(mix_by_hand(z_s[k], z_t[k], uniform))
        if k < 3:
            features = {role: stage_by_hand(pair, k, features[role], role) for role in BOTH}
    return z_s, z_t, z


def same(output, expected):
    torch.testing.assert_close(output, expected, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_mixed_maps_hold_both_networks_latent_maps_and_their_blend(pair):
    _, mixers, passes, _ = pair
    mixed = mix_features(mixers, passes[STUDENT], passes[TEACHER], tiny.uniform())
    for made, z_s, z_t, z in zip(mixed, *latents_by_hand(pair, tiny.uniform()), strict=True):
        same(made.z_s, z_s)
        same(made.z_t, z_t)
        same(made.z, z)


@pytest.mark.parametrize('route', list(itertools.product(BOTH, repeat=3)), ids='-'.join)
@torch.no_grad()
def test_a_chain_is_the_papers_dynamic_stack(pair, route):
    views, mixers, passes, _ = pair
    first, second, third = route
    uniform = tiny.uniform()
    _, z_t, z = latents_by_hand(pair, uniform)
    feature = stage_by_hand(pair, 0, decode_by_hand(mixers[0], z[0], first), first)
    latent = mix_by_hand(encode_by_hand(mixers[1], feature, first), z_t[1], uniform)
    feature = stage_by_hand(pair, 1, decode_by_hand(mixers[1], latent, second), second)
    latent = mix_by_hand(encode_by_hand(mixers[2], feature, second), z_t[2], uniform)
    feature = stage_by_hand(pair, 2, decode_by_hand(mixers[2], latent, third), third)
    expected = tail_by_hand(pair, feature, third)

    uniform = tiny.uniform()
    mixed = mix_features(mixers, passes[STUDENT], passes[TEACHER], uniform)
    outputs = chain(views, mixers, passes, mixed, route, uniform)
    assert len(outputs) == 1
    same(outputs[0], expected)


@pytest.mark.parametrize('route', list(itertools.product(BOTH, repeat=4)), ids='-'.join)
@torch.no_grad()
def test_a_restart_sends_every_position_through_the_rest_of_one_network(pair, route):
    views, mixers, passes, _ = pair
    _, _, z = latents_by_hand(pair, tiny.uniform())
    uniform = tiny.uniform()
    mixed = mix_features(mixers, passes[STUDENT], passes[TEACHER], uniform)
    outputs = restart(views, mixers, passes, mixed, route, uniform)
    assert len(outputs) == 4
    for k, role in enumerate(route):
        feature = decode_by_hand(mixers[k], z[k], role)
        for stage in range(k, 3):
            feature = stage_by_hand(pair, stage, feature, role)
        same(outputs[k], tail_by_hand(pair, feature, role))


@pytest.mark.parametrize('ratio, role', [(1, STUDENT), (0, TEACHER)])
@pytest.mark.parametrize('assembly, length', [(chain, 3), (restart, 4)], ids=['chain', 'restart'])
@torch.no_grad()
def test_with_coders_that_change_nothing_an_unmixed_route_is_the_network_itself(assembly, length, ratio, role):
    views = {name: staged_view(tiny.edsr(2).double(), 3) for name in BOTH}
    lq = torch.rand(1, 3, 6, 5).double()
    passes = {name: view.forward_features(lq) for name, view in views.items()}
    mixers = [FeaturePriorMixer(8, 8, encoder='none', depth=1, ratio=ratio).double() for _ in range(4)]
    for mixer in mixers:
        for decoder in mixer.decoders.values():
            torch.nn.init.dirac_(decoder[0].weight)
            torch.nn.init.zeros_(decoder[0].bias)
    mixed = mix_features(mixers, passes[STUDENT], passes[TEACHER], tiny.uniform())
    for output in assembly(views, mixers, passes, mixed, [role] * length, tiny.uniform()):
        torch.testing.assert_close(output, passes[role].output)
    assert not torch.allclose(passes[STUDENT].output, passes[TEACHER].output)
