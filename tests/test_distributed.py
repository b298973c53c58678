"""Trainings of several processes: what one process makes, shared out. CPUs and gloo; NCCL where there are GPUs."""
import re
import signal
import sys
import time

import pytest
import runs
import torch
import yaml
from processes import Processes, free_port, script, torchrun

from mipkd_model.data.prepare.pack import pack_pairs
from mipkd_model.evaluation.records import read_record
from mipkd_model.run.states import read_state

BATCH = 6  # samples of all processes together
STEPS = 4
TOLERANCE = 1e-5
"""Of a weight: a hundredth of one step of Adam, which is 1e-3. Sums over a batch are rounded otherwise in shares, by
the last of 24 bits of a gradient, and ``runs.smooth`` sees to it that a step follows that in proportion."""


def options(folder, processes, **train):
    """A run of all of MiPKD's losses and DUKD, validated on six images and on two."""
    torch.manual_seed(0)  # of the teacher, which is made anew each time
    opt = runs.smooth(runs.options(folder, total_iter=STEPS, dukd_opt={'type': 'DUKDLoss'}, **train))
    opt['datasets']['train']['batch_size_per_gpu'] = BATCH // processes
    small = folder / 'small'
    if not small.exists():
        pack_pairs(runs.photographs(small / 'hr', 2), small, [2])
    opt['datasets']['val_2'] = {'name': 'two', 'type': 'PairedSRDataset', 'dataroot_gt': str(small / 'train_HR.lmdb'),
                                'dataroot_lq': str(small / 'train_LRx2.lmdb')}
    opt['val'].update(save_img=True, val_freq=STEPS)
    opt['logger'].update(print_freq=1, save_checkpoint_freq=STEPS, use_tb_logger=True)
    return opt


def run(folder, name, processes, commands, environments=None, before='', more=(), **train):
    """Start a run; ``commands`` makes them of a script and its arguments. Returns its processes and its folder."""
    opt = {**options(folder, processes, **train), 'name': name, **dict(more)}
    file = folder / f'{name}.yml'
    file.write_text(yaml.safe_dump(opt, sort_keys=False))
    started = Processes(folder / f'said_{name}', commands(script(folder, before), '-opt', file), environments)
    return started, folder / 'experiments' / name


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('distributed')


@pytest.fixture(scope='module')
def one(folder):
    """One process with the whole batch; by torchrun, which may start one alone, too."""
    started, made = run(folder, 'one', 1, lambda *words: [torchrun(*words, processes=1)])
    return started.must_end_well(), made


@pytest.fixture(scope='module')
def two(folder, one):
    """Two processes of torchrun with half of the batch each."""
    started, made = run(folder, 'two', 2, lambda *words: [torchrun(*words)])
    return started.must_end_well(), made


@pytest.fixture(scope='module')
def nodes(folder, one):
    """As ``two``, on two machines of one process each; both are this one."""
    port = free_port()
    started, made = run(folder, 'nodes', 2, lambda *words: [
        torchrun(*words, processes=1, nnodes=2, node_rank=rank, master_port=port) for rank in range(2)])
    return started.must_end_well(), made


@pytest.fixture(scope='module')
def slurm(folder, one):
    """Three processes as srun starts them, with a third of the batch each, passed in two parts."""
    port = free_port()
    started, made = run(folder, 'slurm', 3, lambda *words: [
        [sys.executable, *words, '--launcher', 'slurm'] for _ in range(3)], [
        {'SLURM_PROCID': str(rank), 'SLURM_NTASKS': '3', 'SLURM_LOCALID': str(rank), 'SLURM_NODELIST': 'localhost',
         'MASTER_PORT': str(port)} for rank in range(3)], accumulate=2)
    return started.must_end_well(), made


RUNS = pytest.mark.parametrize('several', ['two', 'nodes', 'slurm'])


def weights(made):
    """All that was trained, EMA included, by the names of parts and weights."""
    parts = read_state(made / f'training_states/{STEPS}.state')['weights']
    return {f'{part}.{name}': value for part, values in parts.items() for name, value in values.items()}


@RUNS
def test_shares_of_a_batch_train_what_the_whole_trains(one, several, request):
    expected, found = (weights(made) for _, made in (one, request.getfixturevalue(several)))
    assert expected.keys() == found.keys()
    assert {name.split('.')[0] for name in expected} == {'net_g', 'net_g_ema', 'net_mixer'}
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=TOLERANCE, msg=name)


def test_weights_have_moved_far_above_the_tolerance(one):
    found = weights(one[1])
    assert (found['net_g.conv_last.weight'] - found['net_g_ema.conv_last.weight']).abs().max() > 20 * TOLERANCE


def records(made):
    return {file.stem: read_record(file) for file in (made / 'records').rglob('*.json')}


@RUNS
def test_a_shared_validation_measures_what_one_process_measures(one, several, request):
    expected, found = (records(made) for _, made in (one, request.getfixturevalue(several)))
    assert sorted(expected) == sorted(found) == [f'made_{STEPS}', f'two_{STEPS}']
    for name, record in expected.items():
        other = found[name]
        assert list(other.images) == list(record.images) and len(record.images) == (2 if 'two' in name else 6)
        for image, scores in record.images.items():
            # An output that rounds to another of 256 levels in one of 6,240 numbers.
            assert other.images[image].scores == pytest.approx(scores.scores, abs=1e-3)
        assert other.dataset['good'] == record.dataset['good'] and other.checkpoint is not None


def logged(made):
    """Losses of each iteration by name, from the log."""
    text = next(made.glob('train_*.log')).read_text()
    return [dict(re.findall(r'(l_\w+): (\S+)', line)) for line in text.splitlines() if 'l_pix:' in line]


