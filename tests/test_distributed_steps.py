"""Steps of two processes, whatever the losses reach, and what processes tell each other."""
import json

import pytest
import runs
import yaml
from processes import Processes, torchrun

TEACHER_ALONE = {'type': 'BlockPriorLoss', 'student_prob': 0.}
CASES = {
    'teacher alone': {'train': {'block_prior_opt': TEACHER_ALONE}},
    'student alone': {'train': {'block_prior_opt': {**TEACHER_ALONE, 'student_prob': 1.}}},
    'restart': {'train': {'block_prior_opt': {'type': 'BlockPriorLoss', 'assembly': 'restart'}}},
    'recompute': {'train': {'block_prior_opt': {'type': 'BlockPriorLoss', 'recompute': True}, 'accumulate': 2}},
    'block prior alone': {'train': {'pixel_opt': None, 'kd_opt': None, 'feature_prior_opt': None,
                                    'block_prior_opt': TEACHER_ALONE, 'accumulate': 2}},
    'weight 0': {'train': {'feature_prior_opt': {'type': 'FeaturePriorLoss', 'loss_weight': 0},
                           'block_prior_opt': {'type': 'BlockPriorLoss', 'loss_weight': 0}}},
    'no auto-encoder': {'train': {'block_prior_opt': None,
                                  'feature_prior_opt': {'type': 'FeaturePriorLoss', 'autoencoder_weight': 0}}},
    'weights of a loss': {'train': {'block_prior_opt': None, 'feature_prior_opt': None,
                                    'fitnet_opt': {'type': 'FitNetLoss'}, 'crosskd_opt': {'type': 'CrossKDLoss'}}},
    'bf16': {'train': {'precision': 'bf16', 'dukd_opt': {'type': 'DUKDLoss'}}},
}


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    """What the two processes printed, and their run."""
    folder = tmp_path_factory.mktemp('steps')
    (folder / 'options.yml').write_text(yaml.safe_dump(runs.options(folder)))
    started = Processes(folder, [torchrun(runs.ROOT / 'tests/distributed_steps.py', folder / 'options.yml',
                                          json.dumps(CASES))])
    started.statuses = started.end()
    found = [json.loads(line.partition('found ')[2]) for line in started.said.splitlines()
             if line.startswith('found ')]
    assert len(found) == 2, started.said
    return sorted(found, key=lambda one: one['place']['rank']), started


def test_each_process_knows_its_place_and_the_seed_of_all(two):
    (first, second), _ = two
    assert [(one['place']['dist'], one['place']['rank'], one['place']['world_size']) for one in (first, second)] == [
        (True, 0, 2), (True, 1, 2)]
    assert first['place']['manual_seed'] == second['place']['manual_seed']


@pytest.mark.parametrize('case', CASES)
def test_weights_losses_and_routes_stay_alike_whatever_a_step_reaches(two, case):
    for one in two[0]:
        found = one['cases'][case]
        assert found['weights'] and found['losses'] and found['routes'] and found['finite']
        assert found == two[0][0]['cases'][case]


def test_the_cases_do_take_the_ways_that_they_are_named_after(two):
    found = two[0][0]['cases']
    assert found['teacher alone']['drawn'] == 2 * [['teacher', 'teacher']]
    assert found['student alone']['drawn'] == 2 * [['student', 'student']]
    assert found['weight 0']['drawn'] == [] and found['weight 0']['none'] == []
    assert len(found['recompute']['drawn']) == 4


def test_weights_that_no_process_reaches_stay_without_a_gradient(two):
    found = two[0][0]['cases']
    assert any(name.startswith('student.conv_last') for name in found['block prior alone']['none'])
    assert any('decoders.student' in name for name in found['no auto-encoder']['none'])


def test_gradients_losses_and_batch_norms_are_means_over_processes(two):
    for one in two[0]:
        assert one['uneven']['alike'] and one['uneven']['mean'] == 0.5
        assert one['uneven']['gradients'] == {'some.weight': 1.5, 'all.weight': 1.5, 'none.weight': None}
        assert one['uneven']['norm'] == pytest.approx(0.05)  # momentum 0.1 of the means 0 and 1


def test_objects_and_flags_are_gathered_from_all_ranks(two):
    for one in two[0]:
        assert one['any_rank'] == [False, True, True] and one['gathered'] == ['of 0', 'of 1']


def test_processes_that_differ_are_refused_before_they_wait_for_each_other(two):
    for one in two[0]:
        assert one['names'].startswith("train: losses: ['l_0'] on rank 0, and ['l_1'] on rank 1")
        assert one['differ'].startswith('train.lr: 0 on rank 0, and 1 on rank 1; start all')
        assert one['shapes'].startswith('network_g and its mixers: [((1, 1), ')


def test_all_ranks_leave_a_collective_or_none_and_the_first_that_failed_reports_it(two):
    (first, second), _ = two
    own, other = [1, 'error: mistake of 0\n'], [1, 'error: rank 1 of 2: mistake of 1\n']
    assert first['collective'] == [[None, ''], own, [1, ''], own]
    assert second['collective'] == [[None, ''], [1, ''], other, [1, '']]


def test_a_mistake_of_all_is_told_once(two):
    _, started = two
    assert started.statuses == [1] and started.errors == ['error: a mistake of all']
