"""Where a process finds its place, and its device: from the environment of torchrun and of SLURM."""
import os

import pytest
import torch
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.distributed import process_group as distributed
from mipkd_model.distributed.launcher_env import Place, find_place, first_host

TORCHRUN = {'RANK': '2', 'WORLD_SIZE': '4', 'LOCAL_RANK': '0', 'MASTER_ADDR': 'one', 'MASTER_PORT': '1234'}
SLURM = {'SLURM_PROCID': '2', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '0', 'SLURM_NODELIST': 'node[03-05,8]'}


def without(env, name):
    return {key: value for key, value in env.items() if key != name}


@pytest.mark.parametrize('launcher', [None, 'pytorch'])
def test_torchrun_is_found_by_its_variables(launcher):
    assert find_place(launcher, TORCHRUN) == Place(2, 4, 0, 'one', 1234)
    assert find_place(launcher, TORCHRUN).variables == TORCHRUN


@pytest.mark.parametrize('launcher', [None, 'none'])
def test_without_a_launcher_a_process_is_alone(launcher):
    assert find_place(launcher, {}) == find_place(launcher, SLURM) == Place(0, 1, 0, '', 0)


def test_slurm_listens_on_its_first_host():
    assert find_place('slurm', SLURM) == Place(2, 4, 0, 'node03', 29500)
    assert find_place('slurm', {**SLURM, 'SLURM_STEP_NODELIST': 'node[8]'}).address == 'node8'


def test_an_address_and_a_port_that_are_set_win_over_those_of_slurm():
    assert find_place('slurm', SLURM, 7) == Place(2, 4, 0, 'node03', 7)
    assert find_place('slurm', {**SLURM, 'MASTER_ADDR': 'a', 'MASTER_PORT': '5'}, 7) == Place(2, 4, 0, 'a', 5)


@pytest.mark.parametrize('nodes, host', [
    ('gpu1', 'gpu1'), ('gpu1,gpu2', 'gpu1'), ('node[03-05,8],gpu1', 'node03'), ('n[7]', 'n7'),
    ('rack[1-2]n[4,6]', 'rack1n4'), ('a-b.c,d', 'a-b.c'), ('node[8,10-12]-ib', 'node8-ib')])
def test_the_first_host_of_a_list_of_slurm(nodes, host):
    assert first_host(nodes) == host


@pytest.mark.parametrize('launcher, env, told', [
    ('pytorch', {}, '--launcher pytorch: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT not set in the '
                    'environment; torchrun sets them: torchrun --nproc_per_node 2 basicsr/train.py'),
    (None, without(TORCHRUN, 'LOCAL_RANK'), 'LOCAL_RANK not set'),
    (None, {**TORCHRUN, 'RANK': 'abc'}, "RANK: 'abc' in the environment is not a whole number from 0 to 3"),
    (None, {**TORCHRUN, 'RANK': '4'}, "RANK: '4' in the environment is not a whole number from 0 to 3"),
    (None, {**TORCHRUN, 'RANK': '-1'}, "RANK: '-1'"),
    (None, {**TORCHRUN, 'WORLD_SIZE': '0'}, "WORLD_SIZE: '0' in the environment is not a whole number of at least 1"),
    (None, {**TORCHRUN, 'WORLD_SIZE': '4\n'}, "WORLD_SIZE: '4\\n' in the environment"),
    (None, {**TORCHRUN, 'LOCAL_RANK': '1.0'}, "LOCAL_RANK: '1.0'"),
    (None, {**TORCHRUN, 'MASTER_PORT': '99999'}, "MASTER_PORT: '99999' in the environment is not a whole number"),
    (None, {**TORCHRUN, 'MASTER_ADDR': ''}, 'MASTER_ADDR not set'),
    ('none', TORCHRUN, '--launcher: none, but torchrun has started 4 processes'),
    ('torch', {}, "--launcher: 'torch' is not known"),
    ('slurm', {}, '--launcher slurm: SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID not set in the environment; srun sets'),
    ('slurm', without(SLURM, 'SLURM_NODELIST'), '--launcher slurm: SLURM_NODELIST not set'),
    ('slurm', {**SLURM, 'SLURM_PROCID': '4'}, "SLURM_PROCID: '4'"),
    ('slurm', {**SLURM, 'SLURM_NTASKS': 'x'}, "SLURM_NTASKS: 'x'"),
    ('slurm', {**SLURM, 'SLURM_NODELIST': 'a b;c'}, "SLURM_NODELIST: 'a b;c' in the environment is no list of hosts"),
    ('slurm', {**SLURM, 'SLURM_NODELIST': '[', 'MASTER_PORT': '1'}, 'SLURM_NODELIST')])
