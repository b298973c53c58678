"""Files of training states: checksums, the newest few kept."""
import lzma
import resource
import signal
import subprocess
import sys

import pytest
import runs
import torch
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.run.states import StateError, archive_later_states, newest_state, read_state, states_in, write_state
from mipkd_model.training.identity import differences, identity

from basicsr.archs import build_network


def state(iteration):
    return {'iter': iteration, 'epoch': 0, 'optimizers': [{'lr': 1e-3}], 'schedulers': [], 'best': {},
            'validated': True, 'consecutive_skips': 0, 'teacher_scores': {}, 'samples': None, 'identity': {'scale': 2},
            'weights': {'net_g': {'weight': torch.full((3, 4), float(iteration))}}}


def test_a_state_is_read_as_it_was_written(tmp_path):
    file = write_state(state(7), tmp_path, keep=3)
    found = read_state(file)
    assert file == tmp_path / '7.state' and found['iter'] == 7 and found['optimizers'] == [{'lr': 1e-3}]
    assert torch.equal(found['weights']['net_g']['weight'], torch.full((3, 4), 7.))


def test_torch_reads_a_state_as_any_file_of_its_own(tmp_path):
    assert torch.load(write_state(state(7), tmp_path, keep=3), weights_only=True)['iter'] == 7


def test_a_state_with_any_byte_changed_is_refused(tmp_path):
    file = write_state(state(7), tmp_path, keep=3)
    content = file.read_bytes()
    for place in [*range(0, len(content), 97), len(content) - 1]:
        file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1:])
        assert str(file) in refusal(read_state, file, kind=StateError), place


@pytest.mark.parametrize('length', [0, 1, 60, 1000, -1])
def test_a_state_that_is_cut_short_is_refused(tmp_path, length):
    file = write_state(state(7), tmp_path, keep=3)
    file.write_bytes(file.read_bytes()[:length])
    assert 'no checksum' in refusal(read_state, file, kind=StateError)


def test_a_file_that_another_program_saved_is_no_state(tmp_path):
    torch.save(state(7), tmp_path / '7.state')
    assert 'not a state of this package' in refusal(read_state, tmp_path / '7.state', kind=StateError)
    assert 'cannot be read (No such file' in refusal(read_state, tmp_path / '8.state', kind=StateError)


def test_states_later_than_the_one_that_a_run_goes_back_to_are_archive_later_states(tmp_path):
    for iteration in (2, 4, 6):
        write_state(state(iteration), tmp_path, keep=9)
    files = archive_later_states(tmp_path, 2)
    assert list(states_in(tmp_path)) == [2] and [file.name.partition('.state')[0] for file in files] == ['6', '4']
    assert all(file.is_file() for file in files)


def test_a_state_without_what_a_resume_needs_is_refused(tmp_path):
    content = state(7)
    del content['weights']
    assert 'has no weights' in refusal(read_state, write_state(content, tmp_path, keep=3), kind=StateError)


def test_a_broken_newest_state_falls_back_to_the_one_before_and_says_so(tmp_path):
    files = [write_state(state(iteration), tmp_path, keep=3) for iteration in (5, 10, 20)]
    files[2].write_bytes(files[2].read_bytes()[:-100])
    told = []
    file, found = newest_state(tmp_path, told.append)
    assert (file, found['iter']) == (files[1], 10)
    assert len(told) == 1 and str(files[2]) in told[0] and 'the state before it' in told[0]


def test_where_no_state_can_be_read_the_run_does_not_begin_anew(tmp_path):
    for iteration in (5, 10):
        write_state(state(iteration), tmp_path, keep=3).write_bytes(b'broken')
    assert 'none of its 2 states' in refusal(newest_state, tmp_path, lambda text: None, kind=UserError)


def test_a_folder_without_states_has_no_newest(tmp_path):
    (tmp_path / 'notes.state').touch()
    assert newest_state(tmp_path) is None and newest_state(tmp_path / 'nowhere') is None


