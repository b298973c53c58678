"""Tests that measure weights of another run than the one that is meant."""
import json

import pytest
import torch

from mipkd_model.base.weights import save_checkpoint
from mipkd_model.evaluation.provenance import RUN_FORMAT, Provenance


def trained(folder, total, rate, method='MiPKD'):
    """Write what a run of that length and learning rate leaves, as far as a test looks at it."""
    save_checkpoint({'params': {'w': torch.ones(1)}}, folder / 'models/net_g_latest.pth')
    run = {'format': RUN_FORMAT, 'name': folder.name, 'seed': 0, 'total_iter': total,
           'table': {'pair': 'EDSR', 'method': method}, 'options': {'train.optim_g.lr': rate}}
    (folder / 'run.json').write_text(json.dumps(run))


def said(folder, method='MiPKD'):
    opt = {'table': {'pair': 'EDSR', 'method': method}, 'network_g': {'type': 'EDSR'},
           'path': {'pretrain_network_g': str(folder / 'models/net_g_latest.pth')}}
    return list(Provenance.of_test(opt).doubts(opt))


@pytest.fixture
def run(tmp_path):
    trained(tmp_path / 'a[1]', 150, 1e-3)
    return tmp_path / 'a[1]'


def test_a_run_of_the_name_and_method_that_are_meant_is_not_doubted(run):
    trained(run.with_name('a[1]_archived_20260101_000000'), 150, 1e-3)
    trained(run.with_name('b_archived_20260101_000000'), 9, 1e-3)
    assert said(run) == []


def test_weights_of_another_method_are_said_to_be(run):
    line, = said(run, 'FAKD')
    assert line.startswith('table.method: found FAKD, but ') and 'with table.method: MiPKD' in line


@pytest.mark.parametrize('total, rate, says', [
    (250000, 1e-3, 'with train.total_iter: 150; '), (150, 2e-4, 'with train.optim_g.lr: 0.001; ')])
def test_a_trial_under_the_name_of_a_run_that_was_moved_away_is_noticed(run, total, rate, says):
    old = run.with_name('a[1]_archived_20260101_000000')
    trained(old, total, rate)
    line, = said(run)
    assert says in line and str(old) in line and line.startswith(str(run / 'models/net_g_latest.pth'))


def test_weights_that_no_run_describes_are_not_doubted(tmp_path):
    save_checkpoint({'params': {'w': torch.ones(1)}}, tmp_path / 'models/net_g_latest.pth')
    assert said(tmp_path, 'FAKD') == []
