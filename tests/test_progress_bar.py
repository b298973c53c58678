"""The progress bar of a training: on a terminal it stands for the lines of losses, which are in the file."""
import re

import forks
import pytest
import runs

from mipkd_model.run.logs import MessageLogger

LINE = re.compile(r'iter: +[1-4], ')
BAR = re.compile(r'training: +\d+%\S* *[^\r\n]*?(\d)/4 [^\r\n]*')


def log_of(root):
    file, = (root / 'experiments/tiny').glob('train_*.log')
    return file.read_text(encoding='utf-8')


@pytest.fixture
def arguments(tmp_path):
    """The command line of a training of 4 iterations, which logs and validates every other one."""
    opt = runs.options(tmp_path)
    opt['val']['val_freq'] = 2
    opt['datasets']['train']['num_worker_per_gpu'] = 0
    return ['-opt', runs.option_file(tmp_path, opt)]


def test_a_terminal_has_a_bar_with_loss_and_psnr_and_the_file_the_lines(tmp_path, arguments):
    status, shown = forks.train(tmp_path, *arguments, columns=100)
    log = log_of(tmp_path)
    assert status == 0 and not LINE.search(shown) and len(LINE.findall(log)) == 2
    assert 'Validation made' in shown and 'training:' not in log
    last = list(BAR.finditer(shown))[-1]
    psnr = re.findall(r'# psnr: ([\d.]+)', log)[-1]
    losses = re.findall(r'l_\w+: (\S+)', [line for line in log.splitlines() if LINE.search(line)][-1])
    assert last[1] == '4' and f'made psnr {float(psnr):.2f}' in last[0]
    assert float(re.search(r'loss ([\d.e-]+)', last[0])[1]) == pytest.approx(sum(map(float, losses)), rel=0.01)


def test_a_resumed_training_has_its_bar_begin_where_it_goes_on(tmp_path, arguments):
    forks.train(tmp_path, *arguments)
    (tmp_path / 'experiments/tiny/training_states/4.state').unlink()
    status, shown = forks.train(tmp_path, *arguments, '--auto_resume', columns=100)
    assert status == 0 and BAR.search(shown)[1] == '2' and list(BAR.finditer(shown))[-1][1] == '4'


def test_a_failure_is_below_the_bar(tmp_path, arguments, monkeypatch):
    def fail(*args):
        raise OSError(28, 'No space left on device', 'x')
    monkeypatch.setattr('mipkd_model.run.saver.write_state', fail)
    status, shown = forks.train(tmp_path, *arguments, columns=100)
    assert status == 1 and shown.splitlines()[-1].startswith('error: x: No space left'), shown
    assert BAR.search(shown.splitlines()[-2]) and 'Traceback' not in shown


def test_other_ranks_have_no_bar(tmp_path, monkeypatch):
    monkeypatch.setattr('mipkd_model.run.logs.start_bar', lambda *args: pytest.fail('started'))
    opt = {**runs.options(tmp_path), 'rank': 1}
    MessageLogger(opt)


def test_without_a_terminal_all_lines_are_on_the_screen(tmp_path, arguments):
    status, shown = forks.train(tmp_path, *arguments)
    assert status == 0 and len(LINE.findall(shown)) == len(LINE.findall(log_of(tmp_path))) == 2
    assert 'training:' not in shown.replace('tiny: training', '')
