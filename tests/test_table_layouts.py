"""How tables look in the terminal, Markdown and LaTeX."""
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from records import record

from mipkd_model.reports.tables.layouts import Styled, Table, csv_text, table_text
from mipkd_model.reports.tables.measured import measured_cells
from mipkd_model.reports.tables.pair_table import pair_table, signed, sources_table
from mipkd_model.reports.tables.results import pair_results

TWO_SEEDS = {'t': record('Teacher', psnr=32.46, ssim=0.8968), 's': record('Scratch', psnr=31.98, ssim=0.891),
             'm0': record(psnr=32.10, ssim=0.893, name='m0'), 'm1': record(psnr=32.20, ssim=0.895, name='m1', seed=1)}


def results(records, published=False, **chosen):
    found = measured_cells({Path(f'{name}.json'): made for name, made in records.items()})
    return pair_results(found, published=published, **chosen)[0]


def text(records, layout='terminal', published=False, bold=False, **chosen):
    of_pair = results(records, published, **{'datasets': ['Set5'], **chosen})
    return table_text([pair_table(of_pair, bool(records), published)], layout, bold)


def cells(line):
    return [cell.strip() for cell in line[1:-1].split('|')]


def test_the_terminal_marks_best_and_second_among_students():
    lines = text(TWO_SEEDS).splitlines()
    assert lines[4:8] == ['x4       Bicubic   28.40/0.8100',
                          '         Teacher   32.46/0.8968',
                          '         Scratch   _31.98_/_0.8910_',
                          '         MiPKD     *32.15* ± 0.07/*0.8940* ± 0.0014']
    assert lines[8:] == ['*best*, _second_: among the students shown, by scale and dataset, as printed',
                         '±: mean and sample standard deviation over runs; x4 MiPKD: 2 (Set5)']


def test_the_terminal_shows_bold_and_underlined_text_on_a_screen():
    shown = text(TWO_SEEDS, bold=True)
    assert '\033[1m32.15\033[0m ± 0.07' in shown and '\033[4m31.98\033[0m/' in shown
    plain, marked = re.sub(r'\033\[\d+m', '', shown), re.sub(r'[*_]', '', text(TWO_SEEDS))
    assert plain.replace('-', '').split() == marked.replace('-', '').split()


def test_without_a_figure_that_is_marked_best_no_note_speaks_of_it():
    alone = {name: made for name, made in TWO_SEEDS.items() if name.startswith('m')}
    assert '± 0.07' in text(alone) and 'best' not in text(alone)


def test_markdown_marks_best_and_second():
    lines = text(TWO_SEEDS, 'markdown').splitlines()
    assert cells(lines[2]) == ['Scale', 'Method', 'Set5']
    assert cells(lines[6]) == ['', 'Scratch', '<u>31.98</u>/<u>0.8910</u>']
    assert cells(lines[7]) == ['', 'MiPKD', '**32.15** ± 0.07/**0.8940** ± 0.0014']


def test_latex_is_this_text():
    assert text(TWO_SEEDS, 'latex') == r'''% needs \usepackage{adjustbox}\usepackage{booktabs}
% EDSR: measured PSNR (dB) / SSIM on Y, a border of scale pixels left out
\begin{adjustbox}{max width=\linewidth}
\begin{tabular}{llc}
\toprule
Scale & Method & Set5 \\
\midrule
x4 & Bicubic & 28.40/0.8100 \\
 & Teacher & 32.46/0.8968 \\
 & Scratch & \underline{31.98}/\underline{0.8910} \\
 & MiPKD & \textbf{32.15}{\scriptsize $\pm$ 0.07}/\textbf{0.8940}{\scriptsize $\pm$ 0.0014} \\
\bottomrule
\end{tabular}
\end{adjustbox}
{\footnotesize
\par \textbf{best}, \underline{second}: among the students shown, by scale and dataset, as printed
\par $\pm$: mean and sample standard deviation over runs; x4 MiPKD: 2 (Set5)
\par}
'''


def test_every_row_of_latex_has_as_many_columns_as_the_tabular():
    tables = [pair_table(of_pair) for of_pair in pair_results(measured_cells({Path('a.json'): record()}))]
    for tabular in re.findall(r'\\begin{tabular}{([lc]+)}(.*?)\\end{tabular}', table_text(tables, 'latex'), re.S):
        rows = [line for line in tabular[1].splitlines() if line.endswith(r'\\')]
        assert len(rows) > 3 and {len(re.findall(r'(?<!\\)&', row)) + 1 for row in rows} == {len(tabular[0])}


def test_a_rule_of_latex_stands_above_each_line_that_names_what_those_below_share():
    shown = table_text([Table('t', ('a', 'b', 'c'), (('1', 'x', '.'), ('', 'y', '.'), ('2', 'z', '.')), 2)], 'latex')
    assert '1 & x & . \\\\\n & y & . \\\\\n\\midrule\n2 & z & . \\\\' in shown


def test_names_are_escaped_in_latex_and_markdown():
    made = {'a': record('50%_&#$~^{x}\\|y*<')}
    assert (r'50\%\_\&\#\$\textasciitilde{}\textasciicircum{}\{x\}\textbackslash{}\textbar{}y*\textless{}'
            in text(made, 'latex'))
    assert r'50%\_&#$~^{x}\\\|y\*\<' in text(made, 'markdown')
    assert '50%_&#$~^{x}\\|y*<' in text(made)


def test_a_row_that_starts_with_a_bracket_is_no_argument_of_the_row_before():
    assert '\\\\\n{[}x] & ' in table_text([Table('t', ('a', 'b'), (('y', '1'), ('[x]', '2')), 1)], 'latex')


