"""What each loss asks of the student, and the log of it."""
import csv
from copy import deepcopy

import pytest
import runs
import torch

from mipkd_model.base.randomness import StepRandom
from mipkd_model.training.gradient_log import NAME, loss_gradients, read_gradients


def model_of(tmp_path, **train):
    opt = runs.options(tmp_path, precision='fp32', **train)
    opt['path']['experiments_root'] = str(tmp_path)
    return runs.model(opt)


def by_hand(model, lq, gt, iteration):
    """Gradients of the losses at the student, each by a backward pass of its own."""
    gradients = {}
    for name in model.distiller(lq, gt, StepRandom(model.opt['manual_seed'], iteration, model.device)):
        model.distiller.zero_grad()
        model.distiller(lq, gt, StepRandom(model.opt['manual_seed'], iteration, model.device))[name].backward()
        parts = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.net_g.parameters()]
        gradients[name] = torch.cat([part.flatten() for part in parts]).double()
    model.distiller.zero_grad()
    return gradients


@pytest.mark.parametrize('accumulate', [1, 2])
def test_norms_and_cosines_are_those_of_backward_passes_of_each_loss_alone(tmp_path, accumulate):
    model = model_of(tmp_path, accumulate=accumulate)
    batch = runs.batch()
    model.feed_data(batch)
    found, expected = loss_gradients(model.training_step, model.lq, model.gt, 5), by_hand(model, model.lq, model.gt, 5)
    assert list(found) == list(expected) == ['l_pix', 'l_kd', 'l_feat', 'l_ae', 'l_block']
    for name, gradient in expected.items():
        if name == 'l_ae':  # of the teacher's maps alone: it reaches the mixers, not the student
            assert found[name].norm == gradient.norm() == 0 and found[name].cosine != found[name].cosine
            continue
        cosine = torch.nn.functional.cosine_similarity(gradient, expected['l_pix'], dim=0)
        assert found[name].norm == pytest.approx(gradient.norm().item(), rel=1e-4)
        assert found[name].cosine == pytest.approx(cosine.item(), abs=1e-4)


@pytest.mark.parametrize('family', ['EDSR', 'SwinIR'])
def test_a_run_that_logs_gradients_comes_to_the_same_bits(tmp_path, family):
    opt, states = runs.options(tmp_path, family, total_iter=4), []  # SwinIR drops paths at random
    for every in (None, 2):
        opt['logger']['gradients'], opt['path']['experiments_root'] = every, str(tmp_path)
        torch.manual_seed(0)
        model = runs.model(deepcopy(opt))
        for iteration in (1, 2, 3, 4):
            torch.manual_seed(iteration)
            model.feed_data(runs.batch())
            model.optimize_parameters(iteration)
        states.append(model.distiller.state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert sorted({row[0] for row in read_gradients(tmp_path)}) == [2, 4]


def test_the_file_is_a_table_and_a_resumed_run_replaces_what_follows_its_start(tmp_path, log):
    model = model_of(tmp_path, losses=['pixel_opt', 'kd_opt'])
    model.opt['logger']['gradients'] = 1
    for iteration in (1, 2, 3, 2):
        model.feed_data(runs.batch())
        model.optimize_parameters(iteration)
    with (tmp_path / NAME).open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['iteration'], row['loss']) for row in rows] == [(i, name) for i in '12' for name in ('l_pix', 'l_kd')]
    assert all(-1 <= float(row['cosine']) <= 1 and float(row['norm']) > 0 for row in rows)
    assert 'Gradients at the student, iter 3: l_pix ' in log.text and '; l_kd ' in log.text


def test_without_a_pixel_loss_there_is_no_cosine(tmp_path):
    model = model_of(tmp_path, losses=['kd_opt'])
    model.feed_data(runs.batch())
    gradient, = loss_gradients(model.training_step, model.lq, model.gt, 1).values()
    assert gradient.norm > 0 and gradient.cosine != gradient.cosine
