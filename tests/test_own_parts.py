"""Losses and networks of a user's own, networks without a staged view, and what does not fit together."""
import pytest
import refusals
import runs
import torch
from methods import BLOCKS, ON_IMAGES, options, refused, train, without_gradient
from steps import vgg_file
from torch import nn

from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import TEACHER
from mipkd_model.config.checks import check_networks, check_options
from mipkd_model.losses import DistillLoss

from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Data and weights, made once."""
    folder = tmp_path_factory.mktemp('methods')
    vgg_file(folder)
    return folder


def test_a_users_own_loss_runs_from_an_option_file_with_weights_of_its_own(folder, registered):
    class EnergyLoss(DistillLoss):
        def __init__(self, *, loss_weight=1.0):
            super().__init__()
            self.loss_weight = loss_weight

        def bind(self, views):
            self.factor = nn.Parameter(torch.ones(views[TEACHER].num_positions))

        def forward(self, step):
            pairs = zip(self.factor, step.student.features, step.teacher.features, strict=True)
            energies = [(k * f_s.square().mean() - f_t.square().mean()).abs() for k, f_s, f_t in pairs]
            return {'l_energy': self.loss_weight * sum(energies)}

    registered(LOSS_REGISTRY, EnergyLoss)
    opt = options(folder, energy_opt={'type': 'EnergyLoss', 'loss_weight': 0.1})
    check_options(opt, is_train=True)
    check_networks(opt, is_train=True)
    model = train(runs.model(opt))
    assert list(model.get_current_log()) == ['l_pix', 'l_energy']
    assert list(model.distiller.parts) == ['net_losses'] and not (model.distiller.losses['energy'].factor == 1).any()


class BareNet(nn.Module):
    """A network without a staged view."""

    def __init__(self, factor=2):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3 * factor**2, 3, padding=1),
                                  nn.PixelShuffle(factor))

    def forward(self, lq):
        return self.body(lq)


@pytest.fixture
def bare(folder, registered):
    registered(ARCH_REGISTRY, BareNet)
    torch.save({'params': BareNet().state_dict()}, folder / 'bare.pth')

    def change(opt, label):
        opt[f'network_{label}'] = {'type': 'BareNet'}
        if label == 't':
            opt['path']['pretrain_network_t'] = str(folder / 'bare.pth')
        return opt

    return change


@pytest.mark.parametrize('label', ['g', 't'])
@pytest.mark.parametrize('method', [method for method in BLOCKS if method not in ON_IMAGES])
def test_a_loss_on_maps_is_refused_for_a_network_without_a_staged_view(folder, bare, method, label):
    message = refused(bare(options(folder, method), label))
    assert message.startswith(f'network_{label}: train.{list(BLOCKS[method])[0]} reads features, but no staged')
    assert 'BareNet' in message and 'EDSR' in message and 'images alone take any network' in message


@pytest.mark.parametrize('labels', ['g', 't', 'gt'])
def test_losses_on_images_serve_networks_without_a_staged_view(folder, bare, labels):
    opt = options(folder, *ON_IMAGES, losses=('kd_opt', ))
    for label in labels:
        bare(opt, label)
    model = train(runs.model(opt))
    assert sorted(model.get_current_log()) == ['l_csd', 'l_kd', 'l_wavelet', 'l_zoom_in', 'l_zoom_out']
    assert without_gradient(model.net_g) == [] and model.net_g.training and not model.net_t.training


@pytest.mark.parametrize('label', ['g', 't'])
def test_a_network_of_another_scale_is_refused_without_a_staged_view_too(folder, bare, label):
    opt = bare(options(folder, 'dukd'), label)
    opt[f'network_{label}']['factor'] = 3
    torch.save({'params': BareNet(3).state_dict()}, folder / 'bare.pth')
    assert refused(opt).startswith(f'network_{label}.upscale: 3 is not the scale: 2')


@pytest.mark.parametrize('reason', ['shape of input', ''])
def test_a_network_that_cannot_run_is_one_line(folder, registered, reason):
    class BrokenNet(BareNet):
        def forward(self, lq):
            raise AssertionError(*filter(None, [reason]))

    registered(ARCH_REGISTRY, BrokenNet)
    opt = options(folder, losses=('kd_opt', ))
    opt['network_g'] = {'type': 'BrokenNet'}
    said = f'network_g: BrokenNet does not super-resolve an image of 128x64 ({reason or "AssertionError"})'
    assert refused(opt) == said


def test_two_losses_of_one_type_are_refused(folder):
    message = refused(options(folder, 'fitnet', second_opt={'type': 'FitNetLoss'}))
    assert message.startswith("train.second_opt: gives 'l_fitnet', which another loss gives already")


@pytest.mark.parametrize('method, found, needed', [('rkd', 2, 3), ('rkd', 1, 3), ('csd', 1, 2)])
def test_a_batch_that_is_too_small_for_a_loss_is_refused(folder, method, found, needed):
    opt = options(folder, method)
    opt['datasets']['train']['batch_size_per_gpu'] = found
    message = refused(opt)
    assert message.startswith(f'datasets.train.batch_size_per_gpu: {found}, but train.{method}_opt compares the')
    assert message.endswith(f'at least {needed}')
    opt['datasets']['train']['batch_size_per_gpu'] = needed
    check_networks(opt, is_train=True)


def test_a_crosskd_position_beyond_the_cuts_is_refused(folder):
    opt = options(folder, crosskd_opt={'type': 'CrossKDLoss', 'position': 3})
    assert refused(opt).endswith('there are 0 to 2')


def test_a_loss_that_takes_the_name_of_another_is_refused(folder, registered):
    class SecondPixelLoss(DistillLoss):
        needs_features = False

        def forward(self, step):
            return {'l_pix': (step.output - step.target).abs().mean()}

    registered(LOSS_REGISTRY, SecondPixelLoss)
    model = runs.model(options(folder, second_opt={'type': 'SecondPixelLoss'}))
    assert refusals.refusal(train, model, kind=UserError) == (
        "train.second_opt: gives 'l_pix', which another loss gives already; rename it in SecondPixelLoss.forward")
