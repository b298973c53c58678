"""Every option that makes steps faster, or smaller, gives the step that plain float32 gives."""
from copy import deepcopy

import pytest
import runs
import torch
from precision import FEW_ROUNDINGS
from torch.utils._python_dispatch import TorchDispatchMode

from mipkd_arch.prior_mixer import FeaturePriorMixer

PLAIN = {'precision': 'fp32', 'channels_last': False}
UNFUSED = {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99], 'fused': False, 'foreach': False}


def options(folder, family='EDSR', **train):
    """Options of MiPKD on batches of four samples; without random drop paths, which are drawn on the way."""
    opt = runs.smooth(runs.options(folder, family, **{**PLAIN, 'optim_g': UNFUSED, **train}))
    opt['datasets']['train']['batch_size_per_gpu'] = 4
    if family == 'SwinIR':
        opt['network_g']['drop_path_rate'] = 0.
    return opt


def trained(opt, steps=3, changed=lambda model: None):
    """Losses of each step, gradients of the last, and weights after it."""
    torch.manual_seed(5)  # the student does not begin as its teacher
    model = runs.model(deepcopy(opt))
    changed(model)
    torch.manual_seed(1)
    losses = []
    for iteration in range(1, steps + 1):
        model.feed_data(runs.batch(4))
        model.optimize_parameters(iteration)
        losses.append(model.get_current_log())
    gradients = torch.cat([p.grad.flatten() for p in model.net_g.parameters()])
    return losses, gradients, torch.cat([p.detach().flatten() for p in model.net_g.parameters()])


def assert_alike(found, expected):
    """To float32's precision: of its seven digits, tens of layers and sums of 2**15 distances leave four and more."""
    for ours, theirs in zip(found[0], expected[0], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    # A prior's L1 distance may still change the sign of some of its thousands of terms.
    assert (found[1] - expected[1]).norm() < 1e-3 * expected[1].norm()
    assert (found[2] - expected[2]).abs().max() < 1e-5, 'Adam moves a weight by 1e-3 in a step'


@pytest.mark.parametrize('family', runs.FAMILIES)
@pytest.mark.parametrize('change', [
    {'channels_last': True}, {'optim_g': {**UNFUSED, 'fused': True}}, {'accumulate': 2}, {'accumulate': 4},
    {'block_prior_opt': {'type': 'BlockPriorLoss', 'recompute': True}}], ids=str)
def test_a_step_is_that_of_plain_float32(tmp_path, family, change):
    opt = options(tmp_path, family)
    expected = trained(opt)
    found = trained(runs.smooth({**opt, 'train': {**opt['train'], **change}}))
    assert_alike(found, expected)


@pytest.mark.parametrize('family', runs.FAMILIES)
def test_a_step_in_bf16_is_near_that_of_plain_float32(tmp_path, family):
    opt = options(tmp_path, family)
    expected, found = (trained({**opt, 'train': {**opt['train'], 'precision': p}}, 1) for p in ('fp32', 'bf16'))
    assert_alike_in_bf16(found, expected)


def assert_alike_in_bf16(found, expected):
    assert found[0][0] == pytest.approx(expected[0][0], rel=FEW_ROUNDINGS['bf16'])
    # Some fifty layers, there and back, each round once more: sqrt(2 * 50) = 10 roundings of 2**-8 at random.
    assert (found[1] - expected[1]).norm() < 16 * 2**-8 * expected[1].norm()


def test_all_defaults_together_are_near_plain_float32_too(tmp_path):
    opt = options(tmp_path)
    fast = deepcopy(opt)
    for name in PLAIN:
        del fast['train'][name]
    fast['train']['optim_g'] = {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99]}
    fast = runs.smooth(fast)
    assert_alike_in_bf16(trained(fast, 1), trained(opt, 1))
    fast['train']['precision'] = 'fp32'  # the rest of them, for several steps
    assert_alike(trained(fast), trained(opt))


def test_a_recomputed_teacher_gives_the_same_to_the_last_bit(tmp_path):
    opt = options(tmp_path)
    again = deepcopy(opt)
    again['train']['block_prior_opt']['recompute'] = True
    assert torch.equal(trained(again)[2], trained(opt)[2])


