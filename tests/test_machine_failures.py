"""What a machine lacks, and what becomes of output that nobody can take: one line, or none."""
import os
import sys
from multiprocessing import queues
from types import SimpleNamespace

import pytest
import runs
import torch
from refusals import refusal

from mipkd_arch.base.cli import exit_status
from mipkd_arch.base.errors import UserError
from mipkd_arch.base.failures import failure_of_machine, is_out_of_memory, on_no_memory
from mipkd_model.cli import main
from mipkd_model.evaluation.evaluate import EvaluationSettings, evaluate
from mipkd_model.mipkd_model import no_memory_line
from mipkd_model.networks import machine
from mipkd_model.run import signals as stopping

CPU = torch.device('cpu')
NO_MEMORY = '[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can\'t allocate memory: you tried to allocate ' \
            '1610612736 bytes. Error code 12 (Cannot allocate memory)'


def of_worker(line, kind=RuntimeError):
    """What a DataLoader raises of a worker's exception."""
    return kind(f'Caught {kind.__name__} in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n'
                f'  File "x.py", line 1, in f\n{kind.__name__}: {line}\n')


def said(capsys, error):
    def fail():
        raise error

    assert exit_status(fail) == 1
    line, = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize('error, says', [
    (of_worker('unable to allocate shared memory(shm) for file </torch_7_1_1>: No space left on device (28)'),
     '/dev/shm is full'),
    (of_worker('unable to write to file </torch_7_1_1>: No space left on device (28)'), '/dev/shm is full'),
    (RuntimeError("DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers "
                  'are out of shared memory. Please try to raise your shared memory limit.'), '/dev/shm is full'),
    (RuntimeError('DataLoader worker (pid 7) is killed by signal: Killed. '), 'a worker of the training data ended'),
    (RuntimeError('DataLoader worker (pid(s) 7, 8) exited unexpectedly'), 'a worker of the training data ended'),
    (OSError(24, 'Too many open files', 'a.png'), 'ulimit -n'),
    (of_worker('[Errno 24] Too many open files', OSError), 'ulimit -n'),
    (RuntimeError('received 0 items of ancdata'), 'num_worker_per_gpu: 0'),
    (MemoryError(), 'not enough memory'), (RuntimeError(NO_MEMORY), '1610612736 bytes'),
    (torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has'), '20.00 GiB'),
    (of_worker('Unable to allocate 3.00 GiB for an array', MemoryError), '3.00 GiB'),
    (OSError(12, 'Cannot allocate memory'), 'not enough memory'),
    (PermissionError(13, 'Permission denied', '/a/b'), 'error: /a/b: Permission denied'),
    (OSError(28, 'No space left on device'), 'error: output: No space left on device')])
def test_what_the_machine_lacks_is_one_line(capsys, error, says):
    assert says in said(capsys, error)


@pytest.mark.parametrize('error', [RuntimeError('shapes do not fit'), KeyError('memory'), OSError(5000, 'odd')])
def test_any_other_failure_keeps_its_traceback(error):
    def fail():
        raise error

    assert not is_out_of_memory(error) and failure_of_machine(error) is None
    with pytest.raises(type(error)):
        exit_status(fail)


def test_memory_that_is_really_not_there_is_recognised():
    with pytest.raises(UserError, match='^here .*1000000000000000 bytes'), on_no_memory(lambda reason: f'here{reason}'):
        torch.empty(10**15, dtype=torch.uint8)


def test_an_image_that_does_not_fit_is_named_with_its_size_and_what_helps(tmp_path):
    item = {'lq': torch.zeros(3, 5, 7), 'lq_path': 'a/bird.png'}

    def restore(lq):
        raise RuntimeError(NO_MEMORY)

    message = refusal(evaluate, restore, [item], EvaluationSettings(4, {}), CPU, kind=UserError)
    assert message.startswith('bird: not enough memory to super-resolve this image of 7x5 pixels at x4 ([enforce fail')
    assert message.endswith('; set val.tile: 256, the side of tiles')


def test_a_step_that_does_not_fit_names_what_decides_about_it():
    opt = {'train': {'accumulate': 2}, 'datasets': {'train': {'batch_size_per_gpu': 8, 'gt_size': 32}}}
    assert no_memory_line(opt, 1234, ' (20.00 GiB were asked for)') == (
        'iteration 1,234: not enough memory for a step (20.00 GiB were asked for); raise train.accumulate: 2 and use '
        '--auto_resume, or lower datasets.train.batch_size_per_gpu: 8 or gt_size: 32, or use smaller networks')


def test_batches_of_workers_that_shared_memory_cannot_hold_are_refused_before_a_start(tmp_path, monkeypatch):
    opt = runs.options(tmp_path)
    opt['datasets']['train'].update(num_worker_per_gpu=2, batch_size_per_gpu=32, gt_size=144)
    pages = -(-4 * 32 * 3 * (144**2 + 72**2) // 4096)
    for free in (pages, pages - 1):
        found = SimpleNamespace(f_bavail=free, f_frsize=4096)
        monkeypatch.setattr(os, 'statvfs', lambda path, found=found: found)
        if free == pages:
            machine.check_machine(opt, is_train=True)
    assert refusal(machine.check_machine, opt, True, kind=UserError).startswith(
        'datasets.train.num_worker_per_gpu: 2 workers keep 4 batches, 9.5 MiB, in /dev/shm, which has 9.5 MiB free')


def test_a_worker_that_cannot_hand_a_batch_over_ends_with_the_reason(tmp_path):
    def work():
        stopping.outlast_signals()
        queues.Queue._on_queue_feeder_error(OSError(24, 'Too many open files'), None)

    with open(os.devnull, 'w') as nowhere:
        status, said = in_child(work, stdout=nowhere.fileno())
    assert status == 1 and said.startswith(b'error: too many files are open at once')


def in_child(function, *args, stdout, encoding='utf-8', buffered=True):
    """Call a function in a process of its own, which then ends as the interpreter does.

    Args:
        stdout (int): file that it prints to.

    Returns:
        tuple[int, bytes]: exit status, and standard error.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 99
        try:
            for number, file in ((1, stdout), (2, writing)):
                os.dup2(file, number)
            sys.stdout = open(1, 'w', encoding=encoding, closefd=False, buffering=-1 if buffered else 1)
            sys.stderr = open(2, 'w', encoding=encoding, closefd=False, buffering=1)
            try:
                status = function(*args)
            except SystemExit as error:
                status = error.code or 0
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
        except BaseException as error:
            os.write(writing, repr(error).encode())
        os._exit(status)
    os.close(writing)
    with open(reading, 'rb') as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


@pytest.mark.parametrize('buffered', [True, False])
@pytest.mark.parametrize('arguments, status', [
    (['options', 'list'], 141), (['options', 'page'], 141), (['--help'], 0)])
def test_a_pipe_that_nobody_reads_ends_a_command_without_a_word(arguments, status, buffered):
    reading, writing = os.pipe()
    os.close(reading)
    assert in_child(main, arguments, stdout=writing, buffered=buffered) in ((status, b''), (141, b''))
    os.close(writing)


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='there is no device that is always full')
def test_output_that_finds_no_room_is_one_line():
    with open('/dev/full', 'w') as full:
        assert in_child(main, ['options', 'list'], stdout=full.fileno()) == (
            1, b'error: output: No space left on device\n')


@pytest.mark.parametrize('encoding, errors, output', [
    ('ascii', '27.5 \\xb1 0.1\\u2020 \\u6771 \\udcff', '\\xfc\\u2020'),
    ('latin-1', '27.5 ± 0.1\\u2020 \\u6771 \\udcff', 'ü\\u2020'),
    ('utf-8', '27.5 ± 0.1† 東 \\udcff', 'ü†')])
def test_signs_that_a_terminal_lacks_are_escaped(tmp_path, encoding, errors, output):
    def show():
        print('27.5 ± 0.1† 東 \udcff', file=sys.stderr)
        print('ü†')

    with open(tmp_path / 'output', 'w') as file:
        assert in_child(exit_status, show, stdout=file.fileno(), encoding=encoding) == (
            0, f'{errors}\n'.encode(encoding))
    assert (tmp_path / 'output').read_text(encoding=encoding) == f'{output}\n'
