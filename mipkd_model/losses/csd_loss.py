"""CSD's contrastive loss: near the teacher's image, far from blurred ones, as a classification network sees them."""
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import vgg19

from mipkd_arch.base.errors import UserError, number_in

from basicsr.utils.registry import LOSS_REGISTRY

from ..base.weights import load_weights
from .base import DistillLoss
from .bicubic_resize import bicubic

LAYERS = {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.}  # relu1_1 .. relu5_1 of VGG19, with their weights
VGG19 = 'experiments/pretrained_models/vgg19-dcbb9e9d.pth'


class VGGFeatures(nn.Module):
    """Feature maps of VGG19 at ``LAYERS``; frozen.

    Args:
        weights (Path): torchvision's checkpoint of VGG19.
    """

    def __init__(self, weights):
        super().__init__()
        with torch.device('meta'):  # draws no random numbers for weights that are loaded anyway
            features = vgg19(weights=None).features[:max(LAYERS) + 1]
        self.features = features.to_empty(device='cpu')
        left, _ = load_weights(self, weights, strict=False)  # the file has the classifier too
        if left:
            raise UserError(f'csd_opt.weights: {weights}: is not VGG19 of torchvision, {left[0]} is missing or of '
                            'another shape. Fetch it: mipkd teacher get VGG19')
        self.requires_grad_(False)
        self.register_buffer('mean', torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer('std', torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))

    def forward(self, images):
        """Images (N, 3, H, W) in [0, 1], float32 -> list of maps (N, C, H', W'), float32."""
        feature, maps = (images - self.mean) / self.std, []
        # In full precision: student and teacher differ by hardly more than the rounding error of bfloat16.
        with torch.autocast(images.device.type, enabled=False):
            for i, layer in enumerate(self.features):
                feature = layer(feature)
                if i in LAYERS:
                    maps.append(feature)
        return maps


@LOSS_REGISTRY.register()
class CSDLoss(DistillLoss):
    r"""Contrastive loss of CSD (Wang et al., Contrastive Self-Distillation, IJCAI 2021).

        l_csd = loss_weight * sum_l w_l * mean | V_l(T) - V_l(S) | / mean_n | V_l(B_n) - V_l(S) |

    with features V_l of VGG19 after relu1_1, .., relu5_1, weights w_l = 1/32, 1/16, 1/8, 1/4, 1, the images S and T
    of student and teacher (N, 3, H, W) in [0, 1], and as negatives B_n the bicubically enlarged inputs of n other
    images of the batch.

    Differs from the original: there the student is a narrow part of the teacher and shares its weights, here both are
    networks of their own, and the teacher is frozen. Images are normalised as VGG19 was trained.

    Args:
        loss_weight (float): weight. Default: 0.784, which is the original's 200 for a pixel loss in a range of 255
            (200 / 255).
        weights (str): torchvision's checkpoint of VGG19. Default: where ``mipkd teacher get VGG19`` puts it.
        num_negatives (int): negatives of each image, at most; a batch of N has N - 1. Default: 10.
    """
    needs_features = False
    min_batch = 2  # negatives are other images of the batch

    def __init__(self, *, loss_weight=0.784, weights=VGG19, num_negatives=10):
        super().__init__()
        self.loss_weight = number_in('csd_opt.loss_weight', loss_weight, 0)
        self.num_negatives = num_negatives
        if not isinstance(num_negatives, int) or isinstance(num_negatives, bool) or num_negatives < 1:
            raise UserError(f'csd_opt.num_negatives: {num_negatives!r} is not a whole number of at least 1')
        file = Path(str(weights)).expanduser()
        if not file.is_file():
            raise UserError(f'csd_opt.weights: {weights} is not there. Fetch it: mipkd teacher get VGG19')
        self.vgg = VGGFeatures(file)

    def forward(self, step):
        blurred = bicubic(step.lq, *step.gt.shape[-2:])
        with torch.no_grad():
            positives, negatives = self.vgg(step.target), self.vgg(blurred)
        count = min(self.num_negatives, len(step.lq) - 1)
        terms = []
        for weight, own, positive, negative in zip(LAYERS.values(), self.vgg(step.output), positives, negatives,
                                                   strict=True):
            # Rolled by n, every image meets another one.
            far = torch.stack([F.l1_loss(own, negative.roll(n, 0)) for n in range(1, count + 1)]).mean()
            terms.append(weight * F.l1_loss(own, positive) / (far + 1e-7))
        return {'l_csd': self.loss_weight * torch.stack(terms).sum()}
