"""Validation in the model: what is honoured, logged and recorded."""
import json
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest
import runs
import torch
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.data.paired_dataset import PairedSRDataset
from mipkd_model.evaluation.dataset_check import check_image
from mipkd_model.evaluation.evaluate import EvaluationSettings, evaluate
from mipkd_model.evaluation.records import find_records, read_record
from mipkd_model.evaluation.restore import self_ensembled
from mipkd_model.run.states import read_state

from basicsr.archs import build_network


def set_up(folder, family='EDSR', **val):
    """Options of a run in ``folder`` and the loader that validates it, as BasicSR gives them to a model."""
    opt = runs.options(folder, family)
    opt['path'].update(log=str(folder / 'log'), models=str(folder / 'models'),
                       visualization=str(folder / 'visualization'))
    opt['val'].update(val)
    (folder / 'log').mkdir(exist_ok=True)
    block = {**opt['datasets']['val'], 'phase': 'val', 'scale': opt['scale']}
    return opt, SimpleNamespace(dataset=PairedSRDataset(block))


def measured(restore, opt, loader):
    """What ``evaluate`` gives for the validation of these options."""
    return evaluate(restore, loader.dataset, EvaluationSettings(2, opt['val']['metrics']), torch.device('cpu'))


def written(folder):
    """The only record in ``folder``."""
    (record, ), = [tuple(find_records([folder / 'log']).values())]
    return record


def test_a_validation_in_training_is_recorded_with_its_iteration(tmp_path):
    opt, loader = set_up(tmp_path)
    model = runs.model(opt)
    model.validation(loader, 4, None)
    record = read_record(tmp_path / 'log/records/made_4.json')
    assert (record.iteration, record.seed, record.name, record.scale) == (4, 3, 'tiny', 2)
    assert record.checkpoint is None, 'this iteration was not saved'
    expected = measured(model.net_g_ema, opt, loader)
    assert {name: image.scores for name, image in record.images.items()} == {
        result.name: result.scores for result in expected}


def test_a_saved_iteration_is_recorded_with_its_checkpoint(tmp_path):
    opt, loader = set_up(tmp_path)
    (tmp_path / 'models').mkdir()
    model = runs.model(opt)
    model.saver.save_checkpoint(4)
    model.validation(loader, 4, None)
    file = tmp_path / 'models/net_g_4.pth'
    assert written(tmp_path).checkpoint == {'file': str(file), 'key': 'params_ema',
                                            'sha256': sha256(file.read_bytes()).hexdigest()}


def test_validation_leaves_the_student_in_training_mode_and_its_weights_alone(tmp_path):
    opt, loader = set_up(tmp_path)
    opt['train']['ema_decay'] = 0
    model = runs.model(opt)
    before = {key: value.clone() for key, value in model.net_g.state_dict().items()}
    model.validation(loader, 4, None)
    assert model.net_g.training
    assert all(torch.equal(value, before[key]) for key, value in model.net_g.state_dict().items())


def test_the_best_value_of_a_training_is_kept_and_logged(tmp_path, log):
    opt, loader = set_up(tmp_path)
    model = runs.model(opt)
    model.validation(loader, 2, None)
    first = model.validator.records['made'].mean['psnr']
    with torch.no_grad():
        model.net_g_ema.conv_last.bias += 100
    model.validation(loader, 3, None)
    assert model.validator.records['made'].mean['psnr'] < first
    assert model.validator.best['made']['psnr'] == {'better': 'higher', 'val': first, 'iter': 2}
    assert f'Best: {first:.4f} @ 2 iter' in log.messages[-1]


def test_self_ensemble_is_honoured_and_recorded(tmp_path):
    opt, loader = set_up(tmp_path, self_ensemble=True)
    model = runs.model(opt)
    model.validation(loader, 4, None)
    record = written(tmp_path)
    network = model.net_g_ema.eval()
    expected = measured(partial(self_ensembled, network), opt, loader)
    plain = measured(network, opt, loader)
    assert record.images['0000'].scores == expected[0].scores != plain[0].scores
    assert record.protocol['self_ensemble'] is True


def test_tiles_are_honoured_and_recorded(tmp_path):
    opt, loader = set_up(tmp_path, tile=8, tile_pad=3)
    model = runs.model(opt)
    seen = []
    model.net_g_ema.register_forward_pre_hook(lambda module, inputs: seen.append(max(inputs[0].shape[-2:])))
    model.validation(loader, 4, None)
    assert max(seen) == 8 + 2 * 3
    assert (written(tmp_path).protocol['tile'], written(tmp_path).protocol['tile_pad']) == (8, 3)


def test_windows_are_padded_for(tmp_path):
    opt, loader = set_up(tmp_path, 'SwinIR')
    model = runs.model(opt)
    multiple = model.validator.size_multiple
    assert any(side % multiple for shape in loader.dataset.lq.shapes.values() for side in shape[:2])
    model.validation(loader, 4, None)
    assert written(tmp_path).mean['psnr'] > 5


