"""DCTSwin, the aggregation network of MTKD (arXiv 2404.09571): one image out of those of several teachers.

Its plan is SwinIR's, at the size of lq, with one difference: a window's pixels are taken to the frequency domain by a
discrete cosine transform before the attention, and back after it, so that frequencies attend to each other.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr.archs.swinir_arch import Mlp, Upsample, WindowAttention, window_partition, window_reverse

from .staged_views import pad_to_multiple

WINDOW = 8
"""Side of the windows and of the transform, in pixels of lq."""
WIDTH_OF_UPSAMPLER = 64


def dct_basis(size: int = WINDOW) -> Tensor:
    """The orthonormal DCT-II as a matrix (size, size), float64: row k is frequency k, and the transpose is the inverse.

    D[k, n] = sqrt((1 if k == 0 else 2) / size) * cos(pi * (n + 1/2) * k / size)
    """
    n, k = torch.arange(size, dtype=torch.float64), torch.arange(size, dtype=torch.float64)[:, None]
    basis = (2 / size)**0.5 * torch.cos(math.pi * (n + 0.5) * k / size)
    basis[0] /= 2**0.5
    return basis


def transform_windows(windows: Tensor, basis: Tensor) -> Tensor:
    """Apply a matrix (8, 8) to the rows and columns of windows (B, 8, 8, C): ``dct_basis``, or back its transpose."""
    return torch.einsum('ui,vj,bijc->buvc', basis, basis, windows)


class DCTSwinLayer(nn.Module):
    """A Swin layer whose attention works on the frequencies of each window; features are (N, H, W, C).

    A shifted window may lie across the edge of the image. It has no attention mask: that would have to tell pixels
    apart, and each frequency is a sum over all pixels of the window.
    """
    basis: Tensor

    def __init__(self, num_feat: int, num_heads: int, mlp_ratio: float, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(num_feat)
        self.attn = WindowAttention(num_feat, (WINDOW, WINDOW), num_heads)
        self.norm2 = nn.LayerNorm(num_feat)
        self.mlp = Mlp(num_feat, int(num_feat * mlp_ratio))
        self.register_buffer('basis', dct_basis().float(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, H, W, C) -> (N, H, W, C); H and W are multiples of 8."""
        shifted = torch.roll(self.norm1(x), (-self.shift, -self.shift), (1, 2))
        windows = window_partition(shifted, WINDOW)  # (B, 8, 8, C)
        frequencies = transform_windows(windows, self.basis)
        attended = self.attn(frequencies.flatten(1, 2)).view_as(windows)
        windows = transform_windows(attended, self.basis.T)
        x = x + torch.roll(window_reverse(windows, WINDOW, *x.shape[1:3]), (self.shift, self.shift), (1, 2))
        return x + self.mlp(self.norm2(x))


class DCTSwinGroup(nn.Module):
    """Layers, every second one of shifted windows, a 3x3 convolution, and a skip connection around both."""

    def __init__(self, num_feat: int, depth: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(DCTSwinLayer(num_feat, num_heads, mlp_ratio, i % 2 * WINDOW // 2)
                                      for i in range(depth)))
        self.conv = nn.Conv2d(num_feat, num_feat, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, H, W, C) -> (N, H, W, C)."""
        return x + _last(self.conv(_first(self.layers(x))))


class DCTSwin(nn.Module):
    """The aggregation network; of the released size by its defaults: 1.09M, 1.32M and 1.34M at x2, x3 and x4.

    Args:
        num_images: how many images it makes one of.
        upscale: factor by which they are larger than lq, 2^n or 3.
        num_feat: channels of the body, a multiple of ``num_heads``.
        depths: layers of each group.
        skip: add a weighted mean of the images to what the network gives, so that a training starts near that and not
            from nothing. The weights, one an image, are the softmax of ``skip_weights``, which are trained.
    """

    def __init__(self, num_images: int, upscale: int, num_feat: int = 96, depths: Sequence[int] = (4, 4),
                 num_heads: int = 6, mlp_ratio: float = 2., skip: bool = False) -> None:
        super().__init__()
        self.upscale = upscale
        # A softmax, for weights that are free would follow the brightness of images, not which of them is right.
        self.skip_weights = nn.Parameter(torch.zeros(num_images)) if skip else None
        self.conv_first = nn.Conv2d(3 * num_images * upscale**2, num_feat, 3, 1, 1)
        self.norm_first = nn.LayerNorm(num_feat)
        self.groups = nn.Sequential(*(DCTSwinGroup(num_feat, depth, num_heads, mlp_ratio) for depth in depths))
        self.norm = nn.LayerNorm(num_feat)
        self.conv_after_body = nn.Conv2d(num_feat, num_feat, 3, 1, 1)
        self.conv_before_upsample = nn.Sequential(nn.Conv2d(num_feat, WIDTH_OF_UPSAMPLER, 3, 1, 1), nn.LeakyReLU())
        self.upsample = Upsample(upscale, WIDTH_OF_UPSAMPLER)
        self.conv_last = nn.Conv2d(WIDTH_OF_UPSAMPLER, 3, 3, 1, 1)
        for module in self.modules():  # as SwinIR begins
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """images (N, 3 * num_images, H, W) in [0, 1], concatenated on channels -> image (N, 3, H, W)."""
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, WINDOW * self.upscale)
        shallow = self.conv_first(F.pixel_unshuffle(padded, self.upscale))
        deep = self.norm(self.groups(self.norm_first(_last(shallow))))
        feature = self.conv_before_upsample(self.conv_after_body(_first(deep)) + shallow)
        image = self.conv_last(self.upsample(feature))[..., :height, :width]
        if self.skip_weights is None:
            return image
        weights = self.skip_weights.softmax(0).view(-1, 1, 1, 1)
        return image + (weights * images.unflatten(1, (-1, 3))).sum(1)


def _last(feature: Tensor) -> Tensor:
    return feature.permute(0, 2, 3, 1)


def _first(feature: Tensor) -> Tensor:
    return feature.permute(0, 3, 1, 2).contiguous()
