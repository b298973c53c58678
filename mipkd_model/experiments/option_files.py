"""The option files of a run: of its training, and of the test of the trained student or of the teacher as it is."""
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from mipkd_arch.base.errors import UserError, command, printable

from . import methods
from .custom import STEP, Dataset, Teacher
from .methods import FEATURE_LOSSES, blocks_of, needs_teacher
from .networks import NAMED_CUTS, STUDENTS, student_block, teacher_key
from .runs import Run

COMMENTS = {
    'num_gpu': 'all GPUs that are there (one process for each, by torchrun); 0 runs on the CPU',
    'table': 'where the results stand in tables',
    **{f'network_{label}.{name}': comment for label in 'gt' for name, comment in (
        ('features_of', 'the teacher whose features losses take, by its name below'),
        ('skip', "add a weighted mean of the teachers' images to the aggregated one"),
        ('teachers', 'any number, in the order of their images'))},
    'train.precision': 'mixed precision: auto (bf16 where hardware has it), timed, bf16, tf32, fp32: docs/speed.md',
    'train.cuts_g': 'features are taken after the head, and after these blocks or this number of even stages',
    'train.compile': "torch.compile for the networks' blocks",
    'train.accumulate': 'gradient accumulation: parts that a batch is split into, for less memory',
    'train.grad_clip': 'gradient clipping: largest norm of the gradient',
    'train.nonfinite': 'what happens to a step whose loss or gradient is not finite: skip, stop',
    **{f'train.{path}': comment for path, comment in methods.COMMENTS.items()},
    'val.check_teacher': 'measure the teacher first, and report one that is worse than bicubic',
    'val.self_ensemble': 'mean over the 8 flips and rotations',
    'val.tile': 'lq pixels; cut large images into tiles',
    'val.tile_pad': 'lq pixels that a tile sees beyond its edge',
    'logger.keep_states': 'newest training states that are kept',
    'dist_params.backend': 'nccl on GPUs, gloo on CPUs',
    'dist_params.port': 'for SLURM alone',
}
FROM_X2 = "all weights of equal shape are taken from the x2 student, as in the paper's family of work"
READINGS = [
    "Settings follow the paper's family of work, the schedule in proportion to total_iter; docs/{}.md says what is",
    'published and what is our reading, docs/options.md describes every option. Other runs: mipkd options list.']
TOTAL_ITER = 250_000
"""Iterations of the paper's family of work."""
COLUMN = 23
"""Characters of an option before the two spaces and the comment behind it."""
PLAIN = re.compile(r'(?![\d._]+e[-+]?\d)[\w/][\w./+-]*( [\w./~+-]+)*', re.I)  # 1e4 is a number to some readers


def text_of_training(run: Run, file: str | Path) -> str:
    """The option file of a run's training; ``file`` is where it will lie, for the commands in its header.

    Raises:
        UserError: the run is a teacher's, which is not trained.
    """
    blocks, scale = blocks_of(run.method), run.pair.scale
    has_teacher, patch = needs_teacher(blocks), _patch(run)
    comments = {**COMMENTS, 'datasets.train.gt_size': f'LR patches of {patch}x{patch}',
                'network_g': _student_comment(run), 'network_t': f'{_teacher_comment(run.teacher)}, frozen'}
    if run.start:
        comments['path.strict_load_g'] = FROM_X2
    networks = {'network_g': _network_g(run)}
    paths: dict[str, Any] = {'pretrain_network_g': run.start.student_file if run.start else None,
                             'strict_load_g': run.start is None}
    if has_teacher:
        networks['network_t'] = run.teacher.block
        if run.teacher.weights:
            paths.update(pretrain_network_t=run.teacher.weights, strict_load_t=True)
        paths['ignore_resume_networks'] = 'network_t'
    cuts = 3 if run.custom.teachers else NAMED_CUTS.get((run.pair.teacher, run.pair.student), 3)
    # Convolutional networks are faster in bfloat16 and channels-last; of a transformer nobody knows.
    measured = has_teacher and 'SpandrelNetwork' in _types(run.teacher.block)
    schedule = (aggregation_schedule_of if run.is_aggregation else schedule_of)(run.custom.total_iter)
    save_freq = schedule['save_freq']
    options = {
        **_common_options(run, run.name),
        'datasets': {
            'train': {**_dataset(run.data), 'gt_size': patch * scale, 'use_hflip': True, 'use_rot': True,
                      'num_worker_per_gpu': 4, 'batch_size_per_gpu': 16, 'pin_memory': True},
            'val': _dataset(run.test_sets[0])},
        **networks,
        'path': {**paths, 'resume_state': None},
        'train': {
            'ema_decay': schedule['ema_decay'], 'precision': 'timed' if measured else 'auto',
            'channels_last': 'timed' if measured else True, 'compile': False, 'accumulate': 1, 'grad_clip': None,
            'nonfinite': 'skip',
            **({} if FEATURE_LOSSES.isdisjoint(blocks) else {'cuts_g': cuts, 'cuts_t': cuts}),
            'optim_g': {'type': 'Adam', 'lr': schedule['lr'], 'weight_decay': 0, 'betas': [0.9, 0.99]},
            'scheduler': {'type': 'MultiStepLR', 'milestones': schedule['milestones'],
                          'gamma': schedule['gamma']},
            'total_iter': schedule['total_iter'], 'warmup_iter': -1, **blocks},
        'val': {'val_freq': save_freq, 'save_img': False, **({'check_teacher': True} if has_teacher else {}),
                'metrics': _metrics(scale)},
        'logger': {'print_freq': schedule['print_freq'], 'save_checkpoint_freq': save_freq, 'keep_states': 3,
                   'use_tb_logger': True, 'wandb': {'project': None, 'resume_id': None}},
        'dist_params': {'backend': 'auto', 'port': 29500}}
    return _option_text(options, _header(run, Path(file), False), comments)


