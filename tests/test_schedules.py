"""Learning rates over a whole training: what may change in a run that goes on, and what hardly fits its length."""
import pytest
import runs
from refusals import refusal
from test_resuming import asked, start, train

from mipkd_arch.base.errors import UserError
from mipkd_model.config.advice import advice
from mipkd_model.config.checks import check_options
from mipkd_model.experiments.methods import METHODS
from mipkd_model.experiments.option_files import text_of_training
from mipkd_model.experiments.runs import Run, parse_pair
from mipkd_model.run.resuming import resume_from_state
from mipkd_model.run.schedules import learning_rates

COSINE = {'type': 'CosineAnnealingRestartLR', 'periods': [2], 'restart_weights': [1], 'eta_min': 1e-6}
STEPS = {'type': 'MultiStepLR', 'milestones': [1, 50], 'gamma': 0.5}


@pytest.mark.parametrize('block, warm_up', [
    (COSINE, -1), ({**COSINE, 'periods': [3, 2, 4], 'restart_weights': [1, 0.5, 0.7]}, 2), (STEPS, -1), (STEPS, 3),
    ({**STEPS, 'type': 'MultiStepRestartLR', 'restarts': [0, 4], 'restart_weights': [1, 0.5]}, -1)])
def test_rates_are_those_that_a_training_has(tmp_path, block, warm_up):
    opt = runs.options(tmp_path, losses=['pixel_opt'], scheduler=block, warmup_iter=warm_up, total_iter=9,
                       optim_g={'type': 'SGD', 'lr': 1.})
    del opt['network_t']
    model, found = start(tmp_path, opt), []
    steps = 2 if block is COSINE else 9
    for iteration in range(1, steps + 1):
        model.update_learning_rate(iteration, warm_up)
        found.append(model.get_current_learning_rate()[0])
    assert learning_rates(block, warm_up, steps) == pytest.approx(found, rel=1e-12)


@pytest.fixture
def saved(tmp_path):
    def save(block):
        opt = runs.options(tmp_path, losses=['pixel_opt'], scheduler=block, total_iter=2)
        del opt['network_t']
        model = start(tmp_path, opt)
        train(model, 1, 2)
        model.save(0, 2)
        return asked(tmp_path, opt, tmp_path / '2.state')

    return save


@pytest.mark.parametrize('before, changes', [
    (COSINE, {'periods': [2, 5], 'restart_weights': [1, 0.5]}), (STEPS, {'milestones': [1, 7, 90]}),
    (STEPS, {'milestones': [1]}), (STEPS, {'type': 'MultiStepRestartLR'}), (STEPS, {'milestones': [1, 2]})])
def test_a_schedule_may_change_where_no_step_has_seen_it_yet(saved, before, changes):
    opt = saved(before)
    opt['train'].update(total_iter=7, scheduler={**before, **changes})
    resume_from_state(opt)
    assert opt['start_iter'] == 2


@pytest.mark.parametrize('before, changes', [
    (COSINE, {'periods': [7]}), (COSINE, {'eta_min': 1e-5}), (STEPS, {'milestones': [50]}), (STEPS, {'gamma': 0.4}),
    (STEPS, COSINE)])
def test_a_schedule_whose_past_would_be_another_is_refused_by_name(saved, before, changes):
    opt = saved(before)
    opt['train'].update(total_iter=2, scheduler={**before, **changes})
    assert refusal(resume_from_state, opt, kind=UserError).startswith('train.scheduler.')


def test_periods_that_are_too_short_for_a_longer_run_are_told_to_get_one_more(tmp_path):
    opt = runs.options(tmp_path, scheduler=dict(COSINE), total_iter=5)
    message = refusal(check_options, opt, True, kind=UserError)
    assert 'add a period, as in [2, 3], and a restart weight' in message


def of(**changes):
    train = {'total_iter': 1000, 'scheduler': {'type': 'MultiStepLR', 'milestones': [500]}, **changes.pop('train', {})}
    return advice({'model_type': 'MiPKDModel', 'train': train, 'val': {'val_freq': 100, **changes.pop('val', {})},
                   'logger': {'print_freq': 100, 'save_checkpoint_freq': 100, **changes}})


@pytest.mark.parametrize('changes, says', [
    ({'train': {'scheduler': {'type': 'MultiStepLR', 'milestones': [1000, 2000]}}}, ': never reached are [1000, 2000]'),
    ({'train': {'scheduler': {'type': 'MultiStepLR', 'milestones': [500, 2000]}}}, ': never reached are [2000]'),
    ({'train': {'scheduler': {**COSINE, 'periods': [2000]}}}, 'does not come to the end of the last one'),
    ({'train': {'scheduler': {**COSINE, 'periods': [1000, 1000]}}}, 'does not come to the end of the last one'),
    ({'train': {'warmup_iter': 600}}, 'train.warmup_iter: 600, but train.total_iter is 1,000'),
    ({'train': {'metakd_opt': {'type': 'MetaKDLoss', 'every': 2000}}}, 'its networks stay as they were drawn'),
    ({'train': {'ema_decay': 0.9999}}, 'is an average over 10,000 steps'),
    ({'val': {'val_freq': 2000}}, 'measured at the end alone'), ({'save_checkpoint_freq': 2000}, 'before the end'),
    ({'print_freq': 2000}, 'no losses are logged')])
def test_what_does_not_fit_the_length_of_a_training_is_warned_of(changes, says):
    line, = of(**changes)
    assert says in line and line.split(': ')[0].split('.')[0] in ('train', 'val', 'logger')


def test_a_schedule_that_fits_is_not_warned_of():
    assert of(train={'warmup_iter': 100, 'ema_decay': 0.999}) == []
    assert of(train={'scheduler': {**COSINE, 'periods': [1000]}}) == []


def test_no_option_file_that_is_written_here_is_warned_of(tmp_path):
    import yaml
    for method in METHODS:
        text = text_of_training(Run(parse_pair('EDSR_x4'), method), tmp_path / 'x.yml')
        assert advice(yaml.safe_load(text)) == []
