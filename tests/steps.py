"""Steps made by hand for the losses, images for them, and a VGG19 of random weights."""
import numpy as np
import torch
from torch import nn
from torchvision.models import vgg19

from mipkd_model.base.randomness import StepRandom
from mipkd_model.losses import DistillStep


def rng(iteration=7, seed=3, share=(0, 1)):
    return StepRandom(seed, iteration, torch.device('cpu'), share)


def make_step(lq, views, upscale=2, passes=None, iteration=7):
    """A step of these inputs (N, 3, H, W), whose ground truth is noise of 8 bits."""
    gt = levels(len(lq), 3, *(upscale * side for side in lq.shape[-2:])).to(lq.dtype)
    return DistillStep(lq, gt, views, passes or {}, [], rng(iteration))


def levels(*shape):
    """Images of 8 bits, in [0, 1]."""
    return torch.randint(0, 256, shape).float() / 255


def resized(images, resize):
    """Images of 8 bits (N, 3, H, W), each resized by a function of a uint8 image, in float64."""
    arrays = [resize(np.uint8((image * 255).round().permute(1, 2, 0).numpy())) for image in images]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).double() / 255


def near(found, expected, bound=1e-4):
    """Alike as a whole: a single entry may differ where a rounding decides on the sign of a difference."""
    assert expected.norm() > 0
    assert (found.double() - expected.double()).norm() / expected.norm() < bound


def vgg_layers():
    """torchvision's layers of VGG19 below its classifier, without the seconds that their random start takes."""
    with torch.device('meta'):
        layers = vgg19(weights=None).features
    return layers.to_empty(device='cpu')


def vgg_file(folder):
    """Write random weights of VGG19, under torchvision's names and in its shapes. Returns the file."""
    layers, generator = vgg_layers(), torch.Generator().manual_seed(0)
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=(2 / layer.weight[0].numel())**0.5, generator=generator)
            nn.init.normal_(layer.bias, std=0.1, generator=generator)
    state = {f'features.{key}': value for key, value in layers.state_dict().items()}
    torch.save({**state, 'classifier.6.bias': torch.zeros(1000)}, folder / 'vgg19.pth')
    return folder / 'vgg19.pth'
