"""The option files of a study's runs, and what they need."""
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from study_file import ROOT, Method, Study, merged
from study_plan import plan
from study_records import Record, Run

from mipkd_arch.base.errors import UserError

Options = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """Where a run is trained and tested."""
    folder: Path  # in which its commands run
    files: Path  # folder of its option files, train.yml and test.yml
    name: str  # of the training in experiments/
    test_name: str  # of the test in results/

    @classmethod
    def of(cls, study: Study, run: Run, out: Path) -> 'Job':
        """That of a run; generated option files train in the current folder, others in folders of their own."""
        files = out / run.kind / f'{re.sub("[^A-Za-z0-9.]+", "_", run.variant)}_{run.iters}_{run.seed}'
        if study.is_generated:
            made = _generated(run)
            return cls(Path.cwd(), files, made.name, made.test_name)
        return cls(files, files, 'run', 'test')

    @property
    def weights(self) -> Path:
        """The trained student."""
        return self.folder / f'experiments/{self.name}/models/net_g_latest.pth'

    def write(self, training: Options, test: Options) -> None:
        """Write its option files."""
        self.files.mkdir(parents=True, exist_ok=True)
        for name, opt in (('train', training), ('test', test)):
            (self.files / f'{name}.yml').write_text(yaml.safe_dump(opt, sort_keys=False))


def options_of(study: Study, run: Run, job: Job) -> tuple[Options, Options]:
    """The options of a run's training and of its test."""
    if study.is_generated:
        from mipkd_model.experiments.option_files import text_of_test, text_of_training
        made = _generated(run)
        training, test = (yaml.safe_load(text(made, 'x.yml')) for text in (text_of_training, text_of_test))
        return {**training, 'manual_seed': run.seed}, test
    method = study.method_of(run.kind, run.variant)
    opt = kind_options(study, run.kind, method)
    train = merged(merged(opt['train'], study.base), method.trials[run.variant])
    if str(rate := train.get('mixer_lr')).startswith('x'):  # 8e-3 is text to YAML as well: the check of options has it
        train['mixer_lr'] = _times(rate) * train['optim_g']['lr']
    train['total_iter'] = run.iters
    train['scheduler'] = {'type': 'CosineAnnealingRestartLR', 'periods': [run.iters + 1], 'restart_weights': [1],
                          'eta_min': 1e-6}
    title, freq = opt.get('table', {}).get('pair', run.kind), study.watch_freq
    training = {**opt, 'name': 'run', 'manual_seed': run.seed, 'table': {'pair': title, 'method': run.variant},
                'path': {**opt['path'], 'pretrain_network_g': None}, 'train': _anchored(train),
                'datasets': {'train': {**opt['datasets']['train'], **images(study.data, opt['scale'])},
                             **_sets(study.watch, opt['scale'])},
                'val': {**opt['val'], 'val_freq': freq, 'check_teacher': False},
                'logger': {'print_freq': 100, 'save_checkpoint_freq': freq, 'keep_states': 1}}
    if not study.watch:
        training.pop('val')
    return training, _test(study, opt, training, opt['network_g'], job.weights)


def _times(rate: str) -> float:
    """The number of 'x 4', four times the learning rate of the student, which differs by kind."""
    try:
        return float(rate.removeprefix('x'))
    except ValueError:
        raise UserError(f"train.mixer_lr: {rate!r} is neither a number nor a multiple of the student's learning rate, "
                        "such as 'x 4'") from None


def teacher_options(study: Study, kind: str, method: Method) -> Options | None:
    """The options of a test of a method's teacher; None where the option file has none."""
    opt = kind_options(study, kind, method)
    if 'network_t' not in opt:
        return None
    table = {'pair': opt.get('table', {}).get('pair', kind), 'method': 'Teacher'}
    return _test(study, opt, {**opt, 'table': table}, opt['network_t'], opt['path'].get('pretrain_network_t'))


def kind_options(study: Study, kind: str, method: Method) -> Options:
    """The option file of a kind, or a method's own, as the study changes it; files of weights are absolute paths."""
    block = study.kinds[kind]
    opt = merged(yaml.safe_load((ROOT / (method.option_file or block['opt'])).read_text()), block.get('change') or {})
    teacher = opt['path'].get('pretrain_network_t')
    networks = {key: _anchored(value) for key, value in opt.items() if key.startswith('network_')}
    return {**opt, **networks, 'path': {**opt['path'], 'pretrain_network_t': teacher and str(ROOT / teacher)}}


