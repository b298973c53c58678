"""The figures that others have printed."""
import json
from collections import Counter
from pathlib import Path

import pytest

from mipkd_model.reports.tables.published import PAIRS, SOURCES, published_cells, published_results

ORIGIN = Path(__file__).resolve().parents[2] / 'shared/paper_tables.json'


def psnr(*cell):
    return published_cells()[cell].psnr


def test_every_figure_is_kept_as_it_was_given():
    if not ORIGIN.is_file():
        pytest.skip(f'{ORIGIN} is not there to compare with')
    given = json.loads(ORIGIN.read_text())
    keys = ('arch', 'scale', 'method', 'dataset', 'psnr', 'ssim')
    ours = Counter((*(getattr(result, key) for key in keys), SOURCES[result.source])
                   for result in published_results())
    assert ours == Counter((*(result[key] for key in keys), result['source']) for result in given)
    assert len(published_results()) == 302


def test_every_source_of_the_list_gives_a_figure_and_no_other_does():
    assert {result.source for result in published_results()} == set(SOURCES)


def test_figures_of_other_networks_or_training_belong_to_no_row():
    rows = {key: {result.row for result in published_results() if result.source == key} for key in SOURCES}
    assert rows['csd_ensemble'] == rows['fakd_icip'] == rows['swinir_official'] == rows['mcad'] == {None}
    beside = ('mipkd', 'mipkd_arxiv', 'dckd', 'fakd_swinir', 'mipkd_iclr', 'derived')
    assert not any(None in rows[key] for key in beside)
    assert {pair for pair, *_ in published_cells()} == set(PAIRS)


def test_rows_of_the_paper_are_complete_for_rcan_and_swinir():
    for pair in ('RCAN', 'SwinIR'):
        for scale in (2, 3, 4):
            for method in ('Teacher', 'Scratch', 'Logits-KD', 'FAKD', 'MiPKD'):
                for dataset in ('Set5', 'Set14', 'BSD100', 'Urban100'):
                    result = published_cells()[pair, scale, method, dataset]
                    assert 20 < result.psnr < 40 and 0.7 < result.ssim < 1


def test_the_reprint_of_the_papers_table_comes_before_a_second_figure_for_the_same_cell():
    assert psnr('RCAN', 2, 'MiPKD', 'Urban100') == 32.83  # and 32.98 in another publication
    assert psnr('RCAN', 4, 'Scratch', 'Urban100') == 26.36
    assert psnr('RCAN', 4, 'Teacher', 'Set5') == 32.63


def test_names_of_one_method_lead_to_one_row():
    assert psnr('EDSR', 4, 'DUKD', 'Urban100') == 26.45  # AugKD, as DUKD was called later
    assert psnr('EDSR', 4, 'FAKD+DUKD', 'Urban100') == 26.3


def test_a_published_row_of_a_table_has_one_source():
    sources = {}
    for (pair, scale, row, _), result in published_cells().items():
        sources.setdefault((pair, scale, row), set()).add(result.source)
    assert all(len(found) == 1 for found in sources.values())
