"""Studies: what their files change, the option files of their runs, and the runs themselves."""
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import runs
import yaml
from refusals import refusal
from studies import WEIGHTS, asked, record, results

# isort: split
import study
from study_file import merged
from study_options import Job, options_of, teacher_options, without_missing
from study_plan import TEACHER, plan
from study_records import Results, Run
from study_run import Trainer

from mipkd_arch.base.errors import UserError
from mipkd_model.config.checks import check_options
from mipkd_model.data.prepare.pack import pack_pairs
from mipkd_model.experiments.runs import SETS

STUDIES = runs.ours('benchmarks', 'studies/*.yml')
FILES = [file for file in STUDIES if 'variants' in yaml.safe_load(file.read_text())]
BENCHMARK = runs.ROOT / 'benchmarks/study.py'


def written(found, folder):
    """The options of training and test of each run that a study begins with."""
    for planned in plan(found, {}):
        if planned.run:
            job = Job.of(found, planned.run, folder)
            yield planned.run, *options_of(found, planned.run, job)


def test_a_change_replaces_values_in_blocks_of_one_type_and_takes_away():
    block = {'a': 1, 'b': {'type': 'x', 'weight': 1, 'gain': 2}, 'c': 3}
    changed = merged(block, {'b': {'weight': 5, 'gain': None}, 'c': None})
    assert changed == {'a': 1, 'b': {'type': 'x', 'weight': 5}}
    assert merged(block, {'b': {'type': 'y'}})['b'] == {'type': 'y'}
    assert block['b'] == {'type': 'x', 'weight': 1, 'gain': 2}


@pytest.mark.parametrize('file', FILES, ids=[file.stem for file in FILES])
def test_every_run_of_a_study_has_sound_option_files(tmp_path, file):
    for watch in ({}, {'heldout': 'heldout'}):
        for _, training, test in written(asked(file, watch=watch, seeds=[0, 1]), tmp_path):
            check_options(training, is_train=True)
            check_options(test, is_train=False)


@pytest.mark.parametrize('preset', ['tiny', 'small', 'paper'])
def test_every_run_of_a_preset_has_sound_option_files(tmp_path, preset):
    found = asked(preset=preset)
    made = list(written(found, tmp_path))
    assert {run.kind for run, *_ in made} == set(found.kinds)
    for run, training, test in made:
        check_options(training, is_train=True)
        check_options(test, is_train=False)
        assert training['train']['total_iter'] == run.iters and training['manual_seed'] == run.seed


def test_a_variant_of_the_preset_is_what_files_of_variants_call_so():
    small, kind = asked(preset='small'), 'width'
    named = {trial: method.trials[trial] for method in small.methods_of(kind).values() for trial in method.trials}
    for file in FILES:
        if file.stem in ('methods', 'prior_mixers', 'metakd'):
            variants = asked(file).methods
            for name in variants.keys() & named.keys():
                ours, theirs = ({option: {'loss_weight': 1, **value} if isinstance(value, dict) else value
                                 for option, value in change.items()}
                                for change in (named[name], variants[name].trials[name]))
                assert ours == theirs, (file.stem, name)


def test_a_rate_of_the_losses_may_be_a_multiple_of_the_students(tmp_path):
    found = asked(preset='small', variants=['FitNet'])
    rates = {run.kind: (opt['train']['optim_g']['lr'], opt['train']['mixer_lr'])
             for run, opt, _ in written(found, tmp_path) if run.variant == 'FitNet 3 falling mixer_lr x 4'}
    assert rates == {'width': (2e-3, 8e-3), 'depth': (2e-3, 8e-3), 'compound': (6e-3, 2.4e-2)}
    (tmp_path / 'x.yml').write_text('variants: {fast: {mixer_lr: x four}}')
    assert "'x four' is neither" in refusal(lambda: list(written(asked(tmp_path / 'x.yml'), tmp_path)), kind=UserError)
    (tmp_path / 'x.yml').write_text('variants: {text: {mixer_lr: 8e-3}}')  # to YAML that is no number
    (_, training, _), = written(asked(tmp_path / 'x.yml'), tmp_path)
    assert "train.mixer_lr: '8e-3' is not a number" in refusal(check_options, training, is_train=True, kind=UserError)