def test_the_newest_states_are_kept_and_later_ones_left_alone(tmp_path):
    for iteration in (50, 2, 4, 6, 8):
        write_state(state(iteration), tmp_path, keep=2)
    assert list(states_in(tmp_path)) == [50, 8, 6]


def test_a_full_disk_ends_the_run_in_one_line_and_keeps_the_last_good_state(tmp_path):
    """A limit of the size of files stands for the disk; checkpoints are below it, states above."""
    opt = runs.options(tmp_path, losses=['pixel_opt'], total_iter=6)
    file = runs.option_file(tmp_path, opt)
    code = (f'import sys; sys.path.append({str(runs.ROOT)!r}); from mipkd_model.launch import train; '
            f'sys.exit(train({str(tmp_path)!r}))')
    states = tmp_path / 'experiments/tiny/training_states'

    def start(*more, limit=None):
        def bound():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.run([sys.executable, '-c', code, '-opt', str(file), *more], cwd=tmp_path, text=True,
                              capture_output=True, timeout=300, check=False, preexec_fn=bound if limit else None)

    assert start('--force_yml', 'train:total_iter=2').returncode == 0
    before = (states / '2.state').read_bytes()
    checkpoint = tmp_path / 'experiments/tiny/models/net_g_2.pth'
    done = start('--auto_resume', limit=(len(before) + checkpoint.stat().st_size) // 2)
    assert done.returncode == 1 and 'Traceback' not in done.stdout + done.stderr, done.stderr
    line, = (line for line in done.stderr.splitlines() if line.startswith('error: '))
    assert '4.state: cannot be written (File too large)' in line and f'the newest state is {states}/2.state' in line
    assert [file.name for file in states.iterdir()] == ['2.state'] and (states / '2.state').read_bytes() == before
    assert start('--auto_resume').returncode == 0


@pytest.fixture
def first_version(tmp_path):
    """Options of a run that the first version has saved after 3 steps, its state, and a teacher's weights."""
    opt = runs.options(tmp_path, mixer_opt={'latent': 2}, grad_clip=1., cuts_g=1, cuts_t=1)
    for label in 'gt':
        opt[f'network_{label}'].update(num_feat=2, num_block=1)
    teacher = build_network(opt['network_t'])
    with torch.no_grad():
        for place, weight in enumerate(teacher.parameters()):
            weight.copy_((torch.arange(weight.numel()).add(place).sin() * 0.3).view_as(weight))
    torch.save({'params': teacher.state_dict()}, tmp_path / 'teacher.pth')
    file = tmp_path / '3.state'
    file.write_bytes(lzma.decompress((runs.ROOT / 'tests/data/first_version.state.xz').read_bytes()))
    return opt, file


def test_a_state_of_the_first_version_is_of_the_same_run(first_version):
    opt, file = first_version
    found = differences(read_state(file)['identity'], identity({**opt, 'world_size': 1}))
    assert [path for path, *_ in found if not path.startswith('teacher')] == [], 'its file depends on PyTorch'


def test_a_run_of_the_first_version_resumes_with_the_step_that_it_would_have_made(first_version):
    opt, file = first_version
    opt['path'].update(resume_state=str(file), training_states=str(file.parent))
    model = runs.model(opt)
    model.resume_training(read_state(file))
    generator = torch.Generator().manual_seed(4)
    model.update_learning_rate(4)
    model.feed_data({key: torch.randint(0, 256, (2, 3, side, side), generator=generator, dtype=torch.uint8)
                     for key, side in (('lq', 16), ('gt', 32))})
    model.optimize_parameters(4)
    assert model.get_current_log() == pytest.approx(
        {'l_pix': 0.2610580623149872, 'l_kd': 0.18758702278137207, 'l_feat': 1.6094164848327637,
         'l_ae': 1.5270192623138428, 'l_block': 0.01853417418897152, 'grad_norm': 1.844785213470459}, rel=1e-5)
    average = sum(weight.double().sum().item() for weight in model.net_g_ema.parameters())
    assert average == pytest.approx(-1.710655995309935, rel=1e-6)
