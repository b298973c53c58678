"""``mipkd profile``: multiply-accumulates against arithmetic by hand, memory and time of networks that are known."""
import argparse
import json
import statistics
from functools import partial

import ensembles
import pytest
import runs
import torch
import yaml
from refusals import refusal
from torch import nn

from mipkd_arch.base.errors import UserError
from mipkd_arch.dctswin import DCTSwin
from mipkd_model.commands import profile as command_module
from mipkd_model.experiments.networks import student_block, teacher_block
from mipkd_model.reports.profiling import profile as profile_module
from mipkd_model.reports.profiling.macs import network_cost
from mipkd_model.reports.profiling.profile import Target, Timing, measure_passes, parse_target

from basicsr.utils.registry import ARCH_REGISTRY

CPU = torch.device('cpu')
TINY = '{type: EDSRStudent, num_feat: 4, num_block: 1, upscale: 2}'
COMPACT = '{type: SRVGGNetCompact, num_in_ch: 3, num_out_ch: 3, num_feat: 8}'
CALLS = []
refused = partial(refusal, kind=UserError)


class Probe(nn.Module):
    """A network that a function of its own makes."""

    def __init__(self, kind='conv', name=''):
        super().__init__()
        self.kind, self.name = kind, name
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.strided = nn.Conv2d(8, 12, 5, stride=2, padding=2, groups=4)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer('mean', torch.zeros(10))

    def forward(self, lq):
        CALLS.append((self.name, tuple(lq.shape), self.training, torch.is_inference_mode_enabled(), lq.device.type))
        return getattr(self, self.kind)(lq)

    def convs(self, lq):
        return self.strided(self.conv(lq))

    def attend(self, lq):
        tokens = lq.new_zeros(1, 10, 16)
        return self.attention(tokens, tokens, tokens)[0]

    def fused(self, lq):
        tokens = lq.new_zeros(1, 2, 10, 8)
        return nn.functional.scaled_dot_product_attention(tokens, tokens, tokens)

    def looking(self, lq):
        feature = self.conv(lq)
        return feature if feature.mean().item() < 1e9 else lq

    def chain(self, lq):
        wide = torch.cat([lq] * 4, 1)  # 4
        other = wide.relu()            # 8 of them at once, with ``wide``
        del wide
        both = other.neg()             # 8
        del other
        return both.mean(1)

    def in_place(self, lq):
        return lq.clone().relu_().neg_()  # 1

    def narrow(self, lq):
        CALLS.append(self.conv(lq).dtype)

    def full(self, lq):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2 GiB\nand more')


@pytest.fixture(autouse=True)
def probe(monkeypatch):
    monkeypatch.setattr(ARCH_REGISTRY, '_obj_map', {**ARCH_REGISTRY._obj_map, 'Probe': Probe})
    CALLS.clear()


def probe_target(kind, name='p'):
    return Target(name, 'network', {'type': 'Probe', 'kind': kind, 'name': name}, name)


def passes(*targets, size=(8, 6), device=CPU, **options):
    return measure_passes(list(targets), Timing(device=device, size=size, **{'rounds': 1, **options}))


def profiled(*arguments):
    """Run ``mipkd profile``."""
    parser = argparse.ArgumentParser()
    command_module.add(parser.add_subparsers())
    args = parser.parse_args(['profile', *map(str, arguments)])
    args.run(args)


def data(capsys, *arguments):
    capsys.readouterr()
    profiled(*arguments, '--json', '-')
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize('family, teacher, student', [
    ('EDSR', '3293.35', '207.28'), ('RCAN', '1043.2', '366.7'), ('SwinIR', '856.9', '120.5')])
def test_the_pairs_of_the_paper_have_the_papers_macs(family, teacher, student):
    for block, figure in ((teacher_block(family, 4)[0], teacher), (student_block(family, 4), student)):
        assert f'{network_cost(block).macs / 1e9:.{len(figure.partition(".")[2])}f}' == figure


def test_convolutions_are_counted_with_stride_and_groups_and_without_biases():
    # 3x3 from 3 to 8 channels at 8x6; 5x5 from 8 to 12 channels in 4 groups, so 2 in each, at 4x3
    assert network_cost({'type': 'Probe', 'kind': 'convs'}, (8, 6)).macs == 8 * 6 * 8 * 3 * 9 + 4 * 3 * 12 * 2 * 25


