"""What README and docs say is true: their code runs, their files exist, their example of a diff applies."""
import ast
import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import runs
import yaml

from mipkd_arch import staged_view
from mipkd_model.cli import main
from mipkd_model.config.checks import check_options
from mipkd_model.data.bicubic import shrink
from mipkd_model.data.images import read_image

from basicsr.archs import build_network

PAGES = [runs.ROOT / 'README.md', runs.ROOT / 'benchmarks/floor.md', *runs.ours('docs', '*.md')]


def blocks(page, language):
    return re.findall(rf'```{language}\n(.*?)```', page.read_text(), re.S)


@pytest.mark.parametrize('page', PAGES, ids=[page.name for page in PAGES])
def test_a_page_has_no_place_left_to_fill(page):
    assert not re.search(r'@@|TODO|TBD|XX', page.read_text())


@pytest.mark.parametrize('page', PAGES, ids=[page.name for page in PAGES])
def test_links_of_a_page_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)#]+)\)', page.read_text()):
        if not target.startswith('https://'):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize('page', PAGES, ids=[page.name for page in PAGES])
def test_commands_of_a_page_name_files_that_are_there(page):
    for file in re.findall(r'python ([\w/]+\.py)', page.read_text()):
        assert (runs.ROOT / file).exists(), file


def test_modules_and_functions_of_the_architecture_are_there():
    page = (runs.ROOT / 'docs/architecture.md').read_text()
    modules = re.findall(r'`((?:\w+/)+\w*(?:\.py)?)`', page)
    assert len(modules) > 20
    for module in modules:
        assert any((root / module).exists() for root in (runs.ROOT, runs.ROOT / 'mipkd_model')), module
    for function, module in re.findall(r'`\w+\.(\w+)` \(`([\w/]+\.py)`\)', page):
        assert f'def {function}(' in (runs.ROOT / 'mipkd_model' / module).read_text()


def test_the_page_of_published_results_is_what_its_command_writes(capsys):
    assert main(['table', 'published', '--format', 'markdown']) == 0
    assert capsys.readouterr().out == (runs.ROOT / 'docs/results/published.md').read_text()


@pytest.mark.parametrize('page', ['study', 'dat_light', 'metakd', 'mtkd'])
def test_tables_of_results_are_what_their_commands_print_of_the_records(page):
    text = (runs.ROOT / f'docs/{page}.md').read_text()
    commands = re.findall(r'^python (benchmarks/study.py .*--list)$', text, re.M)
    assert commands
    for command in commands:
        done = subprocess.run([sys.executable, *shlex.split(command)], capture_output=True, text=True, cwd=runs.ROOT)
        assert done.returncode == 0, done.stderr
        tables = re.findall(r'(?:^\|.*\n)+', done.stdout, re.M)
        assert tables and all(table in text for table in tables)


def test_the_table_of_the_readme_is_of_the_records_of_the_study():
    command = [sys.executable, runs.ROOT / 'benchmarks/study.py', '--preset', 'small', '--report', '--results',
               runs.ROOT / 'docs/results/study.json']
    report = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ends = json.loads(report.splitlines()[-1])['width']
    table = re.search(r'\|  \|( Set5 .*?)\n\n', (runs.ROOT / 'README.md').read_text(), re.S)[1]
    sets, _, *rows = [[cell.strip() for cell in line.strip(' |').split('|')] for line in table.splitlines()]
    names = {'without a teacher': 'scratch',
             "MiPKD's feature prior, from the teacher's weights": 'feature+Weight-selection'}
    for method, *values in rows[:-1]:
        assert values == [f'{ends[name][names.get(method, method)]["psnr"]:.2f}' for name in sets]
    assert {names.get(method, method) for method, *_ in rows} == {*ends['Set5'], 'teacher'}


def test_the_recipe_for_a_network_of_ones_own_runs_from_a_folder_of_ones_own(tmp_path, monkeypatch):
    page = runs.ROOT / 'docs/staged_views.md'
    network, trial = blocks(page, 'python')
    (tmp_path / 'my_parts').mkdir()
    (tmp_path / 'my_parts/plain_arch.py').write_text(network)
    monkeypatch.chdir(tmp_path)
    opt = runs.options(tmp_path, losses=['pixel_opt'])
    opt.update(yaml.safe_load(blocks(page, 'yaml')[-1]))
    scope = {}
    check_options(opt, is_train=True)
    exec(trial, scope)
    assert type(build_network(opt['network_g'])) is scope['PlainSR']
    assert staged_view(scope['net'], ['body.1']).num_positions == 3


