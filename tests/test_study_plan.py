"""What a study trains next follows from its records: trials, seeds, rivals, and what comes before."""
from dataclasses import replace

from studies import STEPS, STUDY, asked, record, results
from study_file import Method
from study_plan import best_rivals, due, plan
from study_records import Run
from study_time import core_hours, cost_table, gpu_hours, seconds_at


def done(*ends, seeds=(0, 1), iters=10):
    """Records by variant and what it has on the held-out set at its end."""
    return results(*(record(variant, seed, 30, end, iters) for variant, end in ends for seed in seeds)).runs


def names(planned):
    return [(one.stage, one.variant or one.method, one.iters, one.seed) for one in planned]


def test_at_first_all_trials_of_the_first_seed_and_what_is_known_of_the_rest_are_due():
    assert due(STUDY, {}) == [
        *(Run('width', trial, 10, 0) for trial in ('scratch', 'A 1', 'A 3', 'B', 'ours')),
        *(Run('width', trial, 10, 1) for trial in ('scratch', 'B', 'ours')),
        *(Run('width', name, 30, seed) for seed in (0, 1) for name in ('scratch', 'ours'))]
    assert ('seeds', 'A', 10, 1) in names(plan(STUDY, {})) and ('long', 'rival 2', 30, 0) in names(plan(STUDY, {}))


def test_the_trial_that_ends_highest_on_what_is_held_out_goes_on_whatever_the_test_sets_say():
    records = results(record('A 1', 0, 40, 25), record('A 3', 0, 20, 25.1)).runs
    assert Run('width', 'A 3', 10, 1) in due(STUDY, records)
    assert not any(run.variant == 'A 1' for run in due(STUDY, records))


def test_a_trial_is_chosen_by_the_first_seed_only_when_all_trials_are_done():
    assert not any(run.variant == 'A 1' and run.seed for run in due(STUDY, done(('A 1', 25), seeds=[0])))


def test_the_best_rivals_by_the_mean_over_all_seeds_train_for_the_second_length():
    records = done(('A 1', 25), ('A 3', 24), ('B', 24.5))
    assert best_rivals(STUDY, 'width', records) == ['A']
    assert Run('width', 'A 1', 30, 0) in due(STUDY, records)
    records[Run('width', 'A 1', 10, 1)]['watched']['heldout']['10'] = 20.
    assert best_rivals(STUDY, 'width', records) == ['B']
    del records[Run('width', 'B', 10, 1)]
    assert best_rivals(STUDY, 'width', records) == [None]


def test_a_trial_that_ends_higher_at_the_second_length_goes_on_there():
    records = done(('A 1', 25), ('A 3', 24), ('B', 24.5)) | done(('A 1', 26), ('A 3', 27), seeds=[0], iters=30)
    assert Run('width', 'A 3', 30, 1) in due(STUDY, records)
    assert not any(run.variant == 'A 1' for run in due(STUDY, records))
    del records[Run('width', 'A 1', 30, 0)]  # the best of the first length has not been trained for it
    assert not any(run.variant == 'A 3' for run in due(STUDY, records)) and Run('width', 'A 1', 30, 0) in due(
        STUDY, records)


def test_a_plan_has_as_many_runs_whatever_is_known():
    records = done(('A 1', 25), ('A 3', 24), ('B', 24.5), ('scratch', 1), ('ours', 30))
    assert len(plan(STUDY, {})) == len(plan(STUDY, records)) == 5 + 4 + 6
    left = [one for one in plan(STUDY, records) if one.run not in records]
    assert [one.stage for one in left] == ['long'] * 6


def test_a_method_is_of_its_kinds_alone_and_ablations_are_of_the_first():
    two = replace(STUDY, kinds={'width': {}, 'depth': {}}, ablations={'C': Method({'C': {}})},
                  methods={**STUDY.methods, 'B': Method({'B': {}}, kinds=frozenset(['depth']))})
    found = plan(two, {})
    assert {one.kind for one in found if one.variant == 'B'} == {'depth'}
    assert {one.kind for one in found if one.stage == 'ablations'} == {'width'}
    assert not any(one.stage == 'ablations' for one in plan(two.only(['depth'], None), {}))


def test_an_ablation_can_be_asked_for_by_its_name():
    two = replace(STUDY, kinds={'width': {}, 'depth': {}}, ablations={'C': Method({'C': {}}), 'D': Method({'D': {}})})
    assert names(plan(two.only(None, ['D']), {})) == [('ablations', 'D', 10, 0), ('ablations', 'D', 10, 1)]
    assert not plan(two.only(['depth'], ['D']), {})
    assert {one.method for one in plan(two.only(None, ['B', 'D']), {})} == {'B', 'D', 'rival 0'}


def test_records_of_the_width_pair_that_name_no_kind_are_used():
    assert Run('width', 'scratch', 10, 0) not in due(STUDY, results(record('scratch', 0, 30)).runs)
    assert Run('width', 'scratch', 10, 0) in due(STUDY, results(record('scratch', 0, 30, kind='depth')).runs)


def test_students_that_start_from_those_of_another_scale_wait_for_them():
    paper = asked(preset='paper', kinds=['EDSR_x2', 'EDSR_x4', 'RCAN_x4'], variants=['FAKD'])
    assert [run.kind for run in due(paper, {})] == ['EDSR_x2', 'RCAN_x4']
    first = due(paper, {})[0]
    assert [run.kind for run in due(paper, {first: {}})] == ['EDSR_x4', 'RCAN_x4']


def test_time_goes_by_the_steps_of_each_half_of_the_training():
    assert [seconds_at(STEPS[1], 100, at) for at in (0, 25, 50, 100)] == [0, 75, 150, 200]


def test_the_cost_is_in_core_hours_of_measured_steps_and_says_what_is_not_known():
    found = results(*STEPS)
    planned = {one.method: one for one in plan(STUDY, {}) if one.stage in ('grid', 'long')}
    assert core_hours(planned['scratch'], found) == 30 * 1 * 2 / 3600
    assert core_hours(planned['rival 2'], found) == 30 * (1 + 2 + 2) / 3 * 2 / 3600
    assert core_hours(planned['ours'], found) is None
    assert '| width | grid | 5 | 50 | 0.0 + ? |' in cost_table(plan(STUDY, {}), found)


def test_operations_of_the_paper_make_an_estimate():
    small = replace(asked(preset='paper', kinds=['SwinIR_x4']), passes={'Scratch': [0, 3], 'Logits-KD': [1, 3]})
    small = replace(small, methods={name: small.methods[name] for name in small.passes})
    hours = gpu_hours(small, 100)
    # Networks of 856.9G and 120.5G multiply-accumulates at 256x256, so 1/28.4 of it at 48x48.
    share = 250_000 * 16 * 2e9 * (48 / 256)**2 / 1e14 / 3600
    assert abs(hours['SwinIR_x4', 'Scratch'] / (3 * 120.5 * share) - 1) < 0.02
    assert abs(hours['SwinIR_x4', 'Logits-KD'] / ((856.9 + 3 * 120.5) * share) - 1) < 0.02
