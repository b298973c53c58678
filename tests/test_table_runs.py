"""Which records of one method are runs of their own, which count, and what is said of the others."""
from dataclasses import replace
from pathlib import Path

import pytest
from records import record
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.reports.tables.measured import RowName, measured_cells
from mipkd_model.reports.tables.pair_table import measured_notes
from mipkd_model.reports.tables.results import pair_results


def measured(*records, **options):
    """What the cell of MiPKD, EDSR x4, on Set5 holds."""
    found = measured_cells({Path(f'r{index}/{index}.json'): made for index, made in enumerate(records)}, **options)
    return found['EDSR', RowName(4, 'MiPKD'), 'Set5']


def notes(*records):
    table, = pair_results(measured_cells({Path(f'r{index}/{index}.json'): made for index, made in enumerate(records)}),
                         published=False)
    return list(measured_notes(table))


def checkpoint(digits):
    return {'file': 'net_g.pth', 'sha256': digits * 64, 'key': 'params'}


def training(name='train_a', seed=0, **more):
    return {'name': name, 'seed': seed, 'option_file': None, **more}


def test_two_checkpoints_of_one_training_are_one_run_of_which_the_newer_record_counts():
    early = record(psnr=30, name='a', checkpoint=checkpoint('1'), training=training())
    late = record(psnr=31, name='b', checkpoint=checkpoint('2'), training=training(), finished='2027-01-01T00:00:00')
    found = measured(early, late)
    assert [run.psnr for run in found.runs] == [31] and found.std('psnr') is None


def test_seeds_whose_tests_have_the_same_name_are_two_runs():
    found = measured(record(psnr=30, checkpoint=checkpoint('1'), seed=0, training=training(seed=0)),
                     record(psnr=31, checkpoint=checkpoint('2'), seed=1, training=training(seed=1)))
    assert [run.psnr for run in found.runs] == [30, 31]


def test_the_same_weights_under_two_names_are_one_run():
    assert len(measured(record(name='a', checkpoint=checkpoint('1')),
                        record(name='b', checkpoint=checkpoint('1'))).runs) == 1


def test_networks_without_checkpoints_are_told_apart_by_their_tests():
    assert len(measured(record(name='a', checkpoint=None), record(name='b', checkpoint=None)).runs) == 2


def test_trainings_that_are_not_as_far_as_others_are_not_averaged_with_them():
    found = measured(record(psnr=28, name='a', iteration=500, checkpoint=None),
                     record(psnr=32, name='b', iteration=250000, checkpoint=None, seed=1))
    assert [run.psnr for run in found.runs] == [32]


def test_trainings_that_are_equally_far_are_averaged():
    found = measured(*(record(psnr=psnr, name=name, iteration=500, checkpoint=None, seed=seed)
                       for psnr, name, seed in ((28, 'a', 0), (30, 'b', 1))))
    assert found.mean('psnr') == 29


def test_a_record_of_another_protocol_is_left_out_and_named():
    other = replace(record(), protocol={**record().protocol, 'metrics': {
        'psnr': {'type': 'calculate_psnr', 'crop_border': 0, 'test_y_channel': True}}})
    told = []
    assert len(measured(record(name='a'), other, warn=told.append).runs) == 1
    assert len(told) == 1 and told[0].startswith('left out: r1/1.json: has no PSNR or SSIM on Y with crop_border 4')
    assert 'has no PSNR' in refusal(measured, other, kind=UserError)


def rows(*records):
    """Labels and mean PSNR of the rows of MiPKD, EDSR x4, on Set5."""
    found = measured_cells({Path(f'r{index}/{index}.json'): made for index, made in enumerate(records)})
    return {row.label: cell.mean('psnr') for (_, row, _), cell in found.items() if row.method == 'MiPKD'}


@pytest.mark.parametrize('changes, labels', [
    ({}, ['MiPKD']),
    ({'network': {'type': 'EDSRStudent', 'num_feat': 32, 'num_block': 32, 'upscale': 4}},
     ['MiPKD (num_feat 64)', 'MiPKD (num_feat 32)']),
    ({'protocol': {**record().protocol, 'tile': 64, 'tile_pad': 8}},
     ['MiPKD (tile none, tile_pad none)', 'MiPKD (tile 64, tile_pad 8)']),
    ({'protocol': {**record().protocol, 'precision': 'bf16'}}, ['MiPKD (precision fp32)', 'MiPKD (precision bf16)']),
    ({'training': training('train_b', 1, total_iter=9)}, ['MiPKD (total_iter 5)', 'MiPKD (total_iter 9)']),
    ({'training': training('train_b', 1, total_iter=5, options={'train.optim_g.lr': 2e-3, 'scale': 4})},
     ['MiPKD (lr 0.001)', 'MiPKD (lr 0.002)'])])
def test_runs_that_differ_in_more_than_the_seed_are_rows_of_their_own(changes, labels):
    options = {'train.optim_g.lr': 1e-3, 'scale': 4}
    first = record(psnr=30, name='a', training=training(total_iter=5, options=options))
    second = record(**{'psnr': 32, 'name': 'b', 'seed': 1, 'checkpoint': checkpoint('2'),
                       'training': training('train_b', 1, total_iter=5, options=options), **changes})
    assert rows(first, second) == (dict(zip(labels, (30, 32), strict=True)) if changes else {'MiPKD': 31})
    note = 'in parentheses: settings that the runs of a method do not share; these are not averaged'
    assert (note in notes(first, second)) == bool(changes)


def test_a_method_of_several_rows_is_asked_for_by_its_name_and_compared_with_what_is_published():
    records = [record(psnr=psnr, name=name, pair='RCAN', checkpoint=checkpoint(name), training=training(
        f'train_{name}', total_iter=total)) for name, psnr, total in (('a', 30, 5), ('b', 31, 9))]
    found = measured_cells({Path(f'{made.name}.json'): made for made in records})
    table, = pair_results(found, pairs=['RCAN'], scales=[4], methods=['MiPKD'])
    assert [row.label for row in table.rows] == ['MiPKD (total_iter 5)', 'MiPKD (total_iter 9)']
    assert len({cells['Set5'].published for cells in table.rows.values()}) == 1


def test_a_run_that_an_older_version_described_is_no_row_of_its_own_by_what_it_does_not_say():
    assert rows(record(psnr=30, name='a', training=training(total_iter=5)), record(
        psnr=32, name='b', seed=1, checkpoint=checkpoint('2'), training=training('train_b', 1, total_iter=5, options={
            'scale': 4}))) == {'MiPKD': 31}
