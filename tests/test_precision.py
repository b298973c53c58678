"""Which number format a step runs in."""
import pytest
import refusals
import runs
import torch

from mipkd_arch.base.errors import UserError
from mipkd_model.training.precision import autocast, check_precision, float32_products, has_fast_bf16, uses_bf16

CPU = torch.device('cpu')


def test_a_step_in_bf16_keeps_weights_gradients_losses_and_averages_in_float32(tmp_path):
    model = runs.model(runs.options(tmp_path, precision='bf16'))
    model.feed_data(runs.batch())
    model.optimize_parameters(1)
    trained = list(model.distiller.parameters())
    assert {p.dtype for p in [*trained, *model.net_g_ema.parameters()]} == {torch.float32}
    assert {p.grad.dtype for p in trained if p.grad is not None} == {torch.float32}
    assert {loss.dtype for loss in model.loss_dict.values()} == {torch.float32}


def test_auto_is_bf16_where_the_hardware_has_it(monkeypatch):
    for has_it in (True, False):
        monkeypatch.setattr('mipkd_model.training.precision.has_fast_bf16', lambda device, has_it=has_it: has_it)
        assert uses_bf16('auto', CPU) is has_it
        assert uses_bf16('bf16', CPU) and not uses_bf16('fp32', CPU)


HAS_BF16 = {'avx512_bf16': True, 'amx_tile': False}


@pytest.fixture
def cpu(monkeypatch):
    """A function that plays a CPU: what PyTorch finds out about it, and variables of the environment."""
    def play(found=HAS_BF16, built=True, **variables):
        for name in ('ONEDNN_MAX_CPU_ISA', 'DNNL_MAX_CPU_ISA'):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(torch.cpu, 'get_capabilities', lambda: found, raising=False)
        monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: built)
        return has_fast_bf16(CPU)
    return play


def test_a_cpu_has_fast_bf16_by_either_of_its_extensions(cpu):
    assert cpu() and cpu({'avx512_bf16': False, 'amx_tile': True})
    assert not cpu({'neon': True}), 'as on other makes, and on older CPUs'


def test_a_pytorch_that_cannot_be_asked_in_public_is_asked_all_the_same(cpu, monkeypatch):
    cpu()
    monkeypatch.delattr(torch.cpu, 'get_capabilities')
    monkeypatch.setattr(torch.cpu, '_is_amx_tile_supported', lambda: False)
    for found in (True, False):
        monkeypatch.setattr(torch.cpu, '_is_avx512_bf16_supported', lambda found=found: found)
        assert has_fast_bf16(CPU) is found


@pytest.mark.parametrize('name', ['ONEDNN_MAX_CPU_ISA', 'DNNL_MAX_CPU_ISA'])
@pytest.mark.parametrize('cap, fast', [
    ('AVX2', False), ('avx512_core', False), ('AVX512_CORE_VNNI', False), ('SSE41', False), ('AVX2_VNNI_2', False),
    ('AVX512_CORE_BF16', True), ('AVX512_CORE_AMX', True), ('DEFAULT', True), ('', True), ('unheard of', True)])
def test_a_cap_that_makes_bf16_slow_makes_auto_float32(cpu, name, cap, fast):
    assert cpu(**{name: cap}) is fast and uses_bf16('auto', CPU) is fast
    assert uses_bf16('bf16', CPU), 'who asks for it gets it'


def test_the_newer_of_two_caps_is_the_one_that_counts(cpu):
    assert cpu(ONEDNN_MAX_CPU_ISA='AVX512_CORE_BF16', DNNL_MAX_CPU_ISA='AVX2')
    assert not cpu(ONEDNN_MAX_CPU_ISA='', DNNL_MAX_CPU_ISA='AVX2'), 'an empty one is none'


def test_without_onednn_bf16_is_not_fast(cpu):
    assert not cpu(built=False), 'a PyTorch that was built without it'
    with torch.backends.mkldnn.flags(enabled=False):
        assert not cpu()


def test_autocast_casts_for_bf16_alone():
    layer, x = torch.nn.Linear(2, 2), torch.rand(1, 2)
    for precision, dtype in (('bf16', torch.bfloat16), ('fp32', torch.float32)):
        with autocast(precision, CPU):
            assert layer(x).dtype == dtype


@pytest.mark.parametrize('precision, hint', [
    ('tf32', 'train.precision: tf32 is a format of GPUs')])
def test_a_precision_that_is_none_or_not_for_the_device_is_one_line(precision, hint):
    assert hint in refusals.refusal(check_precision, precision, CPU, kind=UserError)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
def test_float32_on_cuda_is_float32_unless_tf32_is_asked_for():
    device = torch.device('cuda')
    a, b = (torch.rand(512, 512, dtype=torch.float64, device=device) for _ in range(2))
    x, w = torch.rand(4, 64, 32, 32, device=device), torch.rand(64, 64, 3, 3, device=device)
    errors = {}
    for precision in ('fp32', 'bf16', 'tf32'):
        with float32_products(precision, device):
            product, map_ = a.float() @ b.float(), torch.conv2d(x, w)
        errors[precision] = [((product.double() - a @ b) / (a @ b)).abs().max().item(),
                             (map_.double() / torch.conv2d(x.double(), w.double()) - 1).abs().max().item()]
    assert max(errors['fp32'] + errors['bf16']) < 1e-5 < min(errors['tf32'])
