"""What options may be: each mistake is found, by its path, and sound files are let through."""
import math
import sys
from copy import deepcopy

import pytest
import runs
import torch
from refusals import refusal
from test_validation_checks import as_test

from mipkd_arch.base.errors import UserError, near_miss, shown
from mipkd_model.config.checks import check_files, check_networks, check_options, find_in_options
from mipkd_model.launch import parse_options
from mipkd_model.schema.training import TrainOptions

from basicsr.models.lr_scheduler import CosineAnnealingRestartLR, MultiStepRestartLR
from basicsr.utils.registry import ARCH_REGISTRY


@pytest.fixture(scope='module')
def good(tmp_path_factory):
    return runs.options(tmp_path_factory.mktemp('good'))


def put(opt, path, value):
    """A copy of options with another value at a path such as ``train.optim_g.lr``."""
    opt = deepcopy(opt)
    *blocks, name = path.split('.')
    block = opt
    for key in blocks:
        block = block.setdefault(key, {})
    block[name] = value
    return opt


def refused(opt, is_train=True):
    return refusal(check_options, opt, is_train, kind=UserError)


COSINE = {'type': 'CosineAnnealingRestartLR', 'periods': [4], 'restart_weights': [1], 'eta_min': 1e-7}
STEPS = {'type': 'MultiStepLR', 'milestones': [100], 'gamma': 0.1}
WRONG = [
    ('name', 'x' * 201), ('name', 'a\x00'), ('name', 'a\n'), ('name', ' a'), ('name', True), ('name', ['a']),
    ('scale', 0), ('scale', 2.5), ('scale', True), ('scale', None), ('scale', math.nan), ('num_gpu', -1),
    ('num_gpu', 1.5),
    ('num_gpu', 'all'), ('num_gpu', True), ('manual_seed', -1), ('manual_seed', 2**32), ('manual_seed', 1.5),
    ('datasets.train.num_worker_per_gpu', -1), ('datasets.train.num_worker_per_gpu', None),
    ('datasets.train.gt_size', 0),
    ('datasets.train.gt_size', 33), ('datasets.train.use_hflip', 1), ('datasets.train.use_rot', 'no'),
    ('datasets.train.prefetch_mode', 'gpu'), ('datasets.train.name', None), ('datasets.train.dataroot_gt', 5),
    ('datasets.train.dataroot_gt', 'a\x00b'), ('datasets.train.dataset_enlarge_ratio', 10), ('datasets.train_2', {}),
    ('datasets.val.use_flip', True), ('path.strict_load_g', 'yes'), ('path.pretrain_network_g', ['a']), ('path.x', 1),
    ('path.param_key_g', 5), ('path.resume_state', 'x' * 5000), ('find_unused_parameters', True),
    ('train.total_iter', 0), ('train.total_iter', 1.5), ('train.total_iter', True), ('train.total_iter', '4'),
    ('train.total_iter', 10**30), ('train.warmup_iter', -2), ('train.ema_decay', 1), ('train.ema_decay', -0.1),
    ('train.ema_decay', None), ('train.ema_decay', math.inf), ('train.mixer_lr', -1), ('train.mixer_lr', math.nan),
    ('train.grad_clip', 0), ('train.nonfinite', 'ignore'), ('train.cuts_g', True), ('train.cuts_g', 'body.1'),
    ('train.optim_g.lr', -1e-4), ('train.optim_g.lr', math.nan), ('train.optim_g.lr', 1e300),
    ('train.optim_g.betas', [0.9, 1]), ('train.optim_g.betas', [0.9]), ('train.optim_g.betas', [False, 0.9]),
    ('train.optim_g.betas', [0.9, 0.9, 0.9]), ('train.optim_g.eps', -1), ('train.optim_g.weight_decay', True),
    ('train.scheduler', None), ('train.scheduler.type', 'StepLR'),
    ('train.scheduler.milestones', 5), ('train.scheduler.milestones', [1.5]),
    ('train.scheduler.milestones', [True]), ('train.scheduler.gamma', 0), ('train.scheduler.gamma', -1),
    ('train.scheduler.gama', 0.5), ('train.scheduler.last_epoch', 0), ('train.scheduler.restarts', [0, 2]),
    ('train.scheduler', {**COSINE, 'periods': [3]}), ('train.scheduler', {**COSINE, 'periods': [2, 2]}),
    ('train.scheduler', {**COSINE, 'periods': []}), ('train.scheduler', {**COSINE, 'eta_min': -1}),
    ('train.pixel_opt.loss_weight', -1), ('train.pixel_opt.loss_weight', True),
    ('train.pixel_opt.loss_weight', math.inf),
    ('train.kd_opt.reduction', ['mean']), ('train.block_prior_opt.recompute', 1), ('train.mixer_opt.latent', 0),
    ('train.a.b_opt', {'type': 'ATLoss'}),
    ('network_g.num_feat', 0), ('network_g.num_feat', True), ('network_g.num_feat', 10**9), ('network_g.num_block', -1),
    ('network_g.rgb_mean', 0.5), ('network_g.num_feat', math.nan), ('network_t', 5),
    ('val.val_freq', 0), ('val.val_freq', 2.5), ('val.val_freq', None), ('val.suffix', 'a/b'), ('val.suffix', '..'),
    ('val.suffix', 'x' * 300), ('val.check_teacher', 'yes'), ('val.tile', 1.5), ('val.metrics.psnr.crop_border', True),
    ('logger.print_freq', 0), ('logger.print_freq', math.inf), ('logger.save_checkpoint_freq', -1),
    ('logger.keep_states', 0), ('logger.keep_states', 1.5), ('logger.use_tb_logger', 0), ('logger.wandb', 'x'),
    ('logger.wandb.projct', 'x'), ('dist_params.backend', 'mpi'), ('dist_params.port', 0), ('dist_params.port', 70000)]


