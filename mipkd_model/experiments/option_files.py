"""The option files of a run: of its training, and of the test of the trained student or of the teacher as it is."""
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mipkd_arch.base.errors import command

from . import methods
from .dataset import Dataset
from .methods import FEATURE_LOSSES, Blocks, blocks_of, needs_teacher
from .networks import NAMED_CUTS, STUDENTS, student_block, teacher_key
from .option_text import option_text
from .runs import Run
from .teacher import Teacher

COMMENTS = {
    'num_gpu': 'all GPUs that are there (one process for each, by torchrun); 0 runs on the CPU',
    'table': 'where the results stand in tables',
    'train.precision': 'mixed precision: bf16 where the hardware has it, else fp32; or one of bf16, tf32, fp32',
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
LINES_ABOVE = {
    'train.precision': ['How steps are computed, not what; docs/speed.md says what each is worth.'],
    'train.cuts_g': [
        'Features are taken after the head and after every stage. A stage ends after each block that is named here; a',
        'number instead of names cuts into that many even stages, for student and teacher of different depth or '
        'family.'],
}
WHY_FROM_SCRATCH = [
    "From scratch, so that no other run has to come first. The paper's family of work starts the x4 EDSR student from",
    'its x2 student, as options/train_MiPKD_EDSR_x4.yml does.']
WHY_FROM_X2 = [
    "The paper's family of work starts the x4 EDSR student from its x2 student (strict_load_g: false takes all weights",
    'of equal shape, that is all but the last step of the upsampler).']
TABLE = ('  mipkd table pairs', '      its figures with those of other runs')
READINGS = [
    "Sizes and schedule follow the paper's family of work; docs/mipkd.md says which settings are published and which",
    "are this project's reading. Another student, teacher or method: mipkd options list, or edit the blocks."]
CUSTOM_READINGS = [
    "Sizes, patches and learning rates follow the paper's family of work; milestones, average of the weights and the",
    'validations follow from the number of iterations. docs/options.md describes every option.']


def text_of_training(run: Run, file: str | Path) -> str:
    """The option file of a run's training; ``file`` is where it will lie, for the commands in its header.

    Raises:
        UserError: the run is a teacher's, which is not trained.
    """
    blocks = blocks_of(run.method)
    has_teacher, patch = needs_teacher(blocks), run.data.patch
    comments = {**COMMENTS, 'datasets.train.gt_size': f'LR patches of {patch}x{patch}',
                'network_g': _student_comment(run), 'network_t': f'{_teacher_comment(run.teacher)}, frozen'}
    why = WHY_FROM_SCRATCH if run.is_entry else WHY_FROM_X2 if run.start else []
    lines_above = {**LINES_ABOVE, 'path.pretrain_network_g': why, f'train.{next(iter(blocks))}': ['']}
    header = [f'{run.row} for x{run.pair.scale}.', f'Student: {STUDENTS[run.pair.student].about}.',
              f'Teacher: {run.teacher.about if has_teacher else "none"}.', '',
              *_steps_of_training(run, Path(file), has_teacher), '', *(CUSTOM_READINGS if run.is_custom else READINGS),
              _written_by(run, run.name)]
    return option_text(_training_options(run, blocks, has_teacher), header, comments, lines_above)


def text_of_test(run: Run, file: str | Path) -> str:
    """The option file of a run's test; ``file`` is where it will lie, for the commands in its header."""
    comments = dict(COMMENTS)
    if run.is_teacher:
        block = run.teacher.block
        paths: dict[str, Any] = {'pretrain_network_g': run.teacher.weights}
        comments['network_g'] = _teacher_comment(run.teacher)
        if run.teacher.weights:
            paths['strict_load_g'] = True
        else:
            comments['path.pretrain_network_g'] = 'network_g.file has the weights'
    else:
        block = student_block(run.pair.student, run.pair.scale)
        paths = {'pretrain_network_g': run.student_file, 'strict_load_g': True, 'param_key_g': 'params_ema'}
        comments['network_g'] = _student_comment(run)
    options = {
        **_common_options(run, run.test_name),
        'datasets': {f'test_{number}': _dataset(data) for number, data in enumerate(run.test_sets, 1)},
        'network_g': block,
        'path': paths,
        'val': {'save_img': False, 'self_ensemble': False, 'tile': None, 'tile_pad': 16,
                'metrics': _metrics(run.pair.scale)}}
    return option_text(options, [*_header_of_test(run, Path(file)), _written_by(run, run.test_name)], comments, {})


def write_command(name: str, file: Path | None = None) -> str:
    """The command that writes the option file of a training or test, into ``options`` or to ``file``."""
    out = [] if file is None or file == Path('options', f'{name}.yml') else ['--out', file]
    return command('mipkd', 'options', 'write', '--name', name, *out)


def _training_options(run: Run, blocks: Blocks, has_teacher: bool) -> dict[str, Any]:
    schedule, scale = run.schedule, run.pair.scale
    save_freq = float(schedule.save_freq) if schedule.save_freq % 1000 == 0 else schedule.save_freq
    networks = {'network_g': student_block(run.pair.student, scale)}
    paths: dict[str, Any] = {'pretrain_network_g': run.start.student_file if run.start else None,
                             'strict_load_g': run.start is None}
    if has_teacher:
        networks['network_t'] = run.teacher.block
        if run.teacher.weights:
            paths.update(pretrain_network_t=run.teacher.weights, strict_load_t=True)
        paths['ignore_resume_networks'] = 'network_t'
    return {
        **_common_options(run, run.name),
        'datasets': {
            'train': {**_dataset(run.data), 'gt_size': run.data.patch * scale, 'use_hflip': True, 'use_rot': True,
                      'num_worker_per_gpu': 4, 'batch_size_per_gpu': 16, 'pin_memory': True},
            'val': _dataset(run.test_sets[0])},
        **networks,
        'path': {**paths, 'resume_state': None},
        'train': {
            'ema_decay': schedule.ema_decay, 'precision': 'auto', 'channels_last': True, 'compile': False,
            'accumulate': 1, 'grad_clip': None, 'nonfinite': 'skip', **_cuts(run, blocks),
            'optim_g': {'type': 'Adam', 'lr': 1e-4, 'weight_decay': 0, 'betas': [0.9, 0.99]},
            'scheduler': {'type': 'MultiStepLR', 'milestones': schedule.milestones, 'gamma': 0.1},
            'total_iter': schedule.total_iter, 'warmup_iter': -1, **blocks},
        'val': {'val_freq': save_freq, 'save_img': False, **({'check_teacher': True} if has_teacher else {}),
                'metrics': _metrics(scale)},
        'logger': {'print_freq': schedule.print_freq, 'save_checkpoint_freq': save_freq, 'keep_states': 3,
                   'use_tb_logger': True, 'wandb': {'project': None, 'resume_id': None}},
        'dist_params': {'backend': 'auto', 'port': 29500}}


def _cuts(run: Run, blocks: Blocks) -> dict[str, Any]:
    if FEATURE_LOSSES.isdisjoint(blocks):
        return {}
    cuts = 3 if run.custom.teacher else NAMED_CUTS.get((run.pair.teacher, run.pair.student), 3)
    return {'cuts_g': cuts, 'cuts_t': cuts}


def _common_options(run: Run, name: str) -> dict[str, Any]:
    plugins = {'plugins': list(run.custom.plugins)} if run.custom.plugins else {}
    return {'name': name, 'model_type': 'MiPKDModel', 'scale': run.pair.scale, 'num_gpu': 'auto', 'manual_seed': 0,
            **plugins, 'table': {'pair': run.title, 'method': run.row}}


def _dataset(data: Dataset) -> dict[str, Any]:
    return {'name': data.name, 'type': 'PairedSRDataset', 'dataroot_gt': data.gt, 'dataroot_lq': data.lq}


def _metrics(scale: int) -> dict[str, Any]:
    return {name: {'type': f'calculate_{name}', 'crop_border': scale, 'test_y_channel': True}
            for name in ('psnr', 'ssim')}


def _student_comment(run: Run) -> str:
    return f'the student: {STUDENTS[run.pair.student].parameters[run.pair.scale] / 1e6:.2f}M parameters'


def _teacher_comment(teacher: Teacher) -> str:
    if not teacher.parameters:
        return 'the teacher: its sizes are in the file of its weights'
    assumed = f'; its weights do not tell {", ".join(teacher.assumed)}' if teacher.assumed else ''
    return f'the teacher: {teacher.parameters / 1e6:.2f}M parameters{assumed}'


def _written_by(run: Run, name: str) -> str:
    return f'This file was written by: {run.custom.command or write_command(name)}'


def _start(script: str, file: Path) -> str:
    return f'  {command("mipkd", script, "-opt", file)}'


def _note(run: Run, what: str, name: str, file: Path) -> str:
    """Explains the command above it, which needs the option file of that name."""
    return f'      {what}' + ('' if run.is_custom else f'; file written by: {write_command(name, file)}')


def _steps_of_training(run: Run, file: Path, has_teacher: bool) -> Iterator[str]:
    """What to type, from nothing to a table, with an explanation below a command that needs one."""
    if run.start:
        start = file.with_name(f'{run.start.name}.yml')
        yield from (_start('train', start), _note(run, 'the x2 student', run.start.name, start))
    fetched = {'DIV2K': not run.custom.data, 'benchmark sets': not run.custom.val,
               'published weights': has_teacher and not run.custom.teacher}
    if any(fetched.values()):
        yield f'  {command("mipkd", "data", "all", "-opt", file)}'
        yield f'      {", ".join(name for name, is_fetched in fetched.items() if is_fetched)}'
    test = file.with_name(f'{run.test_name}.yml')
    yield from (_start('train', file), _start('test', test), _note(run, 'PSNR and SSIM', run.test_name, test), *TABLE)


def _header_of_test(run: Run, file: Path) -> Iterator[str]:
    pair = run.pair
    if run.is_teacher:
        yield from (f'Test of the teacher for x{pair.scale}.', f'Teacher: {run.teacher.about}.', '')
        if not run.custom.teacher:
            yield f'  mipkd teacher get {teacher_key(pair.teacher, pair.scale)}'
    else:
        train = file.with_name(f'{run.name}.yml')
        yield from (f'Test of {run.row} for x{pair.scale}.', f'Student: {STUDENTS[pair.student].about}.', '',
                    _start('train', train), _note(run, 'the student', run.name, train))
    if not run.custom.val:
        yield from ('  mipkd data benchmark', f'      {", ".join(data.name for data in run.test_sets)}')
    yield from (_start('test', file), *TABLE, '')
