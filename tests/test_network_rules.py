"""What networks want of their arguments: the option is named, and what is allowed."""
import pytest
import runs
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.config.checks import check_options
from mipkd_model.networks.build import make_network

from basicsr.utils.registry import ARCH_REGISTRY

EDSR = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 3}
SWINIR = {'type': 'SwinIRStudent', 'upscale': 2, 'embed_dim': 12, 'depths': [2, 2], 'num_heads': [2, 2]}
RULES = [
    ({**EDSR, 'upscale': 5}, 'upscale: 5 is neither a power of 2 nor 3'),
    ({**EDSR, 'type': 'RCAN', 'num_group': 1, 'squeeze_factor': 16}, 'squeeze_factor: 16 leaves no channel of'),
    ({**SWINIR, 'upsampler': 'nearest+conv'}, "upsampler: 'nearest+conv' is for upscale: 4 only, not 2"),
    ({**SWINIR, 'upsampler': 'pixelshufle'}, "upsampler: 'pixelshufle' is not known; allowed are 'pixelshuffle'"),
    ({**SWINIR, 'upsampler': ''}, "upsampler: '' is for images that keep their size, upscale: 1"),
    ({**SWINIR, 'upscale': 5}, 'upscale: 5 is neither a power of 2 nor 3, which pixelshuffle needs'),
    ({**SWINIR, 'resi_connection': '2conv'}, "resi_connection: '2conv' is not known; allowed are '1conv', '3conv'"),
    ({**SWINIR, 'embed_dim': 13}, 'embed_dim: 13 is not a multiple of num_heads: 2'),
    ({**SWINIR, 'num_heads': [2]}, 'num_heads: [2] has 1 numbers, but depths has 2'),
    ({**SWINIR, 'window_size': 7}, 'img_size: 48 is not a multiple of window_size: 7; take 49'),
    ({**SWINIR, 'type': 'SwinIR', 'upsampler': 'pixelshuffle', 'window_size': 8, 'ape': True}, 'ape: True ties the'),
    ({'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 3}, 'scale: 3 is not known; allowed are 1, 2, 4'),
    ({'type': 'MSRResNet', 'upscale': 8}, 'upscale: 8 is not known; allowed are 2, 3, 4'),
    ({'type': 'SRVGGNetCompact', 'act_type': 'gelu'}, "act_type: 'gelu' is not known; allowed are 'relu'"),
]


@pytest.mark.parametrize('label', 'gt')
@pytest.mark.parametrize('block, says', RULES, ids=[says for _, says in RULES])
def test_an_argument_that_a_network_cannot_have_is_named(tmp_path, block, says, label):
    opt = runs.options(tmp_path)
    opt[f'network_{label}'] = dict(block)
    assert refusal(check_options, opt, True, kind=UserError).startswith(f'network_{label}.{says}')


@pytest.mark.parametrize('block', [
    {**EDSR, 'upscale': 8}, {**SWINIR, 'upsampler': 'pixelshuffledirect', 'upscale': 5}, {**SWINIR, 'window_size': 64},
    {**SWINIR, 'upsampler': '', 'upscale': 1}, {**SWINIR, 'upsampler': 'nearest+conv', 'upscale': 4}], ids=str)
def test_what_a_network_can_have_is_not_refused(tmp_path, block):
    opt = runs.options(tmp_path)
    opt['network_g'] = dict(block)
    check_options(opt, True)
    make_network(opt, 'g')


class Picky:
    def __init__(self, *, low=1, high=2, depth=3, widths=(1, 2)):
        if low > high:
            raise ValueError('low is above high')
        [None] * depth
        range(*widths)
        if depth == 7:
            raise ValueError('7')


@pytest.fixture
def picky():
    ARCH_REGISTRY.register(Picky)
    yield lambda **arguments: refusal(make_network, {'network_g': {'type': 'Picky', **arguments}, 'path': {}}, 'g',
                                      kind=UserError)
    ARCH_REGISTRY._obj_map.pop('Picky')


def test_the_option_at_fault_is_found_of_any_class(picky):
    start = 'network_g: Picky refuses these options ('
    assert picky(depth=7, low=1) == f'{start}7); network_g.depth: 7 is at fault, and its default, 3, would do'
    assert picky(low=2, high=1).endswith('; low: 2 and high: 1 do not go together, and the default of one of them '
                                         'would do')
    assert picky(low=5, depth=7, high=4) == f'{start}low is above high)'


def test_whole_numbers_that_are_written_with_a_point_are_pointed_out(picky):
    assert picky(depth=4.0).endswith('network_g.depth: 4.0 is not of whole numbers: write 4')
    assert picky(widths=[1.0, 5]).endswith('network_g.widths: [1.0, 5] is not of whole numbers: write [1, 5]')
