"""Where a process finds its rank and its GPU: in the variables of torchrun and of SLURM."""
import os

import pytest
import torch
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.distributed import process_group as distributed
from mipkd_model.distributed.launcher_env import RankInfo, first_host, read_launcher_env

TORCHRUN = {'RANK': '2', 'WORLD_SIZE': '4', 'LOCAL_RANK': '0', 'MASTER_ADDR': 'one', 'MASTER_PORT': '1234'}
SLURM = {'SLURM_PROCID': '2', 'SLURM_NTASKS': '4', 'SLURM_LOCALID': '0', 'SLURM_NODELIST': 'node[03-05,8]'}


def without(env, name):
    return {key: value for key, value in env.items() if key != name}


@pytest.mark.parametrize('launcher', [None, 'pytorch'])
def test_torchrun_is_found_by_its_variables(launcher):
    assert read_launcher_env(launcher, TORCHRUN) == RankInfo(2, 4, 0, 'one', 1234)
    assert read_launcher_env(launcher, TORCHRUN).as_env() == TORCHRUN


@pytest.mark.parametrize('launcher', [None, 'none'])
def test_without_a_launcher_a_process_has_no_others(launcher):
    assert read_launcher_env(launcher, {}) == read_launcher_env(launcher, SLURM) == RankInfo(0, 1, 0, '', 0)


def test_slurm_listens_on_its_first_host():
    assert read_launcher_env('slurm', SLURM) == RankInfo(2, 4, 0, 'node03', 29500)
    assert read_launcher_env('slurm', {**SLURM, 'SLURM_STEP_NODELIST': 'node[8]'}).master_addr == 'node8'


def test_an_address_and_a_port_that_are_set_win_over_those_of_slurm():
    assert read_launcher_env('slurm', SLURM, 7) == RankInfo(2, 4, 0, 'node03', 7)
    assert read_launcher_env('slurm', {**SLURM, 'MASTER_ADDR': 'a', 'MASTER_PORT': '5'}, 7) == RankInfo(2, 4, 0, 'a', 5)


@pytest.mark.parametrize('nodes, host', [
    ('gpu1', 'gpu1'), ('gpu1,gpu2', 'gpu1'), ('node[03-05,8],gpu1', 'node03'), ('n[7]', 'n7'),
    ('rack[1-2]n[4,6]', 'rack1n4'), ('', ''), ('a-b.c,d', 'a-b.c'), ('node[8,10-12]-ib', 'node8-ib')])
def test_the_first_host_of_a_list_of_slurm(nodes, host):
    assert first_host(nodes) == host


@pytest.mark.parametrize('launcher, env, message', [
    ('pytorch', {}, '--launcher pytorch: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_PORT, MASTER_ADDR not set in the '
                    'environment, or not to an integer; torchrun sets them: torchrun --nproc_per_node 2'),
    (None, without(TORCHRUN, 'LOCAL_RANK'), 'LOCAL_RANK not set'),
    (None, {**TORCHRUN, 'RANK': 'abc'}, 'RANK not set in the environment, or not to an integer'),
    (None, {**TORCHRUN, 'RANK': '-1'}, 'RANK not set'), (None, {**TORCHRUN, 'MASTER_ADDR': ''}, 'MASTER_ADDR not set'),
    ('none', TORCHRUN, '--launcher: none, but torchrun has started 4 processes'),
    ('slurm', {}, '--launcher slurm: SLURM_PROCID, SLURM_NTASKS, SLURM_LOCALID, MASTER_ADDR not set in the '
                  'environment, or not to an integer; srun sets'),
    ('slurm', {**SLURM, 'SLURM_PROCID': 'x'}, 'SLURM_PROCID not set')])
def test_an_environment_that_is_wrong_is_one_line(launcher, env, message):
    assert message in refusal(read_launcher_env, launcher, env, kind=UserError)


def test_one_process_of_torchrun_is_no_distributed_run(monkeypatch):
    for name, value in {**TORCHRUN, 'RANK': '0', 'WORLD_SIZE': '1'}.items():
        monkeypatch.setenv(name, value)
    opt = {'num_gpu': 0}
    distributed.init(None, {})
    distributed.set_up(opt)
    assert opt == {'num_gpu': 0, 'dist': False, 'rank': 0, 'world_size': 1}
    assert not torch.distributed.is_initialized()


def test_without_others_collectives_return_what_they_are_given():
    assert distributed.any_rank(True) is True and distributed.any_rank(False) is False
    assert distributed.all_gather_object('a') == ['a']
    with pytest.raises(UserError, match='mine'), distributed.collective():
        raise UserError('mine')


def gpu_of(monkeypatch, count, num_gpu, local_rank, **env):
    selected = []
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: count)
    monkeypatch.setattr(torch.cuda, 'set_device', selected.append)
    for name, value in (('is_initialized', True), ('get_rank', 5), ('get_world_size', 8)):
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    monkeypatch.setattr(os, 'environ', {'LOCAL_RANK': str(local_rank), **env})
    distributed.set_up({'num_gpu': num_gpu})
    return selected


@pytest.mark.parametrize('count, num_gpu, selected', [
    (0, 0, []), (0, 'auto', []), (4, 0, []), (4, 'auto', [3]), (4, 1, [3]), (4, 4, [3])])
def test_a_rank_has_the_gpu_of_its_number_on_its_machine(monkeypatch, count, num_gpu, selected):
    assert gpu_of(monkeypatch, count, num_gpu, 3) == selected


def test_a_gpu_that_srun_shows_to_one_process_only_is_its_own(monkeypatch):
    assert gpu_of(monkeypatch, 1, 1, 3, SLURM_GPUS_PER_TASK='1') == [0]


def test_more_ranks_than_gpus_are_refused(monkeypatch):
    assert refusal(gpu_of, monkeypatch, 2, 'auto', 2, kind=UserError).startswith(
        'LOCAL_RANK: 2, but torch sees 2 GPUs on this machine; start at most --nproc_per_node 2')


def test_an_address_where_nobody_listens_is_one_line(monkeypatch):
    for name, value in {**TORCHRUN, 'MASTER_ADDR': 'nowhere.invalid'}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, 'TIMEOUT', distributed.timedelta(seconds=1))
    message = refusal(distributed.init, None, {}, kind=UserError)
    assert message.startswith('nowhere.invalid:1234: the 4 processes do not find each other (')