def test_the_recipe_for_a_method_of_ones_own_trains_from_a_folder_of_ones_own(tmp_path, monkeypatch):
    page = runs.ROOT / 'docs/baselines.md'
    code, = blocks(page, 'python')
    block = next(yaml.safe_load(text) for text in blocks(page, 'yaml') if 'plugins' in text)
    (tmp_path / 'my_parts').mkdir()
    (tmp_path / 'my_parts/edge_loss.py').write_text(code)
    monkeypatch.chdir(tmp_path)
    opt = {**runs.options(tmp_path, losses=['pixel_opt'], **block['train']), 'plugins': block['plugins']}
    check_options(opt, is_train=True)
    model = runs.model(opt)
    model.feed_data(runs.batch())
    model.optimize_parameters(1)
    log = model.get_current_log()
    assert list(log) == ['l_pix', 'l_edge'] and log['l_edge'] > 0


def test_the_option_file_for_images_without_gt_enlarges_them(tmp_path):
    text, = (block for block in blocks(runs.ROOT / 'docs/evaluation.md', 'yaml') if 'SingleImageDataset' in block)
    (tmp_path / 'photos_x4.yml').write_text(text.replace('auto ', '0 '))
    (tmp_path / 'demo').symlink_to(runs.ROOT / 'demo')
    images = runs.photographs(tmp_path / 'photos', 2, 20, 24)
    start = 'import sys; from mipkd_model.launch import test; sys.exit(test("."))'
    done = subprocess.run([sys.executable, '-c', start, '-opt', 'photos_x4.yml'], cwd=tmp_path, capture_output=True,
                          text=True, env={**os.environ, 'PYTHONPATH': str(runs.ROOT)})
    assert done.returncode == 0, done.stderr
    for file in images:
        output = read_image(tmp_path / f'results/photos_x4/visualization/photos/{file.stem}_x4.png')
        assert output.shape == (80, 96, 3)
        assert np.abs(shrink(output, 4).astype(int) - read_image(file)).mean() < 8


def test_the_diff_that_swaps_the_student_applies_and_builds():
    file = runs.ROOT / 'options/train_MiPKD_x4.yml'
    diff, = blocks(runs.ROOT / 'README.md', 'diff')
    text = re.sub(r' +#.*', '', file.read_text())
    for hunk in re.split(r'(?m)^(?= )', diff.split('options/train_mine.yml\n')[1]):
        lines = hunk.splitlines()
        old = [line[1:] for line in lines if line[:1] == '-']
        new = [line[1:] for line in lines if line[:1] == '+']
        assert '\n'.join(old) in text, old
        text = text.replace('\n'.join(old), '\n'.join(new), 1)
    opt = yaml.safe_load(text)
    check_options(opt, is_train=True)
    student = staged_view(build_network(opt['network_g']), opt['train']['cuts_g'])
    teacher = staged_view(build_network(opt['network_t']), opt['train']['cuts_t'])
    assert type(student.network).__name__ == 'SwinIRStudent' and student.num_positions == teacher.num_positions


def test_the_weights_of_the_losses_in_the_docs_are_those_of_the_option_file():
    method = (runs.ROOT / 'docs/mipkd.md').read_text()
    train = yaml.safe_load((runs.ROOT / 'options/train_MiPKD_x4.yml').read_text())['train']
    for block in ('mixer_opt', 'feature_prior_opt', 'block_prior_opt'):
        for key, value in train[block].items():
            if key not in ('type', 'loss_weight', 'recompute'):  # the last is no part of the method
                written = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=200).split('\n')[0]
                assert f'{key}: {written.replace("null", "~")}' in method, f'{block}.{key}'


OF_LIBRARIES = ('Error: ', 'Bus error', 'while pip builds', 'CUDA out of memory')
OF_PEOPLE = ('A checkpoint was refused', 'The teacher is no better than bicubic',
             'The loss falls, but the student is no better than without a teacher',
             'A step takes ten times as long as expected on a CPU', 'skipped: 1, or: not finite')


def texts_of_the_code():
    """All strings of the product, with ... for what is filled in."""
    for file in [*runs.ours('mipkd_model', '**/*.py'), *runs.ours('mipkd_arch', '**/*.py')]:
        for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'))):
            if isinstance(node, ast.JoinedStr):
                yield ''.join(part.value if isinstance(part, ast.Constant) else '...' for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_headings_of_the_troubleshooting_page_are_messages_of_the_code():
    page, texts = (runs.ROOT / 'docs/troubleshooting.md').read_text(), '\n'.join(texts_of_the_code())
    for heading in re.findall('^### (.*)', page, re.MULTILINE):
        if heading in OF_PEOPLE or any(part in heading for part in OF_LIBRARIES):
            continue
        parts = re.split(r"\.\.\.|\d+|(?:train|network)[._][\w.]+|EDSR|mipkd .*|\(did you mean", heading)
        for part in (part.strip(" :;,.?'()") for part in parts):
            assert part in texts, f'{heading!r}: no message has {part!r}'