def images(folder: str, scale: int) -> dict[str, str]:
    """Where the images of a dataset are: packed, or in the layout of the benchmark sets."""
    root = Path(folder).resolve()
    packed = root / 'train_HR.lmdb', root / f'train_LRx{scale}.lmdb'
    gt, lq = packed if packed[0].exists() else (root / 'HR', root / f'LR_bicubic/X{scale}')
    return {'type': 'PairedSRDataset', 'dataroot_gt': str(gt), 'dataroot_lq': str(lq)}


def without_missing(study: Study, records: dict[Run, Record]) -> tuple[Study, list[str], list[str]]:
    """A study without the methods that have runs to train, but not the files for them.

    Returns:
        It, a line on each method that is left out, and one on each teacher of a kind and folder of images that is not
        there, without which nothing can be trained.
    """
    lines: list[str] = []
    faults: dict[str, None] = {}
    methods = dict(study.methods)
    left = {(planned.kind, planned.method) for planned in plan(study, records) if planned.run not in records}
    for kind in study.kinds:
        usual = set(_files(_plain(study, kind)))
        for name, method in study.methods_of(kind).items():
            if (kind, name) not in left:
                continue
            run = Run(kind, next(iter(method.trials)), study.lengths[0], study.seeds[0])
            training, test = options_of(study, run, Job.of(study, run, Path()))
            absent = sorted(file for file in _files(training) if not file.exists())
            if own := [file for file in absent if file not in usual]:
                methods[name] = replace(methods[name], kinds=frozenset(methods[name].kinds or study.kinds) - {kind})
                lines.append(f'{kind}: {name} is left out; {own[0]} is not there')
                continue
            for file in absent:
                how = 'mipkd teacher get fetches it' if study.is_generated else (
                    f'train the teacher as the head of {study.kinds[kind]["opt"]} says')
                faults[f'{kind}: {file} is not there; {how}, or leave the kind out by --kinds'] = None
            for block in [*training['datasets'].values(), *test['datasets'].values()]:
                if not Path(block['dataroot_gt']).exists():
                    faults[f'{block["dataroot_gt"]} is not there; --data, --watch and --test name folders that mipkd '
                           'data pack or mipkd data benchmark has made'] = None
    return replace(study, methods=methods), lines, list(faults)


def _plain(study: Study, kind: str) -> Options:
    """The options of a kind without those of a method."""
    if study.is_generated:
        study = replace(study, methods={'Logits-KD': Method({'Logits-KD': {}})})
        run = Run(kind, 'Logits-KD', study.lengths[0], 0)
        return options_of(study, run, Job.of(study, run, Path()))[0]
    return kind_options(study, kind, Method({}))


def _generated(run: Run) -> Any:
    from mipkd_model.experiments import runs
    return runs.Run(runs.parse_pair(run.kind), run.variant)


def _test(study: Study, opt: Options, training: Options, network: Options, weights: Any) -> Options:
    shared: Options = {name: training[name] for name in ('model_type', 'scale', 'num_gpu', 'table') if name in training}
    return {**shared, 'name': 'test', 'network_g': network,
            'path': {'pretrain_network_g': weights and str(weights)}, 'datasets': _sets(study.test, opt['scale']),
            'val': {'save_img': True, 'metrics': opt['val']['metrics']}}


def _sets(folders: dict[str, str], scale: int) -> Options:
    return {f'val_{name}': {'name': name, **images(where, scale)} for name, where in folders.items()}


def _anchored(block: Options) -> Options:
    """A block whose files of weights, those in blocks inside of it, too, are paths from this repository."""
    return {name: str(ROOT / value) if name in ('file', 'weights') and isinstance(value, str) else
            _anchored(value) if isinstance(value, dict) else value for name, value in block.items()}


def _files(opt: Options) -> Iterator[Path]:
    """The files of weights that options name."""
    for name, value in opt.items():
        if isinstance(value, dict):
            yield from _files(value)
        elif value and name in ('file', 'weights', 'pretrain_network_t'):
            yield Path(value)
