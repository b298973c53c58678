"""The teacher, measured before it teaches."""
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import records
import runs
import torch
from torch import nn
from torch.nn import functional as F

from mipkd_model.data.paired_dataset import PairedSRDataset
from mipkd_model.evaluation.teacher_score import is_better, measure_teacher, student_warnings

from basicsr.archs import build_network
from basicsr.metrics import calculate_psnr

CPU = torch.device('cpu')
PSNR = {'type': 'calculate_psnr', 'crop_border': 2, 'test_y_channel': True}


def warnings(log):
    return [record.getMessage() for record in log.records if record.levelno == logging.WARNING]


def options(folder, **val):
    opt = runs.options(folder)
    opt['val'].update({'check_teacher': True, **val})
    opt.update(rank=0, world_size=1)
    return opt


def images(opt):
    return PairedSRDataset({**opt['datasets']['val'], 'phase': 'val', 'scale': 2})


class Oracle(nn.Module):
    """Knows the gt of every lq."""

    def __init__(self, opt):
        super().__init__()
        self.known = [(item['lq'].float() / 255, item['gt'].float() / 255) for item in images(opt)]

    def forward(self, lq):
        return next(gt for seen, gt in self.known if seen.shape == lq.shape[1:] and torch.equal(seen, lq[0]))[None]


class Nearest(nn.Module):
    def forward(self, lq):
        return F.interpolate(lq, scale_factor=2, mode='nearest')


class Broken(Nearest):
    def forward(self, lq):
        return super().forward(lq) * float('nan')


def test_a_teacher_is_measured_as_basicsr_would(tmp_path):
    opt = options(tmp_path)
    scores = []
    for item in images(opt):
        output = Nearest()(item['lq'][None].float())[0].numpy().astype(np.uint8).transpose(1, 2, 0)
        scores.append(calculate_psnr(output[..., ::-1], item['gt'].numpy().transpose(1, 2, 0)[..., ::-1], 2,
                                     test_y_channel=True))
    assert measure_teacher(opt, Nearest(), CPU) == {'made': {'psnr': pytest.approx(np.mean(scores), abs=1e-6)}}


def test_a_teacher_worse_than_bicubic_is_reported_with_its_file_and_both_figures(tmp_path, log):
    opt = options(tmp_path)
    value = measure_teacher(opt, Nearest(), CPU)['made']['psnr']
    line, = warnings(log)
    assert line.startswith(f'{tmp_path / "teacher.pth"}: the teacher is no better than bicubic on made: psnr '
                           f'{value:.4f}, bicubic ')
    assert float(line.partition('bicubic on')[2].partition('bicubic ')[2].split('; ')[0]) > value
    for word in ('network_t', 'scale 2', 'rgb_mean', 'img_range'):
        assert word in line


def test_a_teacher_that_is_not_finite_is_reported_too(tmp_path, log):
    measure_teacher(options(tmp_path), Broken(), CPU)
    assert 'psnr nan' in warnings(log)[0]


def test_a_good_teacher_is_logged_without_a_warning(tmp_path, log):
    opt = options(tmp_path)
    assert measure_teacher(opt, Oracle(opt), CPU) == {'made': {'psnr': float('inf')}}
    assert not warnings(log)
    assert log.messages[-2:] == ['Measuring the teacher on made; val.check_teacher: false turns this off.',
                                 'Teacher on made: psnr inf']


@pytest.mark.parametrize('change', [
    lambda opt: opt['val'].update(check_teacher=False), lambda opt: opt['val'].update(metrics=None),
    lambda opt: opt.pop('val'), lambda opt: opt['datasets'].pop('val'),
    lambda opt: opt['path'].update(resume_state='2.state')], ids=['off', 'metrics', 'val', 'data', 'resumed'])
def test_without_anything_to_measure_nothing_happens(tmp_path, log, change):
    opt = options(tmp_path)
    change(opt)
    assert measure_teacher(opt, Broken(), CPU) == {}
    assert not log.messages


