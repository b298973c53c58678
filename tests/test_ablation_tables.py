"""Tables of ablations, and whether they come out in the published order."""
import argparse
import csv
import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from records import record, written
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.commands import table as command
from mipkd_model.experiments.ablations import ABLATIONS
from mipkd_model.reports.tables.ablation import (
    ablation_results,
    ablation_rows,
    ablation_table,
    agreement,
    published_order,
)
from mipkd_model.reports.tables.layouts import table_text
from mipkd_model.reports.tables.measured import measured_cells

ENCODERS = SimpleNamespace(title='Encoders', published='Separate is better than shared, shared than none.', variants={
    'MiPKD': 'separate', 'MiPKD-encoder-shared': 'shared', 'MiPKD-encoder-none': 'none'})
LABELS = ENCODERS.variants


def made(**psnr):
    """The table of encoders with these figures of separate, shared and none on EDSR x4."""
    methods = {label: method for method, label in LABELS.items()}
    records = {Path(f'{label}.json'): record(methods[label], psnr=value) for label, value in psnr.items()}
    return ablation_results(ENCODERS, measured_cells(records), 'EDSR', 4, ['Set5'])


def shown(results):
    return table_text([ablation_table('encoders', ENCODERS, results, 4)], 'terminal').splitlines()


def test_variants_come_in_their_own_order_with_their_labels():
    lines = shown(made(separate=32.1, shared=32.0, none=31.9))
    assert lines[0].startswith('Encoders, EDSR x4: measured PSNR (dB) / SSIM on Y')
    assert [line.split() for line in lines[4:8]] == [
        ['separate', 'MiPKD', '*32.10*/*0.9000*'], ['shared', 'MiPKD-encoder-shared', '_32.00_/*0.9000*'],
        ['none', 'MiPKD-encoder-none', '31.90/*0.9000*'], ['as', 'published?', 'yes']]
    assert ('published order (the numbers are not known): Separate is better than shared, shared than none.' in lines)


def test_a_variant_that_is_not_measured_is_visibly_unknown():
    lines = shown(made(separate=32.1, shared=32.0))
    assert [line.split()[-1] for line in lines[4:8]] == ['*32.10*/*0.9000*', '_32.00_/*0.9000*', '?', '?']


@pytest.mark.parametrize('psnr, answer', [
    ((32.1, 32.0, 31.9), 'yes'),
    ((32.1, 31.9, 32.0), 'no: none > shared'),
    ((32.0, 32.1, 31.9), 'no: shared > separate'),
    ((32.001, 31.999, 31.9), 'equal: shared = separate'),
    ((32.1, None, 31.9), '?'),
    ((31.0, None, 31.9), 'no: none > separate'),
])
def test_the_order_of_encoders_is_checked_pair_by_pair(psnr, answer):
    order = published_order('encoders', LABELS)
    assert agreement(order, dict(zip(LABELS, psnr, strict=True)), LABELS) == answer


def test_either_mixer_alone_must_be_between_none_and_both():
    labels = ABLATIONS['components'].variants
    order = published_order('components', labels)
    values = {'Logits-KD': 31.0, 'MiPKD-feature': 31.2, 'MiPKD-block': 31.1, 'MiPKD': 31.3}
    assert agreement(order, values, labels) == 'yes'
    assert agreement(order, {**values, 'MiPKD-feature': 31.1, 'MiPKD-block': 31.2}, labels) == 'yes'
    assert agreement(order, {**values, 'MiPKD-block': 30.9}, labels) == 'no: neither > block prior mixer'


def test_every_published_order_is_about_variants_of_its_ablation():
    for name, ablation in ABLATIONS.items():
        pairs = published_order(name, ablation.variants)
        assert pairs and {method for pair in pairs for method in pair} == set(ablation.variants)


def test_other_methods_and_pairs_are_left_out():
    records = {Path('a.json'): record('FAKD', psnr=33), Path('b.json'): record(pair='RCAN', psnr=33),
               Path('c.json'): record(scale=2, psnr=33), Path('d.json'): record(psnr=32)}
    results = ablation_results(ENCODERS, measured_cells(records), 'EDSR', 4, ['Set5'])
    assert [cells['Set5'].value('psnr') for cells in results.rows.values()] == [32, None, None]


def test_rows_for_csv_name_variant_and_agreement():
    row, *_ = ablation_rows('encoders', ENCODERS, made(separate=32.0, shared=32.1))
    assert (row['ablation'], row['variant'], row['method'], row['psnr'], row['psnr_rank']) == (
        'encoders', 'separate', 'MiPKD', 32, 2)
    assert row['as_published'] == 'no: shared > separate' and not any('published_' in key for key in row)


def test_the_command_shows_the_pairs_that_have_variants_or_what_is_chosen(tmp_path, capsys):
    written(tmp_path, pair='SwinIR', dataset='Mine')
    written(tmp_path, psnr=32.1, dataset='Mine')
    written(tmp_path, method='MiPKD-kind-mlp', psnr=32.0, dataset='Mine')
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    for options, title in (([], 'EDSR x4'), (['--arch', 'SwinIR', '--scale', '4'], 'SwinIR x4')):
        args = parser.parse_args(['table', 'ablation', 'kind', str(tmp_path), *options])
        args.run(args)
        assert capsys.readouterr().out.startswith(f'Encoders and decoders, {title}: ')
    args = parser.parse_args(['table', 'ablation', 'kind', str(tmp_path), '--format', 'csv'])
    args.run(args)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row['variant'], row['dataset'], row['psnr'], row['as_published']) for row in rows] == [
        ('CNN', 'Mine', '32.1', 'yes'), ('MLP', 'Mine', '32', 'yes')]


def test_an_ablation_without_records_says_which_records_there_are(tmp_path):
    written(tmp_path)
    parser = argparse.ArgumentParser()
    command.add(parser.add_subparsers())
    args = parser.parse_args(['table', 'ablation', 'kind', str(tmp_path)])
    line = refusal(args.run, args, kind=UserError)
    assert 'records are of EDSR x4 Bicubic, EDSR x4 MiPKD' in line and 'mipkd options ablation kind EDSR_x4' in line
