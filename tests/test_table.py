"""From records to the cells of tables, and the command that shows them."""
import argparse
import csv
import io
import math
from functools import partial
from pathlib import Path

import pytest
from records import record, written
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.commands import table as command
from mipkd_model.evaluation.records import find_records
from mipkd_model.reports.tables.measured import RowName, measured_cells, method_order
from mipkd_model.reports.tables.results import pair_results, ranks

refused = partial(refusal, kind=UserError)


def cells(**records):
    """The cells that records give, named by their files."""
    return measured_cells({Path(f'{name}.json'): made for name, made in records.items()})


def only(found, method='MiPKD', ensemble=False):
    """The cell of a method among EDSR x4 on Set5."""
    return found['EDSR', RowName(4, method, ensemble), 'Set5']


def rows(found, **chosen):
    """Labels of the rows of the only table of measured figures."""
    table, = pair_results(found, published=False, **chosen)
    return [f'x{row.scale} {row.label}' for row in table.rows]


def shown(*arguments):
    """What ``mipkd table`` prints."""
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    args = parser.parse_args(['table', *map(str, arguments)])
    args.run(args)


@pytest.fixture
def mipkd(capsys):
    def run(*arguments):
        shown(*arguments)
        return capsys.readouterr().out
    return run


def lines(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_records_of_other_checkpoints_are_runs_of_one_cell():
    cell = only(cells(a=record(psnr=32.0, ssim=0.89, name='a'), b=record(psnr=32.3, ssim=0.90, name='b', seed=1)))
    assert len(cell.runs) == 2
    assert cell.mean('psnr') == pytest.approx(32.15) and cell.mean('ssim') == pytest.approx(0.895)
    assert cell.std('psnr') == pytest.approx(0.3 / math.sqrt(2))  # of two values: their distance / sqrt(2)


def test_a_single_run_has_no_standard_deviation():
    assert only(cells(a=record())).std('psnr') is None


def test_a_perfect_image_has_no_standard_deviation():
    assert only(cells(a=record(psnr=float('inf'), name='a'), b=record(name='b'))).std('psnr') is None


def test_of_one_checkpoint_the_newest_record_counts():
    same = {'file': 'x.pth', 'sha256': 'd' * 64, 'key': 'params'}
    cell = only(cells(old=record(psnr=31, name='a', checkpoint=same, finished='2026-01-01T00:00:00+00:00'),
                      new=record(psnr=32, name='b', checkpoint=same, finished='2026-01-02T00:00:00+00:00')))
    assert [run.psnr for run in cell.runs] == [32]


def test_of_one_run_name_the_newest_record_counts():
    other = {'file': 'x.pth', 'sha256': 'e' * 64, 'key': 'params'}
    cell = only(cells(new=record(psnr=32, finished='2026-02-02T00:00:00+00:00'), old=record(psnr=31, checkpoint=other)))
    assert [run.psnr for run in cell.runs] == [32]


def test_of_validations_the_latest_counts():
    cell = only(cells(**{f'v{step}': record(psnr=30 + step, iteration=step, checkpoint=None) for step in (1, 3, 2)}))
    assert [run.psnr for run in cell.runs] == [33]


def test_a_validation_does_not_count_beside_a_finished_test():
    cell = only(cells(a=record(psnr=32), b=record(psnr=40, iteration=5, name='other')))
    assert [run.psnr for run in cell.runs] == [32]


def test_bicubic_comes_from_the_records_of_networks():
    cell = only(cells(a=record()), 'Bicubic')
    assert (cell.mean('psnr'), cell.mean('ssim')) == (28.4, 0.81)


def test_a_metric_of_another_protocol_is_not_taken():
    metrics = {'rgb': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': False},
               'whole': {'type': 'calculate_psnr', 'crop_border': 0, 'test_y_channel': True},
               'y': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True}}
    made = record(protocol={'metrics': metrics}, mean={'rgb': 30.0, 'whole': 31.0, 'y': 32.0},
                  bicubic={'rgb': 26.0, 'whole': 27.0, 'y': 28.0})
    cell = only(cells(a=made))
    assert (cell.mean('psnr'), cell.mean('ssim')) == (32, None)
    on_rgb = measured_cells({Path('a.json'): made}, y_channel=False)
    assert only(on_rgb).mean('psnr') == 30 and only(on_rgb, 'Bicubic').mean('psnr') == 26


def test_a_record_without_a_figure_by_the_protocol_is_refused():
    metrics = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0, 'test_y_channel': True}}
    message = refused(cells, a=record(protocol={'metrics': metrics}))
    assert message.startswith('a.json: has no PSNR or SSIM on Y with crop_border 4, found psnr {')
    assert "'crop_border': 0" in message and 'evaluate again' in message


def test_self_ensemble_is_a_row_of_its_own_without_published_figures():
    found = cells(a=record(pair='RCAN', scale=2), b=record(pair='RCAN', scale=2, name='b', protocol={
        'metrics': record(scale=2).protocol['metrics'], 'self_ensemble': True}))
    table, = pair_results(found, pairs=['RCAN'], scales=[2])
    assert table.rows[RowName(2, 'MiPKD')]['Set5'].published.psnr == 38.21
    assert RowName(2, 'MiPKD', True).label == 'MiPKD+'
    assert table.rows[RowName(2, 'MiPKD', True)]['Set5'].published is None


