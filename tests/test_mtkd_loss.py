"""The wavelet loss of MTKD, against PyWavelets and a float64 sum written out from the formula."""
import pytest
import torch
from refusals import refusal
from steps import make_step

from mipkd_arch.base.errors import UserError
from mipkd_arch.prior_mixer import STUDENT, TEACHER
from mipkd_arch.staged_views import StagedOutput, whole_view
from mipkd_model.losses.mtkd_loss import WaveletLoss, haar, sub_bands

NO_NETWORK = torch.nn.Identity()


def images(seed, height=16, width=24):
    return torch.rand(2, 3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def step_of(student, teacher):
    """A step of these images (N, 3, 2 * H, 2 * W)."""
    views = {role: whole_view(NO_NETWORK, 2) for role in (STUDENT, TEACHER)}
    lq = torch.zeros(len(student), 3, *(side // 2 for side in student.shape[-2:]))
    return make_step(lq, views, passes={STUDENT: StagedOutput((), student), TEACHER: StagedOutput((), teacher)})


def by_hand(student, teacher, levels):
    """The sum over all sub-bands of mean absolute differences, pixel by pixel of each 2x2."""
    total = torch.zeros((), dtype=torch.float64)
    for level in range(levels):
        found = []
        for image in (student, teacher):
            a, b, c, d = (image[..., i::2, j::2] for i in (0, 1) for j in (0, 1))
            found.append([(a + b + c + d) / 2, (a + b - c - d) / 2, (a - b + c - d) / 2, (a - b - c + d) / 2])
        last = level == levels - 1
        total = total + sum((x - y).abs().mean() for x, y in list(zip(*found, strict=True))[0 if last else 1:])
        student, teacher = found[0][0], found[1][0]
    return total


def test_the_transform_is_the_haar_transform_of_pywavelets():
    pywt = pytest.importorskip('pywt')
    x = images(0)
    low, details = pywt.dwt2(x.numpy(), 'haar', axes=(-2, -1))
    for found, expected in zip(haar(x), (low, *details), strict=True):
        torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=1e-15)


def test_further_levels_are_those_of_pywavelets():
    pywt = pytest.importorskip('pywt')
    x = images(1)
    low, *levels = pywt.wavedec2(x.numpy(), 'haar', level=3, axes=(-2, -1))
    expected = [band for level in reversed(levels) for band in level] + [low]
    for found, band in zip(sub_bands(x, 3), expected, strict=True):
        torch.testing.assert_close(found, torch.from_numpy(band), rtol=0, atol=1e-14)


def test_the_transform_keeps_energy():
    x = images(2)
    assert torch.allclose(sum(band.square().sum() for band in sub_bands(x, 3)), x.square().sum())


@pytest.mark.parametrize('levels', [1, 2, 3])
def test_value_and_gradient_are_those_of_the_formula(levels):
    student, teacher = images(3).requires_grad_(), images(4)
    expected = 0.7 * by_hand(student, teacher, levels)
    wanted, = torch.autograd.grad(expected, student)
    found = WaveletLoss(loss_weight=0.7, levels=levels)(step_of(student, teacher))['l_wavelet']
    gradient, = torch.autograd.grad(found, student)
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)  # the step's images are float32
    torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-6 * wanted.abs().max().item())


def test_equal_images_cost_nothing():
    x = images(5)
    assert WaveletLoss()(step_of(x, x))['l_wavelet'] == 0


def test_the_sample_of_a_batch_that_differs_counts_whichever_it_is():
    x = images(6)
    losses = []
    for index in range(2):
        other = x.clone()
        other[index] = x[index] + 0.5
        losses.append(WaveletLoss()(step_of(x, other))['l_wavelet'].item())
    assert losses[0] == pytest.approx(losses[1]) == pytest.approx(0.5)  # half of the samples, and LL doubles a shift


@pytest.mark.parametrize('levels, size', [(1, (15, 16)), (3, (16, 20)), (4, (8, 16))])
def test_patches_that_a_level_cannot_halve_are_refused(levels, size):
    x = torch.rand(1, 3, *size)
    step = step_of(torch.rand(1, 3, 2 * ((size[0] + 1) // 2), 2 * ((size[1] + 1) // 2)), x)
    step.__dict__['output'] = x
    message = refusal(WaveletLoss(levels=levels), step, kind=UserError)
    assert message.startswith(f'mtkd_opt.levels: {levels} needs sides that are multiples of {2**levels}, and patches')


@pytest.mark.parametrize('options, message', [
    ({'levels': 0}, 'mtkd_opt.levels: 0 is not an integer from 1 to 12'),
    ({'level': 2}, "mtkd_opt.level: WaveletLoss has no such option (did you mean 'levels'?)"),
    ({'loss_weight': -1}, 'mtkd_opt.loss_weight: -1 is not a number of at least 0')])
def test_wrong_options_are_one_line(options, message):
    assert refusal(WaveletLoss, **options, kind=UserError).startswith(message)
