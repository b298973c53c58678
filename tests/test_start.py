"""``benchmarks/start.py``, and what importing leaves behind."""
import importlib.util
from functools import partial

import runs
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.config.checks import check_files, check_options, read_options

SPEC = importlib.util.spec_from_file_location('start', runs.ROOT / 'benchmarks/start.py')
start = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(start)
refused = partial(refusal, kind=UserError)


def test_differences_are_those_of_each_round():
    slow, quick = [(9., 5.)], [(4., 2.)] * 2
    times = {'basicsr': quick + slow, 'import': [(5., 2.5), (5., 2.5), (10.5, 5.5)], 'parse': [(6., 3.)] * 3}
    found = start.figures(times)
    assert (found['basicsr_s'], found['basicsr_cpu_s'], found['import_s']) == (4, 2, 5)
    assert (found['import_over_basicsr_s'], found['import_over_basicsr_cpu_s']) == (1, 0.5)


def test_an_option_file_passes_the_checks_without_its_data_and_weights(tmp_path):
    made = start.option_file(runs.ROOT / 'options/demo/train_MiPKD_x4.yml', tmp_path, 2)
    opt = read_options(made)
    check_options(opt, is_train=True)
    check_files(opt)
    assert all(tmp_path.name in block['dataroot_gt'] for block in opt['datasets'].values())


def test_a_process_that_fails_is_one_line(monkeypatch):
    monkeypatch.setitem(start.PROGRAMS, 'torch', 'raise ImportError("no torch here")')
    assert refused(start.timed, 'torch', []) == 'torch: ImportError: no torch here'
