"""What BasicSR's networks need of their arguments, where they do not check it themselves, or only in other words.

Each rule takes all arguments of a network's block, those left to their defaults among them, and returns None, or the
name of the argument that is wrong and what to say of it.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mipkd_arch.base.arguments import parameters_of
from mipkd_arch.base.errors import UserError, shown

from basicsr.archs.ecbsr_arch import ECBSR
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srresnet_arch import MSRResNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.archs.swinir_arch import SwinIR

Arguments = Mapping[str, Any]
Mistake = tuple[str, str] | None
SWINIR_UPSAMPLERS = ('pixelshuffle', 'pixelshuffledirect', 'nearest+conv', '')


def _is_shuffled(upscale: Any) -> bool:
    """Whether BasicSR's ``Upsample`` can do that factor."""
    return isinstance(upscale, int) and upscale > 0 and (upscale == 3 or upscale & (upscale - 1) == 0)


def _shuffled(arguments: Arguments) -> Mistake:
    if not _is_shuffled(arguments['upscale']):
        return 'upscale', 'is neither a power of 2 nor 3, which it needs'
    return None


def _one_of(name: str, *allowed: Any) -> Callable[[Arguments], Mistake]:
    def rule(arguments: Arguments) -> Mistake:
        if arguments[name] not in allowed:
            return name, f'is not known; allowed are {", ".join(map(repr, allowed))}'
        return None

    return rule


def _squeezed(arguments: Arguments) -> Mistake:
    width, factor = arguments['num_feat'], arguments['squeeze_factor']
    if width // factor < 1:
        return 'squeeze_factor', f'leaves no channel of num_feat: {width}; take at most {width}'
    return None


def _upsampler(arguments: Arguments) -> Mistake:
    upsampler, upscale = arguments['upsampler'], arguments['upscale']
    remedy = 'take another upsampler' if upscale > 1 else "set upsampler: ''"
    if upsampler == 'nearest+conv' and upscale != 4:
        return 'upsampler', f'is for upscale: 4 only, not {upscale}; {remedy}'
    if upsampler == '' and upscale != 1:
        return 'upsampler', ('is for images that keep their size, upscale: 1, as with noise or JPEG artifacts; for '
                             f'upscale: {upscale} take pixelshuffle')
    if upsampler == 'pixelshuffle' and not _is_shuffled(upscale):
        return 'upscale', 'is neither a power of 2 nor 3, which pixelshuffle needs; pixelshuffledirect takes any'
    return None


def _groups(arguments: Arguments) -> Mistake:
    depths, heads, width = arguments['depths'], arguments['num_heads'], arguments['embed_dim']
    if len(depths) != len(heads):
        return 'num_heads', f'has {len(heads)} numbers, but depths has {len(depths)}; give one for each group'
    for count in heads:
        if width % count:
            return 'embed_dim', f'is not a multiple of num_heads: {count}; every head takes as many channels'
    return None


def _windows(arguments: Arguments) -> Mistake:
    side, window = arguments['img_size'], arguments['window_size']
    if isinstance(side, int) and side > window and side % window:
        return 'img_size', f'is not a multiple of window_size: {window}; take {side + -side % window}'
    return None


def _positions(arguments: Arguments) -> Mistake:
    if arguments['ape'] is True:
        return 'ape', f'ties the network to images of img_size: {arguments["img_size"]}; set false'
    return None


RULES: dict[type, tuple[Callable[[Arguments], Mistake], ...]] = {
    EDSR: (_shuffled, ),
    RCAN: (_shuffled, _squeezed),
    SwinIR: (_one_of('upsampler', *SWINIR_UPSAMPLERS), _one_of('resi_connection', '1conv', '3conv'), _upsampler,
             _groups, _windows, _positions),
    RRDBNet: (_one_of('scale', 1, 2, 4), ),
    MSRResNet: (_one_of('upscale', 2, 3, 4), ),
    SRVGGNetCompact: (_one_of('act_type', 'relu', 'prelu', 'leakyrelu'), ),
    ECBSR: (_one_of('act_type', 'prelu', 'relu', 'rrelu', 'softplus', 'linear'), ),
}


def check_rules(where: str, block: Arguments, kind: type) -> None:
    """Check the arguments of a network by the rules of its class and bases.

    Args:
        where: path of the block.
        block: ``type`` and arguments, of the right types.
        kind: the network's class.

    Raises:
        UserError: on the first argument that the network cannot have.
    """
    defaults = {name: parameter.default for name, parameter in parameters_of(kind).items()}
    arguments = {**defaults, **block}
    for rule in [rule for base in kind.__mro__ for rule in RULES.get(base, ())]:
        try:
            found = rule(arguments)
        except (KeyError, TypeError):  # a subclass has other arguments
            continue
        if found is not None:
            name, what = found
            raise UserError(f'{where}.{name}: {shown(arguments[name])} {what}')
