"""Small training runs of the methods that MiPKD is compared with."""
from functools import cache

import refusals
import runs
import torch

from mipkd_arch.base.errors import UserError
from mipkd_model.config.checks import check_networks, check_options

BLOCKS = {
    'fitnet': {'fitnet_opt': {'type': 'FitNetLoss'}},
    'fitnet_mean': {'fitnet_opt': {'type': 'FitNetLoss', 'variant': 'channel_mean', 'loss_weight': 10}},
    'at': {'at_opt': {'type': 'ATLoss'}},
    'rkd': {'rkd_opt': {'type': 'RKDLoss'}},
    'fakd': {'fakd_opt': {'type': 'FAKDLoss'}},
    'csd': {'csd_opt': {'type': 'CSDLoss'}},
    'crosskd': {'crosskd_opt': {'type': 'CrossKDLoss'}},
    'dukd': {'dukd_opt': {'type': 'DUKDLoss'}},
    'mtkd': {'mtkd_opt': {'type': 'WaveletLoss'}},
    'metakd': {'metakd_opt': {'type': 'MetaKDLoss', 'every': 2}},
}
LOGGED = {'fitnet': ['l_fitnet'], 'fitnet_mean': ['l_fitnet'], 'at': ['l_at'], 'rkd': ['l_rkd'], 'fakd': ['l_fakd'],
          'csd': ['l_csd'], 'crosskd': ['l_crosskd'], 'dukd': ['l_zoom_in', 'l_zoom_out'], 'mtkd': ['l_wavelet'],
          'metakd': ['l_metakd']}
ON_IMAGES = ('csd', 'dukd', 'mtkd')


def options(folder, *methods, family='EDSR', losses=('pixel_opt', ), weight=None, **others):
    """Options of a run of these methods, on batches of three samples."""
    blocks = {name: dict(block) for method in methods for name, block in BLOCKS[method].items()}
    for name, block in blocks.items():
        block.update({'weights': str(folder / 'vgg19.pth')} if name == 'csd_opt' else {})
        block.update({} if weight is None else {'loss_weight': weight})
    opt = runs.options(folder, family, losses=losses, **{**blocks, **others})
    opt['datasets']['train']['batch_size_per_gpu'] = 3
    return opt


@cache
def batches():
    """The same at each call, whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return [runs.batch(3, side=8) for _ in range(4)]


def train(model, steps=3, start=1):
    """Steps of training, on batches of three samples. Returns the model."""
    for iteration in range(start, start + steps):
        model.feed_data(batches()[iteration - 1])
        model.optimize_parameters(iteration)
    return model


def without_gradient(network):
    """Names of the weights that the last step did not reach."""
    return [name for name, p in network.named_parameters() if p.grad is None]


def snapshot(network):
    """A copy of its state dict."""
    return {key: value.clone() for key, value in network.state_dict().items()}


def same(before, after):
    """Whether two state dicts are equal bit for bit."""
    return before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def refused(opt):
    """What the launchers' checks say of these options."""

    def check(opt):
        check_options(opt, is_train=True)
        check_networks(opt, is_train=True)

    return refusals.refusal(check, opt, kind=UserError)
