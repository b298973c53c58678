"""``mipkd figure curves``: the lines go through what validation and the logs say."""
from functools import partial

import numpy as np
import pytest
from evaluated import figure_command
from records import record
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.evaluation.records import write_record
from mipkd_model.reports.figures.curves import draw_curves, smooth
from mipkd_model.reports.figures.training_runs import group_runs, read_gradients, read_losses, read_runs

pytestmark = pytest.mark.usefixtures('own_folder')
refused = partial(refusal, kind=UserError)
command = partial(figure_command, 'curves')


def trained(folder, method, psnr, losses=None, **fields):
    """Write what a training leaves behind: records of PSNR by iteration, a log of values by loss at 100, 200, ..."""
    fields = {'name': f'train_{method}_{fields.get("seed", 0)}', **fields}
    run = folder / fields['name']
    for iteration, value in psnr.items():
        made = record(method=method, psnr=value, iteration=iteration, **fields)
        write_record(made, run / 'records' / f'{made.dataset["name"]}_{iteration}.json')
    if losses:
        steps = zip(*losses.values(), strict=True)
        text = ''.join(f'2026-01-01 00:00:00,000 INFO: [train..][epoch:  0, iter:{number * 100:8,d}, lr:(1.000e-04,)] '
                       f'[eta: 0:00:01, time (data): 0.500 (0.010)] '
                       + ''.join(f'{name}: {value:.4e} ' for name, value in zip(losses, step, strict=True)) + '\n'
                       for number, step in enumerate(steps, 1))
        (run / 'train_x_20260101_000000.log').write_text(text)
    return run


def drawn(*folders, losses=(), metric=None, dataset=None):
    curves = group_runs(read_runs(folders, dataset))
    return draw_curves(curves, metric, read_losses(curves, losses) if losses else None).axes


def points(axes):
    """By label the (x, y) of the lines that have one."""
    return {line.get_label(): (line.get_xdata().tolist(), line.get_ydata().tolist())
            for line in axes.lines if not line.get_label().startswith('_')}


def test_a_line_goes_through_the_means_of_a_run_by_ascending_iteration(tmp_path):
    run = trained(tmp_path, 'MiPKD', {500: 30.0, 1000: 31.0, 10000: 32.0})  # as text 10000 comes before 500
    axes, = drawn(run)
    assert points(axes) == {'MiPKD': ([500, 1000, 10000], [30.0, 31.0, 32.0])}
    assert axes.get_ylabel() == 'Set5 ×4, PSNR (dB)'
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ['MiPKD']


def test_another_metric_is_drawn_by_its_name(tmp_path):
    axes, = drawn(trained(tmp_path, 'MiPKD', {500: 30.0}), metric='ssim')
    assert points(axes) == {'MiPKD': ([500], [0.9])} and axes.get_ylabel() == 'Set5 ×4, SSIM'


def test_seeds_of_a_method_are_their_mean_within_the_least_and_the_greatest(tmp_path):
    folders = [trained(tmp_path, 'MiPKD', {100: value, 200: value + 1}, seed=seed)
               for seed, value in enumerate((30.0, 31.0, 33.5))]
    axes, = drawn(*folders, trained(tmp_path, 'FAKD', {100: 29.0}))
    assert points(axes) == {'MiPKD (3 seeds)': ([100, 200], [31.5, 32.5]), 'FAKD': ([100], [29.0])}
    shade, = axes.collections
    corners = {tuple(corner) for corner in shade.get_paths()[0].vertices.tolist()}
    assert corners == {(100, 30.0), (100, 33.5), (200, 31.0), (200, 34.5)}


def test_seeds_are_averaged_where_all_were_validated(tmp_path):
    folders = [trained(tmp_path, 'MiPKD', values, seed=seed)
               for seed, values in enumerate(({100: 30.0, 200: 31.0, 300: 32.0}, {100: 31.0, 300: 34.0}))]
    assert points(drawn(*folders)[0]) == {'MiPKD (2 seeds)': ([100, 300], [30.5, 33.0])}


def test_runs_with_the_same_seed_or_none_are_lines_of_their_own(tmp_path):
    folders = [trained(tmp_path, 'MiPKD', {100: 30.0}, seed=seed, name=name)
               for seed, name in ((0, 'a'), (0, 'b'))]
    assert list(points(drawn(*folders)[0])) == ['a', 'b']
    folders = [trained(tmp_path, 'FAKD', {100: 30.0}, seed=None, name=name) for name in 'cd']
    assert list(points(drawn(*folders)[0])) == ['c', 'd']


def test_a_method_of_two_pairs_is_two_lines(tmp_path):
    folders = [trained(tmp_path, 'MiPKD', {100: 30.0}, seed=seed, pair=pair, name=f'{pair}_{seed}')
               for pair in ('EDSR', 'RCAN') for seed in (0, 1)][:3]
    assert list(points(drawn(*folders)[0])) == ['MiPKD (EDSR, 2 seeds)', 'MiPKD (RCAN)']


