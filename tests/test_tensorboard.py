"""What TensorBoard and Weights & Biases get of a training: each point once, however often the training was resumed."""
import json
import os
import sys
from collections import Counter
from functools import partial

import forks
import numpy as np
import pytest
import runs
import torch
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.data.bicubic import imresize
from mipkd_model.data.images import read_image
from mipkd_model.data.paired_dataset import PairedSRDataset
from mipkd_model.evaluation import validation
from mipkd_model.evaluation.strip import GAP, Strip, most_detailed, side_by_side
from mipkd_model.run import board

EventAccumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator').EventAccumulator
STRIP = 'crops/made/bicubic-student-teacher-HR'


def train(root, opt, *more, before=lambda: None, status=0):
    """Train with these options below ``root``."""
    found, shown = forks.train(root, '-opt', runs.option_file(root, opt), *more, before=before)
    assert found == status, shown


def end_in_validation_of_iteration_4():
    log = validation.Validator._log

    def log_and_end(self, record, *args):
        log(self, record, *args)
        if record.iteration == 4:
            os._exit(9)
    validation.Validator._log = log_and_end


def options(folder):
    opt = runs.options(folder, mixer_lr=5e-4, total_iter=6, precision='bf16')  # the teacher is stored so
    opt['val']['val_freq'] = 2
    opt['logger'].update(print_freq=1, use_tb_logger=True)
    opt['datasets']['train']['num_worker_per_gpu'] = 0
    return opt


def events(root):
    found = EventAccumulator(str(root / 'tb_logger/tiny'), {'images': 0, 'scalars': 0})
    found.Reload()
    return found


def scalars(root):
    """By tag the (step, value)."""
    found = events(root)
    return {tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in found.Tags()['scalars']}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    """Folder and options of a training that nothing has stopped."""
    root = tmp_path_factory.mktemp('board')
    opt = options(root)
    train(root, opt)
    return root, opt


def test_losses_rates_and_metrics_have_names_and_the_steps_of_the_training(whole):
    found = scalars(whole[0])
    assert {'losses/l_pix', 'losses/l_kd', 'lr', 'lr_2', 'metrics/made/psnr'} <= found.keys()
    assert [step for step, _ in found['losses/l_pix']] == [1, 2, 3, 4, 5, 6]
    assert [step for step, _ in found['metrics/made/psnr']] == [2, 4, 6]
    assert found['lr'] == [(step, pytest.approx(1e-3)) for step in range(1, 7)] and found['lr_2'][0][1] < 6e-4
    record = json.loads((whole[0] / 'experiments/tiny/records/made_4.json').read_text())
    assert found['metrics/made/psnr'][1][1] == pytest.approx(record['mean']['psnr'])


def test_a_strip_of_the_same_crops_is_there_for_each_validation(whole):
    root, _ = whole
    found = events(root)
    assert found.Tags()['images'] == [STRIP]
    assert [event.step for event in found.Images(STRIP)] == [2, 4, 6]
    (root / 'strips').mkdir()
    strips = []
    for event in found.Images(STRIP):
        (root / f'strips/{event.step}.png').write_bytes(event.encoded_image_string)
        strips.append(read_image(root / f'strips/{event.step}.png'))
    side = 40  # of the smallest image
    assert strips[0].shape == (4 * side + 3 * GAP, 4 * side + 3 * GAP, 3)
    bicubic, student, teacher, gt = ([strip[:, column * (side + GAP):][:, :side] for strip in strips]
                                     for column in range(4))
    for same in (bicubic, teacher, gt):
        assert all(np.array_equal(same[0], other) for other in same)
    assert not np.array_equal(student[0], student[2])
    photograph = read_image(root / 'hr/0000.png')
    assert any(np.array_equal(gt[0][:side], photograph[:, left:left + side]) for left in range(13))


def test_a_run_that_goes_on_from_an_earlier_state_shows_each_point_once(whole, tmp_path):
    _, opt = whole
    train(tmp_path, {**opt, 'train': {**opt['train'], 'total_iter': 5}})
    for file in (tmp_path / 'experiments/tiny/training_states').glob('*.state'):
        if file.stem != '2':
            file.unlink()
    train(tmp_path, opt, '--auto_resume')
    assert len(list((tmp_path / 'tb_logger/tiny').iterdir())) == 2
    assert scalars(tmp_path) == scalars(whole[0])
    assert [event.step for event in events(tmp_path).Images(STRIP)] == [2, 4, 6]


def test_a_run_that_was_killed_in_a_validation_shows_it_all_the_same(whole, tmp_path):
    _, opt = whole
    train(tmp_path, opt, before=end_in_validation_of_iteration_4, status=9)
    assert [step for step, _ in scalars(tmp_path)['losses/l_pix']][:4] == [1, 2, 3, 4], 'flushed with the state'
    train(tmp_path, opt, '--auto_resume')
    found = {tag: list(dict.fromkeys(points)) for tag, points in scalars(tmp_path).items()}  # 4 may be there twice
    assert found == scalars(whole[0])
    assert [event.step for event in events(tmp_path).Images(STRIP)] == [2, 4, 6]