@pytest.mark.parametrize('text, message', [
    ('', 'none of variants, kinds and pairs'), ('variants: {}\nsedes: [1]', "'sedes' is not"),
    ('kinds: {}', "'methods'"), (': :', 'is not the file of a study')])
def test_a_file_that_is_no_study_is_refused(tmp_path, text, message):
    (tmp_path / 'x.yml').write_text(text)
    assert message in refusal(asked, tmp_path / 'x.yml', kind=UserError)


def test_an_option_file_without_a_teacher_has_none_to_compare_with():
    found = asked(WEIGHTS, opt='options/demo/train_Scratch_x4.yml')
    assert teacher_options(found, 'width', found.methods['FitNet 1']) is None


def test_each_method_with_weights_of_its_own_has_three_of_them_and_fitnet_and_mipkd_at_two_rates():
    methods = asked(preset='small').methods
    trials = {name: len(method.trials) for name, method in methods.items()}
    assert trials['FitNet'] == trials['MiPKD'] == 3 * 2 and trials['block alone'] == 2  # has its rate alone
    assert {trials[name] for name in trials.keys() - {'FitNet', 'MiPKD', 'block alone'}} == {1, 3}
    assert list(methods['FitNet'].trials)[:3] == ['FitNet 0.3 falling', 'FitNet 0.3 falling mixer_lr x 4',
                                                  'FitNet 1 falling']


def test_runs_differ_in_their_variant_alone(tmp_path):
    found = asked(WEIGHTS, variants=['FitNet 1', 'FAKD 1'], lengths=[10], seeds=[1])
    fitnet, fakd = (training for _, training, _ in written(found, tmp_path))
    losses = [{name for name in opt['train'] if name.endswith('_opt')} for opt in (fitnet, fakd)]
    assert losses == [{'pixel_opt', 'kd_opt', 'fitnet_opt'}, {'pixel_opt', 'kd_opt', 'fakd_opt'}]
    for opt in (fitnet, fakd):
        assert opt['train']['total_iter'] == 10 and opt['manual_seed'] == 1
        opt['train'] = {name: value for name, value in opt['train'].items() if not name.endswith('_opt')}
        assert opt.pop('table')['method'] in found.methods
    assert fitnet == fakd


def test_files_of_weights_are_found_from_the_folder_of_a_run(tmp_path):
    found = asked(WEIGHTS, opt='options/demo/train_MiPKD_DAT_light_SPAN_x4.yml', variants=['FitNet 1'])
    (_, opt, _), = written(found, tmp_path)
    assert opt['network_t']['file'] == str(runs.ROOT / 'experiments/pretrained_models/DAT_light_x4.pth')
    csd = next(opt for run, opt, _ in written(asked(preset='small', kinds=['width']), tmp_path)
               if run.variant.startswith('CSD'))
    assert csd['train']['csd_opt']['weights'] == str(runs.ROOT / 'experiments/pretrained_models/vgg19-dcbb9e9d.pth')
    assert csd['path']['pretrain_network_t'] == str(runs.ROOT / 'demo/teacher/EDSR_64x8_x4.pth')


def test_what_is_not_there_is_known_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr('study_options.ROOT', tmp_path)
    monkeypatch.chdir(tmp_path)
    options = tmp_path / 'options/demo'
    options.mkdir(parents=True)
    for name in ('train_MiPKD_x4.yml', 'train_MTKD_x4.yml', 'train_MiPKD_RCAN_x4.yml'):
        (options / name).write_text((runs.ROOT / 'options/demo' / name).read_text())
    (tmp_path / 'demo/teacher').mkdir(parents=True)
    (tmp_path / 'demo/teacher/EDSR_64x8_x4.pth').touch()
    found = asked(preset='small', kinds=['width', 'depth'])
    left, lines, faults = without_missing(found, {})
    assert [line.split(' is ')[0] for line in lines] == ['width: CSD', 'width: MTKD', 'depth: CSD']
    assert found.methods.keys() - left.methods_of('width').keys() == {'CSD', 'MTKD'}
    assert faults[0].startswith(f'{tmp_path}/datasets/study/HR is not there; --data, --watch and --test')
    teacher, = (fault for fault in faults if '--kinds' in fault)
    assert teacher.startswith(f'depth: {tmp_path}/demo/teacher/RCAN_48x2x6_x4.pth is not')
    assert len(faults) == 6  # that, and the folders of five sets
    # What is done needs no files any more.
    done = {planned.run._replace(seed=seed): record(planned.run.variant, seed, 30, iters=planned.iters)
            for planned in plan(found, {}) for seed in found.seeds if planned.run}
    long = {run._replace(iters=10000): record(run.variant, run.seed, 30, iters=10000) for run in done}
    assert without_missing(found, {**done, **long}) == (found, [], [])