def test_other_names_of_a_data_set_and_of_a_combination_are_one():
    found = cells(a=record('DUKD+FAKD', dataset='B100'))
    assert ('EDSR', RowName(4, 'FAKD+DUKD'), 'BSD100') in found


def test_rows_come_in_the_order_of_the_paper():
    methods = ['Bicubic', 'Teacher', 'Scratch', 'Logits-KD', 'FitNet', 'AT', 'RKD', 'FAKD', 'CSD', 'CrossKD', 'DUKD',
               'MiPKD', 'FAKD+DUKD', 'DCKD', 'DCKD+DUKD', 'Mine', 'Yours']
    assert sorted(reversed(methods), key=method_order) == methods


def test_rows_are_sorted_by_scale_and_can_be_chosen():
    found = cells(a=record('MiPKD'), b=record('Scratch'), c=record('Scratch', scale=2))
    assert rows(found) == ['x2 Bicubic', 'x2 Scratch', 'x4 Bicubic', 'x4 Scratch', 'x4 MiPKD']
    assert rows(found, methods=['MiPKD', 'Scratch'], scales=[4]) == ['x4 MiPKD', 'x4 Scratch']


def test_columns_are_the_papers_and_those_that_the_pair_is_measured_on():
    found = cells(a=record(dataset='Manga109'), b=record(dataset='Mine'), c=record(pair='RCAN'))
    edsr, rcan = pair_results(found, published=False)
    assert edsr.datasets == ('Set5', 'Set14', 'BSD100', 'Urban100', 'Manga109', 'Mine')
    assert rcan.datasets == ('Set5', 'Set14', 'BSD100', 'Urban100')


def test_the_difference_is_measured_minus_published():
    cell = pair_results(cells(a=record(pair='RCAN', psnr=32.36, ssim=0.9)))[1].rows[RowName(4, 'MiPKD')]['Set5']
    assert cell.published.psnr == 32.46
    assert cell.difference('psnr') == pytest.approx(-0.1) and cell.difference('ssim') == pytest.approx(0.0018)


def test_ties_as_printed_share_a_place():
    assert ranks({'a': 32.004, 'b': 31.996, 'c': 31.99, 'd': 30.0, 'e': None}, 'psnr') == {
        'a': 1, 'b': 1, 'c': 2, 'd': 3}


def test_of_a_single_figure_none_is_the_best():
    assert ranks({'a': 32.0, 'b': None, 'c': float('nan')}, 'psnr') == {}


def test_places_are_among_students_and_apart_for_each_metric():
    found = cells(a=record('Scratch', psnr=31, ssim=0.91), b=record(psnr=32, ssim=0.90), c=record('Teacher', psnr=33))
    table, = pair_results(found, published=False)
    places = {row.method: of['Set5'].ranks for row, of in table.rows.items()}
    assert places == {'Bicubic': {}, 'Teacher': {}, 'Scratch': {'psnr': 2, 'ssim': 1}, 'MiPKD': {'psnr': 1, 'ssim': 2}}


def test_published_figures_are_ranked_among_themselves():
    table, = pair_results({}, pairs=['RCAN'], scales=[2], datasets=['Set5'])
    assert [row.method for row, of in table.rows.items() if of['Set5'].published_ranks.get('psnr') == 1] == ['DCKD']
    assert [row.method for row, of in table.rows.items() if of['Set5'].published_ranks.get('psnr') == 2] == ['MiPKD']


def test_csv_has_a_line_for_each_figure_and_what_it_comes_from(tmp_path, mipkd):
    files = [written(tmp_path, pair='RCAN', psnr=psnr, name=f'test_{seed}', seed=seed)
             for seed, psnr in ((0, 32.0), (1, 32.2))]
    text = mipkd('pairs', tmp_path, '--format', 'csv', '--arch', 'RCAN', '--scale', 4, '--dataset', 'Set5')
    line, = (line for line in lines(text) if line['method'] == 'MiPKD')
    assert float(line['psnr']) == pytest.approx(32.1)
    assert float(line['psnr_std']) == pytest.approx(0.2 / math.sqrt(2))
    assert (line['runs'], line['seeds'], line['records']) == ('2', '0 1', '; '.join(map(str, files)))
    assert (line['published_psnr'], line['published_ssim']) == ('32.46', '0.8982')
    assert line['published_source'] == 'MiPKD, arXiv version, as reprinted in DCKD (AAAI 2025) Table 2'
    assert float(line['psnr_difference']) == pytest.approx(-0.36)
    assert line['psnr_rank'] == '' and line['published_psnr_rank'] == '3'  # behind DCKD and DCKD+DUKD
    scratch, = (line for line in lines(text) if line['method'] == 'Scratch')
    assert (scratch['psnr'], scratch['runs'], scratch['published_psnr']) == ('', '0', '32.38')