def test_outputs_are_saved_by_data_set_and_the_record_names_them(tmp_path):
    opt, loader = set_up(tmp_path)
    runs.model(opt).validation(loader, 4, None, save_img=True)
    files = sorted((tmp_path / 'visualization/made').iterdir())
    assert [file.name for file in files] == [f'{index:04d}_4.png' for index in range(6)]
    assert [image.output for image in written(tmp_path).images.values()] == list(map(str, files))


def test_a_data_set_is_checked_once_in_a_run(tmp_path, monkeypatch):
    opt, loader = set_up(tmp_path)
    model = runs.model(opt)
    calls = []
    monkeypatch.setattr('mipkd_model.evaluation.evaluate.check_image',
                        lambda *args: calls.append(args[0]) or check_image(*args))
    for iteration in (2, 4):
        model.validation(loader, iteration, None)
    assert sorted(calls) == [f'{index:04d}' for index in range(6)]
    first, second = find_records([tmp_path / 'log']).values()
    assert first.dataset == second.dataset and first.bicubic == second.bicubic


def test_wrong_images_of_a_known_name_are_warned_of_and_recorded(tmp_path, log):
    opt, loader = set_up(tmp_path)
    loader.dataset.opt['name'] = 'Set5'
    runs.model(opt).validation(loader, 4, None)
    assert any('Set5: has 6 images, but Set5 has 5' in message for message in log.messages)
    assert written(tmp_path).dataset['good'] is False


def test_images_without_gt_are_restored_and_nothing_is_recorded(tmp_path):
    from basicsr.data.single_image_dataset import SingleImageDataset
    opt, _ = set_up(tmp_path)
    block = {'name': 'mine', 'type': 'SingleImageDataset', 'dataroot_lq': str(tmp_path / 'hr'), 'phase': 'test',
             'scale': 2, 'io_backend': {'type': 'disk'}}
    runs.model(opt).validation(SimpleNamespace(dataset=SingleImageDataset(block)), 4, None, save_img=True)
    assert len(list((tmp_path / 'visualization/mine').iterdir())) == 6
    assert not (tmp_path / 'log/records').exists()


def test_a_training_describes_itself_for_the_evaluations_of_its_weights(tmp_path):
    opt, loader = set_up(tmp_path)
    opt['path'].update(log=str(tmp_path / 'experiments/tiny'), models=str(tmp_path / 'experiments/tiny/models'))
    Path(opt['path']['models']).mkdir(parents=True)
    trained = runs.model(opt)
    trained.saver.save_checkpoint(-1)
    run = json.loads((tmp_path / 'experiments/tiny/run.json').read_text())
    assert (run['seed'], run['batch_size'], run['total_iter']) == (3, 2, 4)
    assert run['teacher']['sha256'] == sha256((tmp_path / 'teacher.pth').read_bytes()).hexdigest()

    test = {**opt, 'manual_seed': 77, 'table': {'pair': 'EDSR', 'method': 'MiPKD'}}
    test['path'] = {'log': str(tmp_path / 'log'), 'param_key_g': 'params_ema',
                    'pretrain_network_g': str(tmp_path / 'experiments/tiny/models/net_g_latest.pth')}
    from basicsr.models import build_model
    build_model({**test, 'rank': 0, 'world_size': 1, 'dist': False, 'is_train': False}).validation(loader, 'x', None)
    record = read_record(tmp_path / 'log/records/made.json')
    assert (record.seed, record.iteration, record.pair, record.method) == (3, None, 'EDSR', 'MiPKD')
    assert record.training['name'] == 'tiny'


def model_of_test(opt, folder, **changes):
    """A model that tests the student in ``folder / 'student.pth'``, as BasicSR's pipeline builds it."""
    from basicsr.models import build_model
    path = {'log': str(folder / 'log'), 'pretrain_network_g': str(folder / 'student.pth')}
    return build_model({**opt, 'path': path, 'rank': 0, 'world_size': 1, 'dist': False, 'is_train': False, **changes})


@pytest.fixture
def student(tmp_path):
    """Options, loader and the file of a student's weights, averaged and not."""
    opt, loader = set_up(tmp_path)
    states = [build_network(opt['network_g']).state_dict() for _ in range(2)]
    torch.save({'params': states[0], 'params_ema': states[1]}, tmp_path / 'student.pth')
    return opt, loader


def test_a_test_says_which_weights_of_the_file_were_measured(student, tmp_path):
    opt, loader = student
    model_of_test(opt, tmp_path).validation(loader, 'x', None)
    assert written(tmp_path).checkpoint['key'] == 'params_ema' and written(tmp_path).seconds > 0


