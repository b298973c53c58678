"""Losses that compare images by another network, CSD and CrossKD, against what their formulas give in float64."""
from types import SimpleNamespace

import pytest
import refusals
import tiny
import torch
from steps import levels, make_step, near, resized, vgg_file, vgg_layers
from torch import nn
from torch.nn import functional as F

from mipkd_arch import staged_view
from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import STUDENT, TEACHER
from mipkd_arch.staged_views import StagedOutput
from mipkd_model.data.bicubic import imresize
from mipkd_model.losses.crosskd_loss import CrossKDLoss
from mipkd_model.losses.csd_loss import CSDLoss


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return vgg_file(tmp_path_factory.mktemp('vgg'))

@pytest.fixture(scope='module')
def csd(weights):
    return CSDLoss(weights=str(weights))


def csd_step(batch, output=None):
    torch.manual_seed(1)
    lq, target, student = levels(batch, 3, 8, 8), torch.rand(batch, 3, 16, 16), torch.rand(batch, 3, 16, 16)
    output = student.requires_grad_() if output is None else output
    passes = {STUDENT: StagedOutput((), output), TEACHER: StagedOutput((), target)}
    both = SimpleNamespace(upscale=2)
    return make_step(lq, {STUDENT: both, TEACHER: both}, passes=passes), student


@pytest.fixture(scope='module')
def layers(weights):
    """torchvision's VGG19 in float64."""
    layers, state = vgg_layers(), torch.load(weights, weights_only=True)
    layers.load_state_dict({key[9:]: value for key, value in state.items() if key.startswith('features.')})
    return layers.double().requires_grad_(False)


def csd_by_hand(step, student, layers, count):
    mean, std = (torch.tensor(x).double().view(1, 3, 1, 1) for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))

    def see(images):
        feature, seen = (images.double() - mean) / std, []
        for index, layer in enumerate(layers):
            feature = layer(feature.clone())  # torchvision's ReLU changes its input in place
            if index in (1, 6, 11, 20, 29):
                seen.append(feature.clone())
            if index == 29:
                return seen

    student = student.detach().double().requires_grad_()
    own, positive = see(student), see(step.teacher.output)
    negatives = see(resized(step.lq, lambda image: imresize(image, 2)))
    value, size = 0, len(student)
    for weight, s, p, b in zip((1 / 32, 1 / 16, 1 / 8, 1 / 4, 1), own, positive, negatives, strict=True):
        far = [(b[(i - n) % size] - s[i]).abs().mean() for i in range(size) for n in range(1, count + 1)]
        value = value + weight * (p - s).abs().mean() / (sum(far) / len(far))
    return value.detach(), torch.autograd.grad(value, student)[0]


@pytest.mark.parametrize('batch, num_negatives, count', [(4, 10, 3), (4, 1, 1), (3, 2, 2), (2, 10, 1)])
def test_csd_is_the_ratio_of_distances_between_vgg_features(csd, layers, batch, num_negatives, count):
    step, student = csd_step(batch)
    csd.num_negatives = num_negatives
    loss = csd(step)['l_csd']
    expected, gradient = csd_by_hand(step, student, layers, count)
    torch.testing.assert_close(loss.double(), 0.784 * expected, rtol=1e-4, atol=0)
    near(torch.autograd.grad(loss, student)[0], 0.784 * gradient, 1e-3)


def test_csd_looks_at_the_part_of_a_padded_output_that_belongs_to_the_image(csd):
    step, student = csd_step(2)
    expected = csd(step)['l_csd']
    padded = F.pad(student, (0, 6, 0, 4), value=9.)
    assert torch.equal(csd(csd_step(2, output=padded)[0])['l_csd'], expected)


def test_csd_is_zero_for_the_teachers_image_and_lower_near_it(csd):
    step, student = csd_step(3)
    target = step.teacher.output
    values = [csd(csd_step(3, output=target + part * (student.detach() - target))[0])['l_csd'].item()
              for part in (0., 0.1, 1.)]
    assert values[0] == 0 and values == sorted(values)


def test_bfloat16_autocast_does_not_change_csd(csd):
    expected = csd(csd_step(2)[0])['l_csd']
    with torch.autocast('cpu', torch.bfloat16):
        torch.testing.assert_close(csd(csd_step(2)[0])['l_csd'], expected)


def test_the_vgg_of_csd_is_frozen_and_looks_at_no_maps_of_the_networks(csd):
    step, _ = csd_step(2)
    csd(step)['l_csd'].backward()
    assert all(not p.requires_grad and p.grad is None for p in csd.parameters())
    assert not csd.needs_features and csd.min_batch == 2


def test_missing_weights_of_vgg_are_one_line_with_the_command(tmp_path):
    message = refusals.refusal(CSDLoss, weights=str(tmp_path / 'no.pth'), kind=UserError)
    assert message.startswith(f'csd_opt.weights: {tmp_path / "no.pth"} is not there.')
    assert message.endswith('mipkd teacher get VGG19')