@pytest.mark.parametrize('path, value', WRONG, ids=[f'{path}={shown(value)[:30]}' for path, value in WRONG])
def test_a_value_that_cannot_be_is_one_line_that_begins_with_its_path(good, path, value):
    line = refused(put(good, path, value))
    assert line.startswith(('.'.join(path.split('.')[:2]), path)) and len(line) < 600


@pytest.mark.parametrize('path, value', [
    ('num_gpu', 'auto'), ('manual_seed', None), ('manual_seed', 2**32 - 1), ('network_t.res_scale', 0.1),
    ('val', None), ('table', None), ('dist_params', {'backend': 'gloo', 'port': 1}), ('train.kd_opt', None),
    ('train.scheduler', COSINE), ('train.scheduler', {**COSINE, 'periods': [1, 3], 'restart_weights': [1, 0.5]}),
    ('train.scheduler', {**STEPS, 'restarts': [0, 2], 'restart_weights': [1, 0.5]}), ('train.warmup_iter', 5),
    ('logger.keep_states', 1), ('train.nonfinite', 'stop'), ('val.check_teacher', False), ('val.suffix', 'x4'),
    ('train.optim_g', {'type': 'SGD', 'lr': 1, 'momentum': 0.9}), ('logger.wandb', None), ('train.mixer_lr', 0),
    ('datasets.train.prefetch_mode', 'cuda'), ('path.ignore_resume_networks', 'network_t')])
def test_a_value_that_can_be_is_let_through(good, path, value):
    opt = put(good, path, value)
    if path == 'val':
        del opt['datasets']['val']
    check_options(opt, True)


@pytest.mark.parametrize('changes, message', [
    ({'datasets': {'train': None}}, 'datasets.train: needs a block with a type'),
    ({'logger.wandb': {'project': 'x'}}, 'logger.wandb.project: sends the log of TensorBoard'),
    ({'datasets.train.persistent_workers': True, 'datasets.train.num_worker_per_gpu': 0},
     'datasets.train.persistent_workers: true needs num_worker_per_gpu above 0'),
    ({'train.accumulate': 3}, 'train.accumulate: 3 equal parts cannot be made'),
    ({'train.cuda_graphs': True}, 'train.cuda_graphs: nothing reads this option, for support of CUDA'),
    ({'path.models': 'x'}, 'path.models: nothing reads this option'),
    ({'datasets.train.scale': 2}, 'datasets.train.scale: nothing reads this option'),
    ({'val': None}, 'datasets.val: nothing measures it, for there is no val')])
