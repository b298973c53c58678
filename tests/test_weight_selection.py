"""Weight selection: a student starts from a part of its teacher's weights."""
import methods
import pytest
import refusals
import runs
import tiny
import torch
from torch import nn

from mipkd_arch.base.errors import UserError
from mipkd_arch.size_probe import tolerance
from mipkd_arch.weight_selection import select_weights
from mipkd_model.networks.build import make_student

from basicsr.archs.srvgg_arch import SRVGGNetCompact


def silence(layer, channels):
    """Set all but the first output channels of a layer to 0."""
    with torch.no_grad():
        layer.weight[channels:] = 0
        layer.bias[channels:] = 0


def same_image(student, teacher):
    lq = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        expected = teacher.eval()(lq)
        return (student.eval()(lq) - expected).abs().max() <= tolerance(expected)


def test_a_narrow_student_is_its_teacher_where_the_other_channels_of_that_are_0():
    teacher, student = tiny.edsr(num_feat=12), tiny.edsr(num_feat=8)
    for layer in [teacher.conv_first, teacher.conv_after_body,
                  *(conv for block in teacher.body for conv in (block.conv1, block.conv2))]:
        silence(layer, 8)
    for layer in teacher.upsample:
        if isinstance(layer, nn.Conv2d):
            silence(layer, 8 * 4)
    select_weights(student, teacher)
    assert same_image(student, teacher)


@pytest.mark.parametrize('blocks, kept', [('first', (0, 1)), ('uniform', (0, 2))])
def test_a_shallow_student_is_its_teacher_where_the_other_blocks_of_that_do_nothing(blocks, kept):
    teacher, student = tiny.rcan(num_block=4), tiny.rcan(num_block=2)
    for group in teacher.body:
        for number, block in enumerate(group.residual_group):
            if number not in kept:
                block.res_scale = 0
    select_weights(student, teacher, blocks)
    assert same_image(student, teacher)


def test_networks_of_the_same_sizes_become_the_same():
    for name, make in tiny.NETWORKS.items():
        student, teacher = make(), make()
        select_weights(student, teacher)
        assert all(torch.equal(p, q) for p, q in zip(student.parameters(), teacher.parameters(), strict=True)), name


def test_attention_keeps_the_first_channels_of_each_head():
    teacher = tiny.swinir(embed_dim=12, depths=(2, 2), num_heads=(3, 3))  # 4 channels in each head
    student = tiny.swinir(embed_dim=6, depths=(2, ), num_heads=(2, ))  # 3
    select_weights(student, teacher)
    ours, theirs = (network.layers[0].residual_group.blocks[1].attn for network in (student, teacher))
    for part, head, channel in [(0, 0, 0), (1, 0, 2), (2, 1, 0), (2, 1, 2)]:
        row = theirs.qkv.weight[part * 12 + head * 4 + channel]
        assert torch.equal(ours.qkv.weight[part * 6 + head * 3 + channel], row[:6])
        assert ours.qkv.bias[part * 6 + head * 3 + channel] == theirs.qkv.bias[part * 12 + head * 4 + channel]
    assert torch.equal(ours.proj.weight[:, 3:6], theirs.proj.weight[:6, 4:7])  # of the second head
    assert torch.equal(ours.relative_position_bias_table, theirs.relative_position_bias_table[:, :2])
    assert student(torch.rand(1, 3, 8, 8)).isfinite().all()


REFUSED = {
    'another family': (lambda: (tiny.edsr(), tiny.rcan()), 'RCAN is of another family than EDSR; '),
    'a wider student': (lambda: (tiny.edsr(num_feat=12), tiny.edsr()), "conv_first.weight: is [12, 3, 3, 3], and the "
                        "teacher's [8, 3, 3, 3]"),
    'a deeper student': (lambda: (tiny.edsr(num_block=4), tiny.edsr()), 'body: has 4 parts, and the teacher 3; '),
    'another last layer': (lambda: (SRVGGNetCompact(num_feat=8, num_conv=2), SRVGGNetCompact(num_feat=8, num_conv=3)),
                           'body: has 7 parts, and the teacher 9; '),
    'another end': (lambda: (tiny.swinir(upsampler='pixelshuffledirect'), tiny.swinir()), 'SwinIR: has the parts'),
}


@pytest.mark.parametrize('case', REFUSED)
def test_networks_that_do_not_correspond_are_one_line_and_leave_the_student_alone(case):
    student, teacher = REFUSED[case][0]()
    before = methods.snapshot(student)
    assert REFUSED[case][1] in refusals.refusal(select_weights, student, teacher, kind=UserError)
    assert methods.same(before, methods.snapshot(student))


def selecting(folder, **train):
    """Options of a training whose student of 4 channels and 2 blocks starts from the teacher, of 8 and 3."""
    opt = methods.options(folder, weight_selection='uniform', **train)
    return {**opt, 'network_g': {**opt['network_g'], 'num_feat': 4, 'num_block': 2}}


def test_a_training_starts_from_the_selected_weights_and_keeps_no_teacher_that_no_loss_needs(tmp_path):
    model = runs.model(selecting(tmp_path))
    teacher = torch.load(tmp_path / 'teacher.pth', weights_only=True)['params']
    assert torch.equal(model.net_g.conv_first.weight, teacher['conv_first.weight'][:4])
    assert torch.equal(model.net_g.body[1].conv2.bias, teacher['body.1.conv2.bias'][:4])
    assert torch.equal(model.net_g_ema.conv_first.weight, model.net_g.conv_first.weight)
    assert model.net_t is None
    methods.train(model, 1)


def test_a_training_that_is_resumed_does_not_read_the_teacher_for_it_again(tmp_path):
    opt = selecting(tmp_path)
    opt['path'].update(resume_state='2.state', pretrain_network_t='not there.pth')
    assert make_student(opt)[1] is None


def test_a_selection_that_cannot_be_is_a_line_on_its_option(tmp_path):
    opt = selecting(tmp_path)
    opt['network_g'] = dict(runs.FAMILIES['RCAN'])
    assert methods.refused(opt).startswith('train.weight_selection: EDSR is of another family than RCAN; ')
    opt = selecting(tmp_path)
    opt['path']['pretrain_network_g'] = str(tmp_path / 'teacher.pth')
    assert methods.refused(opt) == (
        f'train.weight_selection: uniform and path.pretrain_network_g: {tmp_path / "teacher.pth"} both give initial '
        'weights of the student; set one of them to null')
    opt = {**selecting(tmp_path), 'network_t': None}
    assert methods.refused(opt) == 'network_t: missing; train.weight_selection: uniform takes weights of it'
