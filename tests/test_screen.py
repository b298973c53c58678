"""What of a run's log is on the screen and what in its file, and that both are true; on a system without POSIX, too."""
import os
import re
import subprocess
import sys

import pytest
import runs
import yaml
from processes import script

from mipkd_model.run.debug import is_debug

WITHOUT_POSIX = '''
import os, signal, sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in ('fcntl', 'resource', 'pwd', 'grp', 'termios'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)
sys.meta_path.insert(0, Hidden())
for name in ('fcntl', 'resource', 'pwd', 'grp', 'termios'):
    sys.modules.pop(name, None)
for module, names in ((signal, ('SIGHUP', 'sigwaitinfo', 'pthread_sigmask')), (os, ('getloadavg', ))):
    for name in names:
        delattr(module, name)
'''


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Folder and screen of a training whose name has 'debug' in it, of two data sets, on a system without POSIX."""
    root = tmp_path_factory.mktemp('screen')
    opt = runs.options(root, losses=['pixel_opt', 'kd_opt'])
    opt.update(name='predebugged_ü', table={'pair': 'EDSR', 'method': 'Logits-KD'})
    opt['datasets']['val_2'] = {**opt['datasets']['val'], 'name': 'again'}
    opt['datasets']['train']['num_worker_per_gpu'] = 0
    opt['val']['check_teacher'] = True
    opt['logger'].update(print_freq=1, use_tb_logger=True)
    file = root / 'options.yml'
    file.write_text(yaml.safe_dump(opt, allow_unicode=True), encoding='utf-8')
    (root / 'hidden').mkdir()
    (root / 'hidden/sitecustomize.py').write_text(WITHOUT_POSIX)
    done = subprocess.run([sys.executable, str(script(root)), '-opt', str(file)], cwd=root, capture_output=True,
                          timeout=300, env={**os.environ, 'PYTHONIOENCODING': 'ascii',
                                            'PYTHONPATH': f'{root / "hidden"}{os.pathsep}{runs.ROOT}'})
    assert done.returncode == 0, done.stderr.decode()
    return root, done.stderr.decode('ascii')


def log_of(root):
    file, = (root / 'experiments/predebugged_ü').glob('train_*.log')
    return file.read_text(encoding='utf-8')


def test_the_screen_has_a_dozen_lines_before_the_first_step_and_the_file_everything(run):
    root, screen = run
    head = screen.partition('iter:       1,')[0].splitlines()
    assert len(head) < 20, head
    for word in ('predebugged_', 'EDSR, 6,867 parameters', 'Logits-KD', 'L1Loss', '4 iterations of 2 crops of 32x32',
                 'MultiStepLR', 'device: cpu', 'fp32', '6 images'):
        assert any(word in line for line in head), word
    for word in ('Environment:', 'manual_seed: 3', 'predebugged_ü', 'is built', 'iter:       4,'):
        assert word in log_of(root)
    assert 'Environment:' not in screen and 'manual_seed' not in screen


def test_a_schedule_that_does_nothing_and_a_student_below_bicubic_are_warned_of(run):
    _, screen = run
    assert 'WARNING: train.scheduler.milestones: [100], but train.total_iter is 4' in screen
    assert len(re.findall('The student is below bicubic on (made|again): psnr', screen)) == 2


def test_nothing_untrue_is_logged_of_several_data_sets_or_the_time_that_is_left(run):
    root, _ = run
    log = log_of(root)
    assert 'SRModel' not in log and '-1 day' not in log and 'eta: 0:00:00' in log


def test_the_last_iteration_is_validated_once_and_its_record_names_the_weights(run):
    root, screen = run
    assert screen.count('Validation made\n') == screen.count('Validation again\n') == 1
    record = (root / 'experiments/predebugged_ü/records/made_4.json').read_text(encoding='utf-8')
    assert 'net_g_4.pth' in record and '"scores"' in record


def test_a_name_with_debug_in_it_is_any_other_name(run):
    root, _ = run
    assert not (root / 'experiments/predebugged_ü/models/net_g_8.pth').exists()
    assert [name for name in ('debug', 'debug_x', 'debugged', 'my_debug', 'debugx') if is_debug(name)] == [
        'debug', 'debug_x']