def test_an_environment_that_is_wrong_is_one_line(launcher, env, told):
    assert told in refusal(find_place, launcher, env, kind=UserError)


def test_one_process_of_torchrun_is_no_distributed_run(monkeypatch):
    for name, value in {**TORCHRUN, 'RANK': '0', 'WORLD_SIZE': '1'}.items():
        monkeypatch.setenv(name, value)
    opt = {'num_gpu': 0}
    distributed.start(None, opt)
    assert opt == {'num_gpu': 0, 'dist': False, 'rank': 0, 'world_size': 1}
    assert not torch.distributed.is_initialized()
    distributed.stop()


def test_without_others_exchanges_give_back_what_they_are_given():
    assert distributed.agree(True) is True and distributed.agree(None) is False
    assert distributed.everyone('a') == ['a']
    assert distributed.gathered(torch.ones(2)).tolist() == [1, 1]
    with pytest.raises(UserError, match='mine'), distributed.together():
        raise UserError('mine')


def device_of(monkeypatch, count, asked, num_gpu, local_rank=0, **env):
    taken = []
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    monkeypatch.setattr(torch.cuda, 'set_device', taken.append)
    monkeypatch.setattr(torch.distributed, 'is_nccl_available', lambda: True)
    monkeypatch.setattr(os, 'environ', env)
    return distributed.backend_of(asked, num_gpu, Place(5, 8, local_rank, 'one', 1234)), taken


@pytest.mark.parametrize('count, asked, num_gpu, backend', [
    (0, 'auto', 0, 'gloo'), (0, 'auto', 'auto', 'gloo'), (4, 'auto', 0, 'gloo'), (0, 'gloo', 0, 'gloo'),
    (4, 'auto', 'auto', 'nccl'), (4, 'auto', 1, 'nccl'), (4, 'nccl', 4, 'nccl'), (4, 'gloo', 1, 'gloo')])
def test_gpus_exchange_by_nccl_and_cpus_by_gloo(monkeypatch, count, asked, num_gpu, backend):
    on_gpu = count > 0 and num_gpu != 0
    assert device_of(monkeypatch, count, asked, num_gpu, 3) == (backend, [3] if on_gpu else [])


def test_a_gpu_that_srun_shows_to_one_process_alone_is_that_ones(monkeypatch):
    assert device_of(monkeypatch, 1, 'auto', 1, 3, SLURM_GPUS_PER_TASK='1') == ('nccl', [0])


@pytest.mark.parametrize('count, asked, num_gpu, told', [
    (0, 'nccl', 0, 'dist_params.backend: nccl is for GPUs, and num_gpu: 0 trains on the CPU'),
    (0, 'nccl', 'auto', 'dist_params.backend: nccl is for GPUs'),
    (0, 'auto', 1, 'num_gpu: 1, but torch sees no GPU'),
    (2, 'auto', 'auto', 'LOCAL_RANK: 2, but torch sees 2 GPUs on this machine; start at most --nproc_per_node 2'),
    (2, 'mpi', 0, "dist_params.backend: 'mpi' is not known")])
def test_devices_that_are_not_there_are_one_line(monkeypatch, count, asked, num_gpu, told):
    assert told in refusal(device_of, monkeypatch, count, asked, num_gpu, 2, kind=UserError)


def test_an_address_where_nobody_listens_is_one_line(monkeypatch):
    for name, value in {**TORCHRUN, 'MASTER_ADDR': 'nowhere.invalid'}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, 'TIMEOUT', distributed.timedelta(seconds=1))
    told = refusal(distributed.start, None, {'num_gpu': 0}, kind=UserError)
    assert told.startswith('nowhere.invalid:1234: the 4 processes do not find each other (')
    distributed.stop()


@pytest.mark.parametrize('local_rank, mistake, told, waits', [
    ('0', UserError('mine'), 'process 2 of 4: mine', False), ('1', UserError('mine'), 'process 2 of 4: mine', True),
    ('1', distributed._Told('no GPU for me'), 'no GPU for me', False)])
def test_a_mistake_made_before_processes_meet_is_told_at_once_by_the_first_of_a_machine(monkeypatch, capsys, local_rank,
                                                                                       mistake, told, waits):
    """torchrun ends the others while they wait; without it they have the last word."""
    def fails():
        raise mistake

    waited = []

    for name, value in {**TORCHRUN, 'LOCAL_RANK': local_rank}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed.faulthandler, 'dump_traceback_later', lambda *args, **kwargs: None)
    monkeypatch.setattr(distributed.time, 'sleep', waited.append)
    monkeypatch.setattr(distributed.signal, 'signal', lambda *args: None)
    assert distributed.exit_status(fails) == 1
    assert capsys.readouterr().err == f'error: {told}\n' and waited == [distributed.LAST_WORDS] * waits
