"""Which number format a step runs in."""
import pytest
import refusals
import runs
import torch

from mipkd_arch.errors import UserError
from mipkd_model.step.precision import autocast, check_precision, float32_products, uses_bf16

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
        monkeypatch.setattr('mipkd_model.step.precision.has_fast_bf16', lambda device, has_it=has_it: has_it)
        assert uses_bf16('auto', CPU) is has_it
        assert uses_bf16('bf16', CPU) and not uses_bf16('fp32', CPU)


def test_autocast_casts_for_bf16_alone():
    layer, x = torch.nn.Linear(2, 2), torch.rand(1, 2)
    for precision, dtype in (('bf16', torch.bfloat16), ('fp32', torch.float32)):
        with autocast(precision, CPU):
            assert layer(x).dtype == dtype


@pytest.mark.parametrize('precision, hint', [
    ('tf32', 'train.precision: tf32 is a format of GPUs'), ('fp16', "train.precision: 'fp16' is not"), (None, 'None')])
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