@pytest.mark.parametrize('changed, message', [
    ({'variants': ['FitNet 2']}, "--variants: 'FitNet 2' is not"), ({'kinds': ['widht']}, "--kinds: 'widht' is not")])
def test_a_name_that_is_not_there_is_refused(changed, message):
    assert refusal(asked, WEIGHTS, kind=UserError, **changed).startswith(message)


def test_records_are_kept_in_one_file_with_a_line_for_each_run(tmp_path):
    file = tmp_path / 'results.json'
    results(record('scratch', 1, 29.00004)).write(file)
    found = Results.read(file)
    found.add(record('MiPKD', 0, 30., kind='depth'))
    found.add({'kind': 'depth', 'method': 'MiPKD', 'seconds': [0.2, 0.1], 'threads': 1, 'device': 'x'})
    found.write(file)
    assert len(file.read_text().splitlines()) == 5
    found = Results.read(file)
    assert found.runs[Run('width', 'scratch', 10, 1)]['test']['Set5']['psnr'] == 29.0
    assert Run('depth', 'MiPKD', 10, 0) in found.runs and found.steps['depth', 'MiPKD']['seconds'] == [0.2, 0.1]


def test_a_file_that_has_no_results_is_one_line(tmp_path):
    (tmp_path / 'x.json').write_text('[{"variant": "scratch"}]')
    assert '--results' in refusal(Results.read, tmp_path / 'x.json', kind=UserError)


def test_a_report_is_of_the_runs_of_this_project_where_the_study_has_not_been_trained(tmp_path, monkeypatch, capsys):
    def reported():
        assert study.main() == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])['width']

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['study.py', '--preset', 'small', '--report'])
    assert reported()['Set5']['MiPKD']['seeds'] == 3
    Path('results/studies/small').mkdir(parents=True)
    assert reported() == {}


@pytest.mark.parametrize('words, message', [
    ([], 'FILE or --preset'), (['x.yml', '--preset', 'tiny'], 'FILE or --preset'),
    (['x.yml'], 'x.yml: is not the file'),
    (['--preset', 'paper', '--time'], '--time: the cost of this study is an estimate'),
    (['--preset', 'tiny', '--figure', 'x.txt', '--list'], '--out: the end of the name'),
    (['--preset', 'tiny', '--jobs', '0'], '--jobs'), (['--preset', 'tiny', '--figure', 'x.png'], '--figure: no kind')])
def test_a_mistake_is_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'argv', ['study.py', *words])
    assert study.main() == 1
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1


