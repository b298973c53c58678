"""The whole way: two tiny students are trained, tested, and stand in a table, in LaTeX and in a figure."""
import re
import subprocess
import sys

import numpy as np
import pytest
import runs
from matplotlib.text import Text

from mipkd_model.cli import main
from mipkd_model.data.images import read_image
from mipkd_model.evaluation.records import find_records
from mipkd_model.reports.figures.crops import draw_crops
from mipkd_model.reports.figures.pictures import read_pictures, records_of

from basicsr.metrics import calculate_psnr, calculate_ssim

STUDENTS = {'Scratch': ['pixel_opt'], 'MiPKD': list(runs.LOSSES)}
CODE = '''
import sys
sys.path.append({root!r})
from mipkd_model.launch import test, train
for launch, file in ((train, 'train_{method}.yml'), (test, 'test_{method}.yml')):
    sys.argv = [launch.__name__, '-opt', file]
    if launch('.'):
        sys.exit(1)
'''


def write_options(folder, method, losses):
    """The option files of a student's training and test."""
    opt = runs.options(folder, losses=losses)
    opt.update(name=f'train_{method}', table={'pair': 'tiny', 'method': method})
    runs.option_file(folder, opt).rename(folder / f'train_{method}.yml')
    data = {'type': 'PairedSRDataset', 'dataroot_gt': 'hr', 'dataroot_lq': 'train_LRx2.lmdb'}
    metrics = {name: {'type': f'calculate_{name}', 'crop_border': 2, 'test_y_channel': True}
               for name in ('psnr', 'ssim')}
    test = {key: opt[key] for key in ('model_type', 'scale', 'num_gpu', 'manual_seed', 'network_g', 'table')}
    test.update(name=f'test_{method}', datasets={'test': {'name': 'made', **data}},
                path={'pretrain_network_g': f'experiments/train_{method}/models/net_g_latest.pth',
                      'param_key_g': 'params_ema'}, val={'save_img': True, 'metrics': metrics})
    runs.option_file(folder, test).rename(folder / f'test_{method}.yml')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder in which both students have been trained and tested by the launchers."""
    root = tmp_path_factory.mktemp('paper')
    started = []
    for method, losses in STUDENTS.items():
        write_options(root, method, losses)
        started.append(subprocess.Popen([sys.executable, '-c', CODE.format(root=str(runs.ROOT), method=method)],
                                        cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
    for process in started:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
    return root


@pytest.fixture(autouse=True)
def inside(folder, monkeypatch):
    monkeypatch.chdir(folder)


def expected(folder, method):
    """Mean PSNR and SSIM of the saved outputs, by BasicSR."""
    values = []
    for gt_file in sorted((folder / 'hr').iterdir()):
        output = read_image(folder / f'results/test_{method}/visualization/made/{gt_file.stem}_test_{method}.png')
        pair = output[..., ::-1], read_image(gt_file)[..., ::-1]
        values.append([metric(*pair, crop_border=2, test_y_channel=True)
                       for metric in (calculate_psnr, calculate_ssim)])
    return np.mean(values, axis=0)


def mipkd(capsys, *arguments):
    assert main([*map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_records_say_where_the_students_come_from(folder):
    records = {record.method: record for record in find_records(['results']).values()}
    assert set(records) == set(STUDENTS)
    for method, record in records.items():
        assert record.command == f'python basicsr/test.py -opt test_{method}.yml'
        assert record.option_file['file'] == f'test_{method}.yml'
        assert record.checkpoint['file'] == f'experiments/train_{method}/models/net_g_latest.pth'
        assert (record.seed, record.training['option_file']['file']) == (3, f'train_{method}.yml')
        assert record.training['seconds_per_iteration'] > 0
        psnr, ssim = expected(folder, method)
        assert (record.mean['psnr'], record.mean['ssim']) == (pytest.approx(psnr, abs=1e-6),
                                                              pytest.approx(ssim, abs=1e-6))


def test_the_table_has_both_students_with_the_better_one_bold(folder, capsys):
    text = mipkd(capsys, 'table', 'pairs')
    psnr = {method: expected(folder, method)[0] for method in STUDENTS}
    best = max(psnr, key=psnr.get)
    for method, value in psnr.items():
        line, = [line for line in text.splitlines() if re.search(rf'\b{method}  ', line)]
        assert f'*{value:.2f}*/' in line if method == best else f'_{value:.2f}_/' in line or f'*{value:.2f}*/' in line


def test_the_latex_of_the_table_is_this_text(folder, capsys):
    values = {method: expected(folder, method) for method in STUDENTS}
    best = [max(values[method][i].round(decimals) for method in STUDENTS) for i, decimals in ((0, 2), (1, 4))]

    def cell(method):
        texts = []
        for value, decimals, top in zip(values[method], (2, 4), best, strict=True):
            look = 'textbf' if value.round(decimals) == top else 'underline'
            texts.append(rf'\{look}{{{value:.{decimals}f}}}')
        return '/'.join(texts)

    record, *_ = find_records(['results']).values()
    bicubic = f'{record.bicubic["psnr"]:.2f}/{record.bicubic["ssim"]:.4f}'
    tabular = mipkd(capsys, 'table', 'pairs', 'results', '--format', 'latex').split('\\begin')[2].split('\\end')[0]
    assert tabular.splitlines() == [
        '{tabular}{llc}', r'\toprule', r'Scale & Method & made \\', r'\midrule',
        rf'x2 & Bicubic & {bicubic} \\', rf' & Scratch & {cell("Scratch")} \\',
        rf' & MiPKD & {cell("MiPKD")} \\', r'\bottomrule']


def test_the_figure_shows_the_crops_of_both_students_with_their_figures(folder, capsys):
    left, top, width, height = box = (8, 6, 16, 12)
    results = ['results/test_Scratch', 'results/test_MiPKD']
    assert mipkd(capsys, 'figure', 'crops', *results, '--dataset', 'made', '--image', '0002', '--box',
                 ','.join(map(str, box)), '--out', 'crops.png') == f'crops.png: --box {",".join(map(str, box))}\n'
    assert read_image('crops.png').std() > 5

    figure = draw_crops(read_pictures(records_of(results, 'made'), '0002'), box)
    whole, hr, _, *students = [np.asarray(axes.images[0].get_array()) for axes in figure.axes]
    gt = read_image('hr/0002.png')
    assert np.array_equal(whole, gt) and np.array_equal(hr, gt[top:top + height, left:left + width])
    texts = [text.get_text() for text in figure.findobj(Text)]
    for method, crop in zip(STUDENTS, students, strict=True):
        output = read_image(f'results/test_{method}/visualization/made/0002_test_{method}.png')
        assert np.array_equal(crop, output[top:top + height, left:left + width])
        psnr = calculate_psnr(output[..., ::-1], gt[..., ::-1], crop_border=2, test_y_channel=True)
        assert method in texts and f'{psnr:.2f}' in texts


def test_the_curves_show_the_validation_of_both_trainings(folder, capsys):
    assert mipkd(capsys, 'figure', 'curves', 'experiments/train_Scratch', 'experiments/train_MiPKD', '--loss', 'l_pix',
                 '--out', 'curves.png') == 'curves.png\n'
    assert read_image('curves.png').std() > 5


def test_the_map_shows_where_the_students_differ(folder, capsys):
    assert mipkd(capsys, 'figure', 'maps', 'results/test_Scratch', 'results/test_MiPKD', '--dataset', 'made', '--image',
                 '0002', '--out', 'maps.png') == 'maps.png\n'
    assert read_image('maps.png').std() > 5


@pytest.mark.parametrize('command', [
    ['table', 'pairs', 'results/foreign.json'], ['table', 'pairs', 'nowhere'], ['table', 'pairs', 'hr'],
    ['table', 'pairs', 'results', '--arch', 'tinny'],
    ['figure', 'crops', 'results/foreign.json', '--dataset', 'made', '--image', '0002', '--out', 'x.png'],
    ['figure', 'crops', 'results', '--dataset', 'mad', '--image', '0002', '--out', 'x.png'],
    ['figure', 'crops', 'results', '--dataset', 'made', '--image', '0009', '--out', 'x.png'],
    ['figure', 'curves', 'hr', '--out', 'x.png'], ['figure', 'curves', 'nowhere', '--out', 'x.png'],
    ['figure', 'maps', 'nowhere', 'results', '--dataset', 'made', '--image', '0002', '--out', 'x.png']], ids=' '.join)
def test_missing_and_foreign_records_are_refused_in_one_line(folder, capsys, command):
    (folder / 'results/foreign.json').write_text('{"psnr": 33.1}')
    assert main(command) == 1
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith('error: ') and not captured.out
    assert not (folder / 'x.png').exists()
