"""What each loss trains, and that the teacher stays as it is."""
import pytest
import runs
import tiny
import torch

from mipkd_arch.prior_mixer import STUDENT, TEACHER, chain, mix_features, restart

FAMILIES = ('EDSR', 'RCAN', 'SwinIR')


def step(model, iteration=1):
    model.feed_data(runs.batch())
    model.optimize_parameters(iteration)


def backward(model, iteration=1, only=None):
    """Losses and gradients of one step, of all losses or of one, without the optimizer."""
    from mipkd_model.base.randomness import StepRandom
    model.feed_data(runs.batch())
    losses = model.distiller(model.lq, model.gt, StepRandom(0, iteration, model.device))
    sum(value for name, value in losses.items() if only in (None, name)).backward()
    return losses


def reached(module):
    return sum(p.grad.abs().sum().item() for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize('loss', runs.LOSSES)
@pytest.mark.parametrize('family', FAMILIES)
def test_each_loss_alone_reaches_the_student(tmp_path, family, loss):
    model = runs.model(runs.options(tmp_path, family, losses=[loss]))
    backward(model)
    assert reached(model.net_g.conv_first) > 0


@pytest.mark.parametrize('family', FAMILIES)
def test_the_auto_encoder_term_alone_trains_the_mixers(tmp_path, family):
    model = runs.model(runs.options(tmp_path, family, losses=['feature_prior_opt']))
    backward(model, only='l_ae')
    for mixer in model.distiller.mixers:
        assert reached(mixer.encoders[TEACHER]) > 0 and reached(mixer.decoders[TEACHER]) > 0
    assert reached(model.net_g) == 0


def assembled(model, assembly, route):
    views = model.distiller.views
    lq = model.distiller.pad(model.lq)
    passes = {STUDENT: views[STUDENT].forward_features(lq), TEACHER: model.distiller.teacher_forward(lq)}
    masks = tiny.uniform(0)
    mixed = mix_features(model.distiller.mixers, passes[STUDENT], passes[TEACHER], masks)
    return assembly(views, model.distiller.mixers, passes, mixed, route, masks)


@pytest.mark.parametrize('family', FAMILIES)
def test_the_block_prior_reaches_the_student_through_frozen_teacher_blocks(tmp_path, family):
    model = runs.model(runs.options(tmp_path, family, losses=['block_prior_opt']))
    model.feed_data(runs.batch())
    assembled(model, chain, [STUDENT, TEACHER])[0].sum().backward()
    first_block = model.net_g.layers[0] if family == 'SwinIR' else model.net_g.body[0]
    last_block = model.net_g.layers[2] if family == 'SwinIR' else model.net_g.body[2]
    assert reached(first_block) > 0, 'the student ran stage 0, and only the teacher came after it'
    assert reached(last_block) == 0, "the student's stage 1 was not part of the route"
    assert reached(model.net_t) == 0


@pytest.mark.parametrize('assembly', [chain, restart])
def test_a_stack_of_teacher_blocks_alone_still_trains_the_students_head(tmp_path, assembly):
    model = runs.model(runs.options(tmp_path, losses=['block_prior_opt']))
    model.feed_data(runs.batch())
    route = [TEACHER] * (2 if assembly is chain else 3)
    assembled(model, assembly, route)[0].sum().backward()
    assert reached(model.net_g.conv_first) > 0


@pytest.mark.parametrize('family', FAMILIES)
def test_no_teacher_weight_changes_or_gets_a_gradient(tmp_path, family):
    model = runs.model(runs.options(tmp_path, family))
    before = {key: value.clone() for key, value in model.net_t.state_dict().items()}
    student = [p.clone() for p in model.net_g.parameters()]
    for iteration in range(1, 6):
        step(model, iteration)
    assert all(torch.equal(value, before[key]) for key, value in model.net_t.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in model.net_t.parameters())
    assert not all(torch.equal(a, b) for a, b in zip(student, model.net_g.parameters(), strict=True))


def test_the_teacher_is_in_no_state_dict_and_no_optimizer(tmp_path):
    model = runs.model(runs.options(tmp_path))
    optimized = {id(p) for group in model.optimizer_g.param_groups for p in group['params']}
    assert not any(id(p) in optimized for p in model.net_t.parameters())
    assert {key.split('.')[0] for key in model.distiller.state_dict()} == {'student', 'mixers'}
    assert {id(p) for p in model.distiller.parameters()} == optimized


def test_the_teacher_stays_in_eval_mode_with_its_drop_path_off(tmp_path):
    model = runs.model(runs.options(tmp_path, 'SwinIR'))
    model.distiller.train()
    step(model)
    assert not any(module.training for module in model.net_t.modules())
    lq = model.distiller.pad(model.lq)
    first, second = model.distiller.teacher_forward(lq).output, model.distiller.teacher_forward(lq).output
    assert torch.equal(first, second) and torch.equal(first, model.net_t(lq))


def test_the_students_drop_path_is_on_while_training(tmp_path):
    model = runs.model(runs.options(tmp_path, 'SwinIR'))
    model.feed_data(runs.batch())
    view = model.distiller.views[STUDENT]
    assert not torch.equal(view.forward_features(model.lq).output, view.forward_features(model.lq).output)


def test_a_loss_of_weight_zero_trains_as_if_it_were_absent(tmp_path):
    weights = []
    for losses, changes in ((['pixel_opt', 'kd_opt'], {}),
                            (list(runs.LOSSES), {'feature_prior_opt': {'type': 'FeaturePriorLoss', 'loss_weight': 0},
                                                 'block_prior_opt': {'type': 'BlockPriorLoss', 'loss_weight': 0}})):
        torch.manual_seed(1)
        opt = runs.options(tmp_path, losses=losses, **changes)
        torch.manual_seed(2)
        model = runs.model(opt)
        torch.manual_seed(3)
        for iteration in range(1, 4):
            step(model, iteration)
        weights.append([p.detach() for p in model.net_g.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_the_first_step_already_trains_every_weight_of_the_student(tmp_path, precision):
    model = runs.model(runs.options(tmp_path, precision=precision))
    step(model)
    assert [name for name, p in model.net_g.named_parameters() if p.grad is None] == []


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('family', FAMILIES)
def test_a_step_on_cuda_gives_the_losses_of_the_cpu(tmp_path, family):
    opt = runs.options(tmp_path, family, mixer_opt={'latent': 6, 'mask': 'grid'})
    opt['network_g'].update({'drop_path_rate': 0.} if family == 'SwinIR' else {})
    found = []
    for num_gpu in (0, 1):
        torch.manual_seed(0)
        model = runs.model({**opt, 'num_gpu': num_gpu})
        torch.manual_seed(1)
        step(model)
        found.append(model.get_current_log())
    assert found[1] == pytest.approx(found[0], rel=1e-3)