def test_parameters_are_all_of_them_and_no_buffers():
    convs, attention = 8 * 3 * 9 + 8 + 12 * 2 * 25 + 12, 3 * 16 * 16 + 3 * 16 + 16 * 16 + 16
    assert network_cost({'type': 'Probe', 'kind': 'convs'}, 8).parameters == convs + attention + 1


def test_an_ensemble_costs_what_its_teachers_cost_and_their_aggregation(tmp_path):
    block = ensembles.block(tmp_path, 'EDSR', 'RCAN')
    parts = [{name: value for name, value in one.items() if name != 'file'} for one in block['teachers'].values()]
    aggregator = DCTSwin(2, 2, **ensembles.SIZES)
    assert network_cost(block).parameters == sum(network_cost(part).parameters for part in parts) + sum(
        p.numel() for p in aggregator.parameters())
    assert network_cost(block).macs > sum(network_cost(part).macs for part in parts)


@pytest.mark.parametrize('kind, macs', [
    ('fused', 2 * 2 * 10 * 10 * 8),                                # two products in each of two heads of 8
    ('attend', 10 * 16 * 16 * (3 + 1) + 2 * 2 * 10 * 10 * 8)])    # and those of q, k, v and the output
def test_attention_in_one_fused_operation_is_counted_too(kind, macs):
    assert network_cost({'type': 'Probe', 'kind': kind}).macs == macs


@pytest.mark.parametrize('height, width, feat, blocks', [(16, 16, 8, 3), (7, 11, 5, 1)])
def test_edsr_costs_what_its_formula_says(height, width, feat, blocks):
    block = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': feat, 'num_block': blocks, 'upscale': 4}
    body = 3 * feat + (2 * blocks + 1) * feat ** 2
    upsampler = 4 * feat ** 2 * (1 + 4)
    assert network_cost(block, (height, width)).macs == height * width * 9 * (body + upsampler + 16 * feat * 3)


def test_swinir_costs_what_its_formula_says_on_lq_padded_to_its_windows():
    block = {'type': 'SwinIR', 'upscale': 4, 'img_size': 16, 'embed_dim': 12, 'depths': [2, 3], 'num_heads': [2, 2],
             'window_size': 8, 'mlp_ratio': 2, 'upsampler': 'pixelshuffle'}
    dim, window = 12, 8 * 8
    linear = 3 * dim ** 2 + dim ** 2 + 2 * 2 * dim ** 2  # queries, keys, values; projection; MLP
    attention = 2 * window * dim
    convs = 9 * (3 * dim + 3 * dim ** 2 + dim * 64 + 4 * 64 ** 2 * (1 + 4) + 16 * 64 * 3)
    assert network_cost(block, (17, 8)).macs == 24 * 8 * (5 * (linear + attention) + convs)


def test_a_network_that_looks_at_values_is_really_run():
    assert network_cost({'type': 'Probe', 'kind': 'looking'}, 8).macs == 8 * 8 * 8 * 3 * 9
    assert len(CALLS) == 2


def test_counting_computes_nothing():
    assert network_cost(yaml.safe_load(TINY), 10 ** 6).macs > 1e12  # its maps would take 16 TB and more


def test_lq_has_the_channels_that_the_block_names():
    block = {'type': 'SRVGGNetCompact', 'num_in_ch': 1, 'num_out_ch': 1, 'num_feat': 4, 'num_conv': 1, 'upscale': 2}
    assert network_cost(block, 2).macs == 2 * 2 * 9 * (1 * 4 + 4 * 4 + 4 * 2 * 2)


def test_peak_memory_on_a_cpu_is_that_of_all_tensors_at_once():
    images, weights = 2 * 3 * 8 * 6, sum(p.numel() for p in Probe().parameters()) + 10
    peaks = [found['peak_bytes'] for found in passes(*map(probe_target, ('chain', 'in_place')), batch=2)]
    assert peaks == [4 * (weights + images + 8 * images), 4 * (weights + images + images)]


