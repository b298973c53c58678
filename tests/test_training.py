"""Training in BasicSR's own loop, and what it leaves behind."""
import re
import subprocess
import sys

import pytest
import runs
import torch
from precision import FEW_ROUNDINGS
from torch.nn import functional as F

from mipkd_arch.base.errors import UserError
from mipkd_arch.base.weights import load_weights
from mipkd_model.config.checks import check_networks

from basicsr.archs import build_network


def run(command, cwd):
    return subprocess.run(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
                          check=False)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A MiPKD run of four iterations in the unmodified pipeline: its folder and output."""
    root = tmp_path_factory.mktemp('stock')
    done = run(runs.stock_command(root, runs.option_file(root, runs.options(root))), root)
    assert done.returncode == 0, done.stdout
    return root, done.stdout


def test_the_model_trains_in_the_unmodified_pipeline(trained):
    root, output = trained
    assert 'End of training' in output
    assert sorted(file.name for file in (root / 'experiments/tiny/models').iterdir()) == [
        'net_g_2.pth', 'net_g_4.pth', 'net_g_latest.pth']


def test_every_component_of_the_loss_is_logged_by_name(trained):
    _, output = trained
    line = next(line for line in output.splitlines() if 'iter:       2' in line)
    assert re.findall(r'(l_\w+): \d', line) == ['l_pix', 'l_kd', 'l_feat', 'l_ae', 'l_block']


def test_validation_is_logged(trained):
    assert re.search(r'Validation made\n.*psnr: [1-9]', trained[1])


def test_a_student_loads_strictly_into_basicsr_in_a_process_without_this_package(trained):
    root, _ = trained
    file = root / 'experiments/tiny/models/net_g_latest.pth'
    code = f'''
import sys, types
import torchvision.transforms.functional as functional
# What BasicSR 1.4.2 itself lacks on a current torchvision.
shim = types.ModuleType('torchvision.transforms.functional_tensor')
shim.rgb_to_grayscale = functional.rgb_to_grayscale
sys.modules[shim.__name__] = shim
try:
    import setuptools
except ImportError:
    pass
import torch
from basicsr.archs.edsr_arch import EDSR
checkpoint = torch.load({str(file)!r}, weights_only=True)
assert sorted(checkpoint) == ['network', 'params', 'params_ema', 'scale']
for key in ('params', 'params_ema'):
    network = EDSR(3, 3, 8, 3, 2, 0.1)
    network.load_state_dict(checkpoint[key], strict=True)
    assert network(torch.rand(1, 3, 7, 9)).shape == (1, 3, 14, 18)
assert not [name for name in sys.modules if name.startswith('mipkd')]
print('loaded')
'''
    done = run([sys.executable, '-c', code], root)
    assert done.stdout.strip().endswith('loaded'), done.stdout


def test_the_mixers_are_in_the_state_with_their_stds(trained):
    root, _ = trained
    state = torch.load(root / 'experiments/tiny/training_states/4.state', weights_only=True)
    mixers = state['weights']['net_mixer']
    assert {key.split('.')[1] for key in mixers} == {'encoders', 'decoders', 'std_student', 'std_teacher'}
    assert all(mixers[key] != 1 for key in mixers if 'std' in key)


def test_the_launcher_trains_and_resumes_on_a_cpu(tmp_path):
    opt = runs.options(tmp_path)
    opt['name'] = 'tiny_launched'
    file = runs.option_file(tmp_path, opt)
    code = (f'import sys; sys.path.append({str(runs.ROOT)!r}); from mipkd_model.launch import train; '
            f'sys.exit(train({str(tmp_path)!r}))')
    done = run([sys.executable, '-c', code, '-opt', str(file)], tmp_path)
    assert done.returncode == 0 and 'End of training' in done.stdout, done.stdout
    done = run([sys.executable, '-c', code, '-opt', str(file), '--auto_resume', '--force_yml', 'train:total_iter=6'],
               tmp_path)
    assert done.returncode == 0 and 'Resuming training from epoch: 0, iter: 4' in done.stdout, done.stdout
    assert (tmp_path / 'experiments/tiny_launched/models/net_g_6.pth').exists()


def test_a_resumed_model_has_the_student_the_average_and_the_mixers_it_was_saved_with(tmp_path):
    opt = runs.options(tmp_path)
    opt['path'].update(models=str(tmp_path), training_states=str(tmp_path))
    model = runs.model(opt)
    for iteration in range(1, 4):
        model.feed_data(runs.batch())
        model.optimize_parameters(iteration)
    model.save(0, 3)
    opt['path'].update(pretrain_network_g=str(tmp_path / 'net_g_3.pth'), resume_state=str(tmp_path / '3.state'))
    resumed = runs.model(opt)
    resumed.resume_training(torch.load(tmp_path / '3.state', weights_only=True))
    data = runs.batch()
    for one in (model, resumed):
        torch.manual_seed(0)
        one.feed_data(data)
        one.optimize_parameters(4)
    for label in ('net_g', 'net_g_ema', 'distiller'):
        ours, theirs = (getattr(one, label).state_dict() for one in (model, resumed))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours), label


@pytest.mark.parametrize('family', runs.FAMILIES)
def test_overfitting_a_handful_of_patches_brings_the_student_to_the_teacher(tmp_path, family):
    opt = runs.options(tmp_path, family)
    if family == 'SwinIR':
        opt['network_g']['drop_path_rate'] = 0.
    model = runs.model(opt)
    model.feed_data(runs.batch(4))
    # Both networks start at random: what the teacher makes of the patches is the ground truth to overfit.
    model.gt = model.distiller.teacher_forward(model.lq).output.detach()

    def error():
        with torch.no_grad():
            return F.l1_loss(model.net_g(model.lq), model.net_t(model.lq)).item()

    start = error()
    for iteration in range(1, 81):
        model.optimize_parameters(iteration)
    assert error() < 0.5 * start


def test_without_a_teacher_the_model_trains_from_scratch(tmp_path):
    opt = runs.options(tmp_path, losses=['pixel_opt'])
    del opt['network_t'], opt['path']['pretrain_network_t']
    model = runs.model(opt)
    model.feed_data(runs.batch())
    model.optimize_parameters(1)
    assert list(model.get_current_log()) == ['l_pix']
    assert not model.distiller.mixers


@pytest.mark.parametrize('student, teacher', [('EDSR', 'SwinIR'), ('SwinIR', 'RCAN'), ('RCAN', 'EDSR')])
def test_student_and_teacher_may_be_of_different_families(tmp_path, student, teacher):
    model = runs.model(runs.options(tmp_path, teacher, student=runs.FAMILIES[student]))
    model.feed_data(runs.batch(side=18))  # not a multiple of SwinIR's window
    model.optimize_parameters(1)
    assert all(value > 0 for value in model.get_current_log().values())


def test_a_network_without_a_view_learns_from_the_teachers_output(tmp_path):
    student = {'type': 'SRVGGNetCompact_basicsr', 'num_feat': 8, 'num_conv': 1, 'upscale': 2}
    model = runs.model(runs.options(tmp_path, student=student, losses=['pixel_opt', 'kd_opt']))
    model.feed_data(runs.batch())
    model.optimize_parameters(1)
    assert list(model.get_current_log()) == ['l_pix', 'l_kd']


def test_uint8_and_float_batches_are_the_same_to_the_model(tmp_path):
    model = runs.model(runs.options(tmp_path))
    data = runs.batch()
    model.feed_data(data)
    ours = model.lq
    model.feed_data({key: value.float() / 255 for key, value in data.items()})
    assert torch.equal(ours, model.lq)


def test_validation_pads_to_the_window_and_crops(tmp_path):
    opt = runs.options(tmp_path, 'SwinIR')
    model = runs.model(opt)
    model.feed_data({'lq': torch.rand(1, 3, 7, 10)})
    model.test()
    padded = F.pad(model.lq, (0, 2, 0, 1), 'reflect')
    with torch.no_grad():
        expected = model.net_g_ema(padded)[..., :14, :20]
    assert torch.equal(model.output, expected)


def test_validation_uses_the_average_and_leaves_the_student_training(tmp_path):
    model = runs.model(runs.options(tmp_path, losses=['pixel_opt']))
    model.feed_data(runs.batch())
    model.optimize_parameters(1)
    model.test()
    with torch.no_grad():
        assert torch.equal(model.output, model.net_g_ema(model.lq))
    assert model.net_g.training


def test_the_average_of_a_short_run_is_near_its_weights_not_near_its_start(tmp_path):
    model = runs.model(runs.options(tmp_path))
    start = [p.detach().clone() for p in model.net_g.parameters()]
    for iteration in range(1, 41):
        model.feed_data(runs.batch())
        model.optimize_parameters(iteration)

    def distance(a, b):
        return sum((x - y).abs().sum().item() for x, y in zip(a, b, strict=True))

    ema, now = list(model.net_g_ema.parameters()), list(model.net_g.parameters())
    assert distance(ema, now) < distance(ema, start)


def test_bf16_and_float32_steps_agree_to_bf16_precision(tmp_path):
    found = []
    for precision in ('fp32', 'bf16'):
        torch.manual_seed(0)
        model = runs.model(runs.options(tmp_path, precision=precision, mixer_opt={'latent': 6, 'mask': 'grid'}))
        torch.manual_seed(1)
        model.feed_data(runs.batch())
        model.optimize_parameters(1)
        found.append(model.get_current_log())
    assert found[1] == pytest.approx(found[0], rel=FEW_ROUNDINGS['bf16'])


def test_a_saved_student_is_in_plain_memory_layout(tmp_path):
    opt = runs.options(tmp_path)
    opt['path'].update(models=str(tmp_path), training_states=str(tmp_path))
    model = runs.model(opt)
    model.save(0, 1)
    saved = torch.load(tmp_path / 'net_g_1.pth', weights_only=True)['params']
    assert all(value.is_contiguous() for value in saved.values())
    network = build_network(opt['network_g'])
    assert load_weights(network, tmp_path / 'net_g_1.pth') == ([], [])


@pytest.mark.parametrize('change, message', [
    (lambda o: o.pop('network_t'), 'network_t: missing, but train.kd_opt needs a teacher'),
    (lambda o: o['path'].pop('pretrain_network_t'), 'path.pretrain_network_t: missing; a teacher without'),
    (lambda o: o['network_t'].update(num_feat=16), 'teacher.pth: does not fit EDSR: 19 of another shape'),
    (lambda o: o['network_g'].update(upscale=4), 'network_g.upscale: 4 is not the scale: 2'),
    (lambda o: o['train'].update(cuts_g=3), 'train.cuts_g and train.cuts_t: cut student and teacher into 3 and 2'),
    (lambda o: o['train'].update(cuts_t=9), 'train.cuts_t: EDSR has 3 blocks to cut and cannot have 9 stages'),
    (lambda o: o['train'].update(cuts_t=['bodi.0']), "no block 'bodi.0' to cut after (did you mean 'body.0'?)"),
    (lambda o: o['train'].update(precision='bf61'), "train.precision: 'bf61' is not known (did you mean 'bf16'?)"),
    (lambda o: o['train'].update(pixel_opt={'type': 'BlockPriorLoss'}), 'train.pixel_opt.type:'),
    (lambda o: o['train'].update(my_opt={'type': 'L1Loss'}), 'train.my_opt.type:'),
    (lambda o: [o['train'].pop(name) for name in runs.LOSSES], 'train: has no loss'),
    (lambda o: o['train'].update(mixer_opt={'mask': 'random'}), "mixer_opt.mask: 'random' is not known"),
])
@pytest.mark.parametrize('find', [runs.model, lambda opt: check_networks(opt, is_train=True)],
                         ids=['model', 'launcher'])
def test_what_does_not_fit_together_is_one_line_that_names_the_option(tmp_path, find, change, message):
    opt = runs.options(tmp_path)
    change(opt)
    with pytest.raises(UserError) as caught:
        find(opt)
    assert message in str(caught.value) and '\n' not in str(caught.value)


def test_several_gpus_in_one_process_are_refused(tmp_path):
    with pytest.raises(UserError, match='num_gpu: 2 in one process is not supported'):
        runs.model({**runs.options(tmp_path), 'num_gpu': 2})


def test_checking_a_run_draws_no_random_numbers(tmp_path):
    opt = runs.options(tmp_path)
    before = torch.get_rng_state()
    check_networks(opt, is_train=True)
    assert torch.equal(torch.get_rng_state(), before)
