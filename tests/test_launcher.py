"""The command lines of basicsr/train.py and basicsr/test.py."""
import subprocess
import sys

import pytest
import runs
import torch
from refusals import refusal

from mipkd_arch.base.errors import UserError
from mipkd_model.base.weights import plain_state_dict
from mipkd_model.cli import build_parser
from mipkd_model.launch import parse_options


def launch(script, root, *arguments):
    return subprocess.run([sys.executable, runs.ROOT / f'basicsr/{script}.py', *map(str, arguments)], cwd=root,
                          text=True, capture_output=True, timeout=300, check=False)


def refused(done):
    """The one line of a refused command."""
    assert done.returncode == 1
    assert 'Traceback' not in done.stderr + done.stdout
    lines = [line for line in done.stderr.splitlines() if line.startswith('error: ')]
    assert len(lines) == 1, done.stderr
    return lines[0]


def test_training_without_its_data_stops_before_anything_is_made(tmp_path):
    before = sorted((runs.ROOT / 'experiments').glob('train_MiPKD_x4*'))
    line = refused(launch('train', tmp_path, '-opt', runs.ROOT / 'options/train_MiPKD_x4.yml'))
    assert 'Fetch and pack DIV2K: mipkd data div2k --scale 4 (and 2 more; mipkd check ' in line
    assert sorted((runs.ROOT / 'experiments').glob('train_MiPKD_x4*')) == before and not list(tmp_path.iterdir())


@pytest.mark.parametrize('key', ['name', 'num_gpu', 'datasets', 'path', 'network_g', 'logger'])
def test_a_block_that_basicsrs_parser_relies_on_is_missed_by_name(tmp_path, monkeypatch, key):
    opt = runs.options(tmp_path)
    del opt[key]
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', str(runs.option_file(tmp_path, opt))])
    with pytest.raises(UserError, match=f'{key}: missing; it needs'):
        parse_options(str(tmp_path))


@pytest.mark.parametrize('is_train, script, kind', [(True, 'test', 'test'), (False, 'train', 'training')])
def test_an_option_file_of_the_other_script_is_one_line(tmp_path, monkeypatch, is_train, script, kind):
    file = str(runs.ROOT / f'options/{script}_MiPKD_x4.yml')
    monkeypatch.setattr(sys, 'argv', ['script.py', '-opt', file])
    assert refusal(parse_options, str(tmp_path), is_train, kind=UserError) == (
        f'-opt: {file}: is the option file of a {kind}; start basicsr/{script}.py')


@pytest.mark.parametrize('command, option_file, said', [
    ('train', 'test_MiPKD_x4', 'is the option file of a test; start mipkd test'),
    ('test', 'train_MiPKD_x4', 'is the option file of a training; start mipkd train'),
])
def test_mipkd_train_and_test_name_each_other(tmp_path, command, option_file, said):
    file = runs.ROOT / f'options/{option_file}.yml'
    args = build_parser().parse_args([command, '-opt', str(file)])
    assert refusal(parse_options, str(tmp_path), command == 'train', args, kind=UserError) == f'-opt: {file}: {said}'


def test_mipkd_train_and_test_take_what_the_scripts_take():
    given = ['-opt', 'x.yml', '--launcher', 'none', '--auto_resume', '--debug', '--local-rank', '1', '--force_yml',
             'a=1', 'b=2', '--plugins', 'own', '--force_yml', 'c=3']
    for command in ('train', 'test'):
        args = vars(build_parser().parse_args([command, *given]))
        assert args.pop('run') and args.pop('is_train') == (command == 'train')
        assert args == {'opt': 'x.yml', 'launcher': 'none', 'auto_resume': True, 'debug': True, 'local_rank': 1,
                        'force_yml': ['a=1', 'b=2', 'c=3'], 'plugins': ['own']}


def test_a_forced_seed_is_the_one_that_the_run_starts_from(tmp_path, monkeypatch):
    opt = runs.options(tmp_path)
    file = str(runs.option_file(tmp_path, opt))
    drawn = {}
    for seed in (3, 4):
        monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', file, '--force_yml', f'manual_seed={seed}'])
        parsed, _ = parse_options(str(tmp_path))
        drawn[seed] = torch.rand(1).item()
        torch.manual_seed(seed)
        assert drawn[seed] == torch.rand(1).item()
        assert parsed['option_file']['changed'] == [f'manual_seed={seed}']
    assert drawn[3] != drawn[4]


def test_a_seed_that_is_no_number_is_refused(tmp_path, monkeypatch):
    file = str(runs.option_file(tmp_path, runs.options(tmp_path)))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', file, '--force_yml', 'manual_seed=abc'])
    with pytest.raises(UserError, match="manual_seed: 'abc' is not an integer from 0"):
        parse_options(str(tmp_path))


def test_a_gpu_that_is_not_there_is_refused(tmp_path, monkeypatch):
    if torch.cuda.is_available():
        pytest.skip('there is a GPU')
    file = str(runs.option_file(tmp_path, {**runs.options(tmp_path), 'num_gpu': 1}))
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', file])
    with pytest.raises(UserError, match='num_gpu: 1, but torch sees no GPU'):
        parse_options(str(tmp_path))


def test_a_tag_in_an_option_file_runs_no_code(tmp_path):
    file = tmp_path / 'options.yml'
    file.write_text(f'name: !!python/object/apply:os.mkdir [{tmp_path}/made]\n')
    assert str(file) in refused(launch('train', tmp_path, '-opt', file))
    assert not (tmp_path / 'made').exists()


def test_testing_validates_a_student_from_its_option_file(tmp_path):
    opt = runs.options(tmp_path)
    from basicsr.archs import build_network
    torch.save({'params_ema': plain_state_dict(build_network(opt['network_g']))}, tmp_path / 'student.pth')
    test = {key: opt[key] for key in ('model_type', 'scale', 'num_gpu', 'manual_seed', 'network_g')}
    test.update(name='test_of_the_launcher', datasets={'test_1': opt['datasets']['val']},
                path={'pretrain_network_g': str(tmp_path / 'student.pth'), 'param_key_g': 'params_ema'},
                val={**opt['val'], 'save_img': False})
    code = (f'import sys; sys.path.append({str(runs.ROOT)!r}); from mipkd_model.launch import test; '
            f'sys.exit(test({str(tmp_path)!r}))')
    done = subprocess.run([sys.executable, '-c', code, '-opt', runs.option_file(tmp_path, test)], cwd=tmp_path,
                          text=True, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert '# psnr: ' in done.stdout + done.stderr


@pytest.mark.parametrize('script', ['train', 'test'])
def test_the_launchers_run_the_installed_basicsr_not_their_own_folder(script):
    done = launch(script, runs.ROOT, '--help')
    assert done.returncode == 0 and '--auto_resume' in done.stdout, done.stderr


@pytest.mark.parametrize('script', ['train', 'test'])
def test_without_basicsr_the_launchers_say_in_one_line_how_to_install_it(script, tmp_path):
    (tmp_path / 'sitecustomize.py').write_text("import sys\nsys.modules['basicsr'] = None\n")
    done = subprocess.run([sys.executable, runs.ROOT / f'basicsr/{script}.py', '-opt', 'any.yml'], text=True,
                          capture_output=True, timeout=300, check=False, env={'PYTHONPATH': str(tmp_path)})
    assert 'install.py' in refused(done)