def test_a_set_without_gt_is_left_out(tmp_path):
    opt = options(tmp_path)
    opt['datasets']['val'] = {'name': 'mine', 'type': 'SingleImageDataset', 'io_backend': {'type': 'disk'},
                              'dataroot_lq': str(tmp_path / 'hr')}
    assert measure_teacher(opt, Nearest(), CPU) == {}
    assert opt['datasets']['val']['io_backend'] == {'type': 'disk'}, 'BasicSR takes the type out of what it is given'


def test_a_metric_of_which_less_is_better_is_compared_the_other_way():
    assert is_better(3., 4., {'better': 'lower'}) and not is_better(4., 3., {'better': 'lower'})
    assert is_better(4., 3., {}) and not is_better(3., 4., {'better': 'higher'})
    assert not is_better(float('nan'), 3., {}) and not is_better(float('nan'), 3., {'better': 'lower'})


def test_the_protocol_is_that_of_the_students_validation(tmp_path):
    opt = options(tmp_path, tile=8, tile_pad=3)
    seen = []

    class Watched(Nearest):
        def forward(self, lq):
            seen.append(max(lq.shape[-2:]))
            return super().forward(lq)

    measure_teacher(opt, Watched(), CPU)
    assert max(seen) == 8 + 2 * 3


def test_a_model_measures_its_teacher_in_float32_and_writes_nothing(tmp_path, log):
    opt = options(tmp_path)
    opt['train']['precision'] = 'bf16'
    before = set(tmp_path.rglob('*'))
    model = runs.model(opt)
    assert set(tmp_path.rglob('*')) == before
    assert model.net_t.conv_after_body.weight.dtype == torch.bfloat16, 'as it teaches'
    teacher = build_network(opt['network_t'])
    teacher.load_state_dict(torch.load(tmp_path / 'teacher.pth', weights_only=True)['params'])
    assert model.validator.teacher_scores == measure_teacher(opt, teacher.eval(), CPU)
    assert len(warnings(log)) == 2, 'weights at random are no teacher'


def test_measuring_a_teacher_changes_nothing_that_a_training_draws(tmp_path):
    found = []
    for check in (True, False):
        torch.manual_seed(0)
        model = runs.model(options(tmp_path, check_teacher=check))
        found.append((torch.rand(3), model.net_g.state_dict()))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(value, found[1][1][key]) for key, value in found[0][1].items())


def test_a_student_better_than_its_teacher_is_reported_once(tmp_path, log):
    opt = options(tmp_path)
    opt['path'].update(log=str(tmp_path / 'log'))
    (tmp_path / 'log').mkdir()
    model = runs.model(opt)
    model.validator.teacher_scores = {'made': {'psnr': 0.5}}
    log.clear()
    for iteration in (2, 3):
        model.validation(SimpleNamespace(dataset=images(opt)), iteration, None)
    line, = warnings(log)
    assert line.startswith('The student is better than its teacher on made: psnr ') and 'teacher 0.5000' in line


def recorded(name, value, block):
    """A record of the mean of one metric."""
    return records.record(dataset='made', protocol={'metrics': {name: block}}, mean={name: value}, images={})


@pytest.mark.parametrize('scores', [{}, {'other': {'psnr': 1.}}, {'made': {'psnr': 40.}}, {'made': {'gone': 1.}}],
                         ids=str)
def test_a_student_is_compared_on_the_same_set_and_metric_alone(scores):
    assert not list(student_warnings(recorded('psnr', 30., PSNR), scores, at_end=False))


def test_a_student_is_compared_by_the_direction_of_the_metric():
    lower = {'type': 'calculate_niqe', 'crop_border': 0, 'better': 'lower'}
    for value, count in ((4., 1), (6., 0)):
        found = student_warnings(recorded('niqe', value, lower), {'made': {'niqe': 5.}}, at_end=False)
        assert len(list(found)) == count
