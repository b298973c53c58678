"""Tables, figures and verdicts of a study come from its records alone."""
from dataclasses import replace

import pytest
from studies import STEPS, STUDY, record, results
from study_figure import draw_study
from study_file import Ordering
from study_report import by_method, iterations_to_base, reached_cell, report, variant_table, verdict
from study_time import seconds_at

from mipkd_arch.base.errors import UserError

RECORDS = [record('scratch', 0, 30.), record('scratch', 1, 30.2), record('A 1', 0, 31., 26), record('A 3', 0, 32., 25),
           record('ours', 0, 33., iters=30)]


def test_figures_are_of_the_second_length_with_those_of_the_first_beside_the_kinds():
    _, figures = report(STUDY, results(*RECORDS))
    assert figures == {
        'width': {'Set5': {'ours': {'psnr': 33., 'sd': None, 'seeds': 1}}},
        'short': {'width': {'Set5': {'scratch': {'psnr': 30.1, 'sd': 0.1414, 'seeds': 2},
                                     'A': {'psnr': 31., 'sd': None, 'seeds': 1}}}}}


def test_a_method_stands_with_the_trial_that_is_best_at_the_length():
    longer = [record('A 1', 0, 32., 27, iters=30), record('A 3', 0, 33., 28, iters=30)]
    found = results(*RECORDS, *longer)
    assert [by_method(STUDY, 'width', length, found)['A'][0] for length in STUDY.lengths] == ['A 1', 'A 3']
    found = results(*RECORDS, record('A 1', 1, 32., iters=30))
    assert by_method(STUDY, 'width', 30, found)['A'][0] == 'A 1'
    found = results(*RECORDS, longer[1])  # the best of the first length is still to come
    assert by_method(STUDY, 'width', 30, found)['A'][0] == 'A 3'


def test_tables_have_psnr_ssim_seeds_and_what_is_known_of_teacher_and_time():
    found = results(*RECORDS, *STEPS, record('teacher', 0, 35., iters=0))
    found.runs[next(iter(found.runs))]['psnr_teacher'] = {'Set5': 34.}
    text, _ = report(STUDY, found)
    assert text.splitlines()[:6] == [
        '### width, 10 iterations', '',
        '| PSNR on Y / SSIM | seeds | Set5 | heldout | to the teacher: Set5 | ms a step |',
        '| --- | --- | --- | --- | --- | --- |',
        '| teacher |  | 35.00 / 0.8000 | 33.00 |  |  |',
        '| scratch | 2 | 30.10 ± 0.14 / 0.8000 | 28.10 ± 0.14 | 34.00 | 1000 |']


def test_means_and_deviations_are_over_the_seeds_and_watched_sets_count_at_their_end():
    flat = replace(STUDY, lengths=(10, ), methods={name: STUDY.methods[name] for name in ('scratch', 'B')})
    text, found = variant_table(flat, results(record('scratch', 0, 30.), record('scratch', 1, 30.2),
                                              record('B', 0, 29.)))
    assert found['scratch'] == {'Set5': {'mean': 30.1, 'n': 2, 'std': 0.1414},
                                'heldout': {'mean': 28.1, 'n': 2, 'std': 0.1414}}
    assert text.splitlines() == [
        '| PSNR on Y | seeds | Set5 | heldout |', '| --- | --- | --- | --- |',
        '| scratch | 2 | 30.10 ± 0.14 | 28.10 ± 0.14 |', '| B | 1 | 29.00 | 27.00 |']


def test_trials_have_a_row_with_what_they_are_chosen_by_in_each_kind_and_the_best_are_bold():
    kinds = replace(STUDY, kinds={'width': {}, 'depth': {}})
    text, _ = report(kinds, results(*RECORDS, record('A 1', 0, 31., 26.5, kind='depth')))
    assert text.endswith('### Trials, 10 iterations, PSNR on heldout\n\n'
                         '| trial | width | depth |\n| --- | --- | --- |\n'
                         '| A 1 | **26.000** | **26.500** |\n| A 3 | 25.000 |  |')
    assert 'Trials' not in report(STUDY, results(record('scratch', 0, 30.)))[0]


@pytest.mark.parametrize('better, worse, says', [
    ([2, 2.1], [1, 1.1], 'confirmed'), ([1, 1.1], [2, 2.1], 'refuted'), ([1, 1.1], [1.02, 1.1], 'undecided'),
    ([1, 1.1], [0, 2], 'undecided'), ([5], [1, 1.1], 'undecided')])
def test_an_ordering_is_judged_by_what_is_beyond_one_deviation_of_the_seeds(better, worse, says):
    assert verdict(better, worse)[2] == says


def test_orderings_have_a_row_where_both_variants_have_records():
    judged = replace(STUDY, test={'Set5': ''}, orderings=(Ordering('one over the other', 'B', 'scratch'),
                                                          Ordering('another', 'B', 'nothing')))
    text, _ = report(judged, results(*RECORDS, record('B', 0, 31.), record('B', 1, 31.1)))
    assert '\n| one over the other | B - scratch | 2 | +0.95 ± 0.14 confirmed | +0.95 ± 0.14 confirmed |\n' in text
    assert 'another' not in text


def test_an_ordering_compares_the_seeds_that_both_variants_have():
    judged = replace(STUDY, test={'Set5': ''}, orderings=(Ordering('one over the other', 'B', 'scratch'), ))
    text, _ = report(judged, results(*RECORDS, record('B', 1, 31.)))
    assert '\n| one over the other | B - scratch | 1 | +0.80 undecided | +0.80 undecided |\n' in text
    text, _ = report(judged, results(record('B', 1, 31.), record('scratch', 0, 30.)))
    assert 'one over the other' not in text


def test_iterations_and_time_to_the_end_of_logits_kd_are_where_the_curve_crosses_it():
    base = replace(STUDY, methods={'logits-KD': STUDY.methods['B'], 'scratch': STUDY.methods['scratch'],
                                   'A': STUDY.methods['A']})
    found = results(record('B', 0, 30., 24.), record('scratch', 0, 30., 23.), record('A 1', 0, 30., 28.), *STEPS[:2],
                    {**STEPS[2], 'method': 'logits-KD'})
    reached = iterations_to_base(base, by_method(base, 'width', 10, found))
    assert reached == {'logits-KD': 10, 'scratch': None, 'A': pytest.approx(7.5)}  # A has 20 dB at 5, 28 at 10
    # 5 steps of 3 s, and those after half of the training of 1 s, and for logits-KD steps of 2 s.
    assert [seconds_at(found.steps['width', name], 10, reached[name]) for name in ('logits-KD', 'A')] == pytest.approx(
        [20, 17.5])
    assert [reached_cell(at, found.steps['width', 'A'], 10) for at in (7.5, None)] == ['8 / 0.3', 'never']
    assert reached_cell(7.5, None, 10) == '8'
    assert '| 8 / 0.3 |' in report(base, found)[0]


def test_the_figure_has_the_methods_in_the_order_of_their_ends(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr('study_figure.save_figure', lambda figure, out: drawn.append(figure) or out)
    draw_study(STUDY, results(*RECORDS, *STEPS), tmp_path / 'x.png')
    axes, = drawn[0].axes  # nothing of the second length has a measured step
    assert [line.get_label() for line in axes.lines] == ['scratch', 'A']
    assert axes.lines[1].get_xdata().tolist() == pytest.approx([15 / 60, 20 / 60])
    with pytest.raises(UserError, match='--time'):
        draw_study(STUDY, results(*RECORDS), tmp_path / 'x.png')