def test_generated_option_files_train_and_test_in_the_current_folder_by_their_own_names(tmp_path, monkeypatch):
    def command(trainer, words, job, run, device):
        opt = yaml.safe_load((job.files / words[2]).read_text())
        assert job.folder == tmp_path and device == 'cuda:1'
        started.append((words[0], opt['name']))
        root, names = ('experiments', ['Set5_5000']) if words[0] == 'train' else ('results', sorted(SETS))
        folder = tmp_path / f'{root}/{opt["name"]}/records'
        folder.mkdir(parents=True)
        for name in names:
            (folder / f'{name}.json').write_text(json.dumps({'mean': {'psnr': 30.}}))

    started, kept = [], []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Trainer, '_command', command)
    found = asked(preset='paper', kinds=['EDSR_x2', 'EDSR_x4'], variants=['FAKD'])
    Trainer(found, tmp_path / 'out', 1, ['cuda:1'], kept.append).train(Results())
    assert started == [('train', 'train_FAKD_EDSR_x2'), ('test', 'test_FAKD_EDSR_x2'),
                       ('train', 'train_FAKD_EDSR_x4'), ('test', 'test_FAKD_EDSR_x4')]
    assert [(one['kind'], one['variant'], one['test'], one['watched']) for one in kept] == [
        (kind, 'FAKD', dict.fromkeys(SETS, {'psnr': 30.}), {'Set5': {'5000': 30.}}) for kind in ('EDSR_x2', 'EDSR_x4')]
    assert all(tuple(one['test']) == SETS for one in kept)  # in the order of the option files


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Three small photographs, packed for x4."""
    folder = tmp_path_factory.mktemp('photographs')
    pack_pairs(runs.photographs(folder / 'hr', 3, 64, 64), folder, [4])
    return folder


def command(folder, data, *words):
    return [sys.executable, str(BENCHMARK), '--preset', 'tiny', '--data', str(data), '--watch', f'heldout={data}',
            '--test', f'made={data}', '--kinds', 'width', '--out', str(folder / 'out'),
            '--results', str(folder / 'study.json'), *words]


def test_a_study_that_is_told_to_stop_saves_its_states(tmp_path, data):
    with (tmp_path / 'log').open('w') as log:
        words = ['--iters', '100000', '--variants', 'logits-KD', '--seeds', '0']
        # As a shell starts what it runs in the background.
        process = subprocess.Popen(command(tmp_path, data, *words), cwd=tmp_path, stdout=log, stderr=log,
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
        output, end = tmp_path / 'out/width/logits_KD_100000_0/output.log', time.monotonic() + 300
        while not (output.exists() and 'iter:   ' in output.read_text()) and time.monotonic() < end:
            assert process.poll() is None, (tmp_path / 'log').read_text()
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(300) == 1
    assert list(output.parent.glob('experiments/run/training_states/*.state')), output.read_text()
    assert not (output.parent / 'record.json').exists()


def test_a_preset_goes_through_its_stages_and_goes_on_where_its_hours_ended(tmp_path, data):
    def run(*words):
        return subprocess.run(command(tmp_path, data, *words), cwd=tmp_path, capture_output=True, text=True,
                              env={**os.environ, 'OMP_NUM_THREADS': '1'})

    stopped = run('--hours', '0.0001')
    assert stopped.returncode == 1 and '| width | grid | 4 |' in stopped.stdout
    assert '--hours: 0.0001 are over, and 9 runs are not done' in stopped.stderr
    done = run('--jobs', '2')
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    short, long = figures['short']['width']['made'], figures['width']['made']
    assert list(short) == ['logits-KD', 'FitNet', 'MiPKD']
    assert len(long) == 1 and long.keys() < short.keys()  # the rival
    assert all(one['seeds'] == 2 and one['sd'] is not None for one in [*short.values(), *long.values()])

    found = Results.read(tmp_path / 'study.json')
    assert plan(asked(preset='tiny', kinds=['width']), found.runs)[-1].run in found.runs
    assert found.runs[Run('width', TEACHER, 0, 0)]['test']['made']['psnr'] > short['MiPKD']['psnr']
    student = found.runs[Run('width', 'MiPKD', 4, 0)]
    assert list(student['watched']['heldout']) == ['2', '4'] and 5 < student['psnr_teacher']['made'] < 50
    assert {'psnr', 'ssim'} <= student['test']['made'].keys()
    folder = tmp_path / 'out/width/MiPKD_4_0'
    assert not list(folder.glob('experiments/run/training_states/*.state'))
    assert not (folder / 'results/test/visualization').exists()

    timed = run('--time', '--rounds', '1')
    assert timed.returncode == 0, timed.stderr
    drawn = run('--report', '--figure', str(tmp_path / 'study.png'))
    assert json.loads(drawn.stdout.splitlines()[-1]) == figures
    assert '| ms a step |' in drawn.stdout and (tmp_path / 'study.png').stat().st_size > 10000

    again = subprocess.run([*command(tmp_path, data, '--variants', 'MiPKD', '--seeds', '0', '--test-again'), '--test',
                            f'made={data}', f'other={data}'], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert Results.read(tmp_path / 'study.json').runs[Run('width', 'MiPKD', 4, 0)]['test'].keys() == {'made', 'other'}
    assert Path(tmp_path / 'out/width/teacher_0_0/results/test/records/other.json').exists()
