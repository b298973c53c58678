"""What networks cost to run and methods to train, as tables."""
import argparse
import csv
import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from records import record, written

from mipkd_model.commands import table as command
from mipkd_model.reports.tables.costs import network_rows, network_table, training_rows, training_table
from mipkd_model.reports.tables.layouts import table_text

COSTS = {('teacher', 'EDSR'): (40_000_000, 300 * 10**9), ('student', 'EDSR'): (2_500_000, 20 * 10**9)}


def costs(role, network, _):
    found = COSTS.get((role, network))
    return found and SimpleNamespace(parameters=found[0], macs=found[1])


def trained(seconds, method='MiPKD', device='H100', **fields):
    return record(method, training={'seconds_per_iteration': seconds, 'device': device}, **fields)


def rows_of(*records):
    return training_rows({Path(f'{index}.json'): made for index, made in enumerate(records)})


def shown(table):
    lines = table_text([table], 'markdown').splitlines()
    return [[cell.strip() for cell in line[1:-1].split('|')] for line in lines if line.startswith('| ')][1:]


def test_networks_have_parameters_macs_and_their_ratio():
    assert shown(network_table(network_rows([('EDSR', 4, 'EDSR', 'EDSR')], costs))) == [
        ['EDSR', 'x4', 'teacher', '40.00M', '300.00G'],
        ['', '', 'student', '2.50M', '20.00G'],
        ['', '', 'teacher / student', '16.00', '15.00']]


def test_what_is_not_known_of_a_network_is_visibly_unknown():
    rows = shown(network_table(network_rows([('DAT_light-EDSR', 2, 'DAT_light', 'EDSR')], costs)))
    assert rows[0] == ['DAT_light-EDSR', 'x2', 'teacher', '?', '?']
    assert rows[1][2:] == ['student', '2.50M', '20.00G']
    assert rows[2][2:] == ['teacher / student', '?', '?']


def test_the_time_of_a_method_is_compared_with_logits_kd_on_the_same_device():
    rows = rows_of(trained(0.5, 'Logits-KD'), trained(0.875), trained(2.0, 'FAKD', 'A100'), record('Scratch'))
    assert [(row['method'], row['device'], row['difference'], row['published_difference']) for row in rows] == [
        ('FAKD', 'A100', None, None), ('Logits-KD', 'H100', None, None), ('MiPKD', 'H100', 0.375, 0.38)]
    assert shown(training_table(rows))[-1] == ['', '', 'MiPKD', 'H100', '0.875', '+0.375', '+0.38']


def test_other_pairs_and_scales_are_not_compared():
    rows = rows_of(trained(0.5, 'Logits-KD', scale=2), trained(0.6, 'Logits-KD', pair='RCAN'), trained(0.9))
    assert {row['difference'] for row in rows} == {None}


def test_a_run_counts_once_however_many_data_sets_it_was_tested_on():
    row, = rows_of(trained(0.5), trained(0.5, dataset='Set14'))
    assert (row['runs'], row['std']) == (1, None)


def test_several_runs_have_mean_and_standard_deviation():
    rows = rows_of(trained(0.5), trained(0.7, name='other'))
    assert rows[0]['seconds_per_iteration'] == pytest.approx(0.6)
    assert shown(training_table(rows))[0][4] == '0.600 ± 0.141 (n = 2)'


def test_without_any_time_the_table_says_so():
    assert 'no record says how long an iteration' in table_text([training_table([])], 'terminal')


@pytest.fixture
def mipkd(capsys):
    def run(*arguments):
        parser = argparse.ArgumentParser()
        command.add(parser.add_subparsers())
        args = parser.parse_args(['table', 'cost', *map(str, arguments)])
        args.run(args)
        return capsys.readouterr().out
    return run


def test_the_command_counts_the_networks_of_a_pair_without_any_record(tmp_path, monkeypatch, mipkd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'results').mkdir()
    text = mipkd('--arch', 'EDSR', '--scale', 4)
    # What others count of these networks: 43.09M and 2.70M parameters, 3293.35G and 207.28G MACs.
    assert 'teacher            43.09M        3293.35G' in text
    assert 'student            2.70M         207.28G' in text


def test_a_teacher_whose_sizes_are_in_a_missing_file_is_unknown(tmp_path, monkeypatch, mipkd):
    monkeypatch.chdir(tmp_path)
    rows = csv.DictReader(io.StringIO(mipkd('--arch', 'DAT_light-EDSR', '--scale', 4, '--format', 'csv')))
    # 3x3 convolutions of 64 channels: one, two in each of 32 blocks, one after them, two of the upsampler, the last.
    student = 1792 + 32 * 2 * 36928 + 36928 + 2 * 147712 + 1731
    assert {row['network']: row['parameters'] for row in rows} == {
        'teacher': '', 'student': str(student), 'teacher / student': ''}


def test_csv_has_both_tables(tmp_path, mipkd):
    written(tmp_path, pair='Mine', training={'seconds_per_iteration': 0.25, 'device': 'cpu'})
    text = mipkd(tmp_path, '--format', 'csv', '--arch', 'EDSR', 'Mine', '--scale', 4)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row['table'], row['pair'], row['parameters'], row['seconds_per_iteration']) for row in rows] == [
        ('networks', 'EDSR', '43089923', ''), ('networks', 'EDSR', '2699267', ''),
        ('networks', 'EDSR', rows[2]['parameters'], ''), ('networks', 'Mine', '', ''),
        ('networks', 'Mine', '2699267', ''), ('networks', 'Mine', '', ''), ('training', 'Mine', '', '0.25')]
    assert float(rows[2]['parameters']) == pytest.approx(43089923 / 2699267)


def test_networks_of_a_pair_of_ones_own_are_those_of_its_records(tmp_path, mipkd):
    small = {'type': 'EDSRStudent', 'num_feat': 16, 'num_block': 2, 'upscale': 4}
    written(tmp_path, pair='Mine', network=small)
    written(tmp_path, pair='Mine', method='Teacher', network={**small, 'num_block': 4})
    rows = list(csv.DictReader(io.StringIO(mipkd(tmp_path, '--format', 'csv'))))
    # Two blocks more are four 3x3 convolutions of 16 channels more.
    assert [row['network'] for row in rows] == ['teacher', 'student', 'teacher / student']
    assert int(rows[0]['parameters']) - int(rows[1]['parameters']) == 4 * (9 * 16 * 16 + 16)
    assert int(float(rows[0]['macs'])) - int(float(rows[1]['macs'])) == 4 * 9 * 16 * 16 * 256 * 256
