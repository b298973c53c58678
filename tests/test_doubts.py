"""Tests that measure weights of another run than the one that is meant."""
import json

import pytest
import torch

from mipkd_model.base.weights import save_checkpoint
from mipkd_model.evaluation.provenance import RUN_FORMAT, doubts, origin_of_test


def trained(folder, method='MiPKD'):
    """Write what a run leaves, as far as a test looks at it."""
    save_checkpoint({'params': {'w': torch.ones(1)}}, folder / 'models/net_g_latest.pth')
    run = {'format': RUN_FORMAT, 'name': folder.name, 'seed': 0, 'table': {'pair': 'EDSR', 'method': method}}
    (folder / 'run.json').write_text(json.dumps(run))


def said(folder, method='MiPKD'):
    opt = {'table': {'pair': 'EDSR', 'method': method}, 'network_g': {'type': 'EDSR'},
           'path': {'pretrain_network_g': str(folder / 'models/net_g_latest.pth')}}
    return list(doubts(opt, origin_of_test(opt)[1]))


@pytest.fixture
def run(tmp_path):
    trained(tmp_path / 'a[1]')
    return tmp_path / 'a[1]'


def test_a_run_of_the_name_and_method_that_are_meant_is_not_doubted(run):
    assert said(run) == []


def test_weights_of_another_method_are_said_to_be(run):
    line, = said(run, 'FAKD')
    assert line.startswith('table.method: found FAKD, but ') and 'with table.method: MiPKD' in line


def test_weights_that_no_run_describes_are_not_doubted(tmp_path):
    save_checkpoint({'params': {'w': torch.ones(1)}}, tmp_path / 'models/net_g_latest.pth')
    assert said(tmp_path, 'FAKD') == []