def test_validation_with_self_ensemble_is_a_line_of_its_own(tmp_path):
    protocol = {**record().protocol, 'self_ensemble': True}
    folders = [trained(tmp_path, 'MiPKD', {100: 30.0}), trained(tmp_path, 'MiPKD', {100: 30.5}, seed=1,
                                                               protocol=protocol)]
    assert points(drawn(*folders)[0]) == {'MiPKD': ([100], [30.0]), 'MiPKD+': ([100], [30.5])}


def test_runs_of_the_same_name_are_called_by_their_folders(tmp_path):
    folders = [trained(tmp_path / side, 'MiPKD', {100: value}) for side, value in (('a', 30.0), ('b', 31.0))]
    assert points(drawn(*folders)[0]) == {str(folders[0]): ([100], [30.0]), str(folders[1]): ([100], [31.0])}


def test_a_folder_of_runs_gives_a_line_for_each(tmp_path):
    for method in ('MiPKD', 'FAKD'):
        trained(tmp_path, method, {100: 30.0})
    assert set(points(drawn(tmp_path)[0])) == {'FAKD', 'MiPKD'}


def test_a_panel_of_losses_has_them_as_logged_and_smoothed_on_a_logarithmic_axis(tmp_path):
    values = (1 / np.arange(1, 101)).round(6).tolist()
    run = trained(tmp_path, 'MiPKD', {100: 30.0}, {'l_pix': values, 'l_kd': values})
    _, axes = drawn(run, losses=['l_pix'])
    logged, smoothed = axes.lines
    assert axes.get_yscale() == 'log' and axes.get_ylabel() == 'loss l_pix'
    np.testing.assert_allclose(logged.get_ydata(), values, rtol=1e-4)
    assert logged.get_xdata().tolist() == list(range(100, 10001, 100))
    np.testing.assert_allclose(smoothed.get_ydata()[[0, 50]], [np.mean(values[:3]), np.mean(values[48:53])], rtol=1e-4)


def test_several_losses_have_different_dashes_and_a_run_without_one_is_left_out(tmp_path):
    scratch = trained(tmp_path, 'Scratch', {100: 30.0}, {'l_pix': [0.5, 0.4]})
    mipkd = trained(tmp_path, 'MiPKD', {100: 31.0}, {'l_pix': [0.5, 0.3], 'l_kd': [0.2, 0.1]})
    axes, panel = drawn(scratch, mipkd, losses=['l_pix', 'l_kd'])
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ['l_pix', 'l_kd']
    smoothed = panel.lines[1::2]
    assert [line.get_ydata().tolist() for line in smoothed] == [[0.5, 0.4], [0.5, 0.3], [0.2, 0.1]]
    assert [line.get_linestyle() for line in smoothed] == ['-', '-', '--']
    colours = [line.get_color() for line in axes.lines]
    assert [line.get_color() for line in smoothed] == [colours[0], colours[1], colours[1]]


def test_panels_of_gradients_have_norms_and_cosines_of_each_loss(tmp_path):
    run = trained(tmp_path, 'MiPKD', {100: 30.0})
    (run / 'gradients.csv').write_text('iteration,loss,norm,cosine\n50,l_pix,0.5,1\n50,l_kd,0.2,0.75\n'
                                       '100,l_pix,0.4,1\n100,l_kd,0.1,-0.25\n')
    curve, = curves = group_runs(read_runs([run]))
    _, norms, cosines = draw_curves(curves, gradients={curve.label: read_gradients(run)}).axes
    assert norms.get_yscale() == 'log' and cosines.get_ylim() == (-1, 1)
    assert [line.get_ydata().tolist() for line in norms.lines] == [[0.5, 0.4], [0.2, 0.1]]
    assert [text.get_text() for text in norms.get_legend().get_texts()] == ['l_pix', 'l_kd']
    kd = next(line for line in cosines.lines if line.get_linestyle() == norms.lines[1].get_linestyle() != '-')
    assert (kd.get_xdata().tolist(), kd.get_ydata().tolist()) == ([50, 100], [0.75, -0.25])


def test_a_run_without_gradients_is_told_how_they_are_measured(tmp_path):
    run = trained(tmp_path, 'MiPKD', {100: 30.0})
    message = refused(command, run, '--gradients', '--out', 'x.pdf')
    assert message.startswith(f'--gradients: {run} has no gradients.csv') and 'logger:gradients=' in message


def test_smoothing_leaves_constants_and_few_points_alone_and_skips_nan():
    assert smooth(np.full(100, 3.0)).tolist() == [3.0] * 100
    assert smooth(np.array([1.0, 5.0, 2.0])).tolist() == [1.0, 5.0, 2.0]
    values = np.ones(100)
    values[10] = np.nan
    assert smooth(values).tolist() == [1.0] * 100


def test_the_command_writes_the_figure(tmp_path, capsys):
    run = trained(tmp_path, 'MiPKD', {100: 30.0, 200: 31.0}, {'l_pix': [0.5, 0.4]})
    command(run, '--loss', 'l_pix', '--out', tmp_path / 'curves.svg')
    assert (tmp_path / 'curves.svg').read_text().startswith('<?xml')
    assert capsys.readouterr().out == f'{tmp_path}/curves.svg\n'


