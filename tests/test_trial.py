"""What is tried before a start: the sizes and batches that networks and losses take, and views against networks."""
import pytest
import runs
import torch
from methods import options, refused, train
from torch import nn
from torch.nn import functional as F

from mipkd_arch import StagedView, register_view, staged_view
from mipkd_arch.size_probe import in_eval_mode, probe_network, takes_batches, trial_images
from mipkd_arch.staged_views import size_multiple
from mipkd_model.config.checks import check_networks, check_options
from mipkd_model.evaluation.metrics import score
from mipkd_model.evaluation.restore import restorer
from mipkd_model.losses import DistillLoss

from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srresnet_arch import MSRResNet
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY


def rrdb(scale):
    return RRDBNet(3, 3, scale, num_feat=8, num_block=1, num_grow_ch=4)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('trial')


class Halving(nn.Module):
    """Wants sides that are multiples of a number, and says so nowhere."""

    def __init__(self, multiple=6):
        super().__init__()
        self.multiple, self.body = multiple, nn.Conv2d(3 * multiple**2, 12 * multiple**2, 1)

    def forward(self, lq):
        return F.pixel_shuffle(self.body(F.pixel_unshuffle(lq, self.multiple)), 2 * self.multiple)


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize('scale, multiple', [(1, 4), (2, 2), (4, 1)])
def test_the_multiple_that_an_rrdbnet_needs_is_found(scale, multiple):
    assert (probe_network(rrdb(scale)).size_multiple, probe_network(rrdb(scale)).upscale) == (multiple, scale)


@pytest.mark.parametrize('multiple', [1, 3, 6, 16, 32])
def test_the_multiple_that_a_users_network_needs_is_found(multiple):
    network = Halving(multiple)
    network.body.eval()
    assert size_multiple(network) == multiple
    assert network.training and not network.body.training and not network.body.weight.grad


def test_a_network_that_is_tried_draws_no_random_numbers():
    network = MSRResNet(num_feat=8, num_block=1, upscale=2)
    before = torch.get_rng_state()
    probe_network(network)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(trial_images(2, 8, 9), trial_images(2, 8, 9)) and trial_images(2, 8, 9).std() > 0.2


@pytest.mark.parametrize('changes', [{}, {'tile': 7, 'tile_pad': 2}, {'self_ensemble': True}], ids=str)
def test_an_image_of_any_size_goes_through_a_network_that_needs_multiples(changes):
    network, lq = rrdb(2).eval(), torch.rand(1, 3, 13, 10)
    with torch.no_grad():
        found = restorer(network, 2, size_multiple(network), **changes)(lq)
        if not changes:
            assert torch.equal(found, network(F.pad(lq, (0, 0, 0, 1), 'reflect'))[..., :26, :])
    assert found.shape == (1, 3, 26, 20)


