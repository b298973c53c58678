"""``benchmarks/floor.py``: what a step must do, against convolutions counted by hand and PyTorch's own counter."""
import argparse
import importlib.util
import json
from functools import partial
from itertools import product

import pytest
import runs
import tiny
import torch
from refusals import refusal
from torch.utils.flop_counter import FlopCounterMode

from mipkd_arch.base.errors import UserError

SPEC = importlib.util.spec_from_file_location('floor', runs.ROOT / 'benchmarks/floor.py')
floor = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(floor)

BATCH, SIDE, SCALE, LATENT = 2, 6, 2, 6
BLOCKS = [2, 1]  # residual blocks of each stage
WIDTH = {'student': 4, 'teacher': 8}
LOGITS = ['pixel_opt', 'kd_opt']
refused = partial(refusal, kind=UserError)


def options(losses, family='EDSR', student=None):
    """Options of a tiny training: what the counting looks at."""
    teacher = runs.FAMILIES[family]
    return {'scale': SCALE, 'network_g': {**teacher, **(student or {})}, 'network_t': teacher,
            'train': {'cuts_g': 2, 'cuts_t': 2, 'mixer_opt': {'latent': LATENT},
                      **{name: dict(runs.LOSSES[name]) for name in losses}}}


def edsr(losses):
    """A distiller of two EDSR that differ in width."""
    return floor.distiller_of(options(losses, student={'num_feat': WIDTH['student']}))


def conv(c_in, c_out, times, side=SIDE, kernel=3):
    """A convolution by hand: operations and bytes of all its passes.

    Each pass, forward, gradient of the input or gradient of the weights, has the same multiply-accumulates, and reads
    and writes input, output and weights or their gradients, 2 bytes a number.
    """
    weights, pixels = kernel * kernel * c_in * c_out, BATCH * side * side
    return times * 2 * weights * pixels, times * 2 * (weights + pixels * (c_in + c_out)), times


def body(role, stage, passes):
    width = WIDTH[role]
    after_body = stage == 1  # the last stage ends with the convolution after the body
    return [conv(width, width, passes * (2 * BLOCKS[stage] + after_body))]


def tail(role, passes):
    width = WIDTH[role]
    return [conv(width, 4 * width, passes), conv(width, 3, passes, SCALE * SIDE)]


def whole(role, passes, first):
    """A network; ``first`` is the passes of its first convolution, which makes no gradient for the image."""
    stages = body(role, 0, passes) + body(role, 1, passes)
    return [conv(3, WIDTH[role], first), *stages, *tail(role, passes)]


def coder(a, b, passes=3):
    return [conv(a, b, passes)]


def by_hand(route=None):
    """All convolutions of a step: of logits-KD, or of MiPKD on a route of two stages."""
    convs = whole('teacher', passes=1, first=1) + whole('student', passes=3, first=2)
    if route is None:
        return convs
    student, teacher = WIDTH['student'], WIDTH['teacher']
    for _ in range(3):  # positions
        convs += coder(student, LATENT) + coder(teacher, LATENT, passes=2)  # encoders; the teacher's maps are given
        convs += 2 * coder(LATENT, teacher)  # blend and auto-encoder
    if route[0] == 'student':  # the blend as a map of the teacher is there already
        convs += coder(LATENT, student)
    passes = {'student': 3, 'teacher': 2}  # the teacher's weights have no gradient
    convs += body(route[0], 0, passes[route[0]])
    convs += coder(WIDTH[route[0]], LATENT) + coder(LATENT, WIDTH[route[1]])
    return convs + body(route[1], 1, passes[route[1]]) + tail(route[1], passes[route[1]])


def summed(work, of):
    return sum(kind[of] * count for kind, count in work.items() if kind[0])


def check(work, convs):
    assert summed(work, 0) == sum(flops for flops, _, _ in convs)
    assert summed(work, 1) == sum(size for _, size, _ in convs)
    assert floor.figures(work, 1, 1)['products'] == sum(passes for _, _, passes in convs)


def test_logits_kd_of_edsr_costs_what_its_convolutions_do():
    check(floor.work_of_step(edsr(LOGITS), BATCH, SIDE), by_hand())


@pytest.mark.parametrize('route', [*product(('student', 'teacher'), repeat=2)], ids='-'.join)
def test_mipkd_of_edsr_costs_what_its_convolutions_do_on_each_route(route):
    check(floor.work_of_step(edsr(runs.LOSSES), BATCH, SIDE, route), by_hand(route))


def test_a_route_through_the_student_alone_costs_less_than_one_through_the_teacher_alone():
    student, teacher = (floor.figures(floor.work_of_step(edsr(runs.LOSSES), BATCH, SIDE, [role] * 2), 1, 1)
                        for role in ('student', 'teacher'))
    assert all(student[key] < teacher[key] for key in ('tflop', 'gb', 'floor_ms'))


