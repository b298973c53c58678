"""Room on the disk, looked at before a run starts."""
import re
import shutil
from collections import namedtuple

import pytest
import runs
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.run.disk import check_disk

Usage = namedtuple('Usage', 'total used free')


@pytest.fixture
def run(tmp_path):
    """Options of a training, and what it trains."""
    opt = runs.options(tmp_path)
    root = tmp_path / 'experiments/tiny'
    opt['path'].update(experiments_root=str(root), models=str(root / 'models'),
                       training_states=str(root / 'training_states'))
    opt.update(rank=0, is_train=True)
    return opt, runs.model(opt)


def refusal_for(monkeypatch, opt, model):
    """The message where hardly anything is free."""
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: Usage(10**12, 0, 10))
    return refusal(check_disk, opt, model.distiller, kind=UserError)


def test_a_run_whose_first_files_do_not_fit_is_refused_with_figures(tmp_path, run, monkeypatch):
    opt, model = run
    check_disk(opt, model.distiller)
    asked = []
    monkeypatch.setattr(shutil, 'disk_usage', lambda path: asked.append(path) or Usage(10**12, 0, 10**5))
    assert refusal(check_disk, opt, model.distiller, kind=UserError).startswith(
        f'{tmp_path / "experiments/tiny"}: 0.1 MB are free, but a checkpoint and a training state need ')
    assert asked == [tmp_path], 'the folder does not exist yet; the nearest above it does'
    check_disk({**opt, 'rank': 1}, model.distiller)  # rank 0 writes
    check_disk({**opt, 'is_train': False})


def test_the_room_is_about_that_of_the_files(tmp_path, run, monkeypatch):
    opt, model = run
    for iteration in (1, 2):
        model.feed_data(runs.batch())
        model.optimize_parameters(iteration)
    model.save(0, 2)
    written = sum(file.stat().st_size for file in (tmp_path / 'experiments').rglob('*2.*'))
    needed = float(re.search(r'state need ([\d.]+) MB', refusal_for(monkeypatch, opt, model))[1]) * 1e6
    assert needed == pytest.approx(written, rel=0.5)
