import pytest
import tiny
import torch

from mipkd_arch.student_arch import CompactStudent, EDSRStudent, RCANStudent, SwinIRStudent

from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.archs.swinir_arch import SwinIR
from basicsr.utils.registry import ARCH_REGISTRY

PAIRS = {'EDSR': (EDSRStudent, EDSR, tiny.EDSR_SIZES), 'RCAN': (RCANStudent, RCAN, tiny.RCAN_SIZES),
         'SwinIR': (SwinIRStudent, SwinIR, tiny.SWINIR_SIZES),
         'Compact': (CompactStudent, SRVGGNetCompact, {'num_feat': 8, 'num_conv': 2})}


def millions(network):
    return round(sum(p.numel() for p in network.parameters()) / 1e6, 2)


@pytest.mark.parametrize('student, upscale, count', [
    (EDSRStudent, 2, 2.55), (EDSRStudent, 3, 2.74), (EDSRStudent, 4, 2.70),
    (RCANStudent, 2, 5.02), (RCANStudent, 3, 5.21), (RCANStudent, 4, 5.17)])
def test_convolutional_students_have_the_papers_parameter_counts(student, upscale, count):
    with torch.device('meta'):
        assert millions(student(upscale=upscale)) == count


@pytest.mark.parametrize('upscale, count', [(2, 1.09), (3, 1.27), (4, 1.24)])
def test_swinir_students_have_the_papers_parameter_counts(upscale, count):
    assert millions(SwinIRStudent(upscale=upscale)) == count


@pytest.mark.parametrize('student, count', [(EDSRStudent, 2.70), (RCANStudent, 5.17), (SwinIRStudent, 1.24),
                                            (CompactStudent, 0.62)])
def test_students_are_for_x4_unless_told_otherwise(student, count):
    assert millions(student()) == count


def test_the_papers_edsr_teacher_has_its_parameter_count():
    with torch.device('meta'):
        assert millions(EDSR(3, 3, num_feat=256, num_block=32, upscale=4, res_scale=0.1)) == 43.09


def test_the_papers_rcan_teacher_has_its_parameter_count():
    with torch.device('meta'):
        assert millions(RCAN(3, 3, num_feat=64, num_group=10, num_block=20, upscale=4)) == 15.59


def test_the_papers_swinir_teacher_has_its_parameter_count():
    assert millions(SwinIR(img_size=48, embed_dim=180, depths=[6] * 6, num_heads=[6] * 6, window_size=8, mlp_ratio=2,
                           upscale=4, upsampler='pixelshuffle')) == 11.90


@pytest.mark.parametrize('name', PAIRS)
def test_a_student_has_the_keys_and_shapes_of_basicsrs_own_class(name):
    student, own, sizes = PAIRS[name]
    shapes = [{key: value.shape for key, value in cls(**sizes, upscale=4).state_dict().items()}
              for cls in (student, own)]
    assert list(shapes[0]) == list(shapes[1])
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize('name', PAIRS)
def test_weights_go_strictly_from_student_to_basicsrs_own_class_and_back(name):
    student, own, sizes = PAIRS[name]
    a, b, lq = student(**sizes, upscale=4).eval(), own(**sizes, upscale=4).eval(), torch.rand(1, 3, 16, 16)
    assert not torch.equal(a(lq), b(lq))
    b.load_state_dict(a.state_dict(), strict=True)
    assert torch.equal(a(lq), b(lq))
    student(**sizes, upscale=4).load_state_dict(b.state_dict(), strict=True)


@pytest.mark.parametrize('sizes', [{'upscale': 3}, {'res_scale': 0.5}, {'img_range': 1.},
                                   {'rgb_mean': (0.5, 0.4, 0.3)}])
@pytest.mark.parametrize('name', ['EDSR', 'RCAN'])
def test_every_keyword_of_a_convolutional_student_reaches_the_network(name, sizes):
    student, own, tiny_sizes = PAIRS[name]
    a, b, lq = student(**{**tiny_sizes, **sizes}), own(**{**tiny_sizes, **sizes}), torch.rand(1, 3, 6, 6)
    b.load_state_dict(a.state_dict(), strict=True)
    assert torch.equal(a(lq), b(lq))


@pytest.mark.parametrize('sizes', [{'upscale': 3}, {'num_conv': 1}, {'act_type': 'relu'}, {'act_type': 'leakyrelu'}])
def test_every_keyword_of_the_compact_student_reaches_the_network(sizes):
    sizes = {'num_feat': 8, 'num_conv': 2, **sizes}
    a, b, lq = CompactStudent(**sizes), SRVGGNetCompact(**sizes), torch.rand(1, 3, 6, 6)
    b.load_state_dict(a.state_dict(), strict=True)
    assert torch.equal(a(lq), b(lq))


@pytest.mark.parametrize('act_type', CompactStudent.SLOPES)
def test_what_differs_between_pixels_reaches_the_last_convolution_of_an_untrained_compact(act_type):
    def contrast(network):  # away from the borders, whose zeros make differences of their own
        features = [torch.rand(1, 3, 64, 64)]
        for module in network.body[:-1]:
            features.append(module(features[-1]))
        return [x[..., 20:-20, 20:-20].std((2, 3)).mean().item() for x in features]

    ours, theirs = (contrast(cls(act_type=act_type)) for cls in (CompactStudent, SRVGGNetCompact))
    assert ours[-1] > 0.1 * ours[0] and theirs[-1] < 1e-3 * theirs[0]


@pytest.mark.parametrize('sizes', [{'upscale': 3}, {'img_range': 255.}, {'mlp_ratio': 3.}, {'window_size': 8},
                                   {'img_size': 24}, {'upsampler': 'pixelshuffledirect'},
                                   {'resi_connection': '3conv'}, {'drop_path_rate': 0.9}])
def test_every_keyword_of_the_swinir_student_reaches_the_network(sizes):
    sizes = {**tiny.SWINIR_SIZES, **sizes}
    a, b, lq = SwinIRStudent(**sizes), SwinIR(**{'upscale': 4, **sizes}), torch.rand(4, 3, 24, 24)
    b.load_state_dict(a.state_dict(), strict=True)
    outputs = []
    for network in (a, b):
        torch.manual_seed(1)
        outputs.append(network.train()(lq))
    assert torch.equal(*outputs)


@pytest.mark.parametrize('student', [EDSRStudent, RCANStudent, SwinIRStudent, CompactStudent])
def test_an_unknown_keyword_is_refused(student):
    with pytest.raises(TypeError, match='num_feats'):
        student(num_feats=8)


@pytest.mark.parametrize('student', [EDSRStudent, RCANStudent, SwinIRStudent, CompactStudent])
def test_students_are_in_basicsrs_registry(student):
    assert ARCH_REGISTRY.get(student.__name__) is student
