"""Gradients of a step in bfloat16 point where those in float64 do."""
from copy import deepcopy

import pytest
import runs
import tiny
import torch
from torch import nn
from torch.nn import functional as F

from mipkd_model.config.checks import read_options
from mipkd_model.networks.build import make_network
from mipkd_model.training.convolutions import (
    Float32Conv2d,
    discard_inputs,
    keep_ends_in_float32,
    store_in_bf16,
)
from mipkd_model.training.precision import autocast

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def trained():
    """A trained student and a trained teacher that are near to each other, as at the end of a distillation."""
    opt = read_options(runs.ROOT / 'options/demo/train_MiPKD_x4.yml')
    opt['path']['pretrain_network_t'] = str(runs.ROOT / opt['path']['pretrain_network_t'])
    teacher = make_network(opt, 't')[0].eval()
    student, noise = deepcopy(teacher), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in student.parameters():
            weight += 0.004 * weight.std() * torch.randn(weight.shape, generator=noise) if weight.numel() > 1 else 0
    return student, teacher


def smooth(count, side):
    """Images as photographs are: most of a neighbourhood is alike. (count, 3, side, side) in [0, 1]."""
    coarse = torch.rand(count, 3, side // 8, side // 8, generator=torch.Generator().manual_seed(1))
    return F.interpolate(coarse, (side, side), mode='bicubic').clamp(0, 1)


def gradient(student, teacher, lq, precision):
    """Of the distance of both networks' images at all of the student's weights."""
    student = deepcopy(student).requires_grad_()
    with autocast(precision, CPU):
        with torch.no_grad():
            target = teacher(lq)
        output = student(lq)
    (output.to(lq.dtype) - target.to(lq.dtype)).abs().mean().backward()
    return torch.cat([weight.grad.double().flatten() for weight in student.parameters()])


def test_the_gradient_in_bf16_points_where_that_in_float64_does(trained):
    student, teacher = trained
    lq = smooth(2, 24)
    exact = gradient(deepcopy(student).double(), deepcopy(teacher).double(), lq.double(), 'fp32')
    plain = F.cosine_similarity(gradient(student, teacher, lq, 'bf16'), exact, dim=0)
    ours = deepcopy(student), deepcopy(teacher)
    for network in ours:
        keep_ends_in_float32(network)
    store_in_bf16(ours[1])
    discard_inputs(ours[1])
    kept = F.cosine_similarity(gradient(*ours, lq, 'bf16'), exact, dim=0)
    assert kept > 0.97 and 1 - plain > 5 * (1 - kept)


def test_they_are_the_first_and_the_last_convolution_and_names_and_copies_stay(trained):
    for network, names in ((tiny.edsr(2), {'conv_first', 'conv_last'}), (tiny.rcan(2), {'conv_first', 'conv_last'}),
                           (tiny.swinir(2), {'conv_first', 'conv_last'})):
        before = list(network.state_dict())
        keep_ends_in_float32(network)
        found = {name for name, module in deepcopy(network).named_modules() if type(module) is Float32Conv2d}
        assert found == names and list(network.state_dict()) == before


def test_in_float32_nothing_changes():
    network, lq = tiny.edsr(2), torch.rand(1, 3, 8, 8)
    expected = network(lq)
    keep_ends_in_float32(network)
    assert torch.equal(network(lq), expected)


def test_a_network_of_one_convolution_stays_as_it_is():
    network = nn.Sequential(nn.Conv2d(3, 3, 3))
    keep_ends_in_float32(network)
    assert type(network[0]) is nn.Conv2d