def test_networks_run_in_turn_on_the_same_input_as_in_use():
    found = passes(probe_target('convs', 'a'), probe_target('convs', 'b'), batch=2, rounds=3)
    assert [name for name, *_ in CALLS] == [*'aabb', *'ababab']  # first: to warm up, and for the memory
    assert {tuple(call) for _, *call in CALLS} == {((2, 3, 8, 6), False, True, 'cpu')}
    for one in found:
        assert len(one['ms_rounds']) == 3 and one['ms'] == statistics.median(one['ms_rounds']) > 0
        assert one['images_per_second'] == pytest.approx(2e3 / one['ms'])


@pytest.mark.parametrize('precision, dtype', [('fp32', torch.float32), ('bf16', torch.bfloat16)])
def test_the_precision_is_that_of_the_heavy_layers(precision, dtype):
    passes(probe_target('narrow'), precision=precision)
    assert {call for call in CALLS if isinstance(call, torch.dtype)} == {dtype}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_peak_memory_on_cuda_is_that_of_all_tensors_at_once():
    images, weights = 3 * 128 * 128, sum(p.numel() for p in Probe().parameters()) + 10
    one, other = passes(*map(probe_target, ('chain', 'in_place')), size=(128, 128), device=torch.device('cuda'))
    assert one['peak_bytes'] == 4 * (weights + images + 8 * images)
    assert other['peak_bytes'] == 4 * (weights + images + images)


def test_a_pair_is_its_teacher_and_its_student():
    targets = parse_target('SwinIR-EDSR_x3')
    found = [(target.role, target.block['type'], target.block['upscale']) for target in targets]
    assert found == [('teacher', 'SwinIR', 3), ('student', 'EDSRStudent', 3)]


def test_an_option_file_is_the_networks_it_names(tmp_path):
    stored = parse_target(str(runs.ROOT / 'options/train_MiPKD_x4.yml'))
    assert [(target.name, target.role, target.block) for target in stored] == [
        ('train_MiPKD_x4', 'teacher', teacher_block('EDSR', 4)[0]),
        ('train_MiPKD_x4', 'student', student_block('EDSR', 4))]
    (tmp_path / 'alone.yml').write_text(f'network_g: {TINY}')
    target, = parse_target(str(tmp_path / 'alone.yml'))
    assert target.role == 'student' and target.block == yaml.safe_load(TINY)
    (tmp_path / 'none.yml').write_text('datasets: {}')
    assert 'none.yml: has no network_g; ' in refused(parse_target, str(tmp_path / 'none.yml'))


def test_the_table_has_a_row_a_network_and_what_a_student_saves(capsys):
    profiled('EDSR_x4', COMPACT, '--no-time')
    teacher, student, block = (line.split() for line in capsys.readouterr().out.splitlines()[-3:])
    assert teacher == ['EDSR_x4', 'teacher', 'EDSR', '43.09', '3293.35']
    assert student == ['EDSR_x4', 'student', 'EDSRStudent', '2.70', '207.28', '16.0x', '15.9x']
    assert block[:3] == ['block', 'network', 'SRVGGNetCompact'] and len(block) == 5


def test_the_table_names_both_sizes_and_fits_into_120_columns(tmp_path, capsys):
    file = tmp_path / 'pair.yml'
    file.write_text(f'network_t: {TINY}\nnetwork_g: {TINY.replace("4", "2")}')
    profiled(file, '--size', 96, '--batch', 2, '--rounds', 2, '--device', 'cpu')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'MACs: LR 96x96' and 'LR 64x64, batch 2, fp32, 2 rounds, cpu, ' in lines[1]
    assert max(map(len, lines)) <= 120
    assert len(lines[-1].split()) == 11


def test_json_has_everything_exactly(tmp_path, capsys):
    file = tmp_path / 'pair.yml'
    small = TINY.replace('num_feat: 4', 'num_feat: 2')
    file.write_text(f'network_t: {TINY}\nnetwork_g: {small}')
    options = file, TINY, '--size', '8x6', '--rounds', 2
    profiled(*options, '--json', tmp_path / 'cost.json')
    for found in (json.loads((tmp_path / 'cost.json').read_text()), data(capsys, *options)):
        teacher, student, block = found['networks']
        assert found['lr_size'] == found['timing']['lr_size'] == [8, 6] and found['versions']['torch']
        assert {**block, 'target': 'pair', 'role': 'teacher'} == teacher  # the same network is measured once
        assert student['network'] == yaml.safe_load(small) and 'teacher_by_student' not in block
        assert student['teacher_by_student'] == {name: teacher[name] / student[name]
                                                 for name in ('parameters', 'macs', 'ms')}