@pytest.mark.parametrize('gt_size', [32, 30, 36])
def test_a_network_that_needs_multiples_trains_on_any_patch_and_validates(folder, registered, gt_size):
    registered(ARCH_REGISTRY, Halving)
    opt = runs.options(folder, student={'type': 'Halving'}, losses=('pixel_opt', 'kd_opt'))
    opt['datasets']['train']['gt_size'] = gt_size
    check_options(opt, True)
    check_networks(opt, True)
    model = runs.model(opt)
    model.feed_data(runs.batch(2, gt_size // 2))
    model.optimize_parameters(1)
    model.feed_data({'lq': torch.rand(1, 3, 20, 13)})
    model.test()
    assert model.validator.size_multiple == 6 and model.output.shape == (1, 3, 40, 26)


def test_a_batch_is_padded_for_both_networks_at_once(folder):
    """Multiples of 4 alone, after those of 6, would not be multiples of 6."""
    opt = runs.options(folder, 'SwinIR', student=runs.FAMILIES['SwinIR'] | {'window_size': 6, 'img_size': 12})
    distiller = check_networks(opt, True)
    assert distiller.pad(torch.rand(1, 3, 13, 5)).shape == (1, 3, 24, 12)


# ---------------------------------------------------------------- batches and patches


class OneByOne(Halving):
    def forward(self, lq):
        return super().forward(lq.view(1, *lq.shape[-3:]))


class Mixing(Halving):
    """Gives for a batch something else than for its images."""

    def forward(self, lq):
        return super().forward(lq - lq.mean())


def test_a_batch_that_gives_something_else_than_its_images_is_found():
    images = trial_images(2, 12, 12)
    for cls, expected in ((Halving, True), (OneByOne, False), (Mixing, False)):
        network = cls()
        with in_eval_mode(network):
            assert takes_batches(network, images) is expected


def test_a_student_that_takes_one_sample_at_a_time_is_refused(folder, registered):
    registered(ARCH_REGISTRY, OneByOne)
    opt = options(folder, losses=('pixel_opt', ))
    opt['network_g'] = {'type': 'OneByOne'}
    message = refused(opt)
    assert message.startswith('network_g: fails on 3 lq of 16x16 (') and 'change datasets.train.batch_size' in message
    opt['train']['accumulate'] = 3
    check_networks(opt, True)


class CoarseLoss(DistillLoss):
    """Needs patches of 24 pixels."""
    needs_features = False

    def forward(self, step):
        return {'l_coarse': F.conv2d(step.output, torch.ones(1, 3, 24, 24)).mean()}


class PairLoss(DistillLoss):
    """Needs two samples, and does not say so."""
    needs_features = False

    def forward(self, step):
        return {'l_pair': (step.output[0] - step.output[1]).abs().mean()}


def test_patches_that_a_loss_does_not_take_are_refused(folder, registered):
    registered(LOSS_REGISTRY, CoarseLoss)
    opt = options(folder, coarse_opt={'type': 'CoarseLoss'})
    opt['datasets']['train']['gt_size'] = 20
    message = refused(opt)
    assert message.startswith('train.coarse_opt: fails on 3 lq of 10x10 (') and 'datasets.train.gt_size' in message
    opt['datasets']['train']['gt_size'] = 24
    check_networks(opt, True)


def test_dukd_wants_patches_that_can_be_shrunk_by_the_scale(folder):
    opt = options(folder, 'dukd')
    opt['datasets']['train']['gt_size'] = 2
    assert refused(opt).startswith('train.dukd_opt: fails on 3 lq of 1x1 (dukd_opt.zoom_out: lq of 1x1 ')
    opt['train']['dukd_opt']['zoom_out'] = False
    check_networks(opt, True)


def test_a_batch_that_a_loss_does_not_take_is_refused(folder, registered):
    registered(LOSS_REGISTRY, PairLoss)
    opt = options(folder, pair_opt={'type': 'PairLoss'}, accumulate=3)
    message = refused(opt)
    assert message.startswith('train.pair_opt: fails on 1 lq of 16x16 (') and 'train.accumulate' in message


def test_a_loss_that_fails_on_everything_is_one_line(folder, registered):
    class BrokenLoss(PairLoss):
        def forward(self, step):
            return {'l_broken': step.student.features[7]}

    registered(LOSS_REGISTRY, BrokenLoss)
    assert refused(options(folder, broken_opt={'type': 'BrokenLoss'})).startswith(
        'train.broken_opt: fails on 3 lq of 16x16 (')


# ---------------------------------------------------------------- what writes into its input


def scaled_in_place(x):
    x *= 3
    return x


class WritingNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, lq):
        return self.body(scaled_in_place(lq))


class PoliteNet(WritingNet):
    def forward(self, lq):
        return self.body(lq * 3)


@pytest.mark.parametrize('label', 'gt')
def test_networks_that_write_into_their_input_train_as_those_that_do_not(folder, registered, label):
    logs = []
    for cls in (WritingNet, PoliteNet):
        registered(ARCH_REGISTRY, cls)
        torch.manual_seed(1)
        torch.save({'params': cls().state_dict()}, folder / 'net.pth')
        opt = options(folder, 'dukd', losses=('pixel_opt', 'kd_opt'))
        opt[f'network_{label}'] = {'type': cls.__name__}
        opt['path'][f'pretrain_network_{label}'] = str(folder / 'net.pth')
        torch.manual_seed(2)
        logs.append(train(runs.model(opt), 1).get_current_log())
    assert logs[0] == logs[1]


def test_tiles_of_a_network_that_writes_into_its_input_are_those_of_one_that_does_not():
    writing, polite, lq = WritingNet().eval(), PoliteNet().eval(), torch.rand(1, 3, 15, 11)
    polite.load_state_dict(writing.state_dict())
    before = lq.clone()
    for changes in ({}, {'tile': 4, 'tile_pad': 3, 'self_ensemble': True}):
        with torch.no_grad():
            assert torch.equal(restorer(writing, 2, **changes)(lq), restorer(polite, 2, **changes)(before))
        assert torch.equal(lq, before)


def test_image_losses_that_write_into_images_change_no_other_loss(folder, registered):
    class WritingLoss(nn.Module):
        def forward(self, output, target):
            return scaled_in_place(output).sub_(scaled_in_place(target)).abs().mean() / 3

    registered(LOSS_REGISTRY, WritingLoss)
    logs = []
    for kind in ('WritingLoss', 'L1Loss'):
        torch.manual_seed(1)
        opt = options(folder, losses=('pixel_opt', 'kd_opt'))
        opt['train'].update(kd_opt={'type': kind}, pixel_opt={'type': kind})
        torch.manual_seed(2)
        logs.append(train(runs.model(opt), 1).get_current_log())
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)


def test_a_distilling_loss_that_writes_into_maps_is_refused(folder, registered):
    class WritingMapsLoss(DistillLoss):
        def forward(self, step):
            return {'l_maps': scaled_in_place(step.teacher.features[1]).mean() * step.output.mean()}

    registered(LOSS_REGISTRY, WritingMapsLoss)
    assert refused(options(folder, maps_opt={'type': 'WritingMapsLoss'})).startswith(
        'train.maps_opt: WritingMapsLoss writes into images or features of the step')