def test_without_the_option_nothing_is_drawn_or_written(tmp_path):
    opt = options(tmp_path)
    opt['logger']['use_tb_logger'] = False
    opt['train']['total_iter'] = 2
    train(tmp_path, opt, before=partial(setattr, validation, 'Strip', None))
    assert not (tmp_path / 'tb_logger').exists()


def test_the_crop_is_the_one_that_trying_all_gives():
    rng = np.random.default_rng(0)
    gt = rng.integers(0, 256, (36, 48, 3), np.uint8)
    gt[:, 20:] //= 4
    gray = gt.astype(float).mean(2)
    down, right = np.zeros_like(gray), np.zeros_like(gray)
    down[:-1], right[:, :-1] = np.abs(gray[1:] - gray[:-1]), np.abs(gray[:, 1:] - gray[:, :-1])
    sums = {(y, x): (down + right)[3 * y:3 * y + 15, 3 * x:3 * x + 15].sum() for y in range(8) for x in range(12)}
    assert most_detailed(gt, 5, 3) == max(sums, key=sums.get)
    assert most_detailed(np.zeros((36, 48, 3), np.uint8), 5, 3) == (0, 0)


@pytest.mark.parametrize('scale', [1, 2])
def test_a_network_sees_around_a_crop_what_lies_there(tmp_path, scale):
    opt = runs.options(tmp_path)
    block = {**opt['datasets']['val'], 'phase': 'val', 'scale': scale}
    if scale == 1:
        block['dataroot_lq'] = block['dataroot_gt']
    strip = Strip(PairedSRDataset(block), scale)

    def bicubic(lq):
        images = [(image.permute(1, 2, 0) * 255).round().byte().numpy() for image in lq]
        size = [scale * side for side in images[0].shape[:2]]
        return torch.stack([torch.from_numpy(imresize(image, size=size)).permute(2, 0, 1) for image in images]) / 255
    inside = np.s_[4:-4, 4:-4]  # the window is square, and the image is not
    for ours, expected in zip(strip.restored(bicubic, torch.device('cpu')), strip.bicubic, strict=True):
        assert np.array_equal(ours[inside], expected[inside])


def test_crops_stand_side_by_side_with_white_between_them():
    one, other = np.zeros((2, 3, 3, 3), np.uint8)
    made = side_by_side([[one], [other]])
    assert made.shape == (3, 6 + GAP, 3) and Counter(made.ravel().tolist())[255] == 9 * GAP


WANDB = """
import json, pathlib
class Error(Exception): pass
def init(**arguments):
    from torch.utils import tensorboard
    arguments['config'] = arguments['config']['name']
    with pathlib.Path('wandb_calls').open('a') as file:
        file.write(json.dumps(arguments) + '\\n')
    if arguments['project'] == 'closed':
        raise Error('no api key')
"""


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """Options of a run that asks for Weights & Biases, a stub of which stands there; it returns the calls of that."""
    (tmp_path / 'stub').mkdir()
    (tmp_path / 'stub/wandb.py').write_text(WANDB)
    (tmp_path / 'experiments').mkdir()
    monkeypatch.syspath_prepend(tmp_path / 'stub')
    monkeypatch.delitem(sys.modules, 'wandb', raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(board, '_writers', [])
    opt = {'name': 'mine', 'rank': 0, 'root_path': str(tmp_path), 'path': {'experiments_root': 'experiments'},
           'logger': {'use_tb_logger': True, 'wandb': {'project': 'sr', 'resume_id': None}}}
    return opt, lambda: [json.loads(line) for line in (tmp_path / 'wandb_calls').read_text().splitlines()]


def test_weights_and_biases_gets_what_tensorboard_gets_and_a_resumed_run_goes_on_there(wandb):
    opt, calls = wandb
    board.init_tb_loggers(opt).close()
    opt['path']['resume_state'], opt['start_iter'] = '4.state', 4
    board.init_tb_loggers(opt).close()
    first, again = calls()
    assert first == again and first['sync_tensorboard'] is True
    assert (first['project'], first['name'], first['config'], len(first['id'])) == ('sr', 'mine', 'mine', 8)


def test_a_run_there_that_is_named_is_resumed(wandb):
    opt, calls = wandb
    opt['logger']['wandb']['resume_id'] = 'abc'
    board.init_tb_loggers(opt).close()
    assert [(call['id'], call['resume']) for call in calls()] == [('abc', 'allow')]


def test_weights_and_biases_that_cannot_be_reached_is_one_line(wandb):
    opt, _ = wandb
    opt['logger']['wandb']['project'] = 'closed'
    assert 'logger.wandb.project: Weights & Biases cannot be used (no api key); log in' in refusal(
        board.init_tb_loggers, opt, kind=UserError)


@pytest.mark.parametrize('change', [{'rank': 1}, {'name': 'debug'}, {'logger': {'use_tb_logger': False}}])
def test_other_ranks_debug_runs_and_runs_that_do_not_ask_write_nothing(wandb, tmp_path, change):
    opt, _ = wandb
    before = sorted(tmp_path.rglob('*'))
    assert board.init_tb_loggers({**opt, **change}) is None and board.writer() is None
    assert sorted(tmp_path.rglob('*')) == before
