"""The figures that others have printed."""
import json
from collections import Counter
from pathlib import Path

import pytest

from mipkd_model.reports.tables.published import PAIRS, SOURCES, other_figures, published_cells, published_facts

ORIGIN = Path(__file__).resolve().parents[2] / 'shared/paper_tables.json'


def psnr(*cell):
    return [fact.psnr for fact in published_cells()[cell]]


def test_every_fact_is_kept_as_it_was_given():
    if not ORIGIN.is_file():
        pytest.skip(f'{ORIGIN} is not there to compare with')
    given = json.loads(ORIGIN.read_text())
    keys = ('arch', 'scale', 'method', 'dataset', 'psnr', 'ssim')
    ours = Counter((*(getattr(fact, key) for key in keys), SOURCES[fact.source].text) for fact in published_facts())
    assert ours == Counter((*(fact[key] for key in keys), fact['source']) for fact in given)
    assert len(published_facts()) == 302


def test_every_source_of_the_list_gives_a_fact_and_no_other_does():
    assert {fact.source for fact in published_facts()} == set(SOURCES)


def test_figures_of_other_networks_or_training_belong_to_no_row():
    rows = {key: {fact.row for fact in published_facts() if fact.source == key} for key in SOURCES}
    assert rows['csd_ensemble'] == rows['fakd_icip'] == rows['swinir_official'] == rows['mcad'] == {None}
    beside = ('mipkd', 'mipkd_arxiv', 'dckd', 'fakd_swinir', 'mipkd_iclr', 'derived')
    assert not any(None in rows[key] for key in beside)
    assert {pair for pair, *_ in published_cells()} == set(PAIRS)


def test_rows_of_the_paper_are_complete_for_rcan_and_swinir():
    for pair in ('RCAN', 'SwinIR'):
        for scale in (2, 3, 4):
            for method in ('Teacher', 'Scratch', 'Logits-KD', 'FAKD', 'MiPKD'):
                for dataset in ('Set5', 'Set14', 'BSD100', 'Urban100'):
                    fact = published_cells()[pair, scale, method, dataset][0]
                    assert 20 < fact.psnr < 40 and 0.7 < fact.ssim < 1


def test_the_reprint_of_the_papers_table_comes_before_a_second_figure_for_the_same_cell():
    assert psnr('RCAN', 2, 'MiPKD', 'Urban100') == [32.83, 32.98]
    assert psnr('RCAN', 4, 'Scratch', 'Urban100') == [26.36, 26.37]
    assert psnr('RCAN', 4, 'Teacher', 'Set5') == [32.63, 32.6388]


def test_names_of_one_method_lead_to_one_row():
    assert psnr('EDSR', 4, 'DUKD', 'Urban100') == [26.45, 26.45]  # AugKD, and DUKD as it was called before
    assert psnr('EDSR', 4, 'FAKD+DUKD', 'Urban100') == [26.3]


def test_a_published_row_of_a_table_has_one_source():
    sources = {}
    for (pair, scale, row, _), facts in published_cells().items():
        sources.setdefault((pair, scale, row), set()).add(facts[0].source)
    assert all(len(found) == 1 for found in sources.values())


def test_what_does_not_belong_beside_a_pair_is_named_with_the_reason():
    assert set(other_figures('EDSR').values()) == {
        'other networks, and 8 times self-ensemble', 'other training images or another start',
        'trained by another schedule'}
    assert set(other_figures('RCAN').values()) == {
        'other weights than the teachers of the pairs', 'trained by another schedule', 'parts of a method',
        'which teacher, and so which pair, is not told'}
    assert other_figures('SwinIR-EDSR') == {}