def test_published_figures_alone_need_no_record(tmp_path, monkeypatch, mipkd):
    monkeypatch.chdir(tmp_path)
    text = mipkd('published')
    assert 'EDSR: published' in text and 'RCAN: published' in text and 'SwinIR: published' in text


def test_rows_known_from_publications_alone_can_be_left_out(tmp_path, mipkd):
    written(tmp_path)
    assert 'Logits-KD' in mipkd('pairs', tmp_path)
    text = mipkd('pairs', tmp_path, '--no-published')
    assert not any(word in text for word in ('Logits-KD', 'RCAN', 'published', '['))


def test_a_pair_and_a_data_set_of_ones_own_are_shown(tmp_path, mipkd):
    written(tmp_path, pair='SwinIR-EDSR', dataset='Mine')
    text = mipkd('pairs', tmp_path, '--arch', 'SwinIR-EDSR', '--dataset', 'Mine')
    assert text.startswith('SwinIR-EDSR: ') and 'Mine' in text and 'Set5' not in text


def test_pairs_without_a_record_are_shown_where_asked_for(tmp_path, mipkd):
    written(tmp_path)
    assert 'RCAN' not in mipkd('pairs', tmp_path)
    assert 'RCAN: measured and published' in mipkd('pairs', tmp_path, '--arch', 'EDSR', 'RCAN')
    assert all(f'{pair}: published' in mipkd('published') for pair in ('EDSR', 'RCAN', 'SwinIR'))


def test_a_pair_of_ones_own_has_no_rows_for_what_nobody_published_of_it(tmp_path, mipkd):
    written(tmp_path, pair='mine', dataset='Set14')
    text = mipkd('pairs', tmp_path)
    assert text.startswith('mine: measured PSNR') and 'published' not in text
    assert 'Set14' in text and 'Urban100' not in text and '?' not in text


def test_variants_of_an_ablation_stand_in_the_main_table_only_where_asked_for(tmp_path, mipkd):
    written(tmp_path, psnr=32)
    written(tmp_path, method='Scratch', psnr=31)
    written(tmp_path, method='MiPKD-encoder-shared', psnr=33)
    assert '*32.00*' in mipkd('pairs', tmp_path) and 'MiPKD-encoder-shared' not in mipkd('pairs', tmp_path)
    assert '*33.00*' in mipkd('pairs', tmp_path, '--method', 'MiPKD', 'MiPKD-encoder-shared')


def test_figures_on_rgb_have_no_published_ones_beside(tmp_path, mipkd):
    metrics = {'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': False}}
    written(tmp_path, pair='RCAN', protocol={'metrics': metrics, 'self_ensemble': False},
            mean={'psnr': 30.5}, bicubic={'psnr': 27.0})
    text = mipkd('pairs', tmp_path, '--channel', 'rgb')
    assert 'on RGB' in text and '30.50/?' in text and 'published' not in text


def test_a_file_is_written_whole_and_anew(tmp_path, mipkd):
    written(tmp_path)
    out = tmp_path / 'new/table.md'
    for _ in range(2):
        assert mipkd('pairs', tmp_path, '--format', 'markdown', '--out', out) == f'{out}\n'
    assert '32.00' in out.read_text() and list(out.parent.iterdir()) == [out]


def test_records_of_a_folder_and_single_ones_go_together(tmp_path):
    file = written(tmp_path)
    assert list(find_records([tmp_path, file])) == [file]


@pytest.mark.parametrize('arguments, message', [
    (['--arch', 'RCNA'], "--arch: 'RCNA' is not known (did you mean 'RCAN'?)"),
    (['--dataset', 'Set15'], "--dataset: 'Set15' is not known (did you mean"),
    (['--method', 'MiPDK'], "--method: 'MiPDK' is not known (did you mean 'MiPKD'?)"),
    (['--scale', '8'], '--scale: 8 is not known; allowed are 2, 3, 4'),
    (['--arch', 'RCAN', '--no-published'], 'mipkd table pairs: no figure is of that; records are of EDSR x4 Bicubic, '),
])
def test_mistakes_are_one_line(tmp_path, arguments, message):
    written(tmp_path)
    assert refused(shown, 'pairs', tmp_path, *arguments).startswith(message)


def test_an_ablation_that_is_not_known_is_one_line():
    assert refused(shown, 'ablation', 'masks').startswith("ABLATION: 'masks' is not known (did you mean 'mask'?)")


def test_without_records_the_remedies_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(shown, 'pairs').startswith('results: is not a record')
    assert refused(shown, 'pairs', 'nowhere').startswith('nowhere: is not a record')


def test_a_file_that_is_no_record_is_named(tmp_path):
    (tmp_path / 'x.json').write_text('{"a": 1}')
    assert refused(shown, 'pairs', tmp_path / 'x.json').startswith(f'{tmp_path}/x.json: is not a record')


@pytest.mark.parametrize('out', ['folder', 'file/x.md'])
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path, out):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'file').write_text('kept')
    written(tmp_path / 'r')
    before = sorted(tmp_path.rglob('*'))
    assert refused(shown, 'pairs', tmp_path / 'r', '--out', tmp_path / out).startswith(f'{tmp_path / out}: cannot be')
    assert sorted(tmp_path.rglob('*')) == before
