"""Inner steps in training runs: when they come, in which number format, over processes, and what is refused."""
from functools import partial

import methods
import pytest
import runs
import torch
import yaml
from processes import Processes, script, torchrun
from torch import nn
from torch.nn import functional as F

from mipkd_arch.staged_views import VIEWS, StagedView, register_view
from mipkd_model.base.randomness import StepRandom
from mipkd_model.run.states import read_state
from mipkd_model.training.compiling import compile_blocks
from mipkd_model.training.inner_step import run_inner_steps

from basicsr.utils.registry import ARCH_REGISTRY


def options(folder, batch=4, student=None, **block):
    torch.manual_seed(0)  # of the teacher, which is made anew each time
    opt = runs.options(folder, student=student, losses=['pixel_opt'], **block.pop('train', {}),
                       metakd_opt={'type': 'MetaKDLoss', 'every': 1, **block})
    opt['datasets']['train']['batch_size_per_gpu'] = batch
    return opt


def trained(opt, *iterations):
    """The model after steps of these iterations, and after which of them the KRNets had moved."""
    torch.manual_seed(0)
    model, moved = runs.model(opt), []
    for iteration in iterations:
        before = methods.snapshot(model.distiller.losses)
        torch.manual_seed(iteration)
        model.feed_data(runs.batch(4, side=8))
        model.optimize_parameters(iteration)
        if not methods.same(before, methods.snapshot(model.distiller.losses)):
            moved.append(iteration)
    return model, moved


def meta_gradient(model):
    return torch.cat([weight.grad.flatten() for weight in model.distiller.losses['metakd'].parameters()])


def test_the_krnets_are_trained_every_so_many_iterations_and_not_in_between(tmp_path):
    assert trained(options(tmp_path, every=3), *range(1, 8))[1] == [3, 6]


def test_they_have_a_learning_rate_of_their_own_and_other_losses_theirs(tmp_path):
    opt = options(tmp_path, meta_lr=0.02, train={'mixer_lr': 5e-4, 'fitnet_opt': {'type': 'FitNetLoss'}})
    model = runs.model(opt)
    rates = {id(weight): group['lr'] for group in model.optimizer_g.param_groups for weight in group['params']}
    for module, rate in ((model.net_g, 1e-3), (model.distiller.losses['fitnet'], 5e-4),
                         (model.distiller.losses['metakd'], 0.02)):
        assert {rates[id(weight)] for weight in module.parameters()} == {rate}


def test_there_is_no_inner_step_while_the_loss_has_no_weight(tmp_path):
    schedule = {'type': 'constant', 'start_factor': 0, 'end': 3, 'end_factor': 1}
    assert trained(options(tmp_path, schedule=schedule, train={'total_iter': 8}), *range(1, 7))[1] == [4, 5, 6]


def test_the_weight_of_an_inner_step_is_that_of_the_schedule(tmp_path):
    half = {'type': 'constant', 'start_factor': 0.5, 'end_factor': 0.5}
    gradients = [meta_gradient(trained(options(tmp_path, **block), 1)[0]) for block in (
        {'loss_weight': 2}, {'loss_weight': 4, 'schedule': half}, {'loss_weight': 4})]
    torch.testing.assert_close(gradients[0], gradients[1])
    assert not torch.allclose(gradients[0], gradients[2], rtol=0.1)


def test_a_student_that_learns_by_what_was_learned_differs_from_one_that_compares_at_random(tmp_path):
    students = [trained(options(tmp_path, meta_lr=rate), 1, 2)[0].net_g.state_dict() for rate in (0, 0.1)]
    assert not methods.same(*students)


# ---------------------------------------------------------------- how it is computed

def found_in(opt, precision, prepare=lambda model: None):
    """The meta-gradient of a step."""
    torch.manual_seed(0)
    model = runs.model({**opt, 'train': {**opt['train'], 'precision': precision}})
    prepare(model)
    model.feed_data(runs.batch(4))
    run_inner_steps(model.distiller, model.lq, model.gt, StepRandom(3, 1, model.device), 1, precision)
    return meta_gradient(model)


@pytest.mark.parametrize('family', runs.FAMILIES)
def test_an_inner_step_of_a_run_in_bfloat16_is_one_of_float32_on_the_teachers_rounded_features(tmp_path, family):
    opt = options(tmp_path)
    opt['network_g'] = dict(runs.FAMILIES[family])
    exact, rounded = found_in(opt, 'fp32'), found_in(opt, 'bf16')
    assert rounded.dtype == torch.float32 and not torch.equal(exact, rounded)
    # Features of 8 bits, 2**-8 of themselves: their differences keep the direction of the whole within some percent.
    assert F.cosine_similarity(exact, rounded, dim=0) > 0.97


def test_an_inner_step_of_compiled_networks_runs_their_blocks_as_they_are(tmp_path):
    def compiled(model):
        for view in model.distiller.views.values():
            compile_blocks(view, backend='aot_eager')  # whose blocks cannot be differentiated twice

    opt = options(tmp_path)
    exact, found = found_in(opt, 'fp32'), found_in(opt, 'fp32', compiled)
    torch.compiler.reset()
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-5 * exact.abs().max().item())