def schedule_of(total_iter: int | None = None) -> dict[str, Any]:
    """What follows from the iterations of a training, None for the published ones: their schedule in proportion.

    The learning rate falls after 2/5 and 4/5 of the run. The average of the weights extends over at most a tenth of
    it. There are ten validations and checkpoints, more in long runs.
    """
    total_iter = total_iter or TOTAL_ITER
    save_freq = min(5000, -(-total_iter // 10))
    return {'lr': 1e-4, 'gamma': 0.1, 'total_iter': total_iter, 'print_freq': min(100, -(-total_iter // 100)),
            'save_freq': float(save_freq) if save_freq % 1000 == 0 else save_freq,  # a float prints as 5e3
            'milestones': sorted({max(1, total_iter * fifths // 5) for fifths in (2, 4)}),
            'ema_decay': round(1 - 1 / min(1000, max(10, total_iter // 10)), 4)}


def aggregation_schedule_of(total_iter: int | None = None) -> dict[str, Any]:
    """As ``schedule_of``, as MTKD's aggregation was trained: its rate is halved after 1/2, 4/5, 9/10 and 19/20."""
    total_iter = total_iter or 2 * TOTAL_ITER
    return {**schedule_of(total_iter), 'lr': 2e-4, 'gamma': 0.5,
            'milestones': sorted({max(1, total_iter * part // 20) for part in (10, 16, 18, 19)})}


def _patch(run: Run) -> int:
    """Side of the LR patches; the published one of an aggregation is about 256 HR pixels, in whole windows."""
    return run.data.patch if run.custom.data or not run.is_aggregation else 256 // run.pair.scale // STEP * STEP


def _network_g(run: Run) -> dict[str, Any]:
    return run.teacher.block if run.is_aggregation else student_block(run.pair.student, run.pair.scale)


def _types(block: Mapping[str, Any]) -> set[str]:
    return {block['type'], *(teacher['type'] for teacher in block.get('teachers', {}).values())}


def text_of_test(run: Run, file: str | Path) -> str:
    """The option file of a run's test; ``file`` is where it will lie, for the commands in its header."""
    comments = dict(COMMENTS)
    if run.is_teacher:
        block, weights = run.teacher.block, run.teacher.weights
        paths = {'pretrain_network_g': weights, 'strict_load_g': True} if weights else {'pretrain_network_g': None}
        comments['network_g'] = _teacher_comment(run.teacher)
    else:
        block = _network_g(run)
        paths = {'pretrain_network_g': run.student_file, 'strict_load_g': True, 'param_key_g': 'params_ema'}
        comments['network_g'] = _student_comment(run)
    options = {
        **_common_options(run, run.test_name),
        'datasets': {f'test_{number}': _dataset(data) for number, data in enumerate(run.test_sets, 1)},
        'network_g': block,
        'path': paths,
        'val': {'save_img': False, 'self_ensemble': False, 'tile': None, 'tile_pad': 16,
                'metrics': _metrics(run.pair.scale)}}
    return _option_text(options, _header(run, Path(file), True), comments)


def _common_options(run: Run, name: str) -> dict[str, Any]:
    teachers = '+'.join(str(teacher.label) for teacher in run.custom.teachers)  # tables call the pair by them
    title = run.pair.title if run.is_aggregation or not teachers else f'{teachers}-{run.pair.student}'
    plugins = {'plugins': list(run.custom.plugins)} if run.custom.plugins else {}
    return {'name': name, 'model_type': 'MiPKDModel', 'scale': run.pair.scale, 'num_gpu': 'auto', 'manual_seed': 0,
            **plugins, 'table': {'pair': title, 'method': run.row}}


def _dataset(data: Dataset) -> dict[str, Any]:
    return {'name': data.name, 'type': 'PairedSRDataset', 'dataroot_gt': data.gt, 'dataroot_lq': data.lq}


def _metrics(scale: int) -> dict[str, Any]:
    return {name: {'type': f'calculate_{name}', 'crop_border': scale, 'test_y_channel': True}
            for name in ('psnr', 'ssim')}


def _student_comment(run: Run) -> str:
    if run.is_aggregation:
        return 'frozen teachers, and what makes one image of theirs, which alone is trained and saved'
    return f'the student: {STUDENTS[run.pair.student].parameters[run.pair.scale] / 1e6:.2f}M parameters'


def _teacher_comment(teacher: Teacher) -> str:
    if 'teachers' in teacher.block:
        return 'the teachers, and what makes one image of theirs'
    if not teacher.parameters:
        return 'the teacher: its sizes are in the file of its weights'
    assumed = f'; its weights do not tell {", ".join(teacher.assumed)}' if teacher.assumed else ''
    return f'the teacher: {teacher.parameters / 1e6:.2f}M parameters{assumed}'


def _header(run: Run, file: Path, is_test: bool) -> Iterator[str]:
    """What the file is of, and the commands from nothing to a table."""
    pair, custom = run.pair, run.custom
    has_teacher = run.is_teacher or needs_teacher(blocks_of(run.method))
    yield f'{"Test of " if is_test else ""}{run.row} for x{pair.scale}.'
    if not (run.is_teacher or run.is_aggregation):
        yield f'Student: {STUDENTS[pair.student].about}.'
    yield from (f'Teacher: {run.teacher.about if has_teacher or run.is_aggregation else "none"}.', '')
    train, test = (file.with_name(f'{name}.yml') for name in (run.name, run.test_name))
    steps: list[tuple[object, ...]] = []
    if run.is_teacher:
        steps += [] if custom.teachers else [('teacher', 'get', teacher_key(pair.teacher, pair.scale))]
        steps += [] if custom.val else [('data', 'benchmark')]
    else:
        for first in filter(None, (run.aggregation, run.start)):
            steps += [('train', '-opt', file.with_name(f'{first.name}.yml'))]
        has_all = custom.data and custom.val and (custom.teachers or not (has_teacher or run.is_aggregation))
        steps += [] if has_all else [('data', 'all', '-opt', train)]
        steps += [('train', '-opt', train)]
    for step in (*steps, ('test', '-opt', test), ('table', 'pairs')):
        yield f'  {command("mipkd", *step)}'
    yield ''
    if not is_test:
        page = 'mtkd' if run.is_aggregation or run.aggregation else 'mipkd'
        yield from (line.format(page) for line in READINGS)
    name = run.test_name if is_test else run.name
    if run.is_custom and run.is_aggregation:  # the same file for every student of these teachers
        yield 'This file was written by mipkd options write; it serves every student of these teachers.'
        return
    yield f'This file was written by: {custom.command or command("mipkd", "options", "write", "--name", name)}'
    if not run.is_custom:
        yield 'The files of the other commands are written in the same way, by their names.'


def _option_text(options: Mapping[str, Any], header: Iterable[str], comments: Mapping[str, str]) -> str:
    """Options as YAML with comments: lines at the beginning, and what stands behind an option by its path."""
    lines = [f'# {printable(line)}'.rstrip() for line in header]
    return '\n'.join([*lines, *_lines(options, '', comments), ''])


def _lines(options: Mapping[str, Any], parent: str, comments: Mapping[str, str]) -> Iterator[str]:
    indent = '  ' * parent.count('.')
    for name, value in options.items():
        path = f'{parent}{name}'
        is_mapping = isinstance(value, Mapping)
        if is_mapping and not parent:
            yield ''
        name = yaml_value(name)
        line = f'{indent}{name}:' if is_mapping else f'{indent}{name}: {yaml_value(value)}'
        yield f'{line:<{COLUMN}}  # {comments[path]}' if path in comments else line
        if is_mapping:
            yield from _lines(value, f'{path}.', comments)


def yaml_value(value: Any) -> str:
    """A value as YAML in one line, which BasicSR's reader and this package's understand alike."""
    if isinstance(value, str):
        is_plain = PLAIN.fullmatch(value) and value != 'None' and yaml.safe_load(value) == value
        return value if is_plain else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f'[{", ".join(map(yaml_value, value))}]'
    if isinstance(value, float) and value and not 1e-3 <= abs(value) < 1e3:
        mantissa, exponent = f'{value:e}'.split('e')
        return f'!!float {float(mantissa):g}e{int(exponent)}'  # without the tag 1e-4 is a string to PyYAML
    return '~' if value is None else str(value).lower()


def write_option_files(texts: Mapping[Path, str]) -> None:
    """Write option files, those that are there already with the same content included; all or, if one differs, none.

    Raises:
        UserError: another file is there, or nothing can be written there.
    """
    try:
        for file, text in texts.items():
            if file.exists() and file.read_bytes() != text.encode():
                raise UserError(f'{file}: exists already with other content and is left alone; remove it first, or '
                                'write elsewhere with --out')
        for file, text in texts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text.encode())
    except OSError as error:
        raise UserError(f'{file}: cannot be written ({error.strerror}); write elsewhere with --out') from None