def test_options_that_do_not_go_together_are_named(good, changes, message):
    opt = good
    for path, value in changes.items():
        opt = put(opt, path, value)
    assert refused(opt).startswith(message)


@pytest.mark.parametrize('changes, message', [
    ({'train.pixel_opt': None, 'train.kd_opt': None, 'train.feature_prior_opt': None, 'train.block_prior_opt': None},
     'train: has no loss of a weight above 0'),
    ({'network_t': None}, 'network_t: missing, but train.kd_opt needs a teacher'),
    ({'path.pretrain_network_t': None}, 'path.pretrain_network_t: missing; a teacher without trained weights')])
def test_a_training_without_losses_or_without_the_teacher_they_need_is_refused(good, changes, message):
    opt = good
    for path, value in changes.items():
        opt = put(opt, path, value)
    assert refusal(check_networks, opt, True, kind=UserError).startswith(message)


def test_the_block_of_a_training_is_read_at_any_time_of_a_run(good):
    opt = deepcopy(good)
    del opt['train']['scheduler']['type']  # as BasicSR does
    train = TrainOptions.read(opt['train'], 'train')
    assert (train.total_iter, train.precision) == (4, opt['train'].get('precision', 'auto'))
    assert set(train.losses) == set(runs.LOSSES)
    opt['train']['ema_decay'] = 2
    assert refusal(TrainOptions.read, opt['train'], 'train', kind=UserError).startswith('train.ema_decay: 2 is not')


def test_old_names_and_what_earlier_files_have_are_notes(good):
    opt = put(put(good, 'train.feature_prior_opt.unit', 'spread'), 'train.cuda_graphs', False)
    found = find_in_options(opt, True)
    assert not found.errors and 'cuda_graphs' not in opt['train'] and len(found.notes) == 2
    assert 'train.feature_prior_opt.unit: is called normalize now; write normalize: std' in found.notes


def test_val_without_a_data_set_is_refused(good):
    opt = deepcopy(good)
    del opt['datasets']['val']
    assert refused(opt).startswith('val: there is no dataset to validate on')


def test_schedules_that_pass_run_to_the_end_in_basicsr(good):
    """The rules on periods and restarts are those under which BasicSR's schedulers do not fail."""
    for block, kind in ((COSINE, CosineAnnealingRestartLR), ({**COSINE, 'periods': [2, 2], 'restart_weights': [1, 1]},
                                                             CosineAnnealingRestartLR), (STEPS, MultiStepRestartLR)):
        check_options(put(good, 'train.scheduler', block), True)
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
        schedule = kind(optimizer, **{name: value for name, value in block.items() if name != 'type'})
        for _ in range(good['train']['total_iter'] - 1):
            optimizer.step()
            schedule.step()


def test_all_mistakes_are_found_at_once(good):
    opt = put(put(put(good, 'scale', 0), 'train.optim_g.lr', -1), 'val.tle', 8)
    lines = find_in_options(opt, True).lines
    assert [line.partition(': ')[0] for line in lines] == ['scale', 'val.tle', 'train.optim_g.lr']


def test_a_launcher_says_the_first_and_how_to_see_all(tmp_path, monkeypatch):
    opt = put(put(runs.options(tmp_path), 'scale', 0), 'train.optim_g.lr', -1)
    file = runs.option_file(tmp_path, opt)
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(file)])
    assert refusal(parse_options, str(tmp_path), kind=UserError) == (
        f'scale: 0 is not an integer from 1 to 64 (and 1 more; mipkd check {file} lists all)')


def test_a_network_that_memory_cannot_hold_is_one_line(good, registered):
    class HugeNet(torch.nn.Module):
        def __init__(self, num_feat=64):
            raise MemoryError('cannot allocate')

    registered(ARCH_REGISTRY, HugeNet)
    opt = {**good, 'network_g': {'type': 'HugeNet', 'num_feat': 60000}}
    assert refusal(check_networks, opt, True, kind=UserError) == (
        'network_g: HugeNet refuses these options: num_feat (cannot allocate)')


