"""``mipkd check``."""
import shutil

import pytest
import runs
import yaml

from mipkd_model.cli import main

FILES = runs.ours('options', '**/*.yml')


def check(capsys, *arguments):
    """Exit status and lines of the command."""
    status = main(['check', *map(str, arguments)])
    done = capsys.readouterr()
    assert 'Traceback' not in done.err
    return status, done.out.splitlines()


def test_all_files_that_are_shipped_are_sound(capsys):
    assert len(FILES) > 20
    assert check(capsys, *FILES, '--options-only') == (0, [f'{file}: ok' for file in FILES])


def test_a_file_whose_data_and_weights_are_there_is_sound(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = runs.option_file(tmp_path, runs.options(tmp_path))
    assert check(capsys, file) == (0, [f'{file}: ok'])
    assert not (tmp_path / 'experiments').exists()


def test_every_mistake_of_every_file_has_a_line(tmp_path, capsys):
    opt = runs.options(tmp_path)
    opt['train'].update(ema_decay=2, grad_clp=1)
    bad = runs.option_file(tmp_path, opt)
    (tmp_path / 'text.yml').write_text('a: [')
    status, lines = check(capsys, bad, tmp_path / 'text.yml', tmp_path / 'no.yml')
    assert status == 1 and [line.split(': ')[:2] for line in lines] == [
        [str(bad), 'train.ema_decay'], [str(bad), 'train.grad_clp'], [str(tmp_path / 'text.yml'), 'line 1'],
        [str(tmp_path / 'no.yml'), 'cannot be read (No such file or directory)']]


def test_missing_files_are_all_named_and_left_out_where_options_alone_are_asked_for(tmp_path, capsys):
    opt = runs.options(tmp_path)
    opt['datasets']['train']['dataroot_gt'] = opt['path']['pretrain_network_t'] = 'nowhere'
    file = runs.option_file(tmp_path, opt)
    status, lines = check(capsys, file)
    assert status == 1 and [line.split(': ')[1] for line in lines] == ['datasets.train.dataroot_gt',
                                                                       'path.pretrain_network_t']
    assert check(capsys, file, '--options-only') == (0, [f'{file}: ok'])


def test_what_does_not_fit_together_is_found(tmp_path, capsys):
    opt = runs.options(tmp_path)
    opt['network_g']['upscale'] = 4
    status, lines = check(capsys, runs.option_file(tmp_path, opt))
    assert status == 1 and 'network_g.upscale: 4 is not the scale: 2' in lines[0]


@pytest.mark.parametrize('entry, status', [('train:ema_decay=5e-1', 0), ('train:ema_decay=5', 1)])
def test_options_can_be_changed_before(tmp_path, capsys, entry, status):
    file = runs.option_file(tmp_path, runs.options(tmp_path))
    assert check(capsys, file, '--options-only', '--force_yml', entry)[0] == status
    assert yaml.safe_load(file.read_text())['train']['ema_decay'] == 0.999


def test_a_run_that_its_disk_has_no_room_for_is_found(tmp_path, capsys, monkeypatch):
    file = runs.option_file(tmp_path, runs.options(tmp_path))
    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: full)
    status, (line, ) = check(capsys, file)
    assert status == 1 and ': 0.0 MB are free, but ' in line


def test_what_is_allowed_and_hardly_meant_is_a_warning_beside_the_ok(tmp_path, capsys, monkeypatch):
    opt = runs.options(tmp_path, scheduler={'type': 'MultiStepLR', 'milestones': [100]})
    opt['name'] = 'debug_it'
    opt['datasets']['val'] = {'name': 'own', 'type': 'SingleImageDataset', 'dataroot_lq': str(tmp_path / 'hr'),
                              'io_backend': {'type': 'disk'}}
    file = runs.option_file(tmp_path, opt)
    (tmp_path / 'experiments/debug_it/training_states').mkdir(parents=True)
    (tmp_path / 'experiments/debug_it/training_states/12.state').touch()
    monkeypatch.chdir(tmp_path)
    assert main(['check', str(file)]) == 0
    done = capsys.readouterr()
    assert done.out == f'{file}: ok\n'
    for says in ('train.scheduler.milestones: [100], but', 'name: debug_it runs in debug mode',
                 'datasets.val: has no gt, so psnr is not measured on it', 'has a run of 12 iterations'):
        assert f'{file}: warning: ' in done.err and says in done.err


def test_gpus_that_are_not_there_are_one_true_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    file = runs.option_file(tmp_path, {**runs.options(tmp_path), 'num_gpu': 2})
    assert check(capsys, file) == (1, [f'{file}: num_gpu: 2, but torch sees no GPU; set num_gpu: auto, or 0 for the '
                                       'CPU'])