@pytest.mark.parametrize('options, message', [
    (['--metric', 'pnsr'], "--metric: train_MiPKD_0: 'pnsr' is not known (did you mean 'psnr'?)"),
    (['--dataset', 'Set6'], "--dataset: 'Set6' is not there (did you mean 'Set5'?); train_MiPKD_0 has records of Set5"),
    (['--loss', 'l_px'], "--loss: train_*.log of the runs: 'l_px' is not known (did you mean 'l_pix'?)"),
    (['--out', 'x.gif'], "--out: the end of the name: '.gif' is not known")])
def test_a_wrong_option_is_one_line_and_nothing_is_written(tmp_path, options, message):
    trained(tmp_path, 'MiPKD', {100: 30.0}, {'l_pix': [0.5]})
    assert refused(command, 'train_MiPKD_0', '--out', 'x.pdf', *options).startswith(message)
    assert [entry.name for entry in tmp_path.iterdir()] == ['train_MiPKD_0']


def test_a_folder_without_validation_is_refused_with_the_remedy(tmp_path):
    (tmp_path / 'models').mkdir()
    assert 'val:val_freq' in refused(command, tmp_path, '--out', 'x.pdf')
    finished = trained(tmp_path, 'MiPKD', {None: 30.0})
    assert refused(command, finished, '--out', 'x.pdf').startswith(f'{finished}: holds no records of validation ')
    assert refused(command, tmp_path / 'no', '--out', 'x.pdf').startswith(f'{tmp_path}/no: holds no records')


def test_several_data_sets_must_be_chosen_from(tmp_path):
    for dataset in ('Set5', 'Set14'):
        run = trained(tmp_path, 'MiPKD', {100: 30.0 if dataset == 'Set5' else 27.0}, dataset=dataset)
    assert refused(command, run, '--out', 'x.pdf').startswith(f'--dataset: missing; {run} has records of Set')
    assert points(drawn(run, dataset='Set14')[0]) == {'MiPKD': ([100], [27.0])}


def test_runs_of_other_scales_or_data_sets_are_refused(tmp_path):
    runs = [trained(tmp_path, 'MiPKD', {100: 30.0}, scale=scale, name=f'x{scale}') for scale in (2, 4)]
    assert ': is of Set5 x4 (images ' in refused(command, *runs, '--out', 'x.pdf')
    runs = [trained(tmp_path, 'FAKD', {100: 30.0}, dataset=name, name=name) for name in ('Set5', 'Set14')]
    assert ': is of Set14 x4 ' in refused(command, *runs, '--out', 'x.pdf')


def test_seeds_without_a_common_iteration_and_runs_without_losses_are_refused(tmp_path):
    runs = [trained(tmp_path, 'MiPKD', {100 + seed: 30.0}, seed=seed) for seed in (0, 1)]
    assert 'no iteration in common' in refused(command, *runs, '--out', 'x.pdf')
    assert refused(command, runs[0], '--loss', 'l_pix', '--out', 'x.pdf').startswith('--loss: train_*.log of ')


def levels(axes):
    """By name the height of the level lines."""
    lines = [line.get_ydata()[0] for line in axes.lines if line.get_label().startswith('_') and len(
        line.get_ydata()) == 2]
    return dict(zip([text.get_text().strip() for text in axes.texts], lines, strict=True))


def test_bicubic_and_the_teachers_that_were_measured_are_level_lines(tmp_path):
    def of(file, value):
        return {'name': file, 'seed': 0, 'teacher': {'file': f'a/{file}.pth', 'sha256': file,
                                                     'scores': {'Set5': {'psnr': value}}}}

    one = trained(tmp_path, 'MiPKD', {100: 27., 200: 28.}, training=of('EDSR', 32.5))
    assert levels(drawn(one)[0]) == {'bicubic': 28.4, 'teacher': 32.5}
    other = trained(tmp_path, 'FAKD', {100: 27., 200: 28.}, training=of('RCAN', 32.7))
    assert levels(drawn(one, other)[0]) == {'bicubic': 28.4, 'teacher EDSR': 32.5, 'teacher RCAN': 32.7}
    perfect = trained(tmp_path, 'AT', {100: 27., 200: 28.}, training=of('x', 'inf'))
    assert levels(drawn(perfect)[0]) == {'bicubic': 28.4}, 'an infinite figure is no line'


def test_a_figure_that_is_not_finite_leaves_a_gap(tmp_path):
    axes = drawn(trained(tmp_path, 'MiPKD', {100: 27., 200: float('inf'), 300: float('nan'), 400: 28.}))[0]
    _, values = points(axes)['MiPKD']
    assert [value == value for value in values] == [True, False, False, True] and axes.get_ylim()[1] < 30


def test_runs_that_differ_in_more_than_the_seed_are_lines_of_their_own(tmp_path):
    folders = [trained(tmp_path, 'MiPKD', {100: 27. + seed}, seed=seed, training={
        'name': str(seed), 'options': {'train.optim_g.lr': rate}}) for seed, rate in ((0, 1e-3), (1, 2e-3))]
    assert list(points(drawn(*folders)[0])) == ['MiPKD (lr 0.001)', 'MiPKD (lr 0.002)']