def test_the_hash_is_that_of_the_weights_that_were_loaded(student, tmp_path):
    opt, loader = student
    loaded = sha256((tmp_path / 'student.pth').read_bytes()).hexdigest()
    model = model_of_test(opt, tmp_path)
    torch.save({'params': {}}, tmp_path / 'student.pth')
    model.validation(loader, 'x', None)
    assert written(tmp_path).checkpoint['sha256'] == loaded


def test_a_foreign_description_beside_the_weights_is_refused_before_anything_is_measured(student, tmp_path):
    opt, loader = student
    (tmp_path / 'models').mkdir()
    (tmp_path / 'student.pth').rename(tmp_path / 'models/student.pth')
    (tmp_path / 'run.json').write_text('{"a": 1}')
    path = {'pretrain_network_g': str(tmp_path / 'models/student.pth')}
    assert 'run.json: is not a description of a run' in refusal(model_of_test, opt, tmp_path, path=path, kind=UserError)


def test_outputs_of_a_test_end_in_its_name_or_the_suffix_that_is_asked_for(student, tmp_path):
    opt, loader = student
    for suffix, ending in ((None, 'tiny'), ('mine', 'mine')):
        model = model_of_test({**opt, 'val': {**opt['val'], 'suffix': suffix}}, tmp_path)
        model.opt['path']['visualization'] = str(tmp_path / ending)
        model.validation(loader, 'x', None, save_img=True)
        assert (tmp_path / ending / f'made/0000_{ending}.png').exists()


@pytest.mark.parametrize('pbar, shown', [(True, True), (False, False), (None, False)])
def test_a_progress_bar_is_shown_where_asked_for_and_not_in_a_log_file(student, tmp_path, capfd, pbar, shown):
    opt, loader = student
    model = model_of_test({**opt, 'val': {**opt['val'], 'pbar': pbar}}, tmp_path)
    capfd.readouterr()
    model.validation(loader, 'x', None)
    assert ('made: 100%' in capfd.readouterr().err) == shown


def test_only_the_first_process_writes_the_record(student, tmp_path, monkeypatch):
    opt, loader = student
    model = model_of_test(opt, tmp_path)
    model.opt.update(rank=1)
    monkeypatch.setattr('mipkd_model.evaluation.evaluate.get_dist_info', lambda: (1, 2))
    monkeypatch.setattr(torch.distributed, 'all_gather_object', lambda parts, mine: parts.__setitem__(
        slice(None), [{index: next(iter(mine.values())) for index in range(0, 6, 2)}, mine]))
    model.validation(loader, 'x', None)
    assert not (tmp_path / 'log/records').exists()


def test_tensorboard_gets_the_means_of_a_training(tmp_path):
    opt, loader = set_up(tmp_path)
    model, scalars = runs.model(opt), []
    model.validation(loader, 4, SimpleNamespace(add_scalar=lambda *args: scalars.append(args),
                                                add_image=lambda *args, **kwargs: None))
    assert scalars == [('metrics/made/psnr', written(tmp_path).mean['psnr'], 4)]


def test_iterations_that_the_loop_counts_beyond_the_last_are_recorded_as_the_last(tmp_path):
    opt, loader = set_up(tmp_path)
    model = runs.model(opt)
    (tmp_path / 'models').mkdir()
    model.saver.save_checkpoint(-1)
    model.validation(loader, 7, None)
    record = written(tmp_path)
    assert record.iteration == 4 and record.checkpoint['file'].endswith('net_g_latest.pth')


def test_a_resumed_training_keeps_what_it_was_before(tmp_path):
    opt, _ = set_up(tmp_path)
    opt['train']['pixel_opt'] = dict(runs.LOSSES['pixel_opt'])
    model = runs.model(opt)
    first = json.loads((tmp_path / 'log/run.json').read_text())
    opt['path'].update(models=str(tmp_path), training_states=str(tmp_path))
    model.opt['path'].update(opt['path'])
    model.save(0, 3)
    opt['train']['total_iter'] = 9
    opt['path'].update(pretrain_network_g=None, resume_state=str(tmp_path / '3.state'))
    runs.model(opt).resume_training(read_state(tmp_path / '3.state'))
    run = json.loads((tmp_path / 'log/run.json').read_text())
    del first['format']
    assert run['total_iter'] == 9 and run['resumed'] == [first] and first['total_iter'] == 4


def test_a_training_without_a_loss_that_needs_one_has_no_teacher(tmp_path):
    opt, _ = set_up(tmp_path)
    for name in runs.LOSSES:
        if name != 'pixel_opt':
            del opt['train'][name]
    runs.model(opt)
    assert json.loads((tmp_path / 'log/run.json').read_text())['teacher'] is None


def test_a_dataset_that_cannot_be_measured_is_said_to_be(tmp_path, log):
    opt, loader = set_up(tmp_path, metrics=None)
    runs.model(opt).validation(loader, 4, None)
    assert log.messages[-1] == 'made: nothing is measured, since val.metrics is missing.'