@RUNS
def test_losses_in_the_log_are_those_of_the_whole_batch(one, several, request):
    expected, found = (logged(made) for _, made in (one, request.getfixturevalue(several)))
    assert len(expected) == len(found) == STEPS and len(expected[0]) == 7
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert float(ours[name]) == pytest.approx(float(value), rel=2e-4)  # they are printed with five digits


@RUNS
def test_several_processes_write_the_files_that_one_writes(one, several, request, folder):
    _, made = request.getfixturevalue(several)

    def files(made):
        return sorted(str(file.relative_to(made)) for file in made.rglob('*')
                      if file.is_file() and file.suffix not in ('.log', '.yml'))

    assert files(made) == files(one[1]) and len(files(made)) == 15
    assert [file.name for file in made.glob('*.yml')] == [f'{several}.yml']
    assert len(list(made.glob('*.log'))) == 1
    assert [file.name for file in (folder / 'experiments').glob(f'{several}*')] == [several]
    assert len(list((folder / 'tb_logger' / several).iterdir())) == 1


@RUNS
def test_only_the_first_process_speaks(several, request):
    started, _ = request.getfixturevalue(several)
    lines = started.said.splitlines()
    assert sum('Saving models and training states.' in line for line in lines) == 1
    assert sum('l_pix:' in line for line in lines) == STEPS
    ours = [line.partition('WARNING: ')[2] for line in lines if 'WARNING: ' in line]  # of so short a training
    assert ours and len(ours) == len(set(ours))
    # PyTorch would warn of a process group that was not destroyed.
    assert [line for line in lines if 'warn' in line.lower().replace('mipkd check warns', '')
            and 'WARNING: ' not in line] == []


# ---------------------------------------------------------------- ends

FAULT = """
import os
from mipkd_model.mipkd_model import MiPKDModel
right = MiPKDModel.optimize_parameters
def wrong(self, iteration):
    if iteration == 2 and os.environ['RANK'] == '{rank}':
        {fault}
    right(self, iteration)
MiPKDModel.optimize_parameters = wrong
"""


HELD = """
import os, time
from mipkd_model.mipkd_model import MiPKDModel
from mipkd_model.run.signals import asked_to_stop
free = MiPKDModel.optimize_parameters
def held(self, iteration):  # the first process waits for the signal, so that none can come too late
    free(self, iteration)
    if iteration == 2 and os.environ['RANK'] == '0':
        print('held', flush=True)
        while asked_to_stop() is None:
            time.sleep(0.01)
MiPKDModel.optimize_parameters = held
"""


def ended(folder, name, rank, fault):
    started, _ = run(folder, name, 2, lambda *words: [torchrun(*words)], before=FAULT.format(rank=rank, fault=fault))
    assert started.end() == [1], started.said
    return started


@pytest.mark.parametrize('rank, fault, told', [
    (1, "raise OSError(28, 'No space left on device', 'file')",
     ['rank 0 of 2: lost the others (', 'rank 1 of 2: file: No space left on device']),
    (0, 'os._exit(9)', ['rank 1 of 2: lost the others ('])])
def test_when_one_process_ends_the_others_say_so_in_a_line_and_end(folder, rank, fault, told):
    started = ended(folder, f'fails_{rank}', rank, fault)
    assert len(started.errors) == len(told), started.said
    for line, words in zip(sorted(started.errors), told, strict=True):
        assert line.startswith(f'error: {words}'), started.said


def test_a_mistake_in_the_options_is_told_once_and_nothing_is_written(folder):
    started, made = run(folder, 'mistaken', 2, lambda *words: [torchrun(*words)], accumulat=2)
    assert started.end() == [1] and len(started.errors) == 1, started.said
    assert 'train.accumulat' in started.errors[0] and 'Traceback' not in started.said.partition('ChildFailed')[0][:200]
    assert not made.exists()


def test_a_signal_stops_all_after_the_same_iteration_with_its_state_saved(folder):
    started, made = run(folder, 'stopped', 2, lambda *words: [torchrun(*words)], before=HELD)
    while started.running[0].poll() is None and 'held\n' not in started.said:
        time.sleep(0.1)
    started.running[0].send_signal(signal.SIGTERM)
    assert started.end() != [0]
    states = list((made / 'training_states').glob('*.state'))
    assert len(states) == 1 and read_state(states[0])['iter'] < STEPS, started.said
    assert started.errors == []


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='needs two CUDA devices')
@pytest.mark.parametrize('backend', ['nccl', 'gloo'])
def test_two_gpus_train_what_one_trains(folder, backend):
    made = []
    for processes in (1, 2):
        opt = {'num_gpu': 1, 'dist_params': {'backend': backend}}
        started, place = run(folder, f'{backend}_{processes}', processes,
                             lambda *words, count=processes: [torchrun(*words, processes=count)], more=opt)
        started.must_end_well()
        made.append(weights(place))
    for name, value in made[0].items():
        torch.testing.assert_close(made[1][name], value, rtol=0, atol=1e-4, msg=name)


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason='needs two CUDA devices')
def test_when_one_gpu_process_ends_the_other_ends(folder):
    started, _ = run(folder, 'fails_cuda', 2, lambda *words: [torchrun(*words)], more={'num_gpu': 1},
                     before=FAULT.format(rank=1, fault="raise OSError(28, 'No space left on device', 'file')"))
    assert started.end() == [1], started.said
    assert any('rank 1 of 2: file: No space left on device' in line for line in started.errors)