def test_steps_of_compiled_networks_train_on_after_an_inner_step(tmp_path):
    model = runs.model(options(tmp_path, every=2))
    for view in model.distiller.views.values():
        compile_blocks(view, backend='aot_eager')
    methods.train(model, 4)
    torch.compiler.reset()
    assert all(0 < value < float('inf') for value in model.get_current_log().values())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('second_order', [True, False])
def test_an_inner_step_on_cuda_gives_the_meta_gradient_of_the_cpu(tmp_path, second_order):
    opt = options(tmp_path, second_order=second_order)
    exact, found = (found_in({**opt, 'num_gpu': gpus}, 'fp32').cpu() for gpus in (0, 1))
    assert F.cosine_similarity(exact, found, dim=0) > 0.999


# ---------------------------------------------------------------- students that are hard to differentiate

class Once(torch.autograd.Function):
    """Has a first derivative alone."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * gradient


def attention(x):
    pixels = x.flatten(2).transpose(1, 2).unsqueeze(1)
    return F.scaled_dot_product_attention(pixels, pixels, pixels).squeeze(1).transpose(1, 2).view_as(x)


class Odd(nn.Module):
    """A student of x2 with an operation of one's own between two convolutions."""

    def __init__(self, operation='attention', upscale=2):
        super().__init__()
        self.head, self.body = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.tail = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2))
        self.operation = {'attention': attention, 'once': Once.apply}[operation]

    def forward(self, lq):
        return self.tail(self.operation(self.body(self.head(lq))))


@pytest.fixture
def odd(registered, tmp_path):
    """Makes options of a run with such a student, cut into as many stages as its blocks allow."""
    registered(ARCH_REGISTRY, Odd)
    register_view(Odd)(lambda network: StagedView(
        network, network.head, {'body': lambda x: network.operation(network.body(x)), 'end': lambda x: x},
        lambda deep, shallow: network.tail(deep), 8, 2))
    yield partial(options, tmp_path, train={'cuts_g': 1, 'cuts_t': 1})
    del VIEWS[Odd]


def test_attention_is_differentiated_twice(odd):
    found = found_in(odd(student={'type': 'Odd', 'upscale': 2}), 'fp32')
    assert found.isfinite().all() and found.abs().max() > 0


def test_a_student_without_second_derivatives_is_refused_and_trained_by_first_ones(odd):
    student = {'type': 'Odd', 'operation': 'once', 'upscale': 2}
    message = methods.refused(odd(student=student))
    assert message.startswith('train.metakd_opt.second_order: true, but Odd cannot be differentiated twice (')
    assert message.endswith('; set second_order: false')
    assert trained(odd(student=student, second_order=False), 1)[1] == [1]


# ---------------------------------------------------------------- what is refused

def test_a_batch_in_parts_or_of_one_sample_is_refused(tmp_path):
    parts = methods.refused(options(tmp_path, train={'accumulate': 2}))
    assert parts.startswith('train.accumulate: 2, but train.metakd_opt needs a batch in one piece; set accumulate: 1')
    alone = methods.refused(options(tmp_path, batch=1))
    assert alone.startswith('datasets.train.batch_size_per_gpu: 1, but train.metakd_opt') and 'at least 2' in alone


@pytest.mark.parametrize('option, value, hint', [
    ('kernels', 0, 'from 1 to 64'), ('every', 0, 'of at least 1'), ('every', 2.5, 'an integer'),
    ('meta_lr', -1, 'from 0 to 100'), ('inner_lr', 0, 'above 0'), ('second_order', 'yes', 'neither true nor false'),
    ('order', 2, "no such option")])
def test_a_wrong_option_is_one_line_that_names_it(tmp_path, option, value, hint):
    message = methods.refused(options(tmp_path, **{option: value}))
    assert message.startswith(f'train.metakd_opt.{option}: ') and hint in message


# ---------------------------------------------------------------- two processes

STEPS = 4
TOLERANCE = 1e-5
"""Of a weight, as in ``test_distributed.py``: a hundredth of a step of Adam."""


def run(folder, processes):
    """Weights after the steps of a run of so many processes."""
    opt = runs.smooth(options(folder, 4 // processes, meta_lr=1e-3, train={'total_iter': STEPS}))
    opt = {**opt, 'name': f'of_{processes}', 'val': None}
    opt['datasets'].pop('val')
    opt['logger'].update(print_freq=1, save_checkpoint_freq=STEPS)
    file = folder / f'{opt["name"]}.yml'
    file.write_text(yaml.safe_dump(opt, sort_keys=False))
    command = torchrun(script(folder), '-opt', file, processes=processes)
    Processes(folder / f'said_{processes}', [command]).must_end_well()
    return read_state(folder / f'experiments/{opt["name"]}/training_states/{STEPS}.state')['weights']


def test_two_processes_train_student_and_krnets_as_one_does(tmp_path):
    one, two = run(tmp_path, 1), run(tmp_path, 2)
    assert one.keys() == two.keys() == {'net_g', 'net_g_ema', 'net_losses'}
    start = runs.model(options(tmp_path, train={'total_iter': STEPS})).distiller.losses['metakd'].krnets
    assert len(one['net_losses']) == len(start.state_dict()) == 15
    for part, weights in one.items():
        for name, value in weights.items():
            torch.testing.assert_close(two[part][name], value, rtol=0, atol=TOLERANCE, msg=f'{part}.{name}')