def test_weights_of_vgg_are_found_in_the_home_folder(weights, monkeypatch):
    monkeypatch.setenv('HOME', str(weights.parent))
    CSDLoss(weights=f'~/{weights.name}')


@pytest.mark.parametrize('content, hint', [
    (b'<html>', 'cannot be read as a checkpoint'),
    ({'params': tiny.edsr().state_dict()}, 'has no weight of VGGFeatures'),
    ({'features.0.weight': torch.ones(64, 3, 3, 3)}, 'features.0.bias is missing')])
def test_another_file_than_vgg19_is_one_line(tmp_path, content, hint):
    file = tmp_path / 'other.pth'
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    message = refusals.refusal(CSDLoss, weights=str(file), kind=UserError)
    assert str(file) in message and hint in message


# ---------------------------------------------------------------- CrossKD

def crosskd_step():
    views = {STUDENT: staged_view(tiny.edsr(2).double(), 3),
             TEACHER: staged_view(tiny.edsr(2, num_feat=12).double().requires_grad_(False), 3)}
    lq = torch.rand(2, 3, 6, 5).double()
    return make_step(lq, views, passes={role: view.forward_features(lq) for role, view in views.items()})


def crosskd_by_hand(step, adapter, position):
    student, teacher = (step.views[role].network for role in (STUDENT, TEACHER))
    mean = torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1).double()
    feature, other = ((network.conv_first((step.lq - mean) * 255)) for network in (student, teacher))
    shallow = other
    for index in range(min(position, 2)):
        feature, other = student.body[index](feature), teacher.body[index](other)
    if position == 3:
        feature, other = (net.conv_after_body(net.body[2](x)) for net, x in ((student, feature), (teacher, other)))
    feature = adapter(feature / feature.detach().std()) * other.std()
    for index in range(position, 3):
        feature = teacher.body[index](feature)
    deep = feature if position == 3 else teacher.conv_after_body(feature)
    image = teacher.conv_last(teacher.upsample(deep + shallow)) / 255 + mean
    return (image - teacher(step.lq)).abs().mean()


@pytest.mark.parametrize('position', [0, 1, 2, 3, None])
def test_crosskd_lets_the_teacher_finish_what_the_student_began(position):
    step = crosskd_step()
    loss = CrossKDLoss(loss_weight=3., position=position)
    loss.bind(step.views)
    assert loss.position == (2 if position is None else position), 'the middle of four is the third'
    parameters = [p for p in step.views[STUDENT].network.parameters()] + list(loss.double().parameters())
    value = loss(step)['l_crosskd']
    expected = 3 * crosskd_by_hand(step, loss.adapter, loss.position)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=0)
    found, wanted = (torch.autograd.grad(x, parameters, allow_unused=True) for x in (value, expected))
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            near(ours, theirs)
    assert found[0] is not None and all(gradient is not None for gradient in found[-2:])
    assert all(p.grad is None and not p.requires_grad for p in step.views[TEACHER].network.parameters())


def test_crosskd_has_no_loss_for_a_student_that_is_the_teacher():
    step = crosskd_step()
    step.views[STUDENT], step.passes[STUDENT] = step.views[TEACHER], step.passes[TEACHER]
    loss = CrossKDLoss()
    loss.bind(step.views)
    nn.init.eye_(loss.double().adapter.weight.data.flatten(1))
    nn.init.zeros_(loss.adapter.bias)
    assert loss(step)['l_crosskd'] < 1e-6


def test_a_position_beyond_the_cuts_is_refused_with_the_range():
    message = refusals.refusal(CrossKDLoss(position=4).bind, crosskd_step().views, kind=UserError)
    assert message.startswith('crosskd_opt.position: 4 is not a position') and '0 to 3' in message


@pytest.mark.parametrize('position', [-1, 1.5, True, 'middle'])
def test_a_position_that_is_none_is_refused(position):
    message = refusals.refusal(CrossKDLoss, position=position, kind=UserError)
    assert message.startswith(f'crosskd_opt.position: {position!r} is not an integer of at least 0 or null')


@pytest.mark.parametrize('loss, options, hint', [
    (CSDLoss, {'loss_weight': -1}, 'csd_opt.loss_weight: -1 is not a number of at least 0'),
    (CSDLoss, {'num_negatives': 0}, 'csd_opt.num_negatives: 0 is not an integer of at least 1'),
    (CSDLoss, {'num_negatives': True}, 'csd_opt.num_negatives: True is not'),
    (CrossKDLoss, {'loss_weight': 'x'}, "crosskd_opt.loss_weight: 'x' is not a number of at least 0")])
def test_a_wrong_option_is_one_line_that_names_it(loss, options, hint):
    assert hint in refusals.refusal(loss, kind=UserError, **options)