@pytest.mark.skipif(not shutil.which('pdflatex'), reason='needs pdflatex')
def test_latex_compiles(tmp_path):
    tables = [pair_table(results({**TWO_SEEDS, 'x': record('50%_&#$~^{x}\\|y*<"')}, True))]
    (tmp_path / 'x.tex').write_text('\\documentclass{article}\\usepackage{adjustbox,booktabs}'
                                    f'\\begin{{document}}\n{table_text(tables, "latex")}\\end{{document}}\n')
    subprocess.run(['pdflatex', '-halt-on-error', 'x.tex'], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)


def test_published_figures_stand_below_measured_ones_with_the_difference():
    lines = text({'a': record(pair='RCAN', psnr=32.36, ssim=0.9)}, 'markdown', True, pairs=['RCAN'], scales=[4],
                 methods=['MiPKD', 'Scratch'], datasets=['Set5', 'Set14']).splitlines()
    assert [cells(line) for line in lines if line.startswith('| ')] == [
        ['Scale', 'Method', '', 'Set5', 'Set14'],
        ['x4', 'MiPKD', 'measured', '32.36/0.9000', '?'],
        ['', '', 'published \\[b\\]', '**32.46**/**0.8982**', '**28.77**/**0.7860**'],
        ['', '', 'difference', '-0.10/+0.0018', '?'],
        ['', 'Scratch', 'measured', '?', '?'],
        ['', '', 'published \\[a\\]', '<u>32.38</u>/<u>0.8971</u>', '<u>28.69</u>/<u>0.7842</u>']]
    notes = '\n'.join(lines)
    assert '- ?: not measured, or not published' in notes and '- difference: measured minus published' in notes
    assert '- \\[a\\] MiPKD, as reprinted in DCKD (AAAI 2025) Table 2' in notes
    assert '- \\[b\\] MiPKD, arXiv version, as reprinted in DCKD (AAAI 2025) Table 2' in notes


def test_a_ssim_that_is_not_published_is_visibly_unknown():
    assert '*26.46*/?' in text({}, published=True, pairs=['EDSR'], scales=[4], datasets=['Urban100'])


def test_a_zero_difference_has_no_sign():
    assert [signed(value, 'psnr') for value in (-0.001, 0.0, 0.1, -0.1)] == ['0.00', '0.00', '+0.10', '-0.10']
    assert signed(None, 'psnr') == '?'


def test_a_minus_is_one_in_latex_and_a_hyphen_stays():
    shown = table_text([Table('t', ('a', 'b'), (('MiPKD-2', '-0.10/-0.2'), ), 1)], 'latex')
    assert r'MiPKD-2 & $-$0.10/$-$0.2 \\' in shown


def test_only_marks_that_are_in_the_table_are_explained():
    assert text({'a': record()}).splitlines()[-1] == '         MiPKD     32.00/0.9000'


def test_a_record_of_other_images_is_marked():
    odd = {**record().dataset, 'good': False, 'check': '4 images instead of 5'}
    shown = text({'a': record(psnr=33), 'b': replace(record('Scratch'), dataset=odd)})
    assert '         Scratch   _32.00_/*0.9000*!\n         MiPKD     *33.00*/*0.9000*\n' in shown
    assert '!: not the known images; x4 Set5: 4 images instead of 5' in shown


def test_a_validation_is_marked():
    shown = text({'a': record(iteration=5000), 'b': record('Scratch', psnr=30, ssim=0.8)})
    assert '*32.00*/*0.9000*†' in shown and '_30.00_/_0.8000_\n' in shown
    assert '†: validation in the middle of training, not a finished test; x4 MiPKD at iteration 5000 (Set5)' in shown


def test_self_ensemble_is_explained():
    made = record(name='b', protocol={**record().protocol, 'self_ensemble': True})
    shown = text({'a': record(), 'b': made})
    assert '\n         MiPKD+    32.00/0.9000\n' in shown
    assert '+ behind a method: with self-ensemble, compared only among themselves' in shown


def test_sources_have_a_row_for_each_network_that_counts():
    trained = {'seed': 1, 'option_file': {'command': 'python basicsr/train.py -opt options/m1.yml'}}
    records = {**TWO_SEEDS, 'm1': replace(TWO_SEEDS['m1'], training=trained),
               'x': replace(TWO_SEEDS['m1'], training=trained, dataset={**TWO_SEEDS['m1'].dataset, 'name': 'Set14'})}
    shown = table_text([sources_table(results(records, datasets=['Set5', 'Set14']))], 'markdown').splitlines()
    rows = [cells(line) for line in shown if line.startswith('|')][2:]
    assert [row[-1] for row in rows] == ['2026-01-02'] * 4
    assert rows[2][4] == '?' and shown[-1] == '- ?: not known'
    assert rows[-1] == ['x4', 'MiPKD', '1', 'Set5, Set14', '`python basicsr/train.py -opt options/m1.yml`',
                        '`python basicsr/test.py -opt options/m1.yml`', '`experiments/m1/models/net_g_latest.pth '
                        f'{TWO_SEEDS["m1"].checkpoint["sha256"][:12]}`', '`.`', '2026-01-02']


def test_csv_writes_columns_of_all_rows():
    assert csv_text([{'a': 1, 'b': None}, {'a': 'x,y', 'c': 0.5}]) == 'a,b,c\n1,,\n"x,y",,0.5\n'


def test_any_text_may_have_styled_parts():
    assert table_text([Table('t', ('a', ), (((Styled('x', 'best'), '!'), ), ), 1)], 'markdown').count('**x**!') == 1

