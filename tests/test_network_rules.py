"""Arguments that a network cannot have are one line that begins with its block."""
import pytest
import runs
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.config.checks import check_networks, check_options
from mipkd_model.networks.build import make_network

EDSR = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 3}
SWINIR = {'type': 'SwinIRStudent', 'upscale': 2, 'embed_dim': 12, 'depths': [2, 2], 'num_heads': [2, 2]}


@pytest.mark.parametrize('block', [
    {**EDSR, 'upscale': 5}, {**SWINIR, 'upsampler': 'nearest+conv'}, {**SWINIR, 'upsampler': 'pixelshufle'},
    {**SWINIR, 'upsampler': ''}, {**SWINIR, 'resi_connection': '2conv'}, {**SWINIR, 'embed_dim': 13},
    {**SWINIR, 'num_heads': [2]}, {**SWINIR, 'window_size': 7},
    {**SWINIR, 'type': 'SwinIR', 'upsampler': 'pixelshuffle', 'window_size': 8, 'ape': True},
    {'type': 'MSRResNet', 'upscale': 8}, {'type': 'SRVGGNetCompact', 'act_type': 'gelu'}], ids=str)
def test_arguments_that_a_network_cannot_have_are_refused(tmp_path, block):
    opt = runs.options(tmp_path)
    opt['network_g'] = dict(block)

    def check():
        check_options(opt, True)
        check_networks(opt, True)

    assert refusal(check, kind=UserError).startswith('network_g')


@pytest.mark.parametrize('block', [
    {**EDSR, 'upscale': 8}, {**SWINIR, 'upsampler': 'pixelshuffledirect', 'upscale': 5}, {**SWINIR, 'window_size': 64},
    {**SWINIR, 'upsampler': '', 'upscale': 1}, {**SWINIR, 'upsampler': 'nearest+conv', 'upscale': 4}], ids=str)
def test_what_a_network_can_have_is_not_refused(tmp_path, block):
    opt = runs.options(tmp_path)
    opt['network_g'] = dict(block)
    check_options(opt, True)
    make_network(opt, 'g')
