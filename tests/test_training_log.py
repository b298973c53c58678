"""Reading the log files of a run."""
import logging

import numpy as np
import pytest

from mipkd_model.evaluation.training_log import read_log, seconds_per_iteration

from basicsr.utils import MessageLogger
from basicsr.utils.logger import initialized_logger

FIRST, SECOND = 'train_x_20260101_235959.log', 'train_x_20260102_000000.log'


@pytest.fixture
def log(tmp_path):
    """Function that has BasicSR log iterations into a file of the folder: each with its losses and seconds."""
    def write(file, lines, name='a [run], iter: 5', total=2_000_000):
        logger = logging.getLogger('basicsr')
        handler = logging.FileHandler(tmp_path / file)
        handler.setFormatter(logging.Formatter('%(asctime)s %(levelname)s: %(message)s'))
        handlers, logger.handlers, level = logger.handlers, [handler], logger.level
        initialized_logger['basicsr'] = True
        logger.setLevel('INFO')
        try:
            opt = {'name': name, 'logger': {'print_freq': 1, 'use_tb_logger': False}, 'train': {'total_iter': total}}
            messages = MessageLogger(opt)
            messages.start_time -= 100  # whose estimate of the rest is then days
            logger.info('Start training from epoch: 0, iter: 0')
            for iteration, seconds, losses in lines:
                messages({'epoch': 0, 'iter': iteration, 'lrs': [1e-4, 2.5e-5], 'time': seconds, 'data_time': 0.01,
                          **losses})
            logger.info('End of training. Time consumed: 0:43:44')
        finally:
            logger.handlers = handlers
            logger.setLevel(level)
            handler.close()
    return write


def test_what_basicsr_logs_is_read(tmp_path, log):
    log(FIRST, [(100, 0.5, {'l_pix': 0.125, 'l_kd': 1e-12}), (1_000_000, 0.25, {'l_pix': 12345.0, 'l_kd': 0.0})])
    assert 'days, ' in (tmp_path / FIRST).read_text()
    found = read_log(tmp_path)
    assert found.iterations.tolist() == [100, 1_000_000] and found.seconds.tolist() == [0.5, 0.25]
    assert {name: values.tolist() for name, values in found.losses.items()} == {
        'l_pix': [0.125, 12345.0], 'l_kd': [1e-12, 0.0]}


def test_nan_inf_and_negative_losses_are_read(tmp_path, log):
    log(FIRST, [(1, 0.5, {'l_a': float('nan')}), (2, 0.5, {'l_a': float('inf')}), (3, 0.5, {'l_a': -1.5}),
                (4, 0.5, {'l_a': float('-inf')})])
    np.testing.assert_array_equal(read_log(tmp_path).losses['l_a'], [np.nan, np.inf, -1.5, -np.inf])


def test_a_resumed_run_goes_on_from_where_it_was_resumed(tmp_path, log):
    log(SECOND, [(200, 1.0, {'l_pix': 0.2}), (300, 1.0, {'l_pix': 0.1})])
    log(FIRST, [(100, 0.5, {'l_pix': 0.5}), (200, 0.5, {'l_pix': 0.4}), (300, 0.5, {'l_pix': 0.3}),
                (400, 0.5, {'l_pix': 0.3})])
    found = read_log(tmp_path)
    assert found.iterations.tolist() == [100, 200, 300]  # 400 was of what was thrown away
    assert found.losses['l_pix'].tolist() == [0.5, 0.2, 0.1] and found.seconds.tolist() == [0.5, 1.0, 1.0]


def test_a_loss_that_came_later_is_nan_before(tmp_path, log):
    log(FIRST, [(1, 0.5, {'l_pix': 0.5})])
    log(SECOND, [(2, 0.5, {'l_pix': 0.5, 'l_kd': 0.25})])
    np.testing.assert_array_equal(read_log(tmp_path).losses['l_kd'], [np.nan, 0.25])


def test_a_line_that_was_cut_off_gives_what_it_has_whole(tmp_path, log):
    log(FIRST, [(1, 0.5, {'l_pix': 0.5, 'l_kd': 0.25})])
    file = tmp_path / FIRST
    text = file.read_text()
    file.write_text(text[:text.index('l_kd: 2.5') + len('l_kd: 2.5000e-0')])
    assert list(read_log(tmp_path).losses) == ['l_pix']


def test_seconds_per_iteration_is_the_median(tmp_path, log):
    log(FIRST, [(1, 9.0, {'l_pix': 0.5}), (2, 0.5, {'l_pix': 0.5}), (3, 0.75, {'l_pix': 0.5})])
    assert seconds_per_iteration(tmp_path) == 0.75


def test_a_folder_without_logs_has_no_seconds(tmp_path):
    (tmp_path / 'test_x.log').write_text('2026-01-01 00:00:00,000 INFO: [x..][epoch:  0, iter:       1, lr:(1e-04,)] ')
    assert seconds_per_iteration(tmp_path) is None and seconds_per_iteration(tmp_path / 'nowhere') is None
    assert len(read_log(tmp_path).iterations) == 0 and read_log(tmp_path).losses == {}