def test_stdout_is_json_alone_where_basicsr_prints(capsys):
    found = data(capsys, COMPACT, '--no-time')
    assert found['format'] and found['timing'] is None and 'ms' not in found['networks'][0]


@pytest.mark.parametrize('arguments, message', [
    (['EDRS_x4'], "TARGET: 'EDRS_x4' is not known (did you mean 'EDSR_x4'?); allowed are <teacher>-<student>_x<scale>"),
    (['nothere.yml'], 'TARGET: nothere.yml: no such option file'),
    (['{type: EDRSStudent}'], "TARGET.type: no 'EDRSStudent' is registered (did you mean 'EDSRStudent'?); known are "),
    (['{type: EDSR, num_in_ch: 3'], "TARGET: '{type: EDSR, num_in_ch: 3': expected ',' or '}'"),
    (['{type: [EDSR]}'], "TARGET.type: no ['EDSR'] is registered"),
    (['{type: EDSRStudent, num_feats: 4}'], 'TARGET.num_feats: EDSRStudent has no such option (did you mean '),
    (['{type: EDSRStudent, upscale: 5}'], 'TARGET: EDSRStudent refuses these options: upscale (scale 5 is not '),
    (['{type: RRDBNet, num_in_ch: 3, num_out_ch: 3, num_block: 1, scale: 2}', '--size', 9],
     'TARGET: RRDBNet fails on 1 x LR 9x9 (AssertionError)'),
    (['DAT_light-EDSR_x4'], 'DAT_light-EDSR_x4: network_t.file: experiments/pretrained_models/DAT_light_x4.pth is not '
                            'there. Fetch it: mipkd teacher get DAT_light_x4'),
    ([TINY, '--size', 0], "--size: '0' is not a size in LR pixels; allowed are N and HxW, such as 256 and 180x320"),
    ([TINY, '--time-size', '-8'], "--time-size: '-8' is not a size"),
    ([TINY, '--batch', 0], '--batch: 0 is not an integer of at least 1'),
    ([TINY, '--rounds', 0], '--rounds: 0 is not an integer of at least 1'),
    ([TINY, '--precision', 'fp16'], "--precision: 'fp16' is not known (did you mean 'bf16'?); allowed are 'fp32', "),
    ([TINY, '--device', 'gpu'], "--device: 'gpu' is not known (did you mean 'cpu'?); allowed are 'cpu'"),
    ([TINY, '--device', 'cuda:99'], "--device: 'cuda:99' is not known"),
    ([TINY, '--size', 8, '--time-size', 10 ** 7, '--device', 'cpu'],
     'TARGET: EDSRStudent needs more memory than cpu has for 1 x LR 10000000x10000000; take a smaller --time-size'),
])
def test_a_mistake_is_one_line_that_says_what_is_allowed(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(profiled, *arguments, '--json', 'cost.json').startswith(message)
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_is_not_there_or_has_no_room_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert refused(command_module.parse_device, 'cuda') == (
        "--device: 'cuda' is not known (did you mean 'cpu'?); allowed are 'cpu'")
    assert refused(passes, probe_target('full')) == (
        'p: Probe needs more memory than cpu has for 1 x LR 8x6; take a smaller --time-size or --batch')


def test_a_gpu_is_the_default_where_there_is_one_and_is_timed_at_the_size_of_the_macs(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    seen = []
    monkeypatch.setattr(profile_module, 'profile', lambda targets, size, timing: seen.append((size, timing)))
    monkeypatch.setattr(command_module, 'table', str)
    profiled(TINY)
    profiled(TINY, '--device', 'cuda:1', '--size', '90x80')
    profiled(TINY, '--device', 'cpu')
    assert [(size, timing.size, str(timing.device)) for size, timing in seen] == [
        ((256, 256), (256, 256), 'cuda'), ((90, 80), (90, 80), 'cuda:1'), ((256, 256), (64, 64), 'cpu')]
