"""The option file of a training: one template, filled in and commented."""
from pathlib import Path
from textwrap import indent

from mipkd_arch.base.errors import command

from .methods import STAGED, blocks_of
from .networks import NAMED_CUTS, STUDENTS
from .option_file import (
    METRICS,
    as_yaml,
    data_set_text,
    head_text,
    how_started,
    how_written,
    student_text,
    teacher_text,
)

TEMPLATE = '''\
{head}
datasets:
{train_set}\
    gt_size: {gt_size:<12}# LR patches of {patch}x{patch}
    use_hflip: true
    use_rot: true
    num_worker_per_gpu: 4
    batch_size_per_gpu: 16
    pin_memory: true
{val_set}
{networks}
path:
{paths}\
  resume_state: ~

train:
  ema_decay: {ema_decay}
  # How steps are computed, not what; docs/speed.md says what each is worth.
  precision: auto        # bf16 where the hardware has it, else fp32; or say which: bf16, tf32, fp32
  channels_last: true
  compile: false         # torch.compile for the networks' blocks
  accumulate: 1          # parts that a batch is passed in, for less memory
  grad_clip: ~           # largest norm of the gradient
  nonfinite: skip        # what happens to a step whose loss or gradient is not finite: skip, stop
{stages}\
  optim_g:
    type: Adam
    lr: !!float 1e-4
    weight_decay: 0
    betas: [0.9, 0.99]
  scheduler:
    type: MultiStepLR
    milestones: {milestones}
    gamma: 0.1
  total_iter: {total_iter}
  warmup_iter: -1

{losses}
val:
  val_freq: {save_freq}
  save_img: false
{teacher_check}\
{metrics}
logger:
  print_freq: {print_freq}
  save_checkpoint_freq: {save_freq}
  keep_states: 3         # newest training states that are kept
  use_tb_logger: true
  wandb:
    project: ~
    resume_id: ~

dist_params:
  backend: auto          # nccl on GPUs, gloo on CPUs
  port: 29500            # for SLURM alone
'''
READINGS = (
    "Sizes and schedule follow the paper's family of work; docs/method.md says which settings are published and which",
    "are this project's reading. Another student, teacher or method: mipkd options --list, or edit the blocks.")
OWN_READINGS = (
    "Sizes, patches and learning rates follow the paper's family of work; milestones, average of the weights and the",
    'distances of validations follow from the number of steps. docs/options.md describes every option.')
CUTS = '''\
# Feature maps are taken after the head and after every stage. A stage ends after each block that is named here; a
# number instead of names cuts into that many even stages, which lets student and teacher differ in depth and family.
cuts_g: {cuts}
cuts_t: {cuts}
'''
FROM_SCRATCH = '''\
pretrain_network_g: ~
strict_load_g: true
'''
ENTRY_FROM_SCRATCH = '''\
# From scratch, so that no other run has to come first. The paper's family of work starts the x4 EDSR student from
# its x2 student, as options/train_MiPKD_EDSR_x4.yml does.
''' + FROM_SCRATCH
FROM_X2 = '''\
# The paper's family of work starts the x4 EDSR student from its x2 student (strict_load_g: false takes all weights
# of equal shape, that is all but the last step of the upsampler).
pretrain_network_g: {}
strict_load_g: false
'''
TEACHER_WEIGHTS = '''\
pretrain_network_t: {}
strict_load_t: true
'''
TEACHER_CHECK = '  check_teacher: true    # measure the teacher first, and report one that is worse than bicubic\n'


def text_of_training(run, file):
    """The whole text of the option file of a run's training.

    Args:
        run (Run): the run.
        file: where the text will lie, for the commands in its head.

    Returns:
        str: YAML with comments.

    Raises:
        UserError: the run is a teacher's, which is not trained.
    """
    pair, scale, blocks = run.pair, run.pair.scale, blocks_of(run.method)
    has_teacher = blocks.keys() != {'pixel_opt'}
    networks = [student_text(pair), *([teacher_text(run, 'network_t', ', frozen')] if has_teacher else [])]
    schedule, patch = run.schedule, run.data.patch
    return TEMPLATE.format(
        head=head_text(run, run.name, _header(run, Path(file), has_teacher)), gt_size=patch * scale, patch=patch,
        train_set=data_set_text('train', run.data), val_set=data_set_text('val', run.test_sets[0]),
        networks='\n'.join(networks), paths=indent(_paths(run, has_teacher), '  '),
        stages=indent(_stages(run, blocks), '  '), losses=indent(''.join(blocks.values()), '  '),
        metrics=METRICS.format(scale=scale), teacher_check=TEACHER_CHECK if has_teacher else '',
        total_iter=schedule.total_iter, milestones=schedule.milestones, ema_decay=schedule.ema_decay,
        save_freq=_steps(schedule.save_freq), print_freq=schedule.print_freq)


def _steps(count):
    return f'!!float {count // 1000}e3' if count % 1000 == 0 else count


def _header(run, file, has_teacher):
    return [f'{run.row} for x{run.pair.scale}.', f'Student: {STUDENTS[run.pair.student].about}.',
            f'Teacher: {run.teacher.about if has_teacher else "none"}.', '',
            *_commands(run, file, has_teacher), '', *(OWN_READINGS if run.own else READINGS)]


def _commands(run, file, has_teacher):
    """What to type, from nothing to a table, with an explanation below a command that needs one."""
    if run.start:
        start = file.with_name(f'{run.start.name}.yml')
        yield f'  {how_started("train", start)}'
        yield f'      the x2 student; its file is written by: {how_written(run.start.name, start)}'
    published = [words for words, own in (('DIV2K', run.own and run.own.data),
                                          ('benchmark sets', run.own and run.own.val),
                                          ('published weights', run.own and run.own.teacher or not has_teacher))
                 if not own]
    if published:
        yield f'  {command("mipkd", "data", "all", "-opt", file)}'
        yield f'      {", ".join(published)}'
    yield f'  {how_started("train", file)}'
    test = file.with_name(f'{run.test_name}.yml')
    yield f'  {how_started("test", test)}'
    yield '      PSNR and SSIM' + ('' if run.own else f'; its file is written by: {how_written(run.test_name, test)}')
    yield '  mipkd table'
    yield '      its figures beside those of other runs'


def _stages(run, blocks):
    if STAGED.isdisjoint(blocks):
        return ''
    names = None if run.own and run.own.teacher else NAMED_CUTS.get((run.pair.teacher, run.pair.student))
    return CUTS.format(cuts=f'[{", ".join(names)}]' if names else 3)


def _paths(run, has_teacher):
    text = (ENTRY_FROM_SCRATCH if run.is_entry else FROM_X2.format(run.start.student_file) if run.start else
            FROM_SCRATCH)
    if has_teacher:
        weights = run.teacher.weights
        text += (TEACHER_WEIGHTS.format(as_yaml(weights)) if weights else '') + 'ignore_resume_networks: network_t\n'
    return text