def test_a_metric_that_writes_into_images_changes_no_other_metric(registered):
    def calculate_writing(img, img2, **kwargs):
        img[:] = 0
        return 1.

    METRIC_REGISTRY._do_register('calculate_writing', calculate_writing)
    try:
        image, gt = (trial_images(1, 12, 12)[0].mul(255 - 9 * i).byte().permute(1, 2, 0).numpy() for i in (0, 1))
        psnr = {'type': 'calculate_psnr', 'crop_border': 0}
        values = score(image, gt, {'a': {'type': 'calculate_writing', 'crop_border': 0}, 'b': psnr})
        assert values['b'] == score(image, gt, {'b': psnr})['b'] < 60
    finally:
        METRIC_REGISTRY._obj_map.pop('calculate_writing')


# ---------------------------------------------------------------- views


def a_view(**faults):
    """A network and the function that makes its view, with faults."""

    class Viewed(nn.Module):
        def __init__(self, p=0.):
            super().__init__()
            self.first = nn.Conv2d(3, 6, 3, padding=1)
            self.body = nn.ModuleList(nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.Dropout(p)) for _ in range(3))
            self.last = nn.Sequential(nn.Conv2d(6, 12, 3, padding=1), nn.PixelShuffle(2))

        def forward(self, lq):
            shallow = deep = self.first(lq)
            for block in self.body:
                deep = torch.relu(block(deep))
            return self.last(deep + shallow)

    @register_view(Viewed)
    def view(net):
        blocks = {f'body.{i}': lambda x, block=block: torch.relu(block(x)) for i, block in enumerate(net.body)}
        parts = {'head': net.first, 'blocks': blocks, 'tail': lambda deep, shallow: net.last(deep + shallow),
                 'num_feat': 6, 'upscale': 2}
        return StagedView(net, **{name: faults[name](net) if name in faults else part for name, part in parts.items()})

    return Viewed


FAULTS = {
    'no skip': ({'tail': lambda net: lambda deep, shallow: net.last(deep)},
                'does not match the network: their images differ'),
    'a slightly other skip': ({'tail': lambda net: lambda deep, shallow: net.last(deep + 1.01 * shallow)},
                              'does not match the network: their images differ by up to'),
    'num_feat': ({'num_feat': lambda net: 64}, 'num_feat: 64 they must be (1, 64, 8, 9)'),
    'upscale': ({'upscale': lambda net: 3}, 'network_{}.upscale: 3 is not the scale: 2'),
    'a head of another size': ({'head': lambda net: lambda lq: F.avg_pool2d(net.first(lq), 2)}, 'after the head for'),
    'a tail of another size': ({'tail': lambda net: lambda deep, shallow: deep}, 'fix its tail'),
    'a block that fails': ({'blocks': lambda net: {f'body.{i}': nn.Conv2d(5, 5, 1) for i in range(3)}},
                           'fails where the network does not ('),
    'a block that writes': ({'blocks': lambda net: {
        f'body.{i}': lambda x, block=block: x.copy_(torch.relu(block(x))) for i, block in enumerate(net.body)}},
        'has a block, body.0, that writes into its input'),
    'no such attribute': ({'num_feat': lambda net: net.width}, 'cannot be made ('),
}


@pytest.mark.parametrize('label', 'gt')
@pytest.mark.parametrize('faults, says', FAULTS.values(), ids=FAULTS)
def test_a_view_that_is_not_its_network_is_refused(folder, registered, label, faults, says):
    cls = registered(ARCH_REGISTRY, a_view(**faults))
    torch.save({'params': cls().state_dict()}, folder / 'viewed.pth')
    opt = options(folder, 'at')
    opt[f'network_{label}'] = {'type': 'Viewed'}
    opt['path'][f'pretrain_network_{label}'] = str(folder / 'viewed.pth')
    message = refused(opt)
    assert message.startswith(f'network_{label}') and says.format(label) in message


def test_a_view_is_compared_without_dropout_and_with_a_trained_network_of_any_range(folder, registered):
    registered(ARCH_REGISTRY, a_view())
    opt = options(folder, 'at')
    opt['network_g'] = {'type': 'Viewed', 'p': 0.5}
    check_networks(opt, True)


def test_a_wrong_view_is_found_by_the_model_too(folder, registered):
    registered(ARCH_REGISTRY, a_view(num_feat=lambda net: 64))
    opt = options(folder, 'at')
    opt['network_g'] = {'type': 'Viewed'}
    with pytest.raises(ValueError, match='num_feat: 64'):
        runs.model(opt)


def test_all_views_of_networks_here_pass(folder):
    for family in runs.FAMILIES:
        opt = options(folder, 'at', family=family)
        check_networks(opt, True)
    assert staged_view(runs.model(opt).net_g).size_multiple == 4
