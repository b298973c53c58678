"""Students whose classes the spandrel library brings: SPAN, PLKSR, RealPLKSR, SAFMN and MoSR (MIT and Apache-2.0).

Each is spandrel's own class with the published sizes as defaults, so a trained student opens in spandrel, and so in
the programs that use it. Without spandrel the names are known, and building one says what to install.
"""
from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from basicsr.utils.registry import ARCH_REGISTRY

from .base.errors import UserError
from .student_arch import RGB_MEAN, AnyUpscale, Channels, Mean, Range, Width

try:
    from spandrel.architectures import PLKSR as plksr
    from spandrel.architectures import SAFMN as safmn
    from spandrel.architectures import SPAN as span
    from spandrel.architectures import MoSR as mosr
except ModuleNotFoundError:
    span = mosr = plksr = safmn = None

INSTALLED = span is not None
"""Whether spandrel is there."""
NAMES = ('SPAN', 'PLKSR', 'RealPLKSR', 'SAFMN', 'MoSR')
"""The types of these students."""
Blocks = Annotated[int, Field(ge=2, description='Blocks of the body.')]
Kernel = Annotated[int, Field(ge=1, description='Side of the large kernels; odd.')]
Split = Annotated[float, Field(gt=0, le=1, description='Fraction of the channels that the large kernels see.')]


def _base(package: Any, name: str) -> type[nn.Module]:
    """spandrel's class, or where spandrel is not installed one that cannot be built."""
    if package is not None:
        return getattr(package, name)

    class Missing(nn.Module):
        def __init__(self, **arguments: Any) -> None:
            raise UserError(f'network_g.type: {name} needs the spandrel library: pip install spandrel')

    return Missing


@ARCH_REGISTRY.register()
class SPAN(_base(span, 'SPAN')):  # type: ignore[misc]
    """SPAN (arXiv 2311.12770): six blocks with attention that has no weights.

    Its convolutions train as a sum of several, and are one convolution in eval mode. The weights of the latter are
    computed, not trained.
    """

    def __init__(self, *, num_in_ch: Channels = 3, num_out_ch: Channels = 3, feature_channels: Width = 48,
                 upscale: AnyUpscale = 4,
                 norm: Annotated[bool, Field(
                     description='Whether the mean is subtracted and the range applied.')] = True,
                 img_range: Range = 255., rgb_mean: Mean = RGB_MEAN) -> None:
        super().__init__(num_in_ch=num_in_ch, num_out_ch=num_out_ch, feature_channels=feature_channels,
                         upscale=upscale, norm=norm, img_range=img_range, rgb_mean=tuple(rgb_mean))
        for module in self.modules():
            if hasattr(module, 'eval_conv'):
                module.eval_conv.requires_grad_(False)


@ARCH_REGISTRY.register()
class PLKSR(_base(plksr, 'PLKSR')):  # type: ignore[misc]
    """PLKSR (arXiv 2404.11848): large kernels on a part of the channels. Tiny: 12 blocks, kernels of 13, no EA."""

    def __init__(self, *, dim: Width = 64, n_blocks: Blocks = 28, upscaling_factor: AnyUpscale = 4,
                 kernel_size: Kernel = 17, split_ratio: Split = 0.25,
                 use_ea: Annotated[bool, Field(description='Element-wise attention.')] = True) -> None:
        super().__init__(dim=dim, n_blocks=n_blocks, upscaling_factor=upscaling_factor, ccm_type='DCCM',
                         kernel_size=kernel_size, split_ratio=split_ratio, use_ea=use_ea)


@ARCH_REGISTRY.register()
class RealPLKSR(_base(plksr, 'RealPLKSR')):  # type: ignore[misc]
    """RealPLKSR: PLKSR with group norms, as it is trained for photographs. Tiny: 12 blocks, kernels of 13, no EA."""

    def __init__(self, *, dim: Width = 64, n_blocks: Blocks = 28, upscaling_factor: AnyUpscale = 4,
                 kernel_size: Kernel = 17, split_ratio: Split = 0.25,
                 use_ea: Annotated[bool, Field(description='Element-wise attention.')] = True,
                 norm_groups: Annotated[int, Field(ge=1, description='Groups of the norms.')] = 4,
                 dropout: Annotated[float, Field(ge=0, lt=1, description='Dropout before the last layer.')] = 0,
                 dysample: Annotated[bool, Field(description='DySample instead of a pixel shuffle.')] = False,
                 layer_norm: Annotated[bool, Field(description='Layer norms instead of group norms.')] = False) -> None:
        super().__init__(dim=dim, n_blocks=n_blocks, upscaling_factor=upscaling_factor, kernel_size=kernel_size,
                         split_ratio=split_ratio, use_ea=use_ea, norm_groups=norm_groups, dropout=dropout,
                         dysample=dysample, layer_norm=layer_norm)


@ARCH_REGISTRY.register()
class SAFMN(_base(safmn, 'SAFMN')):  # type: ignore[misc]
    """SAFMN (arXiv 2302.13800): spatially adaptive modulation of features at several scales."""

    def __init__(self, *, dim: Annotated[int, Field(description='Channels of the body; divisible by 4.')] = 36,
                 n_blocks: Blocks = 8,
                 ffn_scale: Annotated[float, Field(gt=0, description='Channels inside each block over dim.')] = 2.0,
                 upscaling_factor: AnyUpscale = 4) -> None:
        super().__init__(dim=dim, n_blocks=n_blocks, ffn_scale=ffn_scale, upscaling_factor=upscaling_factor)


@ARCH_REGISTRY.register()
class MoSR(_base(mosr, 'MoSR')):  # type: ignore[misc]
    """MoSR: gated convolutional blocks."""

    def __init__(self, *, in_ch: Channels = 3, out_ch: Channels = 3, upscale: AnyUpscale = 4, n_block: Blocks = 24,
                 dim: Width = 64,
                 upsampler: Annotated[Literal['ps', 'gps', 'dys'], Field(
                     description='Pixel shuffle, with geometric ensemble, or DySample.')] = 'ps',
                 drop_path: Annotated[float, Field(ge=0, lt=1, description='Stochastic depth.')] = 0.0,
                 kernel_size: Kernel = 7,
                 expansion_ratio: Annotated[float, Field(
                     gt=0, description='Channels inside each block over dim.')] = 1.5,
                 conv_ratio: Annotated[float, Field(
                     gt=0, le=1, description='Fraction of them that is convolved.')] = 1.0) -> None:
        super().__init__(in_ch=in_ch, out_ch=out_ch, upscale=upscale, n_block=n_block, dim=dim, upsampler=upsampler,
                         drop_path=drop_path, kernel_size=kernel_size, expansion_ratio=expansion_ratio,
                         conv_ratio=conv_ratio)


if INSTALLED:
    from . import spandrel_views  # noqa: F401  (registers the staged views of these classes)
