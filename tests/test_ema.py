import pytest
import torch
from torch import nn

from mipkd_model.training.ema import update_ema, warm_decay


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))


def test_the_average_moves_by_one_minus_the_decay():
    ema, net = network(), network()
    before = [p.detach().clone() for p in ema.parameters()]
    update_ema(ema, net, 0.9)
    for average, old, new in zip(ema.parameters(), before, net.parameters(), strict=True):
        torch.testing.assert_close(average, 0.9 * old + 0.1 * new)


def test_buffers_are_copied():
    ema, net = network(), network()
    net(torch.randn(4, 3, 6, 6))
    update_ema(ema, net, 0.9)
    assert ema[1].num_batches_tracked == 1
    assert torch.equal(ema[1].running_mean, net[1].running_mean)


def test_a_decay_of_zero_copies_everything():
    ema, net = network(), network()
    net(torch.randn(4, 3, 6, 6))
    update_ema(ema, net, 0)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in ema.state_dict().items())


def test_the_network_itself_is_left_alone():
    ema, net = network(), network()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    update_ema(ema, net, 0.5)
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_an_average_without_gradients_can_be_updated():
    ema, net = network().requires_grad_(False), network()
    update_ema(ema, net, 0.5)
    assert not any(p.requires_grad for p in ema.parameters())


def test_the_decay_starts_small():
    assert warm_decay(0.999, 1) == pytest.approx(2 / 11)


def test_the_decay_grows_to_the_asked_one_and_stays_there():
    decays = [warm_decay(0.999, step) for step in range(1, 12000)]
    assert decays == sorted(decays)
    assert decays[8000] < 0.999
    assert decays[9000:] == [0.999] * len(decays[9000:])
