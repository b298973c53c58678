"""Which features of teacher and student are alike: CKA, explained variance, recommended cuts, and the command."""
import json
from itertools import combinations

import numpy as np
import pytest
import runs
import tiny
import torch
import yaml

from mipkd_arch import staged_view
from mipkd_model.cli import main
from mipkd_model.config.checks import check_options
from mipkd_model.reports.probing.probe import best_in_order, cut_everywhere, probe, recommend
from mipkd_model.reports.probing.similarity import ExplainedVariance, LinearCKA


def features(*shape):
    return torch.randn(*shape, generator=tiny.seeded(), dtype=torch.float64)


def hsic(x, y):
    """The unbiased HSIC of features (P, C) and (P, D), sum by sum over tuples of different pixels."""
    gram_x, gram_y, n = x @ x.T, y @ y.T, len(x)
    different = np.array([(i, j, q, r) for i in range(n) for j in range(n) for q in range(n) for r in range(n)
                          if len({i, j, q, r}) == 4])
    i, j, q, r = different.T
    return (gram_x[i, j] * (gram_y[i, j] + gram_y[q, r] - 2 * gram_y[i, q])).mean()


def test_cka_is_that_of_the_definition():
    batches = [(features(7, 3).numpy() + i, features(7, 5).numpy() ** 2 * (i + 1)) for i in range(2)]
    cka = LinearCKA()
    for x, y in batches:
        cka.update([torch.from_numpy(x)], [torch.from_numpy(y)])
    xy, xx, yy = (sum(hsic(*pair) for pair in pairs) for pairs in (
        batches, [(x, x) for x, _ in batches], [(y, y) for _, y in batches]))
    assert cka.result().item() == pytest.approx(xy / (xx * yy) ** 0.5, rel=1e-9)


def test_cka_is_1_for_features_that_are_rotated_and_scaled_and_near_0_for_unrelated_ones():
    x = features(2000, 6)
    rotation = torch.linalg.qr(features(6, 6))[0]
    cka = LinearCKA()
    cka.update([x], [3 * x @ rotation, torch.randn(2000, 6, generator=torch.Generator().manual_seed(7))])
    same, unrelated = cka.result()[0].tolist()
    assert same == pytest.approx(1, abs=1e-9) and abs(unrelated) < 0.01


def test_the_explained_variance_is_that_of_least_squares():
    x, more = features(300, 4), torch.randn(300, 3, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    y = torch.cat([x[:, :2] * 2 + 5, more], 1)
    explained = ExplainedVariance()
    for rows in (slice(0, 100), slice(100, 300)):
        explained.update([x[rows]], [y[rows], x[rows] @ features(4, 2) - 1])
    design = np.concatenate([x.numpy(), np.ones((300, 1))], 1)
    rest = y.numpy() - design @ np.linalg.lstsq(design, y.numpy(), rcond=None)[0]
    expected = 1 - (rest ** 2).sum() / ((y - y.mean(0)) ** 2).sum().item()
    part, whole = explained.result()[0].tolist()
    assert part == pytest.approx(expected, rel=1e-9) and whole == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize('rows, columns', [(1, 1), (1, 5), (2, 2), (2, 6), (3, 7)])
def test_the_chosen_columns_are_in_order_and_have_the_largest_sum(rows, columns):
    scores = features(rows, columns)
    best = max(combinations(range(columns), rows), key=lambda chosen: sum(scores[i, j] for i, j in enumerate(chosen)))
    assert best_in_order(scores) == [column + 1 for column in best]


@pytest.mark.parametrize('deep', ['student', 'teacher'])
def test_the_network_of_fewer_blocks_is_cut_evenly_and_the_other_where_it_is_most_alike(deep):
    views = [cut_everywhere(staged_view(tiny.edsr(2, num_block=count))) for count in ((8, 3) if deep == 'student'
                                                                                     else (3, 8))]
    cka = torch.zeros(10, 5)
    cka[[2, 7], [1, 2]] = 1.
    cuts = recommend(cka if deep == 'student' else cka.T, *views, 3)
    assert cuts == (([2, 7], [1, 2]) if deep == 'student' else ([1, 2], [2, 7]))


def test_a_network_is_most_like_itself():
    network = tiny.edsr(2).eval()
    view = cut_everywhere(staged_view(network))
    result = probe(view, view, iter([torch.rand(2, 3, 12, 12)]), 64, 2)
    assert torch.allclose(result.cka.diagonal(), torch.ones(5, dtype=torch.float64))
    assert result.names_g == ['head', 'body.0', 'body.1', 'body.2', 'conv_after_body']
    assert result.cuts_g == result.cuts_t


def test_the_command_prints_cuts_that_a_training_takes_and_draws_them(tmp_path, capsys):
    student = {'type': 'RCAN', **tiny.RCAN_SIZES, 'upscale': 2}
    opt = runs.options(tmp_path, 'EDSR', student)
    file = runs.option_file(tmp_path, opt)
    arguments = ['--batches', '2', '--pixels', '64', '--stages', '2']
    assert not main(['probe', str(file), *arguments, '--out', str(tmp_path / 'probe.png'),
                     '--json', str(tmp_path / 'probe.json')])
    text = capsys.readouterr().out
    assert text.startswith('The student has random weights')
    cuts = yaml.safe_load(text[text.index('train:'):].split('\n/')[0])['train']
    assert len(cuts['cuts_g']) == len(cuts['cuts_t']) == 1
    opt['train'].update(cuts)
    check_options(opt, is_train=True)
    found = json.loads((tmp_path / 'probe.json').read_text())
    assert np.shape(found['cka']) == (len(found['names_g']), len(found['names_t'])) == np.shape(found['explained'])
    assert (tmp_path / 'probe.png').stat().st_size > 1000


@pytest.mark.parametrize('arguments, message', [
    (['--stages', '9'], 'EDSR has 3 blocks to cut and cannot have 9 stages'),
    (['--batches', '0'], '--batches: 0'),
    (['--out', 'probe.txt'], "--out: the end of the name: '.txt' is not known; allowed are")])
def test_a_mistake_is_one_line(tmp_path, capsys, arguments, message):
    file = runs.option_file(tmp_path, runs.options(tmp_path))
    assert main(['probe', str(file), '--batches', '1', *arguments]) == 1
    assert message in capsys.readouterr().err


def test_networks_without_features_are_refused(tmp_path, capsys):
    opt = runs.options(tmp_path, losses=['pixel_opt', 'kd_opt'])
    opt['network_g'] = {'type': 'ECBSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_block': 1, 'num_channel': 4,
                        'with_idt': False, 'act_type': 'relu', 'scale': 2}
    file = runs.option_file(tmp_path, opt)
    assert main(['probe', str(file)]) == 1
    assert 'no staged view is registered for ECBSR' in capsys.readouterr().err