def test_processes_exchange_gradients_once_in_a_step_of_several_parts(tmp_path):
    model, seen = runs.model(options(tmp_path, accumulate=4)), []
    model.training_step.all_reduce = lambda losses: seen.append(list(losses)) or losses
    model.training_step.world_size = 2
    model.feed_data(runs.batch(4))
    model.optimize_parameters(1)
    assert seen == [list(model.loss_dict)]


@pytest.mark.parametrize('assembly', ['chain', 'restart'])
def test_no_map_is_decoded_twice(tmp_path, monkeypatch, assembly):
    decoded = []
    decode = FeaturePriorMixer.decode
    monkeypatch.setattr(FeaturePriorMixer, 'decode',
                        lambda self, z, role: decoded.append((z.data_ptr(), role)) or decode(self, z, role))
    block = {'type': 'BlockPriorLoss', 'assembly': assembly, 'student_prob': 0.}
    trained(options(tmp_path, block_prior_opt=block), 1)
    assert len(decoded) == len(set(decoded))


def test_clipping_scales_all_gradients_down_to_the_norm_and_logs_what_it_was(tmp_path):
    opt = options(tmp_path)
    (log, ), plain, _ = trained(opt, 1)
    (clipped_log, ), clipped, _ = trained({**opt, 'train': {**opt['train'], 'grad_clip': 1e-3}}, 1)
    assert 'grad_norm' not in log
    factor = 1e-3 / clipped_log['grad_norm']
    assert factor < 1
    torch.testing.assert_close(clipped, factor * plain, rtol=1e-4, atol=0)


def test_gradients_below_the_norm_stay_as_they_are(tmp_path):
    opt = options(tmp_path)
    (log, ), plain, _ = trained(opt, 1)
    (clipped_log, ), clipped, _ = trained({**opt, 'train': {**opt['train'], 'grad_clip': 1e6}}, 1)
    assert torch.equal(clipped, plain)
    assert clipped_log['grad_norm'] >= plain.norm()


class HostWaits(TorchDispatchMode):
    """Collects the operations that make a host wait for its GPU, or send it values that it has just made."""
    NAMES = ('_local_scalar_dense', 'nonzero', 'masked_select', 'equal', 'unique', 'lift_fresh')

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function.name()
        by_mask = name == 'aten::index.Tensor' and any(i is not None and i.dtype == torch.bool for i in args[1])
        if by_mask or any(part in name for part in self.NAMES):
            self.found.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize('method', [None, *['fitnet', 'at', 'rkd', 'fakd', 'crosskd', 'dukd', 'metakd']])
@pytest.mark.parametrize('mask', ['random3d', 'grid', 'similarity'])
def test_a_step_never_waits_for_the_device(tmp_path, method, mask):
    import methods
    opt = methods.options(tmp_path, *([method] if method else []), losses=tuple(runs.LOSSES), grad_clip=1.,
                          mixer_opt={'latent': 6, 'mask': mask})
    model = methods.train(runs.model(opt), 1)
    model.guard.synchronous = False  # as on a GPU
    model.feed_data(methods.batches()[1])
    with HostWaits() as waits:
        model.optimize_parameters(2)
    assert waits.found == []
    with HostWaits() as waits:
        model.get_current_log()
    assert waits.found == [], 'all losses come in one transfer, which is no operation on tensors'


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('family', runs.FAMILIES)
def test_a_step_on_cuda_never_waits_for_it(tmp_path, family):
    model = runs.model({**options(tmp_path, family, precision='auto', grad_clip=1.), 'num_gpu': 1})
    batches = [{name: value.pin_memory() for name, value in runs.batch(4).items()} for _ in range(3)]
    for iteration, batch in enumerate(batches, 1):
        torch.cuda.set_sync_debug_mode('error' if iteration == 3 else 'default')
        try:
            model.feed_data(batch)
            model.optimize_parameters(iteration)
        finally:
            torch.cuda.set_sync_debug_mode('default')