@pytest.mark.parametrize('change, message', [
    ({'img_range': 0.}, 'network_g: EDSR makes values that are not finite'),
    ({'rgb_mean': [0.5]}, 'network_g: EDSR refuses'),
    ({'num_out_ch': 1, 'rgb_mean': [0.5]}, 'network_g: EDSR '),
    ({'num_feat': 8.5}, 'network_g: EDSR refuses these options')])
def test_a_network_that_cannot_serve_is_one_line(good, change, message):
    opt = deepcopy(good)
    opt['network_g'].update(change)
    assert refusal(check_networks, opt, True, kind=UserError).startswith(message)


@pytest.mark.parametrize('block, message', [
    ({'type': 'L1Loss', 'reduction': 'x'}, 'train.pixel_opt: L1Loss refuses these options'),
    ({'type': 'GANLoss', 'gan_type': 'x'}, 'train.pixel_opt: GANLoss refuses these options'),
    ({'type': 'GANLoss', 'gan_type': 'vanilla'}, 'train.pixel_opt: fails on ')])
def test_a_loss_that_cannot_serve_is_one_line(good, block, message):
    assert refusal(check_networks, put(good, 'train.pixel_opt', block), True, kind=UserError).startswith(message)


def test_a_loss_of_ours_names_its_option_with_the_whole_path(good):
    opt = put(good, 'train.block_prior_opt.assembly', 'chian')
    assert refusal(check_networks, opt, True, kind=UserError).startswith("train.block_prior_opt.assembly: 'chian' is")
    opt = put(good, 'train.crosskd_opt', {'type': 'CrossKDLoss', 'position': 50})
    assert refusal(check_networks, opt, True, kind=UserError).startswith('train.crosskd_opt.position: 50 is not')


@pytest.mark.parametrize('block, message', [
    ('train', "train.total_itr: nothing reads this option (did you mean 'total_iter'?)"),
    ('logger', 'logger.total_itr: nothing reads this option')])
def test_blocks_that_a_test_does_not_need_are_to_be_spelt_right_there_too(tmp_path, block, message):
    opt = as_test(tmp_path)
    opt[block]['total_itr'] = 3
    assert refused(opt, is_train=False).startswith(message)


def test_a_test_needs_val_and_no_losses(tmp_path):
    opt = as_test(tmp_path)
    check_options(opt, False)
    del opt['val']
    assert refused(opt, False).startswith('val: missing; it needs a mapping')


def test_long_values_are_cut_and_kept_on_one_line():
    assert len(shown('x' * 10**6)) <= 80 and shown('a\nb') == r"'a\nb'" and shown('\u202e').isprintable()
    assert shown({'a': 1}) == "{'a': 1}" and shown(10**5000).isprintable()


def test_a_word_is_never_suggested_for_itself():
    assert near_miss('type', ['type']) == '' and near_miss('typ', ['type', 'typ']) == " (did you mean 'type'?)"


def test_the_weights_of_the_perceptual_loss_are_named_before_anything_fetches_them(good, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    opt = put(good, 'train.perceptual_opt', {'type': 'PerceptualLoss', 'layer_weights': {'conv5_4': 1.}})
    assert 'mipkd teacher get VGG19' in refusal(check_files, opt, kind=UserError)


@pytest.mark.parametrize('betas', [[0, 0.99], [0.5, 0], [0, 0]])
def test_betas_may_be_whole(good, betas):
    check_options(put(good, 'train.optim_g.betas', betas), True)


@pytest.mark.parametrize('name, value', [('betas', 0.9), ('betas', '0.9,0.99'), ('weight_decay', -1), ('lr', 1000)])
def test_options_of_an_optimizer_are_refused_in_our_words(good, name, value):
    assert refused(put(good, f'train.optim_g.{name}', value)).startswith(f'train.optim_g.{name}: ')
