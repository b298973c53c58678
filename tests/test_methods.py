"""The methods that MiPKD is compared with, in training runs: what they train, log and save."""
import pytest
import runs
import torch
from methods import BLOCKS, LOGGED, ON_IMAGES, options, same, snapshot, train, without_gradient
from steps import vgg_file


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Data and weights, made once."""
    folder = tmp_path_factory.mktemp('methods')
    vgg_file(folder)
    return folder


@pytest.mark.parametrize('family', runs.FAMILIES)
@pytest.mark.parametrize('method', BLOCKS)
def test_each_method_trains_every_weight_of_the_student_and_none_of_the_teacher(folder, method, family):
    model = runs.model(options(folder, method, family=family))
    teacher, student = snapshot(model.net_t), snapshot(model.net_g)
    train(model)
    log = model.get_current_log()
    assert list(log) == ['l_pix', *LOGGED[method]]
    assert all(0 < value < float('inf') for value in log.values())
    assert without_gradient(model.net_g) == []
    assert all(p.grad.isfinite().all() for p in model.net_g.parameters())
    assert not same(student, snapshot(model.net_g))
    assert same(teacher, snapshot(model.net_t)) and not any(module.training for module in model.net_t.modules())
    assert all(p.grad is None and not p.requires_grad for p in model.net_t.parameters())


@pytest.mark.parametrize('family', runs.FAMILIES)
@pytest.mark.parametrize('method', BLOCKS)
def test_each_method_alone_reaches_the_student(folder, method, family):
    model = runs.model(options(folder, method, family=family, losses=()))
    train(model, 1)
    assert list(model.get_current_log()) == LOGGED[method]
    assert model.net_g.conv_first.weight.grad.abs().max() > 0
    # What comes after the last position is not part of maps, and CrossKD leaves the student at its position.
    last = model.net_g.conv_last.weight.grad
    assert (last is not None and last.abs().max() > 0) == (method in ON_IMAGES)


@pytest.mark.parametrize('student, teacher', [('EDSR', 'SwinIR'), ('SwinIR', 'EDSR')])
@pytest.mark.parametrize('method', BLOCKS)
def test_student_and_teacher_may_be_of_different_families(folder, method, student, teacher):
    opt = options(folder, method, family=teacher, losses=())
    opt['network_g'] = dict(runs.FAMILIES[student])
    model = runs.model(opt)
    model.feed_data(runs.batch(3, side=10))  # not a multiple of SwinIR's window
    model.optimize_parameters(1)
    assert all(0 < value < float('inf') for value in model.get_current_log().values())
    assert model.net_g.conv_first.weight.grad.abs().max() > 0


@pytest.mark.parametrize('method', BLOCKS)
def test_each_method_runs_a_step_in_bfloat16(folder, method):
    model = train(runs.model(options(folder, method, precision='bf16')), 1)
    assert all(0 < value < float('inf') for value in model.get_current_log().values())
    assert without_gradient(model.net_g) == []
    assert all(p.grad.isfinite().all() for p in model.distiller.parameters() if p.grad is not None)


@pytest.mark.parametrize('method', BLOCKS)
def test_a_method_of_weight_zero_trains_as_if_it_were_absent(folder, method):
    weights = []
    for methods in ((), (method, )):
        torch.manual_seed(1)
        model = runs.model(options(folder, *methods, losses=('pixel_opt', 'kd_opt'), weight=0))
        torch.manual_seed(3)
        train(model)
        weights.append(snapshot(model.net_g))
        assert list(model.get_current_log()) == ['l_pix', 'l_kd'] and len(model.optimizer_g.param_groups) == 1
    assert same(*weights)


def test_csd_changes_nothing_of_what_the_mixers_start_from(folder):
    mixers = []
    for methods in ((), ('csd', )):
        torch.manual_seed(1)
        mixers.append(snapshot(runs.model(options(folder, *methods, losses=runs.LOSSES)).distiller.mixers))
    assert same(*mixers)


@pytest.mark.parametrize('precision', ['fp32', 'bf16'])
def test_all_methods_run_together(folder, precision):
    methods = [method for method in BLOCKS if method != 'fitnet_mean']
    model = train(runs.model(options(folder, *methods, losses=runs.LOSSES, precision=precision)))
    log = model.get_current_log()
    expected = ['l_pix', 'l_kd', 'l_feat', 'l_ae', 'l_block', *(name for method in methods for name in LOGGED[method])]
    assert sorted(log) == sorted(expected)
    assert all(0 < value < float('inf') for value in log.values())
    assert sorted(model.distiller.parts) == ['net_losses', 'net_mixer']


# ---------------------------------------------------------------- weights of the losses themselves

@pytest.mark.parametrize('methods', [('fitnet', ), ('crosskd', ), ('metakd', ),
                                     ('fitnet', 'crosskd', 'csd')], ids='-'.join)
def test_what_a_loss_trains_is_optimised_saved_and_resumed_bit_for_bit(folder, tmp_path, methods):
    opt = options(folder, *methods)
    opt['path'].update(models=str(tmp_path), training_states=str(tmp_path))
    model = runs.model(opt)
    start = snapshot(model.distiller.losses)
    train(model)
    trained = [p for p in model.distiller.losses.parameters() if p.requires_grad]
    assert {id(p) for p in model.optimizer_g.param_groups[1]['params']} == {id(p) for p in trained}
    model.save(0, 3)
    saved = torch.load(tmp_path / '3.state', weights_only=True)['weights']['net_losses']
    now = snapshot(model.distiller.losses)
    names = {name for name in now if name.split('.')[0] in ('fitnet', 'crosskd', 'metakd')}
    assert saved.keys() == names and same(saved, {name: now[name] for name in names})
    assert not any(torch.equal(start[name], now[name]) for name in names)

    opt['path'].update(pretrain_network_g=str(tmp_path / 'net_g_3.pth'), resume_state=str(tmp_path / '3.state'))
    resumed = runs.model(opt)
    resumed.resume_training(torch.load(tmp_path / '3.state', weights_only=True))
    for one in (model, resumed):
        train(one, 1, start=4)
    for label in ('net_g', 'net_g_ema', 'distiller'):
        assert same(*(getattr(one, label).state_dict() for one in (model, resumed))), label


@pytest.mark.parametrize('method', ['csd', 'at', 'fitnet_mean'])
def test_a_loss_that_trains_nothing_is_in_no_optimizer_and_no_file(folder, tmp_path, method):
    opt = options(folder, method)
    opt['path'].update(models=str(tmp_path), training_states=str(tmp_path))
    model = runs.model(opt)
    before = snapshot(model.distiller.losses)
    train(model, 1).save(0, 1)
    optimized = {id(p) for group in model.optimizer_g.param_groups for p in group['params']}
    assert optimized == {id(p) for p in model.net_g.parameters()}
    assert same(before, snapshot(model.distiller.losses))
    assert sorted(file.name for file in tmp_path.iterdir()) == ['1.state', 'net_g_1.pth']
    assert set(torch.load(tmp_path / 'net_g_1.pth', weights_only=True)['params']) == set(model.net_g.state_dict())
