"""CSD: a contrastive loss in the feature space of a classification network."""
from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F
from torchvision.models import vgg19

from mipkd_arch.base.arguments import checked
from mipkd_arch.base.errors import UserError
from mipkd_arch.base.option_types import Doc
from mipkd_arch.base.weights import load_weights

from basicsr.utils.registry import LOSS_REGISTRY

from .base import DistillLoss, DistillStep, LossWeight
from .bicubic_resize import bicubic

LAYERS = {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.}  # relu1_1 .. relu5_1 of VGG19, with their weights
VGG19 = 'experiments/pretrained_models/vgg19-dcbb9e9d.pth'


class VGGFeatures(nn.Module):
    """Features of VGG19 at ``LAYERS``, frozen, from torchvision's checkpoint ``weights``."""
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, weights: Path) -> None:
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

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (N, 3, H, W) in [0, 1], float32 -> list of features (N, C, H', W'), float32."""
        feature, features = (images - self.mean) / self.std, []
        # In full precision: student and teacher differ by hardly more than the rounding error of bfloat16.
        with torch.autocast(images.device.type, enabled=False):
            for i, layer in enumerate(self.features):
                feature = layer(feature)
                if i in LAYERS:
                    features.append(feature)
        return features


@LOSS_REGISTRY.register()
@checked('csd_opt')
class CSDLoss(DistillLoss):
    r"""Contrastive loss of CSD (Wang et al., Contrastive Self-Distillation, IJCAI 2021).

        l_csd = loss_weight * sum_l w_l * mean | V_l(T) - V_l(S) | / mean_n | V_l(B_n) - V_l(S) |

    with features V_l of VGG19 after relu1_1, .., relu5_1, weights w_l = 1/32, 1/16, 1/8, 1/4, 1, the images S and T
    of student and teacher (N, 3, H, W) in [0, 1], and as negatives B_n the bicubically upsampled inputs of n other
    images of the batch.

    Images are normalized as VGG19 was trained. The default weight is the original's 200, which is for a pixel loss in a
    range of 255. docs/baselines.md says what the original does otherwise.
    """
    needs_features = False
    min_batch = 2  # negatives are other images of the batch

    def __init__(self, *, loss_weight: LossWeight = 0.784, weights: Annotated[str | Path, Doc('a path'), Field(
            description='torchvision\'s checkpoint of VGG19, which `mipkd teacher get VGG19` fetches.')] = VGG19,
            num_negatives: Annotated[int, Field(ge=1, description='Negatives of each image, at most; a batch of N has '
                                                                  'N - 1.')] = 10) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.num_negatives = num_negatives
        file = Path(weights).expanduser()
        if not file.is_file():
            raise UserError(f'csd_opt.weights: {weights} is not there. Fetch it: mipkd teacher get VGG19')
        self.vgg = VGGFeatures(file)

    def forward(self, step: DistillStep) -> dict[str, torch.Tensor]:
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