def test_all_routes_are_those_of_as_many_stages():
    assert floor.routes_of(edsr(runs.LOSSES)) == list(product(('student', 'teacher'), repeat=2))
    assert floor.routes_of(edsr(LOGITS)) == [None]


def test_weights_are_updated_in_float32():
    distiller = edsr(LOGITS)
    work = floor.work_of_step(distiller, BATCH, SIDE)
    # weight and two moments read and written, gradient read; average read and written
    count = sum(p.numel() for p in tiny.edsr(SCALE, num_feat=WIDTH['student']).parameters())
    assert [size for flops, size in work if not flops] == [4 * (3 + 3 + 1 + 2) * count]


@pytest.mark.parametrize('family', ['RCAN', 'SwinIR'])
def test_operations_of_other_families_are_those_that_pytorch_counts(family):
    distiller = floor.distiller_of(options(runs.LOSSES, family))
    with FlopCounterMode(display=False) as counter:
        work = floor.work_of_step(distiller, BATCH, 16, ['student', 'teacher'])
    assert summed(work, 0) == counter.get_total_flops() > 0


def test_scores_of_attention_do_not_leave_the_chip():
    q, k, v = (torch.empty(3, 64, 10, device='meta') for _ in range(3))
    with floor.Products() as products:
        (q @ k.transpose(1, 2)) @ v
    assert products.work == {(2 * 3 * 64 * 64 * 10, 2 * 2 * q.numel()): 2}


def test_the_floor_takes_the_longer_of_both_times_of_each_product():
    work = {(10**12, 10**9): 1, (0, 5 * 10**9): 2}  # at 2 TFLOP/s and 10 GB/s: 500 and 100 ms; 0 and 500 ms
    assert floor.figures(work, 2, 10) == pytest.approx({'tflop': 1, 'gb': 11, 'products': 1, 'arithmetic_ms': 500,
                                                        'bytes_ms': 1100, 'floor_ms': 1500})


def test_the_documents_figures_are_those_of_the_code():
    lines = (runs.ROOT / 'benchmarks/floor.md').read_text().splitlines()
    cells = {line.split('|')[1].strip(): [cell.strip() for cell in line.strip('|').split('|')]
             for line in lines if line.startswith('|')}
    assert set(floor.PAPERS) < set(cells)
    assert cells['EDSR_x4'] == floor.row_of('EDSR_x4', floor.figures_of_pair(floor.parse_pair('EDSR_x4'), 16, 48, 989,
                                                                             3350))


def arguments(**changed):
    return argparse.Namespace(**{'pairs': ['EDSR_x4'], 'batch': 1, 'patch': 8, 'tflops': 1., 'gbs': 1., **changed})


@pytest.mark.parametrize('name, value, allowed', [
    ('batch', 0, 'an integer from 1 to 65536'), ('patch', 5000, 'an integer from 1 to 1024'),
    ('tflops', 0., 'a number from 0.001 to'), ('gbs', float('nan'), 'a number from 0.001 to')])
def test_a_number_out_of_range_is_refused(name, value, allowed):
    assert f'--{name}: {value} is not {allowed}' in refused(floor.measure, arguments(**{name: value}))


def test_a_pair_that_is_not_known_is_refused_before_any_is_counted(capsys):
    assert "'EDSR_x5' is not known (did you mean" in refused(floor.measure, arguments(pairs=['EDSR_x4', 'EDSR_x5']))
    assert capsys.readouterr().out == ''


def test_a_teacher_that_has_to_be_fetched_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert 'mipkd teacher get DAT_light_x4' in refused(floor.measure, arguments(pairs=['DAT_light-EDSR_x4']))


def test_the_last_line_has_all_figures_by_pair(capsys, monkeypatch):
    one = {'tflop': 1.23456789, 'gb': 2., 'products': 3, 'arithmetic_ms': 4., 'bytes_ms': 5., 'floor_ms': 6.}
    found = {'logits': one, 'mipkd': one, 'mipkd_over_logits': {'tflop': 1., 'gb': 1., 'floor_ms': 1.}}
    monkeypatch.setattr(floor, 'figures_of_pair', lambda *_: found)
    floor.measure(arguments(pairs=['EDSR_x4', 'RCAN_x2']))
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last['batch'], last['patch'], last['tflops'], last['gbs']) == (1, 8, 1, 1)
    rounded = {**one, 'tflop': 1.2346}
    assert last['pairs'] == dict.fromkeys(['EDSR_x4', 'RCAN_x2'], {**found, 'logits': rounded, 'mipkd': rounded})
